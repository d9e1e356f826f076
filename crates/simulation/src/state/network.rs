//! Who speaks with whom over what: the parties of the cluster, their connections and what travels on them.

use std::{collections::BTreeMap, fmt};

use firesteel_common::Tick;
use firesteel_protocol::{ToDriver, ToExecutor};
use firesteel_rpc::proto::deploy::{from_master, to_master};

/// A party of the cluster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Node {
    Master(usize),
    Worker(usize),
    Driver(usize),
    Executor(Process),
}

/// An executor's process; never used again, unlike the number within its application.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Where it runs.
    pub(crate) worker: usize,
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
            Node::Master(m) => write!(f, "master {m}"),
            Node::Worker(n) => write!(f, "worker {n}"),
            Node::Driver(d) => write!(f, "driver {d}"),
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

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) ends: [Node; 2],
    /// For which application its opener has proved to speak.
    pub(crate) app_id: String,
    /// The end has not seen the connection's end yet.
    pub(crate) open: [bool; 2],
    /// When the last message or end that is on its way to this end arrives.
    pub(crate) last: [Tick; 2],
    /// The end sends nothing more.
    pub(crate) shut: [bool; 2],
    /// Nothing enters any more.
    pub(crate) cut: bool,
}

impl Link {
    pub(crate) fn end(&self, side: Side) -> Node {
        self.ends[side as usize]
    }

    pub(crate) fn app_id(&self) -> &str {
        &self.app_id
    }

    /// Nothing enters any more.
    pub(crate) fn cut(&mut self) {
        self.cut = true;
    }

    pub(crate) fn is_open(&self, side: Side) -> bool {
        self.open[side as usize]
    }
}

#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) links: BTreeMap<LinkId, Link>,
    pub(crate) next: u64,
}
