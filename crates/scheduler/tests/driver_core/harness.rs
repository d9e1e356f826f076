//! A driver on a virtual clock, and small graphs for it. Checks the invariants after every event.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use bytes::Bytes;
use firesteel_common::{
    CallSite, ExecutorId, JobId, NarrowMap, RddId, ShuffleId, StageAttempt, TaskFailure, TaskId, Tick,
};
pub use firesteel_machine::Machine;
use firesteel_protocol::*;
use firesteel_scheduler::*;

pub struct Driver {
    pub core: DriverCore,
    pub now: Tick,
    /// Effects since they were last taken.
    pub effects: Vec<DriverEffect>,
    /// Launched and not yet reported, in order of launch.
    pub running: BTreeMap<TaskId, (ExecutorId, TaskSpec)>,
    pub kinds: BTreeMap<StageAttempt, StageKind>,
    pub ended: BTreeSet<StageAttempt>,
    pub results: BTreeMap<(JobId, u32), Bytes>,
    pub over: BTreeMap<JobId, Result<(), JobError>>,
    /// How often results were taken back.
    pub discarded: u32,
    /// Locations that came with the last start of each stage attempt.
    pub reads: BTreeMap<StageAttempt, BTreeMap<ShuffleId, Vec<MapLocation>>>,
    /// When each task was launched, and when each executor last reported.
    launched: BTreeMap<TaskId, Tick>,
    reported: BTreeMap<u32, Tick>,
    cores: BTreeMap<u32, u32>,
}

impl Driver {
    pub fn new() -> Self {
        Self::with(SchedulerConfig::default())
    }

    pub fn with(config: SchedulerConfig) -> Self {
        Driver {
            core: DriverCore::new(config),
            now: Tick::ZERO,
            effects: Vec::new(),
            running: BTreeMap::new(),
            kinds: BTreeMap::new(),
            ended: BTreeSet::new(),
            results: BTreeMap::new(),
            over: BTreeMap::new(),
            discarded: 0,
            reads: BTreeMap::new(),
            launched: BTreeMap::new(),
            reported: BTreeMap::new(),
            cores: BTreeMap::new(),
        }
    }

    /// One executor for each of `cores`, numbered from 1, each on its own host.
    pub fn with_executors(cores: &[u32]) -> Self {
        let mut d = Self::new();
        for (i, c) in (1u32..).zip(cores) {
            d.register(i, &format!("host{i}"), *c);
        }
        d
    }

    pub fn handle(&mut self, event: DriverEvent) {
        let mut out = Vec::new();
        self.core.handle(self.now, event, &mut out);
        self.core.check_invariants().unwrap();
        for effect in &out {
            match effect {
                DriverEffect::StageStarted { attempt, kind, shuffles, .. } => {
                    self.kinds.insert(*attempt, *kind);
                    self.reads.insert(*attempt, shuffles.iter().map(|(s, l)| (*s, l.to_vec())).collect());
                }
                DriverEffect::StageEnded { attempt } => {
                    assert!(self.ended.insert(*attempt), "{attempt} ended twice");
                }
                DriverEffect::LaunchTasks { executor, tasks } => {
                    for t in tasks {
                        assert!(self.kinds.contains_key(&t.stage), "{} was launched before its stage started", t.task);
                        assert!(!self.ended.contains(&t.stage), "{} was launched after its stage ended", t.task);
                        assert!(self.running.insert(t.task, (*executor, *t)).is_none());
                        self.launched.insert(t.task, self.now);
                    }
                }
                DriverEffect::JobResult { job, index, bytes } => {
                    assert!(!self.over.contains_key(job));
                    assert!(self.results.insert((*job, *index), bytes.clone()).is_none(), "a result came twice");
                }
                DriverEffect::ResultsDiscarded { job } => {
                    assert!(!self.over.contains_key(job));
                    self.discarded += 1;
                    self.results.retain(|(of, _), _| of != job);
                }
                DriverEffect::JobSucceeded { job } => assert!(self.over.insert(*job, Ok(())).is_none()),
                DriverEffect::JobFailed { job, error } => {
                    assert!(self.over.insert(*job, Err(error.clone())).is_none());
                }
                _ => {}
            }
        }
        self.effects.extend(out);
    }

