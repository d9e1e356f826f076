//! The [`Roster`]: the executors of one application, as its driver sees them.
//!
//! ```text
//!  manager ──Granted──▶ granted ──Registers──▶ connected ──StreamEnded──▶ closed
//!                          └─────────────── Ended ◀────────────────────────┘ ──▶ gone for good
//!                                             └─ its stream is open: what it had sent has a second to come, unless its
//!                                                node is lost
//! ```
//!
//! On the way its node may be about to leave: it lives on, and its end is nobody's fault.

use std::collections::{BTreeMap, BTreeSet};

use firesteel_common::{ExecutorId, Tick};
use firesteel_machine::Machine;
use tracing::info;

use crate::{Grant, News, RosterEffect, RosterEvent, StreamId, admission::Applicant, endings::Ending};

/// Who was granted, who is connected and who is gone. Spark: the executors of `CoarseGrainedSchedulerBackend`.
#[derive(Debug, Default)]
pub struct Roster {
    /// Granted, and not said to have ended.
    pub(crate) granted: BTreeMap<ExecutorId, Granted>,
    /// Registrations that were faster than the word that the executor is granted.
    pub(crate) applicants: BTreeMap<StreamId, Applicant>,
    /// Executors that have ended, whose last words may still come.
    pub(crate) endings: BTreeMap<ExecutorId, Ending>,
    /// The executors of the streams that were let in and have not ended.
    pub(crate) streams: BTreeMap<StreamId, ExecutorId>,
    /// Those that have ended: none ever comes back.
    pub(crate) gone: BTreeSet<ExecutorId>,
    /// The executors that each node was ever to run; of nodes that are not lost.
    pub(crate) nodes: BTreeMap<String, BTreeSet<ExecutorId>>,
    /// What was said of the cores last.
    cores: u32,
}

/// An executor that has not ended, as far as is known.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) cores: u32,
    pub(crate) connection: Connection,
    /// Its node goes, and it with it.
    pub(crate) decommissioned: bool,
    /// It is to end: that it does is no news.
    pub(crate) retired: bool,
    /// Why the driver has closed its stream; the first reason stays.
    pub(crate) given_up: Option<String>,
}

/// How far an executor has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Connection {
    /// It has not registered.
    Awaited,
    /// It has registered, and its stream is open.
    Open(StreamId),
    /// Its stream has ended.
    Closed,
}

impl Granted {
    /// The stream, while it is open.
    pub(crate) fn stream(&self) -> Option<StreamId> {
        match self.connection {
            Connection::Open(stream) => Some(stream),
            Connection::Awaited | Connection::Closed => None,
        }
    }

    pub(crate) fn give_up(&mut self, reason: String) {
        self.given_up.get_or_insert(reason);
    }
}

impl Roster {
    /// The manager has granted an executor, or says again that it has.
    fn grant(&mut self, Grant { executor, node, host, cores }: Grant, out: &mut Vec<RosterEffect>) {
        // Of one that has ended the node may still keep something.
        self.nodes.entry(node.clone()).or_default().insert(executor);
        if self.gone.contains(&executor) || self.granted.contains_key(&executor) {
            return;
        }
        info!(executor_id = executor.0, node, host, cores, "executor granted");
        let connection = Connection::Awaited;
        let granted = Granted { cores, connection, decommissioned: false, retired: false, given_up: None };
        self.granted.insert(executor, granted);
        self.let_in(executor, out);
    }

    /// The node of an executor is to leave, and with it all that are there.
    fn node_leaves(&mut self, executor: ExecutorId, message: String, out: &mut Vec<RosterEffect>) {
        let beside = self.nodes.values().find(|executors| executors.contains(&executor));
        let mut executors = Vec::new();
        for id in beside.into_iter().flatten() {
            if let Some(granted) = self.granted.get_mut(id).filter(|granted| !granted.decommissioned) {
                granted.decommissioned = true;
                executors.push(*id);
            }
        }
        if !executors.is_empty() {
            info!(?executors, "executors decommissioned: {message}");
            out.push(RosterEffect::NodeLeaves { executors, message });
        }
    }

    fn granted_cores(&self) -> u32 {
        let stay = self.granted.values().filter(|granted| !granted.decommissioned);
        stay.fold(0, |sum, granted| sum.saturating_add(granted.cores))
    }

    /// Whether the executor is granted and has not ended, as far as is known.
    pub fn counts_on(&self, executor: ExecutorId) -> bool {
        self.granted.contains_key(&executor)
    }
}

impl Machine for Roster {
    type Event = RosterEvent;
    type Effect = RosterEffect;

    fn handle(&mut self, now: Tick, event: RosterEvent, out: &mut Vec<RosterEffect>) {
        match event {
            RosterEvent::Told(News::Granted(grant)) => self.grant(grant, out),
            RosterEvent::Told(News::NodeLeaves { executor, message }) => self.node_leaves(executor, message, out),
            RosterEvent::Told(News::Ended { executor, loss }) => self.ended(now, executor, loss, out),
            RosterEvent::Told(News::NodeLost { node, message }) => self.node_lost(now, &node, message, out),
            RosterEvent::Registers { executor, stream } => self.registers(now, executor, stream, out),
            RosterEvent::StreamEnded { stream } => self.stream_ended(stream, out),
            RosterEvent::GiveUp { stream, reason } => self.give_up(stream, reason, out),
            RosterEvent::Dropped { stream, reason } => self.dropped(stream, reason),
            RosterEvent::Retire { executor, reason } => self.retire(executor, reason, out),
            RosterEvent::Leaving { executor } => self.leaving(executor),
            RosterEvent::Wake => {}
        }
        self.refuse_unknown(now, out);
        self.await_no_longer(now, out);
        let cores = self.granted_cores();
        if std::mem::replace(&mut self.cores, cores) != cores {
            out.push(RosterEffect::Cores(cores));
        }
    }

    fn next_deadline(&self) -> Option<Tick> {
        let applicants = self.applicants.values().map(|applicant| applicant.until);
        applicants.chain(self.endings.values().map(|ending| ending.until)).min()
    }

    fn wake() -> RosterEvent {
        RosterEvent::Wake
    }

    fn check_invariants(&self) -> Result<(), String> {
        for (id, granted) in &self.granted {
            if self.gone.contains(id) {
                return Err(format!("{id} is granted and gone"));
            }
            if granted.stream().is_some_and(|stream| self.streams.get(&stream) != Some(id)) {
                return Err(format!("{id} is connected by a stream that is not its own"));
            }
            if !self.nodes.values().any(|executors| executors.contains(id)) {
                return Err(format!("{id} is on no node"));
            }
        }
        if let Some(id) = self.endings.keys().find(|id| !self.gone.contains(id)) {
            return Err(format!("{id} has ended and is not gone"));
        }
        let known = |applicant: &&Applicant| {
            self.granted.contains_key(&applicant.executor) || self.gone.contains(&applicant.executor)
        };
        if let Some(Applicant { executor, .. }) = self.applicants.values().find(known) {
            return Err(format!("{executor} waits for what is known"));
        }
        if self.cores != self.granted_cores() {
            return Err(format!("{} cores were said and {} are granted", self.cores, self.granted_cores()));
        }
        Ok(())
    }
}
