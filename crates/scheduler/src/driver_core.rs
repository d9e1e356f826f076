//! DriverCore: the driver's schedulers together. The driver's shell and the simulation call it, one event at a time;
//! it calls the parts, and the DAGScheduler's event families (`dag/`) are methods of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use firesteel_common::{ExecutorId, TaskId, Tick};
use firesteel_events::{AppEvent, TaskReport};
use firesteel_machine::Machine;
use firesteel_protocol::ToDriver;

use crate::{
    allocation::{ExecutorAllocation, ExecutorLoad, Load},
    barrier::Barriers,
    block_locations::BlockLocations,
    config::SchedulerConfig,
    dag::{DagScheduler, submission::WantedJob},
    effect::DriverEffect,
    error::JobError,
    event::DriverEvent,
    farewells::Farewells,
    map_outputs::MapOutputTracker,
    news::News,
    replication::Replication,
    status::Past,
    tasks::{TaskScheduler, executors::Executor, min_some},
};

/// An executor that was given back has this long to end; then it counts as gone, whatever became of it.
pub(crate) const RETIREMENT: Duration = Duration::from_secs(30);

/// DAGScheduler, TaskScheduler, MapOutputTracker and block locations of one Context.
#[derive(Debug)]
pub struct DriverCore {
    pub(crate) config: SchedulerConfig,
    pub(crate) dag: DagScheduler,
    pub(crate) tasks: TaskScheduler,
    pub(crate) outputs: MapOutputTracker,
    pub(crate) blocks: BlockLocations,
    pub(crate) barriers: Barriers,
    /// What executors said of tasks that are not over.
    pub(crate) reports: BTreeMap<TaskId, Box<TaskReport>>,
    /// Jobs and stages that are over.
    pub(crate) past: Past,
    /// What happens, for those who listen.
    pub(crate) news: News,
    /// Outputs that were there when a task's success was counted for them; none ever is.
    pub(crate) doubles: u32,
    pub(crate) farewells: Farewells,
    pub(crate) replication: Replication,
    allocation: Option<ExecutorAllocation>,
}

impl DriverCore {
    /// A driver without jobs and executors.
    pub fn new(config: SchedulerConfig) -> Self {
        DriverCore {
            dag: DagScheduler::default(),
            tasks: TaskScheduler::new(&config),
            outputs: MapOutputTracker::default(),
            blocks: BlockLocations::default(),
            barriers: Barriers::default(),
            reports: BTreeMap::new(),
            past: Past::default(),
            news: News::default(),
            doubles: 0,
            farewells: Farewells::default(),
            replication: Replication::default(),
            allocation: config.allocation.clone().map(ExecutorAllocation::new),
            config,
        }
    }

    /// Takes events that have all happened by `now`, in order; executors' slots are offered once after them.
    pub fn handle_all(
        &mut self,
        now: Tick,
        events: impl IntoIterator<Item = DriverEvent>,
        out: &mut Vec<DriverEffect>,
    ) {
        self.news.at(now);
        for event in events {
            self.take(now, event, out);
        }
        self.kill_leaving(now, out);
        self.remove_overdue(now, out);
        self.release_due(out);
        self.resubmit_due(now, out);
        self.barriers.expire(now, self.config.barrier_sync_timeout, out);
        self.check_held(now, false, out);
        self.expire_exclusion(now);
        let before = out.len();
        self.tasks.offer(now, out);
        self.tell_launched(out.get(before..).unwrap_or_default());
        self.fail_unschedulable(now, out);
        self.fail_short_barriers(now, out);
        self.allocate(now, out);
        if self.tasks.executors.take_changed() {
            self.tell_leaving(out);
            self.copy_again(out);
        }
    }

    /// Looks whether executors are missing or idle.
    fn allocate(&mut self, now: Tick, out: &mut Vec<DriverEffect>) {
        let Some(allocation) = self.allocation.as_mut().filter(|a| a.is_due(now)) else { return };
        let (waiting, running) = self.tasks.load();
        let executors = self.tasks.executors.known.iter().filter(|(_, e)| e.stays());
        let servers = if self.tasks.executors.any_idle() { self.outputs.servers() } else { BTreeSet::new() };
        let load = |(&id, e): (&ExecutorId, &Executor)| ExecutorLoad {
            id,
            slots: e.cores,
            busy: !e.tasks.is_empty(),
            launches: e.launches,
            caches: self.blocks.holds_any(id),
            serves_shuffle: servers.contains(&id),
        };
        let decision = allocation.check(now, &Load { waiting, running, executors: executors.map(load).collect() });
        out.extend(decision.total.map(|total| DriverEffect::RequestExecutors { total }));
        if self.config.decommission_idle {
            for (executor, _) in decision.retire {
                self.executor_decommissioning(now, executor, false, out);
            }
        } else if !decision.retire.is_empty() {
            for (executor, _) in &decision.retire {
                self.give_back(now, *executor, out);
            }
            out.push(DriverEffect::RetireExecutors { executors: decision.retire });
        }
    }

