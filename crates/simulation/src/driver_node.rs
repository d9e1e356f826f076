//! The driver in the virtual cluster: the production [`MasterClient`] and [`DriverCore`], and what the driver's shell
//! would do between them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use firesteel_common::{ExecutorId, JobId, StageAttempt, TaskId};
use firesteel_rpc::{
    MasterClient, PROTOCOL_VERSION,
    master_client::{Attempt, Effect, Event},
    proto::deploy::{
        ApplicationDescription, ExecutorState, ExecutorUpdated, RegisterApplication, UnregisterApplication,
        from_master, to_master,
    },
};
use firesteel_scheduler::{DriverCore, DriverEffect, DriverEvent, JobError, JobGraph, TaskSpec};

use crate::{
    cluster::{Action, Cluster},
    model,
    network::{LinkId, Message, Node, Side, ToDriver, ToExecutor},
    task_run::StageInfo,
};

/// A job as the user submitted it.
pub(crate) struct Submitted {
    pub(crate) graph: Arc<JobGraph>,
    pub(crate) partitions: Vec<u32>,
    pub(crate) cancelled: bool,
}

pub(crate) struct DriverNode {
    pub(crate) client: MasterClient,
    link: Option<(Attempt, LinkId)>,
    app_id: String,
    next_executor_id: u32,
    pub(crate) core: DriverCore,
    stages: BTreeMap<StageAttempt, Arc<StageInfo>>,
    /// Stage attempts that are over, to be told with the next launch.
    ended: Vec<StageAttempt>,
    executors: BTreeMap<u32, LinkId>,
    pub(crate) jobs: BTreeMap<JobId, Submitted>,
    pub(crate) results: BTreeMap<(JobId, u32), Bytes>,
    pub(crate) over: BTreeMap<JobId, Result<(), JobError>>,
    /// The master removed the application: the cluster gives nothing more.
    pub(crate) removed: bool,
    pub(crate) stopped: bool,
}

impl DriverNode {
    pub(crate) fn new(client: MasterClient, core: DriverCore) -> Self {
        DriverNode {
            client,
            link: None,
            app_id: String::new(),
            next_executor_id: 0,
            core,
            stages: BTreeMap::new(),
            ended: Vec::new(),
            executors: BTreeMap::new(),
            jobs: BTreeMap::new(),
            results: BTreeMap::new(),
            over: BTreeMap::new(),
            removed: false,
            stopped: false,
        }
    }
}

impl Cluster {
    // ---- with the master ----

    pub(crate) fn driver_search(&mut self, event: Event) {
        let mut out = Vec::new();
        self.driver.client.handle(self.now, event, &mut out);
        for effect in out {
            match effect {
                Effect::Connect { attempt, .. } => {
                    let at = self.now + self.latency();
                    self.schedule(at, Action::DriverConnects { attempt });
                }
                Effect::Register { .. } => self.register_application(),
                Effect::Disconnect { attempt } => {
                    if let Some((_, link)) = self.driver.link.take_if(|(a, _)| *a == attempt) {
                        self.close(link, Side::Opener);
                    }
                }
                Effect::Lost { reason, .. } => self.note(format_args!("driver has lost the master: {reason}")),
                Effect::GiveUp { error } => self.cluster_failed(error.to_string()),
            }
        }
    }

    pub(crate) fn driver_connects(&mut self, attempt: Attempt) {
        if self.chance(self.faults.refuse_connection) {
            let error = "master:7077: connection refused".to_owned();
            return self.driver_search(Event::ConnectFailed { attempt, error, permanent: false });
        }
        let link = self.open(Node::Driver, Node::Master);
        self.driver.link = Some((attempt, link));
        self.driver_search(Event::Connected { attempt });
    }

    fn register_application(&mut self) {
        let application = ApplicationDescription {
            name: "simulated".to_owned(),
            memory_per_executor_mb: 1024,
            cores_per_executor: Some(self.executor_cores),
            driver_address: "driver:4040".to_owned(),
            ..ApplicationDescription::default()
        };
        let message = to_master::Message::RegisterApplication(RegisterApplication {
            protocol_version: PROTOCOL_VERSION,
            application: Some(application),
            app_id: self.driver.app_id.clone(),
            next_executor_id: self.driver.next_executor_id,
        });
        self.tell_master(message);
    }

    fn tell_master(&mut self, message: to_master::Message) {
        if let Some((_, link)) = self.driver.link {
            self.send(link, Side::Opener, Message::ToMaster(message));
        }
    }

