//! The virtual cluster: its clock, the queue of what is to come, and the play of one seed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write},
    sync::Arc,
    time::Duration,
};

use firesteel_backend::RosterEvent;
use firesteel_common::{ExecutorKey, TaskId, Tick};
use firesteel_executor::{core::Event as ExecutorEvent, departure::Item};
use firesteel_machine::Machine;
use firesteel_master::{Record, RecordId};
use firesteel_protocol::{BlockAddress, ReplicateBlock};
use firesteel_rpc::{
    MasterUrl,
    master_client::{Attempt, Event as SearchEvent},
};
use firesteel_scheduler::{DriverEvent, JobError};
use firesteel_worker::{ExecutorEnd, WorkerEvent};

use crate::{
    counts::Counts,
    model::Rng,
    state::{
        driver::{DriverNode, refused},
        executor::ExecutorNode,
        faults::{Fault, Faults},
        master::MasterNode,
        network::{LinkId, Message, Network, Node, Process, Side},
        partition::Partition,
        stage::StagesSent,
        worker::{WORKERS, WorkerNode},
    },
};

/// No seed may take longer, virtually.
const LONGEST: Duration = Duration::from_secs(900);

/// Something that will happen.
#[expect(clippy::large_enum_variant, reason = "messages are what nearly every action carries; a box would cost more")]
pub(crate) enum Action {
    Deliver { link: LinkId, side: Side, message: Message },
    Closed { link: LinkId, side: Side },
    KeepAlive { link: LinkId, side: Side },
    StartWorker { worker: usize, start: u32 },
    WorkerConnects { worker: usize, start: u32, attempt: Attempt, address: String },
    StartDriver,
    DriverConnects { driver: usize, attempt: Attempt, address: String },
    MasterStarts { master: usize },
    ExecutorBoots { process: Process },
    KillProcess { process: Process },
    ProcessEnded { worker: usize, start: u32, key: ExecutorKey, end: ExecutorEnd },
    TaskEnds { process: Process, task: TaskId },
    Migrate { process: Process },
    Adopt { from: Process, peer: BlockAddress, item: Item },
    Copy { process: Process, block: ReplicateBlock },
    ResultFetched { driver: usize, block_address: Arc<str>, task: TaskId },
    SubmitJob { driver: usize, root: usize },
    CancelJob,
    Thaw { node: Node },
    Heal,
    Fault(Fault),
}

pub(crate) struct Cluster {
    pub(crate) now: Tick,
    sequence: u64,
    queue: BTreeMap<(Tick, u64), Action>,
    pub(crate) rng: Rng,
    pub(crate) faults: Faults,
    pub(crate) network: Network,
    pub(crate) partition: Option<Partition>,
    pub(crate) masters: Vec<MasterNode>,
    pub(crate) leader: usize,
    /// What leaders have left for those after them.
    pub(crate) records: BTreeMap<RecordId, Record>,
    /// Executors whose end a driver has asked for.
    pub(crate) unwanted: BTreeSet<(String, u32)>,
    pub(crate) workers: Vec<Option<WorkerNode>>,
    pub(crate) drivers: Vec<DriverNode>,
    pub(crate) drivers_to_come: u32,
    pub(crate) executors: BTreeMap<Process, ExecutorNode>,
    pub(crate) stages_sent: StagesSent,
    pub(crate) ever_started: BTreeSet<(String, u32)>,
    /// Nodes that do nothing until then.
    pub(crate) frozen: BTreeMap<Node, Tick>,
    /// When the last node thawed or the last partition was healed.
    pub(crate) calm_since: Tick,
    /// Nodes that something has happened to in this step.
    pub(crate) touched: BTreeSet<Node>,
    pub(crate) url: MasterUrl,
    pub(crate) counts: Counts,
    violation: Option<String>,
    tracing: bool,
    trace: String,
}

/// How the play of a seed ended.
#[derive(Debug)]
pub struct Outcome {
    /// What did not hold; None when all did.
    pub violation: Option<String>,
    /// Every event with its time; the last line is the violation, if there is one. Empty when it was not asked for.
    pub trace: String,
    /// What was played.
    pub counts: Counts,
}

/// Plays one seed and writes its story; without `faults` the seed draws its own.
pub fn run(seed: u64, faults: Option<Faults>) -> Outcome {
    play(seed, faults, true)
}

/// Plays one seed without writing its story, which costs more than the play; all else is the same.
pub fn run_untold(seed: u64, faults: Option<Faults>) -> Outcome {
    play(seed, faults, false)
}

