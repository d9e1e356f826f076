//! Virtual connections: messages of one direction arrive in order, after a delay, sometimes twice. A lost message cuts
//! its connection, as TCP does: what is behind it is gone, and both sides see the end, each in its own time.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use firesteel_common::{StageAttempt, TaskId, Tick};
use firesteel_rpc::proto::deploy::{from_master, to_master};
use firesteel_scheduler::{TaskSpec, TaskUpdate};

use crate::{
    cluster::{Action, Cluster},
    task_run::StageInfo,
};

/// A party of the cluster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Node {
    Master,
    Worker(usize),
    Driver,
    Executor(Process),
}

/// An executor's process; never used again, unlike the number within its application.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Its number within its application.
    pub(crate) executor: u32,
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "executor {} (process {})", self.executor, self.pid)
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Master => f.write_str("master"),
            Node::Worker(n) => write!(f, "worker {n}"),
            Node::Driver => f.write_str("driver"),
            Node::Executor(process) => process.fmt(f),
        }
    }
}

/// A connection; never used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct LinkId(pub(crate) u64);

/// Which end of a connection: the one that opened it, or the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Opener,
    Listener,
}

impl Side {
    pub(crate) fn other(self) -> Side {
        match self {
            Side::Opener => Side::Listener,
            Side::Listener => Side::Opener,
        }
    }
}

/// What travels.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    ToMaster(to_master::Message),
    FromMaster(from_master::Message),
    ToDriver(ToDriver),
    ToExecutor(ToExecutor),
}

/// What executors say to the driver.
#[derive(Clone, Debug)]
pub(crate) enum ToDriver {
    Register { app_id: String, executor: u32, host: String, block_address: String, cores: u32 },
    Updates(Vec<TaskUpdate>),
}

/// What the driver says to executors.
#[derive(Clone, Debug)]
pub(crate) enum ToExecutor {
    Registered,
    Refused(String),
    Launch { tasks: Vec<(TaskSpec, Arc<StageInfo>)>, ended: Vec<StageAttempt> },
    Kill { task: TaskId, reason: String },
    DropShuffle(firesteel_common::ShuffleId),
    DropRdd(firesteel_common::RddId),
    Stop,
}

#[derive(Debug)]
pub(crate) struct Link {
    ends: [Node; 2],
    /// The end has not seen the connection's end yet.
    open: [bool; 2],
    /// When the last message or end that is on its way to this end arrives.
    last: [Tick; 2],
    /// Nothing enters any more.
    cut: bool,
}

impl Link {
    pub(crate) fn end(&self, side: Side) -> Node {
        self.ends[side as usize]
    }

    pub(crate) fn is_open(&self, side: Side) -> bool {
        self.open[side as usize]
    }
}

#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) links: BTreeMap<LinkId, Link>,
    next: u64,
}

impl Cluster {
    /// Opens a connection that stands at once; the listener learns of it by the first message.
    pub(crate) fn open(&mut self, from: Node, to: Node) -> LinkId {
        let id = LinkId(self.network.next);
        self.network.next += 1;
        let link = Link { ends: [from, to], open: [true; 2], last: [self.now; 2], cut: false };
        self.network.links.insert(id, link);
        id
    }

    pub(crate) fn send(&mut self, id: LinkId, from: Side, message: Message) {
        let lost = self.chance(self.faults.lose_message);
        let repeated = self.chance(self.faults.repeat_message);
        let delay = self.latency();
        let Some(link) = self.network.links.get_mut(&id) else { return };
        if link.cut || !link.open[from as usize] {
            return;
        }
        let to = from.other();
        if lost {
            let (a, b) = (link.end(from), link.end(to));
            self.note(format_args!("{a} → {b}: LOST {}", summary(&message)));
            self.cut(id);
            return;
        }
        let at = link.last[to as usize].max(self.now + delay);
        link.last[to as usize] = at;
        if repeated {
            self.schedule(at, Action::Deliver { link: id, side: to, message: message.clone() });
        }
        self.schedule(at, Action::Deliver { link: id, side: to, message });
    }

    /// Breaks a connection in the middle.
    pub(crate) fn cut(&mut self, id: LinkId) {
        for side in [Side::Opener, Side::Listener] {
            // One that hears of the break at once loses also what was on its way to it.
            let at_once = self.rng.chance(50);
            self.announce_end(id, side, at_once);
        }
    }

    /// One side closes; what it sent before still arrives.
    pub(crate) fn close(&mut self, id: LinkId, side: Side) {
        if let Some(link) = self.network.links.get_mut(&id) {
            link.open[side as usize] = false;
            self.announce_end(id, side.other(), false);
        }
    }

    fn announce_end(&mut self, id: LinkId, side: Side, at_once: bool) {
        let delay = self.latency();
        let Some(link) = self.network.links.get_mut(&id) else { return };
        link.cut = true;
        let behind = if at_once { self.now } else { link.last[side as usize] };
        let at = behind.max(self.now + if at_once { Duration::ZERO } else { delay });
        self.schedule(at, Action::Closed { link: id, side });
    }

    /// All connections of a node that is gone.
    pub(crate) fn close_all(&mut self, node: Node) {
        let mut ends = Vec::new();
        for (id, link) in &self.network.links {
            for side in [Side::Opener, Side::Listener] {
                if link.end(side) == node && link.is_open(side) {
                    ends.push((*id, side));
                }
            }
        }
        ends.into_iter().for_each(|(id, side)| self.close(id, side));
    }