    fn take(&mut self, now: Tick, event: DriverEvent, out: &mut Vec<DriverEffect>) {
        match event {
            DriverEvent::SubmitJob { job, site, graph, partitions, properties, repeatable } => {
                self.submit_job(now, job, WantedJob { site, graph, partitions, properties, repeatable }, out);
            }
            DriverEvent::CancelJob { job, reason } => self.cancel_job(job, reason, out),
            DriverEvent::CancelJobs { which, reason } => self.cancel_jobs(&which, &reason, out),
            DriverEvent::CancelStage { stage, reason } => {
                self.abort_stage(stage, &JobError::Cancelled { reason }, out);
            }
            DriverEvent::Heard { executor, message } => self.hear(now, executor, message, out),
            DriverEvent::ExecutorDisconnected { executor } => self.executor_disconnected(now, executor),
            DriverEvent::ExecutorRemoved { executor, message, by_application, worker_lost } => {
                self.executor_removed(now, executor, &message, by_application, worker_lost, out);
            }
            DriverEvent::ExecutorDecommissioning { executor, worker_leaves, .. } => {
                self.executor_decommissioning(now, executor, worker_leaves, out);
            }
            DriverEvent::WorkerRemoved { executors, message } => self.worker_removed(now, &executors, &message, out),
            DriverEvent::ResultFetched { task, result } => self.result_fetched(now, task, result, out),
            DriverEvent::RddUnpersisted { rdd } => {
                self.news.say(|_| AppEvent::Unpersisted { rdd });
                self.rdd_unpersisted(rdd, out);
            }
            DriverEvent::RddRemoved { rdd } => {
                self.news.say(|_| AppEvent::Unpersisted { rdd });
                self.rdd_removed(rdd, out);
            }
            DriverEvent::ShuffleRemoved { shuffle } => self.shuffle_removed(shuffle, out),
            DriverEvent::ClusterFailed { message } => self.close(JobError::NoExecutors { message }, out),
            DriverEvent::Stop => self.close(JobError::Stopped, out),
            DriverEvent::Wake => {}
        }
    }

    /// An executor said something.
    fn hear(&mut self, now: Tick, executor: ExecutorId, message: ToDriver, out: &mut Vec<DriverEffect>) {
        match message {
            ToDriver::RegisterExecutor(register) => {
                self.executor_registered(executor, &register, out);
                self.decommission_early(now, executor, out);
                self.check_held(now, true, out);
            }
            ToDriver::StatusUpdates(updates) => {
                for update in updates {
                    self.task_updated(now, executor, update, out);
                }
            }
            ToDriver::BlockUpdates(updates) => {
                self.replication.heard(executor, &updates);
                self.blocks_updated(executor, None, &updates);
            }
            ToDriver::MapOutputMoved(moved) => self.map_output_moved(executor, moved, out),
            ToDriver::BarrierSync(sync) => self.barrier_sync(now, executor, sync, out),
            // That it is not silent is seen where its messages arrive.
            ToDriver::Heartbeat => {}
        }
    }

    /// Jobs that are not over.
    pub fn active_jobs(&self) -> usize {
        self.dag.jobs.len() + self.dag.held.len()
    }
}

impl Machine for DriverCore {
    type Event = DriverEvent;
    type Effect = DriverEffect;

    fn handle(&mut self, now: Tick, event: DriverEvent, out: &mut Vec<DriverEffect>) {
        self.handle_all(now, [event], out);
    }

    fn next_deadline(&self) -> Option<Tick> {
        let allocation = self.allocation.as_ref().and_then(ExecutorAllocation::next_deadline);
        let barriers = min_some(self.barriers.next_deadline(), self.next_held());
        let barriers = min_some(barriers, self.tasks.executors.next_kill());
        min_some(min_some(min_some(self.tasks.next_deadline(), self.next_resubmission()), allocation), barriers)
    }

    fn wake() -> DriverEvent {
        DriverEvent::Wake
    }

    /// Takes time in proportion to all that is known.
    fn check_invariants(&self) -> Result<(), String> {
        self.check_tables()
    }
}