    pub fn register(&mut self, executor: u32, host: &str, cores: u32) {
        let block_address = format!("{host}:7{executor}");
        self.cores.insert(executor, cores);
        self.handle(registered(ExecutorId(executor), host.to_owned(), block_address, None, cores));
    }

    /// An executor says something.
    pub fn hear(&mut self, executor: u32, message: ToDriver) {
        self.handle(DriverEvent::Heard { executor: ExecutorId(executor), message });
    }

    pub fn remove(&mut self, executor: u32, by_application: bool) {
        self.running.retain(|_, (e, _)| e.0 != executor);
        self.handle(DriverEvent::ExecutorRemoved {
            executor: ExecutorId(executor),
            message: "exited with code 1".to_owned(),
            by_application,
            worker_lost: false,
        });
    }

    /// Submits all partitions of the graph's root.
    pub fn submit(&mut self, job: u32, graph: JobGraph) {
        self.submit_with(job, graph, JobProperties::default());
    }

    /// Submits all partitions of the graph's root.
    pub fn submit_with(&mut self, job: u32, graph: JobGraph, properties: JobProperties) {
        let partitions = (0..graph.nodes[graph.root].partitions).collect();
        self.submit_some(job, graph, partitions, properties);
    }

    pub fn submit_some(&mut self, job: u32, graph: JobGraph, partitions: Vec<u32>, properties: JobProperties) {
        self.submit_job(job, graph, partitions, properties, false);
    }

    /// Submits all partitions of the graph's root; results may be taken back.
    pub fn submit_repeatable(&mut self, job: u32, graph: JobGraph) {
        let partitions = (0..graph.nodes[graph.root].partitions).collect();
        self.submit_job(job, graph, partitions, JobProperties::default(), true);
    }

    fn submit_job(
        &mut self,
        job: u32,
        graph: JobGraph,
        partitions: Vec<u32>,
        properties: JobProperties,
        repeatable: bool,
    ) {
        let (job, site) = (JobId(job), CallSite::default());
        self.handle(DriverEvent::SubmitJob { site, job, graph, partitions, properties, repeatable });
    }

    /// Submits to a pool.
    pub fn submit_to(&mut self, pool: &str, job: u32, graph: JobGraph) {
        self.submit_with(job, graph, JobProperties { pool: Some(pool.to_owned()), ..JobProperties::default() });
    }

    pub fn update(&mut self, task: TaskId, outcome: TaskOutcome) {
        self.update_with(task, outcome, Vec::new());
    }

    pub fn update_with(&mut self, task: TaskId, outcome: TaskOutcome, blocks: Vec<BlockUpdate>) {
        let (executor, _) = self.running.remove(&task).unwrap();
        self.report(executor.0, task, outcome, blocks);
    }

    pub fn report(&mut self, executor: u32, task: TaskId, outcome: TaskOutcome, blocks: Vec<BlockUpdate>) {
        let ran = self.ran(executor, task);
        let updates = vec![TaskUpdate { task, outcome, blocks, ran, report: None }];
        self.hear(executor, ToDriver::StatusUpdates(updates));
    }

    /// How long a task ran that ends now, where its executor's cores have been busy all the time and end by turns.
    fn ran(&mut self, executor: u32, task: TaskId) -> Duration {
        let before = self.reported.insert(executor, self.now);
        let since = self.launched.get(&task).copied().max(before);
        since.map_or(Duration::ZERO, |at| self.now.since(at)) * self.cores.get(&executor).copied().unwrap_or(1)
    }

    /// Reports success with what a task of its kind makes; a result is the partition as text.
    pub fn succeed(&mut self, task: TaskId) {
        let outcome = self.good(task);
        self.update(task, outcome);
    }

    pub fn good(&self, task: TaskId) -> TaskOutcome {
        let spec = self.running[&task].1;
        match self.kinds[&spec.stage] {
            StageKind::ShuffleMap { reducers, .. } => {
                let (sizes, checksum) = (Bytes::from(vec![1; reducers as usize]), Some(u64::from(spec.partition)));
                TaskOutcome::MapOutput(MapOutput { map_task: task, sizes, checksum })
            }
            StageKind::Result { .. } => TaskOutcome::Result(Bytes::from(spec.partition.to_string())),
        }
    }