    pub(crate) fn driver_received(&mut self, link: LinkId, message: from_master::Message) {
        use from_master::Message as M;
        let Some((attempt, _)) = self.driver.link.filter(|(_, l)| *l == link) else { return };
        match message {
            M::RegisteredApplication(m) => {
                self.driver.app_id = m.app_id;
                self.driver_search(Event::Registered { attempt });
            }
            M::RegisterApplicationFailed(m) => self.driver_search(Event::Rejected { attempt, reason: m.reason }),
            M::ExecutorAdded(m) => {
                self.driver.next_executor_id = self.driver.next_executor_id.max(m.executor_id + 1);
            }
            M::ExecutorUpdated(m) => self.executor_updated(m),
            M::ApplicationRemoved(m) => self.cluster_failed(m.reason),
            other => self.violated(format!("the driver received {other:?}")),
        }
    }

    fn executor_updated(&mut self, update: ExecutorUpdated) {
        let state = update.state();
        if matches!(state, ExecutorState::Unspecified | ExecutorState::Launching | ExecutorState::Running) {
            return;
        }
        let event = DriverEvent::ExecutorRemoved {
            executor: ExecutorId(update.executor_id),
            message: update.message,
            by_application: state == ExecutorState::Exited && update.exit_code == Some(3),
            worker_lost: update.worker_lost,
        };
        if let Some(link) = self.driver.executors.remove(&update.executor_id) {
            self.send(link, Side::Listener, Message::ToExecutor(ToExecutor::Stop));
            self.close(link, Side::Listener);
        }
        self.driver_handle(event);
    }

    fn cluster_failed(&mut self, message: String) {
        if !std::mem::replace(&mut self.driver.removed, true) {
            self.note(format_args!("driver: the application cannot go on: {message}"));
            self.driver_handle(DriverEvent::ClusterFailed { message });
        }
    }

    // ---- with executors ----

    pub(crate) fn driver_heard_executor(&mut self, link: LinkId, message: ToDriver) {
        match message {
            ToDriver::Register { app_id, executor, host, block_address, cores } => {
                if app_id != self.driver.app_id {
                    // The handshake of another application fails.
                    return self.close(link, Side::Listener);
                }
                if self.driver.executors.get(&executor).is_some_and(|l| *l == link) {
                    return; // a repeated message
                }
                let known = self.driver.executors.insert(executor, link);
                self.driver_handle(DriverEvent::ExecutorRegistered {
                    executor: ExecutorId(executor),
                    host,
                    block_address,
                    cores,
                });
                // Refused ones have lost their link by now.
                if known.is_none() && self.driver.executors.contains_key(&executor) {
                    self.send(link, Side::Listener, Message::ToExecutor(ToExecutor::Registered));
                }
            }
            ToDriver::Updates(updates) => {
                let executor = self.driver.executors.iter().find(|(_, l)| **l == link).map(|(e, _)| *e);
                if let Some(executor) = executor {
                    self.driver_handle(DriverEvent::TasksUpdated { executor: ExecutorId(executor), updates });
                }
            }
        }
    }

    pub(crate) fn driver_closed(&mut self, link: LinkId) {
        if let Some((attempt, _)) = self.driver.link.take_if(|(_, l)| *l == link) {
            let reason = "the connection ended".to_owned();
            return self.driver_search(Event::StreamClosed { attempt, reason });
        }
        let executor = self.driver.executors.iter().find(|(_, l)| **l == link).map(|(e, _)| *e);
        if let Some(executor) = executor {
            self.driver.executors.remove(&executor);
            self.driver_handle(DriverEvent::ExecutorDisconnected { executor: ExecutorId(executor) });
        }
    }

    fn tell_executor(&mut self, executor: u32, message: ToExecutor) {
        if let Some(link) = self.driver.executors.get(&executor) {
            self.send(*link, Side::Listener, Message::ToExecutor(message));
        }
    }

    // ---- with its schedulers ----

    pub(crate) fn submit_job(&mut self, root: usize) {
        let job = JobId(self.driver.jobs.len() as u32);
        let graph = model::job_graph(&self.program, root);
        let partitions: Vec<u32> = (0..graph.nodes[root].partitions).collect();
        self.note(format_args!("user submits {job}: {} with {} partitions", graph.nodes[root].rdd, partitions.len()));
        let submitted = Submitted { graph: Arc::new(graph.clone()), partitions: partitions.clone(), cancelled: false };
        self.driver.jobs.insert(job, submitted);
        self.driver_handle(DriverEvent::SubmitJob { job, graph, partitions });
    }

    pub(crate) fn driver_handle(&mut self, event: DriverEvent) {
        let mut out = Vec::new();
        self.driver.core.handle(self.now, event, &mut out);
        for effect in out {
            self.driver_effect(effect);
        }
    }

