//! The virtual cluster: its clock, the queue of what is to come, and the play of one seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write},
    sync::Arc,
    time::Duration,
};

use firesteel_common::ExecutorKey;
use firesteel_common::{TaskId, Tick};
use firesteel_executor::core::Event as ExecutorEvent;
use firesteel_master::{Master, MasterRules};
use firesteel_rpc::{
    MasterClient, MasterUrl,
    master_client::{Attempt, Event as SearchEvent, MasterClientConfig},
};
use firesteel_scheduler::{DriverCore, DriverEvent, GraphNode, SchedulerConfig};
use firesteel_worker::{ExecutorEnd, WorkerEvent};

use crate::{
    driver_node::DriverNode,
    executor_node::ExecutorNode,
    faults::Faults,
    model::{self, Rng},
    network::{LinkId, Message, Network, Node, Process, Side},
    worker_node::WorkerNode,
};

pub(crate) const WORKERS: usize = 2;
/// No seed may take longer, virtually.
const LONGEST: Duration = Duration::from_secs(600);

/// Something that will happen.
pub(crate) enum Action {
    Deliver { link: LinkId, side: Side, message: Message },
    Closed { link: LinkId, side: Side },
    StartWorker { worker: usize, url: MasterUrl, start: u32 },
    WorkerConnects { worker: usize, start: u32, attempt: Attempt },
    DriverConnects { attempt: Attempt },
    ExecutorBoots { process: Process },
    KillProcess { process: Process },
    ProcessEnded { worker: usize, start: u32, key: ExecutorKey, end: ExecutorEnd },
    TaskEnds { process: Process, task: TaskId },
    ResultFetched { block_address: Arc<str>, task: TaskId },
    SubmitJob { root: usize },
    CancelJob,
    CrashExecutor,
    CrashWorker,
    LoseData,
}

pub(crate) struct Cluster {
    pub(crate) now: Tick,
    sequence: u64,
    queue: BTreeMap<(Tick, u64), Action>,
    pub(crate) rng: Rng,
    pub(crate) faults: Faults,
    pub(crate) network: Network,
    pub(crate) master: Master,
    pub(crate) workers: Vec<Option<WorkerNode>>,
    pub(crate) driver: DriverNode,
    pub(crate) executors: BTreeMap<Process, ExecutorNode>,
    pub(crate) ever_started: BTreeSet<(String, u32)>,
    pub(crate) executor_cores: u32,
    pub(crate) program: Vec<GraphNode>,
    pub(crate) url: MasterUrl,
    pub(crate) jobs_to_come: u32,
    steps: u64,
    violation: Option<String>,
    trace: String,
}

/// How the play of a seed ended.
#[derive(Debug)]
pub struct Outcome {
    /// What did not hold; None when all did.
    pub violation: Option<String>,
    /// Every event with its time; the last line is the violation, if there is one.
    pub trace: String,
    /// Events that were played.
    pub steps: u64,
    /// Jobs that were submitted.
    pub jobs: usize,
    /// Jobs that succeeded with exact results.
    pub succeeded: usize,
    /// Executors that were started.
    pub executors: usize,
}

/// Plays one seed; without `faults` the seed draws its own.
pub fn run(seed: u64, faults: Option<Faults>) -> Outcome {
    let mut cluster = Cluster::new(seed, faults);
    cluster.play();
    Outcome {
        jobs: cluster.driver.jobs.len(),
        succeeded: cluster.driver.over.values().filter(|end| end.is_ok()).count(),
        executors: cluster.ever_started.len(),
        steps: cluster.steps,
        violation: cluster.violation,
        trace: cluster.trace,
    }
}

impl Cluster {
    fn new(seed: u64, faults: Option<Faults>) -> Self {
        let mut rng = Rng::new(seed);
        let drawn = Faults::draw(&mut rng);
        let url = MasterUrl { hosts: vec![("master".to_owned(), 7077)] };
        let rules = MasterRules { url: url.to_string(), ..MasterRules::default() };
        let client = MasterClient::new(&url, MasterClientConfig::default(), rng.draw());
        let nodes = 2 + rng.below(6) as u32;
        let indeterminate = if rng.chance(30) { 20 } else { 0 };
        let program = model::program(&mut rng, nodes, indeterminate);
        let executor_cores = 1 + rng.below(4) as u32;
        Cluster {
            now: Tick::ZERO,
            sequence: 0,
            queue: BTreeMap::new(),
            faults: faults.unwrap_or(drawn),
            network: Network::default(),
            master: Master::new(rules, 0),
            workers: (0..WORKERS).map(|_| None).collect(),
            driver: DriverNode::new(client, DriverCore::new(SchedulerConfig::default())),
            executors: BTreeMap::new(),
            ever_started: BTreeSet::new(),
            executor_cores,
            program,
            url,
            jobs_to_come: 0,
            steps: 0,
            violation: None,
            trace: String::new(),
            rng,
        }
    }