fn play(seed: u64, faults: Option<Faults>, tracing: bool) -> Outcome {
    let mut cluster = Cluster::new(seed, faults, tracing);
    cluster.play();
    let told = cluster.drivers.iter().filter(|d| !d.crashed);
    let counts = Counts {
        seeds: 1,
        jobs: told.clone().map(|d| d.jobs.len()).sum(),
        succeeded: told.clone().flat_map(|d| d.over.values()).filter(|end| end.is_ok()).count(),
        cancelled: told.clone().flat_map(|d| d.jobs.values()).filter(|j| j.cancelled).count(),
        refused: told.clone().flat_map(|d| d.over.values()).filter(|end| refused(end)).count(),
        excluded: told
            .flat_map(|d| d.over.values())
            .filter(|end| matches!(end, Err(JobError::Excluded { .. })))
            .count(),
        executors: cluster.ever_started.len(),
        ..cluster.counts
    };
    Outcome { counts, violation: cluster.violation, trace: cluster.trace }
}

impl Cluster {
    fn new(seed: u64, faults: Option<Faults>, tracing: bool) -> Self {
        let mut rng = Rng::new(seed);
        let drawn = Faults::draw(&mut rng);
        let masters = if rng.chance(30) { 2 } else { 1 };
        let leader = rng.below(masters) as usize;
        let hosts = (0..masters).map(|m| (format!("master{m}"), 7077)).collect();
        Cluster {
            now: Tick::ZERO,
            sequence: 0,
            queue: BTreeMap::new(),
            faults: faults.unwrap_or(drawn),
            network: Network::default(),
            partition: None,
            masters: (0..masters).map(|_| MasterNode::default()).collect(),
            leader,
            records: BTreeMap::new(),
            unwanted: BTreeSet::new(),
            workers: (0..WORKERS).map(|_| None).collect(),
            drivers: Vec::new(),
            drivers_to_come: 0,
            executors: BTreeMap::new(),
            stages_sent: StagesSent::default(),
            ever_started: BTreeSet::new(),
            frozen: BTreeMap::new(),
            calm_since: Tick::ZERO,
            touched: BTreeSet::new(),
            url: MasterUrl { hosts },
            counts: Counts::default(),
            violation: None,
            tracing,
            trace: String::new(),
            rng,
        }
    }

    fn play(&mut self) {
        for m in 0..self.masters.len() {
            self.master_starts(m);
        }
        for n in 0..WORKERS {
            self.start_worker(n, 0);
        }
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
        for d in 0..self.drivers.len() {
            let driver = &self.drivers[d];
            let works = driver.jobs_to_come > 0 || driver.core.active_jobs() > 0;
            if driver.lives() && !works && !self.frozen.contains_key(&Node::Driver(d)) {
                self.stop_driver(d);
            }
        }
        let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
        let wake = self.next_wake();
        match (queued, wake) {
            (None, None) => return false,
            // A cluster at rest beats for ever: it is left when the applications are gone and no fault is to come.
            (None, Some(_)) if self.at_rest() => return false,
            (queued, Some((at, node))) if queued.is_none_or(|q| at < q) => {
                self.now = self.now.max(at);
                self.wake(node);
            }
            _ => {
                if let Some(((at, _), action)) = self.queue.pop_first() {
                    self.now = self.now.max(at);
                    match self.frozen_until(&action) {
                        Some(thaw) => self.schedule(thaw, action),
                        None => self.act(action),
                    }
                }
            }
        }
        self.counts.steps += 1;
        if let Err(e) = self.check_step() {
            self.violated(e);
        }
        if self.now > Tick::ZERO + LONGEST {
            self.violated("it takes too long: something waits for what never comes".to_owned());
        }
        true
    }

    fn at_rest(&self) -> bool {
        let idle = |m: &firesteel_master::Master| m.applications().is_empty() && m.executors().is_empty();
        self.drivers_to_come == 0
            && self.drivers.iter().all(|d| !d.lives())
            && self.executors.is_empty()
            && self.workers.iter().flatten().all(|w| w.service.is_empty())
            && self.master().is_some_and(idle)
    }

    fn next_wake(&self) -> Option<(Tick, Node)> {
        let leader = self.master().map(|_| Node::Master(self.leader));
        let workers = (0..self.workers.len()).map(Node::Worker);
        let drivers = (0..self.drivers.len()).map(Node::Driver);
        let nodes =
            leader.into_iter().chain(workers).chain(drivers).chain(self.executors.keys().map(|p| Node::Executor(*p)));
        nodes
            .filter_map(|node| {
                let at = self.deadline_of(node)?;
                Some((self.frozen.get(&node).map_or(at, |thaw| at.max(*thaw)), node))
            })
            .min()
    }