    /// Something arrives at an end; it is taken only while the end has not seen the connection's end.
    pub(crate) fn deliver(&mut self, id: LinkId, side: Side, message: Message) {
        let Some(link) = self.network.links.get(&id).filter(|l| l.is_open(side)) else { return };
        let (from, to) = (link.end(side.other()), link.end(side));
        self.note(format_args!("{from} → {to}: {}", summary(&message)));
        match (to, message) {
            (Node::Master, Message::ToMaster(m)) => self.master_received(id, m),
            (Node::Worker(n), Message::FromMaster(m)) => self.worker_received(n, id, m),
            (Node::Driver, Message::FromMaster(m)) => self.driver_received(id, m),
            (Node::Driver, Message::ToDriver(m)) => self.driver_heard_executor(id, m),
            (Node::Executor(n), Message::ToExecutor(m)) => self.executor_received(n, m),
            (to, message) => self.violated(format!("{to} received {}", summary(&message))),
        }
    }

    pub(crate) fn link_closed(&mut self, id: LinkId, side: Side) {
        let Some(link) = self.network.links.get_mut(&id) else { return };
        if !std::mem::replace(&mut link.open[side as usize], false) {
            return;
        }
        let (node, other) = (link.end(side), link.end(side.other()));
        self.note(format_args!("{node} sees its connection to {other} end"));
        match node {
            Node::Master => self.master_closed(id),
            Node::Worker(n) => self.worker_closed(n, id),
            Node::Driver => self.driver_closed(id),
            Node::Executor(n) => self.executor_closed(n),
        }
    }

    pub(crate) fn latency(&mut self) -> Duration {
        let most = self.faults.delay.as_nanos() as u64;
        Duration::from_nanos(50_000 + self.rng.below(most))
    }

    /// True with a chance in 10,000, while faults happen at all.
    pub(crate) fn chance(&mut self, in_ten_thousand: u64) -> bool {
        let drawn = self.rng.below(10_000);
        drawn < in_ten_thousand && self.now < Tick::ZERO + self.faults.until
    }
}

/// One line about a message.
fn summary(message: &Message) -> String {
    match message {
        Message::ToMaster(m) => to_master_summary(m),
        Message::FromMaster(m) => from_master_summary(m),
        Message::ToDriver(ToDriver::Register { executor, cores, .. }) => {
            format!("RegisterExecutor {executor} with {cores} cores")
        }
        Message::ToDriver(ToDriver::Updates(updates)) => {
            let each: Vec<String> = updates.iter().map(update_summary).collect();
            format!("StatusUpdates {}", each.join(", "))
        }
        Message::ToExecutor(ToExecutor::Launch { tasks, ended }) => {
            let one = |(t, _): &(TaskSpec, Arc<StageInfo>)| format!("{} ({} partition {})", t.task, t.stage, t.partition);
            let mut text: Vec<String> = tasks.iter().map(one).collect();
            text.extend(ended.iter().map(|s| format!("{s} is over")));
            format!("LaunchTasks {}", text.join(", "))
        }
        Message::ToExecutor(ToExecutor::Registered) => "RegisteredExecutor".to_owned(),
        Message::ToExecutor(other) => format!("{other:?}"),
    }
}

fn update_summary(update: &TaskUpdate) -> String {
    use firesteel_scheduler::TaskOutcome;
    let what = match &update.outcome {
        TaskOutcome::Running => "runs".to_owned(),
        TaskOutcome::Result(bytes) => format!("has its result, {} bytes", bytes.len()),
        TaskOutcome::ResultInBlock { block_id, size } => format!("has its result in {block_id}, {size} bytes"),
        TaskOutcome::MapOutput(_) => "has written its map output".to_owned(),
        TaskOutcome::Failed(failure) => format!("FAILED: {failure}"),
    };
    let blocks: String = update
        .blocks
        .iter()
        .map(|b| format!(", {} rdd_{}_{}", if b.stored { "caches" } else { "dropped" }, b.rdd.0, b.partition))
        .collect();
    format!("{} {what}{blocks}", update.task)
}

fn to_master_summary(message: &to_master::Message) -> String {
    use to_master::Message;
    match message {
        Message::RegisterWorker(m) => format!("RegisterWorker {} with {} executors", m.worker_id, m.executors.len()),
        Message::Heartbeat(m) => format!("Heartbeat {}", m.worker_id),
        Message::WorkerLatestState(m) => format!("WorkerLatestState with {} executors", m.executors.len()),
        Message::ExecutorStateChanged(m) => {
            format!("ExecutorStateChanged {} {:?} {}", m.executor_id, m.state(), m.message)
        }
        Message::RegisterApplication(m) => format!("RegisterApplication {:?}", m.app_id),
        Message::UnregisterApplication(_) => "UnregisterApplication".to_owned(),
        other => format!("{other:?}"),
    }
}

fn from_master_summary(message: &from_master::Message) -> String {
    use from_master::Message;
    match message {
        Message::RegisteredWorker(_) => "RegisteredWorker".to_owned(),
        Message::LaunchExecutor(m) => format!("LaunchExecutor {} with {} cores", m.executor_id, m.cores),
        Message::KillExecutor(m) => format!("KillExecutor {}", m.executor_id),
        Message::ApplicationFinished(m) => format!("ApplicationFinished {}", m.app_id),
        Message::RegisteredApplication(m) => format!("RegisteredApplication {}", m.app_id),
        Message::ExecutorAdded(m) => format!("ExecutorAdded {} on {}", m.executor_id, m.worker_id),
        Message::ExecutorUpdated(m) => format!("ExecutorUpdated {} {:?} {}", m.executor_id, m.state(), m.message),
        Message::ApplicationRemoved(m) => format!("ApplicationRemoved: {}", m.reason),
        other => format!("{other:?}"),
    }
}