    pub fn fail(&mut self, task: TaskId, message: &str) {
        let failure =
            TaskFailure::Exception { message: message.to_owned(), location: "src/main.rs:3:5".to_owned(), panic: true };
        self.update(task, TaskOutcome::Failed(failure));
    }

    /// Reports that a task could not fetch map output `map` of `shuffle` as it was located for its attempt.
    pub fn fetch_failure(&self, task: TaskId, shuffle: u32, map: u32) -> TaskOutcome {
        let location = &self.reads[&self.running[&task].1.stage][&ShuffleId(shuffle)][map as usize];
        TaskOutcome::Failed(TaskFailure::FetchFailed {
            shuffle: ShuffleId(shuffle),
            map_index: map,
            map_task: location.map_task,
            reduce: 0,
            executor: location.executor,
            message: "connection refused".to_owned(),
        })
    }

    pub fn tasks(&self) -> Vec<TaskId> {
        self.running.keys().copied().collect()
    }

    /// Partitions that run now, by executor.
    pub fn placed(&self) -> Vec<(u32, u32)> {
        self.running.values().map(|(e, s)| (e.0, s.partition)).collect()
    }

    pub fn succeed_all_running(&mut self) {
        for task in self.tasks() {
            if self.running.contains_key(&task) {
                self.succeed(task);
            }
        }
    }

    /// Lets every task succeed until nothing runs.
    pub fn run_out(&mut self) {
        while !self.running.is_empty() || !self.over_all() {
            if self.running.is_empty() {
                let Some(at) = self.core.next_deadline() else { return };
                self.advance_to(at);
            }
            self.succeed_all_running();
        }
    }

    fn over_all(&self) -> bool {
        self.core.active_jobs() == 0
    }

    pub fn advance_to(&mut self, at: Tick) {
        self.now = self.now.max(at);
        self.handle(DriverEvent::Wake);
    }

    pub fn advance(&mut self, by: Duration) {
        self.advance_to(self.now + by);
    }

    /// Stage attempts that were started, in order, with how many tasks.
    pub fn starts(&self) -> Vec<(u32, u32, u32)> {
        let start = |e: &DriverEffect| match e {
            DriverEffect::StageStarted { attempt, tasks, .. } => Some((attempt.stage.0, attempt.attempt, *tasks)),
            _ => None,
        };
        self.effects.iter().filter_map(start).collect()
    }

    pub fn killed(&self) -> Vec<TaskId> {
        let kill = |e: &DriverEffect| match e {
            DriverEffect::KillTask { task, .. } => Some(*task),
            _ => None,
        };
        self.effects.iter().filter_map(kill).collect()
    }

    pub fn error(&self, job: u32) -> &JobError {
        self.over[&JobId(job)].as_ref().unwrap_err()
    }

    pub fn succeeded(&self, job: u32) -> bool {
        self.over.get(&JobId(job)) == Some(&Ok(()))
    }
}

pub fn node(rdd: u32, partitions: u32, deps: Vec<GraphDep>) -> GraphNode {
    GraphNode { rdd: RddId(rdd), partitions, deps, ..GraphNode::default() }
}

pub fn narrow(parent: usize) -> GraphDep {
    GraphDep::Narrow { parent, partitions: NarrowMap::OneToOne }
}

pub fn shuffle(id: u32, parent: usize, reducers: u32) -> GraphDep {
    GraphDep::Shuffle { shuffle: ShuffleId(id), parent, reducers }
}

pub fn graph(nodes: Vec<GraphNode>) -> JobGraph {
    JobGraph { root: nodes.len() - 1, nodes }
}

pub fn one_stage(partitions: u32) -> JobGraph {
    graph(vec![node(0, partitions, vec![])])
}

/// RDD 0 with `maps` partitions, shuffle 0, RDD 1 with `reduces`.
pub fn two_stages(maps: u32, reduces: u32) -> JobGraph {
    graph(vec![node(0, maps, vec![]), node(1, reduces, vec![shuffle(0, 0, reduces)])])
}

/// That an executor has registered.
pub fn registered(
    executor: ExecutorId,
    host: String,
    block_address: String,
    shuffle_service: Option<String>,
    cores: u32,
) -> DriverEvent {
    let register =
        RegisterExecutor { executor, host, block_address, shuffle_service, cores, ..RegisterExecutor::default() };
    DriverEvent::Heard { executor, message: ToDriver::RegisterExecutor(Box::new(register)) }
}
