//! An executor process in the virtual cluster: the production [`ExecutorCore`], its connection to the driver, and
//! virtual task threads.

use std::time::Duration;

use firesteel_common::{ExecutorId, ExecutorKey, StageAttempt, TaskFailure, TaskId};
use firesteel_executor::core::{Effect, Event};
use firesteel_machine::Machine;
use firesteel_protocol::{BlockUpdate, LaunchTasks, RegisterExecutor, TaskOutcome, TaskUpdate, ToDriver, ToExecutor};
use firesteel_rpc::proto::deploy::Parting;
use firesteel_worker::{ExecutorEnd, WorkerEvent};

use crate::{
    cluster::{Action, Cluster},
    state::network::{Message, Node, Process, Side},
};

/// An exit by the executor's own decision, after what it said to its worker.
pub(crate) fn exit(parting: Parting, message: &str) -> ExecutorEnd {
    let code = if parting == Parting::InOrder { 0 } else { 1 };
    ExecutorEnd { message: message.to_owned(), exit_code: Some(code), parting, ..ExecutorEnd::default() }
}

impl Cluster {
    pub(crate) fn executor_boots(&mut self, id: Process) {
        let Some(node) = self.executors.get(&id) else { return };
        let register = RegisterExecutor {
            executor: ExecutorId(id.executor),
            host: format!("host{}", id.worker),
            block_address: node.block_address.clone(),
            shuffle_service: node.shuffle_service.clone(),
            cores: node.cores,
            ..RegisterExecutor::default()
        };
        let (driver, app_id) = (node.driver, node.app_id.to_string());
        if id.worker == 0 && self.faults.sick_worker > 0 && self.chance(self.faults.sick_worker) {
            self.counts.ended_early += 1;
            let end =
                ExecutorEnd { exit_code: Some(127), message: "a sick worker".to_owned(), ..ExecutorEnd::default() };
            return self.executor_ends(id, end);
        }
        let refused = self.chance(self.faults.refuse_connection);
        if refused || !self.drivers[driver].lives() || !self.reaches(Node::Executor(id), Node::Driver(driver)) {
            return self.executor_ends(id, exit(Parting::Unsaid, "cannot reach the driver"));
        }
        let link = self.open(Node::Executor(id), Node::Driver(driver), &app_id);
        if let Some(node) = self.executors.get_mut(&id) {
            node.link = Some(link);
        }
        self.send(link, Side::Opener, Message::ToDriver(ToDriver::RegisterExecutor(Box::new(register))));
    }

    pub(crate) fn executor_received(&mut self, id: Process, message: ToExecutor) {
        match message {
            ToExecutor::RegisteredExecutor(_) => {
                let Some(node) = self.executors.get(&id) else { return };
                let key = ExecutorKey { app_id: node.app_id.clone(), executor_id: id.executor };
                self.worker_handle(id.worker, WorkerEvent::ExecutorRegistered(key));
            }
            ToExecutor::RegisterExecutorFailed(reason) => {
                self.executor_ends(id, exit(Parting::Unsaid, &format!("refused by the driver: {reason}")))
            }
            ToExecutor::StopExecutor => self.executor_ends(id, exit(Parting::InOrder, "told to stop")),
            ToExecutor::LaunchTasks(launch) => self.tasks_arrive(id, launch),
            ToExecutor::KillTask(kill) => {
                self.executor_handle(id, Event::Kill { task: kill.task, reason: kill.reason })
            }
            ToExecutor::RecallTasks(tasks) => self.executor_handle(id, Event::Recall { tasks }),
            ToExecutor::DecommissionExecutor(orders) => self.told_to_leave(id, orders),
            ToExecutor::BarrierAnswer(answer) => self.barrier_answered(id, answer),
            ToExecutor::RemoveShuffle(shuffle) => {
                self.drop_served(id, shuffle);
                if let Some(node) = self.executors.get_mut(&id) {
                    node.store.files.retain(|(s, _), _| *s != shuffle);
                    node.store.dropped.insert(shuffle);
                }
            }
            ToExecutor::RemoveRdd(rdd) => {
                if let Some(node) = self.executors.get_mut(&id) {
                    node.store.cache.retain(|(r, _), _| *r != rdd);
                }
            }
            ToExecutor::ReplicateBlock(block) => {
                let at = self.now + self.latency();
                self.schedule(at, Action::Copy { process: id, block });
            }
            // Nothing is broadcast here.
            ToExecutor::RemoveBroadcast(_) => {
                self.violated(format!("{id} is told {message:?}"));
            }
        }
    }

    fn tasks_arrive(&mut self, id: Process, launch: LaunchTasks) {
        let Some(node) = self.executors.get_mut(&id) else { return };
        for binary in launch.stages {
            match self.stages_sent.of(&binary.data) {
                Some(stage) => _ = node.stages.entry(binary.stage).or_insert(stage),
                None => return self.violated(format!("{id} is sent what is no stage")),
            }
        }
        let names = launch.tasks.iter().map(|t| (t.task, t.stage)).collect();
        for task in launch.tasks.into_iter().filter(|t| !node.core.knows(t.task)).collect::<Vec<_>>() {
            let Some(stage) = node.stages.get(&task.stage).cloned() else {
                return self.violated(format!("{} comes to {id} without its stage", task.task));
            };
            node.waiting.insert(task.task, self.now);
            node.tasks.insert(task.task, (task, stage));
        }
        self.executor_handle(id, Event::Launch { tasks: names, ended: launch.ended });
    }