    fn play(&mut self) {
        let url = self.url.clone();
        for n in 0..WORKERS {
            self.start_worker(n, &url, 0);
        }
        self.driver_search(SearchEvent::Start);
        self.plan();
        while self.violation.is_none() && self.step() {}
        if self.violation.is_none()
            && let Err(e) = self.check_end()
        {
            self.violated(e);
        }
    }

    /// Plays what comes next. False when nothing is left to come.
    fn step(&mut self) -> bool {
        if !self.driver.stopped && self.jobs_to_come == 0 && self.driver.core.active_jobs() == 0 {
            self.stop_driver();
        }
        let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
        let wake = self.next_wake();
        // A cluster at rest beats for ever: it is left when the application is gone and no fault is to come.
        let done = self.driver.stopped
            && self.executors.is_empty()
            && self.master.applications().is_empty()
            && self.master.executors().is_empty();
        match (queued, wake) {
            (None, None) => return false,
            (None, Some(_)) if done => return false,
            (queued, Some((at, node))) if queued.is_none_or(|q| at < q) => {
                self.now = self.now.max(at);
                self.wake(node);
            }
            _ => {
                if let Some(((at, _), action)) = self.queue.pop_first() {
                    self.now = self.now.max(at);
                    self.act(action);
                }
            }
        }
        self.steps += 1;
        if let Err(e) = self.check_step() {
            self.violated(e);
        }
        if self.now > Tick::ZERO + LONGEST {
            self.violated("it takes too long: something waits for what never comes".to_owned());
        }
        true
    }

    fn next_wake(&self) -> Option<(Tick, Node)> {
        let driver = [self.driver.client.next_deadline(), self.driver.core.next_deadline()];
        let mut all: Vec<(Tick, Node)> = Vec::new();
        all.extend(self.master.next_deadline().map(|at| (at, Node::Master)));
        all.extend(driver.into_iter().flatten().map(|at| (at, Node::Driver)));
        for (n, worker) in self.workers.iter().enumerate() {
            all.extend(worker.as_ref().and_then(|w| w.machine.next_deadline()).map(|at| (at, Node::Worker(n))));
        }
        for (id, e) in &self.executors {
            all.extend(e.core.next_deadline().map(|at| (at, Node::Executor(*id))));
        }
        all.into_iter().min()
    }

    fn deadline_of(&self, node: Node) -> Option<Tick> {
        match node {
            Node::Master => self.master.next_deadline(),
            Node::Worker(n) => self.workers[n].as_ref().and_then(|w| w.machine.next_deadline()),
            Node::Driver => {
                self.driver.client.next_deadline().into_iter().chain(self.driver.core.next_deadline()).min()
            }
            Node::Executor(id) => self.executors.get(&id).and_then(|e| e.core.next_deadline()),
        }
    }

    fn wake(&mut self, node: Node) {
        match node {
            Node::Master => self.wake_master(),
            Node::Worker(n) => self.worker_handle(n, WorkerEvent::Wake),
            Node::Driver => {
                self.driver_search(SearchEvent::Wake);
                self.driver_handle(DriverEvent::Wake);
            }
            Node::Executor(id) => self.executor_handle(id, ExecutorEvent::Wake),
        }
        if self.deadline_of(node).is_some_and(|at| at <= self.now) {
            self.violated(format!("{node} wants to be woken again at the same time"));
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Deliver { link, side, message } => self.deliver(link, side, message),
            Action::Closed { link, side } => self.link_closed(link, side),
            Action::StartWorker { worker, url, start } => self.start_worker(worker, &url, start),
            Action::WorkerConnects { worker, start, attempt } => self.worker_connects(worker, start, attempt),
            Action::DriverConnects { attempt } => self.driver_connects(attempt),
            Action::ExecutorBoots { process } => self.executor_boots(process),
            Action::KillProcess { process } => self.kill_process(process, "killed by its worker"),
            Action::ProcessEnded { worker, start, key, end } => self.process_ended(worker, start, key, end),
            Action::TaskEnds { process, task } => self.task_ends(process, task),
            Action::ResultFetched { block_address, task } => self.result_fetched(&block_address, task),
            Action::SubmitJob { root } => {
                self.jobs_to_come -= 1;
                self.submit_job(root);
            }
            Action::CancelJob => self.cancel_some_job(),
            Action::CrashExecutor => self.crash_some_executor(),
            Action::CrashWorker => self.crash_some_worker(),
            Action::LoseData => self.lose_some_data(),
        }
    }

    pub(crate) fn schedule(&mut self, at: Tick, action: Action) {
        self.queue.insert((at, self.sequence), action);
        self.sequence += 1;
    }

    /// A line of the trace.
    pub(crate) fn note(&mut self, line: fmt::Arguments<'_>) {
        let micros = self.now.0 / 1000;
        // Writing to a String cannot fail.
        let _ = writeln!(self.trace, "{:>9}.{:03} ms  {line}", micros / 1000, micros % 1000);
    }

    /// Something did not hold: the play ends here.
    pub(crate) fn violated(&mut self, what: String) {
        self.note(format_args!("VIOLATION: {what}"));
        self.violation.get_or_insert(what);
    }
}