    fn driver_effect(&mut self, effect: DriverEffect) {
        match effect {
            DriverEffect::StageStarted { attempt, kind, rdd, tasks, shuffles } => {
                self.note(format_args!("driver starts {attempt} with {tasks} tasks: {kind:?}"));
                let graph = Arc::new(JobGraph { nodes: self.program.clone(), root: self.program.len() - 1 });
                let node = model::node_of(&graph, rdd);
                let info = StageInfo { kind, graph, node, shuffles: shuffles.into_iter().collect() };
                self.driver.stages.insert(attempt, Arc::new(info));
            }
            DriverEffect::StageEnded { attempt } => {
                self.driver.stages.remove(&attempt);
                self.driver.ended.push(attempt);
            }
            DriverEffect::LaunchTasks { executor, tasks } => self.launch(executor, tasks),
            DriverEffect::KillTask { executor, task, reason } => {
                self.tell_executor(executor.0, ToExecutor::Kill { task, reason });
            }
            DriverEffect::FetchResult { block_address, task, .. } => {
                let at = self.now + self.latency();
                self.schedule(at, Action::ResultFetched { block_address, task });
            }
            DriverEffect::TaskFailed { task, failure, .. } => self.note(format_args!("driver: {task} failed: {failure}")),
            DriverEffect::JobResult { job, index, bytes } => {
                if self.driver.over.contains_key(&job) || self.driver.results.insert((job, index), bytes).is_some() {
                    self.violated(format!("result {index} of {job} came twice or too late"));
                }
            }
            DriverEffect::JobSucceeded { job } => self.job_over(job, Ok(())),
            DriverEffect::JobFailed { job, error } => self.job_over(job, Err(error)),
            DriverEffect::StageSkipped { stage, shuffle, .. } => {
                self.note(format_args!("driver skips {stage}: {shuffle} is there"));
            }
            DriverEffect::DropShuffle { shuffle } => self.tell_all(&ToExecutor::DropShuffle(shuffle)),
            DriverEffect::DropRdd { rdd } => self.tell_all(&ToExecutor::DropRdd(rdd)),
            DriverEffect::ExecutorRefused { executor, reason } => {
                if let Some(link) = self.driver.executors.remove(&executor.0) {
                    self.send(link, Side::Listener, Message::ToExecutor(ToExecutor::Refused(reason)));
                    self.close(link, Side::Listener);
                }
            }
            DriverEffect::NoResources { waited, .. } => {
                self.note(format_args!("driver warns: no resources for {waited:?}"));
            }
        }
    }

    fn tell_all(&mut self, message: &ToExecutor) {
        let executors: Vec<u32> = self.driver.executors.keys().copied().collect();
        executors.into_iter().for_each(|e| self.tell_executor(e, message.clone()));
    }

    fn launch(&mut self, executor: ExecutorId, tasks: Vec<TaskSpec>) {
        let stages: BTreeSet<StageAttempt> = tasks.iter().map(|t| t.stage).collect();
        if let Some(missing) = stages.iter().find(|s| !self.driver.stages.contains_key(s)) {
            self.violated(format!("tasks of {missing} are launched while it is not known"));
        }
        let info = |t: TaskSpec| Some((t, self.driver.stages.get(&t.stage)?.clone()));
        let tasks = tasks.into_iter().filter_map(info).collect();
        let ended = std::mem::take(&mut self.driver.ended);
        self.tell_executor(executor.0, ToExecutor::Launch { tasks, ended });
    }

    pub(crate) fn result_fetched(&mut self, block_address: &str, task: TaskId) {
        let lost = self.chance(self.faults.lose_message);
        let store = self.executors.values_mut().find(|e| e.block_address == block_address).map(|e| &mut e.store);
        let result = store.filter(|_| !lost).and_then(|s| s.results.remove(&task));
        let result = result.ok_or_else(|| "connection refused".to_owned());
        self.driver_handle(DriverEvent::ResultFetched { task, result });
    }

    fn job_over(&mut self, job: JobId, end: Result<(), JobError>) {
        match &end {
            Ok(()) => self.note(format_args!("{job} SUCCEEDED")),
            Err(error) => self.note(format_args!("{job} FAILED: {error}")),
        }
        if self.driver.over.insert(job, end).is_some() {
            self.violated(format!("{job} ended twice"));
        }
    }

    /// The user's program ends.
    pub(crate) fn stop_driver(&mut self) {
        self.note(format_args!("driver ends"));
        self.driver.stopped = true;
        let app_id = self.driver.app_id.clone();
        self.tell_master(to_master::Message::UnregisterApplication(UnregisterApplication { app_id }));
        self.driver_handle(DriverEvent::Stop);
        self.tell_all(&ToExecutor::Stop);
        self.driver_search(Event::Stop);
    }
}