    fn deadline_of(&self, node: Node) -> Option<Tick> {
        match node {
            Node::Master(m) => self.masters[m].next_deadline(),
            Node::Worker(n) => self.workers[n].as_ref().and_then(|w| w.machine.next_deadline()),
            Node::Driver(d) => self.drivers[d].next_deadline(),
            Node::Executor(id) => self.executors.get(&id).and_then(|e| e.core.next_deadline()),
        }
    }

    fn wake(&mut self, node: Node) {
        match node {
            Node::Master(_) => self.wake_master(),
            Node::Worker(n) => self.worker_handle(n, WorkerEvent::Wake),
            Node::Driver(d) => {
                self.driver_search(d, SearchEvent::Wake);
                self.driver_wakes(d);
                self.roster_handle(d, RosterEvent::Wake);
                self.driver_handle(d, DriverEvent::Wake);
            }
            Node::Executor(id) => self.executor_handle(id, ExecutorEvent::Wake),
        }
        if self.deadline_of(node).is_some_and(|at| at <= self.now) {
            self.violated(format!("{node} wants to be woken again at the same time"));
        }
    }

    /// Until when the action must wait, as it needs a node that stands still.
    fn frozen_until(&self, action: &Action) -> Option<Tick> {
        let node = match action {
            Action::Deliver { link, side, .. } | Action::Closed { link, side } | Action::KeepAlive { link, side } => {
                self.network.links.get(link)?.end(*side)
            }
            Action::WorkerConnects { worker, .. } | Action::ProcessEnded { worker, .. } => Node::Worker(*worker),
            Action::DriverConnects { driver, .. }
            | Action::ResultFetched { driver, .. }
            | Action::SubmitJob { driver, .. } => Node::Driver(*driver),
            Action::ExecutorBoots { process }
            | Action::TaskEnds { process, .. }
            | Action::Migrate { process }
            | Action::Copy { process, .. }
            | Action::Adopt { from: process, .. } => Node::Executor(*process),
            _ => return None,
        };
        self.frozen.get(&node).copied().filter(|thaw| *thaw > self.now)
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Deliver { link, side, message } => self.deliver(link, side, message),
            Action::Closed { link, side } => self.link_closed(link, side),
            Action::KeepAlive { link, side } => self.keep_alive(link, side),
            Action::StartWorker { worker, start } => self.start_worker(worker, start),
            Action::WorkerConnects { worker, start, attempt, address } => {
                self.worker_connects(worker, start, attempt, &address);
            }
            Action::StartDriver => self.start_driver(),
            Action::DriverConnects { driver, attempt, address } => self.driver_connects(driver, attempt, &address),
            Action::MasterStarts { master } => self.master_starts(master),
            Action::ExecutorBoots { process } => self.executor_boots(process),
            Action::KillProcess { process } => self.kill_process(process, "killed by its worker"),
            Action::ProcessEnded { worker, start, key, end } => self.process_ended(worker, start, key, end),
            Action::TaskEnds { process, task } => self.task_ends(process, task),
            Action::Migrate { process } => self.migrate(process),
            Action::Copy { process, block } => self.copy_block(process, block),
            Action::Adopt { from, peer, item } => self.adopt(from, &peer, item),
            Action::ResultFetched { driver, block_address, task } => self.result_fetched(driver, &block_address, task),
            Action::SubmitJob { driver, root } => self.submit_job(driver, root),
            Action::CancelJob => self.cancel_some_job(),
            Action::Thaw { node } => self.thaw(node),
            Action::Heal => self.heal(),
            Action::Fault(fault) => self.strike(fault),
        }
    }

    pub(crate) fn schedule(&mut self, at: Tick, action: Action) {
        self.queue.insert((at, self.sequence), action);
        self.sequence += 1;
    }

    /// A line of the trace.
    pub(crate) fn note(&mut self, line: fmt::Arguments<'_>) {
        if self.tracing {
            let micros = self.now.0 / 1000;
            // Writing to a String cannot fail.
            let _ = writeln!(self.trace, "{:>9}.{:03} ms  {line}", micros / 1000, micros % 1000);
        }
    }

    /// Something did not hold: the play ends here.
    pub(crate) fn violated(&mut self, what: String) {
        self.note(format_args!("VIOLATION: {what}"));
        self.violation.get_or_insert(what);
    }
}