    /// Without its driver an executor has nothing to live for.
    pub(crate) fn executor_closed(&mut self, id: Process) {
        self.executor_ends(id, exit(Parting::DriverLost, "the connection to the driver ended"));
    }

    pub(crate) fn executor_handle(&mut self, id: Process, event: Event) {
        let mut out = Vec::new();
        let Some(node) = self.executors.get_mut(&id) else { return };
        self.touched.insert(Node::Executor(id));
        node.core.handle(self.now, event, &mut out);
        for effect in out {
            match effect {
                Effect::Start { task, waited } => {
                    self.check_barrier_start(id, task, waited);
                    if let Some(node) = self.executors.get_mut(&id) {
                        node.waiting.remove(&task);
                    }
                    if waited {
                        self.report(id, task, TaskOutcome::Running, Vec::new());
                    }
                    self.task_works(id, task);
                }
                Effect::Flag { task, reason } => {
                    if let Some(node) = self.executors.get_mut(&id) {
                        node.flagged.insert(task, reason);
                        if node.calls.get(&task).is_some_and(|(_, waits)| *waits) {
                            let at = self.now + Duration::from_millis(1);
                            self.schedule(at, Action::TaskEnds { process: id, task });
                        }
                    }
                }
                Effect::NeverRan { task, reason } => {
                    if let Some(node) = self.executors.get_mut(&id) {
                        node.tasks.remove(&task);
                        node.waiting.remove(&task);
                    }
                    self.report(id, task, TaskOutcome::Failed(TaskFailure::Killed { reason }), Vec::new());
                }
                Effect::GiveBack { task } => {
                    if let Some(node) = self.executors.get_mut(&id) {
                        node.tasks.remove(&task);
                        node.waiting.remove(&task);
                    }
                    self.counts.given_back += 1;
                    self.report(id, task, TaskOutcome::GivenBack, Vec::new());
                }
                Effect::DropStage { stage } => self.drop_results(id, stage),
                // Executors here have no reaper.
                Effect::StillRuns { .. } | Effect::EndProcess { .. } => {}
                Effect::Heartbeat => {
                    if let Some(link) = self.executors.get(&id).and_then(|e| e.link) {
                        self.send(link, Side::Opener, Message::ToDriver(ToDriver::Heartbeat));
                    }
                }
            }
        }
    }

    fn drop_results(&mut self, id: Process, stage: StageAttempt) {
        let Some(node) = self.executors.get_mut(&id) else { return };
        node.stages.remove(&stage);
        if node.tasks.values().any(|(t, _)| t.stage == stage) {
            self.violated(format!("{id} drops {stage} under its tasks"));
        }
    }

    pub(crate) fn task_ends(&mut self, id: Process, task: TaskId) {
        if self.waits_at_barrier(id, task) {
            return;
        }
        let Some(node) = self.executors.get_mut(&id) else { return };
        let Some((spec, stage)) = node.tasks.remove(&task) else { return };
        node.calls.remove(&task);
        let ran = node.began.remove(&task).map_or(Duration::ZERO, |began| self.now.since(began));
        let (outcome, blocks) = match node.flagged.remove(&task) {
            Some(reason) => (TaskOutcome::Failed(TaskFailure::Killed { reason }), Vec::new()),
            None => self.work(id, &spec, &stage),
        };
        self.report_after(ran, id, task, outcome, blocks);
        self.executor_handle(id, Event::Finished { task });
    }

    /// The task ends, or waits for others, after some time.
    pub(crate) fn task_works(&mut self, id: Process, task: TaskId) {
        if let Some(node) = self.executors.get_mut(&id) {
            node.began.entry(task).or_insert(self.now);
        }
        let slow =
            self.chance(self.faults.slow_task) || id.pid.is_multiple_of(3) && self.chance(self.faults.slow_executor);
        let most = if slow { 3_000_000 } else { self.faults.task_time.as_micros() as u64 };
        let at = self.now + Duration::from_micros(200 + self.rng.below(most));
        self.schedule(at, Action::TaskEnds { process: id, task });
    }

    pub(crate) fn say(&mut self, id: Process, message: ToDriver) {
        if let Some(link) = self.executors.get(&id).and_then(|e| e.link) {
            self.send(link, Side::Opener, Message::ToDriver(message));
        }
    }

    pub(crate) fn report(&mut self, id: Process, task: TaskId, outcome: TaskOutcome, blocks: Vec<BlockUpdate>) {
        self.report_after(Duration::ZERO, id, task, outcome, blocks);
    }

    fn report_after(
        &mut self,
        ran: Duration,
        id: Process,
        task: TaskId,
        outcome: TaskOutcome,
        blocks: Vec<BlockUpdate>,
    ) {
        let Some(link) = self.executors.get(&id).and_then(|e| e.link) else { return };
        let updates = vec![TaskUpdate { task, outcome, blocks, ran, report: None }];
        self.send(link, Side::Opener, Message::ToDriver(ToDriver::StatusUpdates(updates)));
    }

    /// The process is gone with all it had; whoever supervises it is told by the caller.
    pub(crate) fn executor_vanishes(&mut self, id: Process) {
        self.note(format_args!("{id} is gone"));
        self.close_all(Node::Executor(id));
        self.frozen.remove(&Node::Executor(id));
        self.executors.remove(&id);
    }

    pub(crate) fn kill_process(&mut self, id: Process, why: &str) {
        let end = ExecutorEnd { message: why.to_owned(), signal: Some(9), ..ExecutorEnd::default() };
        self.executor_ends(id, end);
    }
}
