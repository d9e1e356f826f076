//! Whether the master leads, and what it knows of each worker, application and executor.

use std::collections::{BTreeMap, BTreeSet};

use firesteel_common::{AppId, Tick, WorkerId};
use firesteel_rpc::{
    issuer::Token,
    proto::deploy::{ApplicationDescription, ExecutorState},
};

use crate::{
    event::ConnectionId,
    limits::{Lines, MOST_EXECUTORS_OF_WORKER},
    placement::WorkerOffer,
};

/// What a master is about. Spark: `RecoveryState`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecoveryState {
    /// Another one leads, or none: who registers is sent on.
    Standby,
    /// It leads, and waits for the workers and applications of the one before it to register again.
    Recovering,
    /// It drops those that have not. Never seen from outside: it takes no time.
    CompletingRecovery,
    /// It leads, and deals out executors.
    Alive,
}

/// The machine's state, with what it waits for.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Leadership {
    Standby,
    Recovering(Awaited),
    CompletingRecovery,
    Alive,
}

/// Who has not registered again, and until when they may.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Awaited {
    pub(crate) until: Tick,
    pub(crate) workers: BTreeSet<WorkerId>,
    pub(crate) applications: BTreeSet<AppId>,
}

/// What a worker is good for. Spark: `WorkerState`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WorkerState {
    /// It has a stream and takes executors.
    Alive,
    /// Its stream closed; it may come back.
    Unknown,
    /// It is to leave: it takes no executors any more, and ends when it has none.
    Decommissioned,
}

/// A registered worker. Spark: `WorkerInfo`.
#[derive(Clone, PartialEq, Debug)]
pub struct WorkerInfo {
    /// Its name, of its own choice.
    pub id: WorkerId,
    /// Host of its listener.
    pub host: String,
    /// Port of its listener; with `host` the worker's place.
    pub port: u32,
    /// By what the process is known that registered it.
    pub incarnation: Vec<u8>,
    /// Cores that it offers.
    pub cores: u32,
    /// Memory that it offers, MiB.
    pub memory_mb: u64,
    /// How many executors it has, those that are being killed included.
    pub executors: u32,
    /// Cores of its executors.
    pub cores_used: u32,
    /// Memory of its executors, MiB.
    pub memory_used_mb: u64,
    /// Its stream; `None` between a stream that closed and the worker's return.
    pub connection: Option<ConnectionId>,
    /// When it was last heard of.
    pub last_heard: Tick,
    /// With no stream: when it counts as lost.
    pub lost_at: Option<Tick>,
    /// Position in the order of registration; earlier workers win ties of placement.
    pub order: u64,
    /// It is to leave; so are its executors.
    pub decommissioning: bool,
    /// What keeps executors from running there, until one does.
    pub sickness: Option<Sickness>,
}

impl WorkerInfo {
    /// What it is good for now.
    pub fn state(&self) -> WorkerState {
        match self.connection {
            _ if self.decommissioning => WorkerState::Decommissioned,
            Some(_) => WorkerState::Alive,
            None => WorkerState::Unknown,
        }
    }

    /// What it can still take.
    pub(crate) fn offer(&self) -> WorkerOffer {
        WorkerOffer {
            cores: self.cores_free(),
            memory_mb: self.memory_free_mb(),
            executors: MOST_EXECUTORS_OF_WORKER.saturating_sub(self.executors),
        }
    }

    /// What it could take if it had nothing.
    pub(crate) fn whole(&self) -> WorkerOffer {
        WorkerOffer { cores: self.cores, memory_mb: self.memory_mb, executors: MOST_EXECUTORS_OF_WORKER }
    }

    /// Cores that no executor has.
    pub fn cores_free(&self) -> u32 {
        self.cores.saturating_sub(self.cores_used)
    }

    /// Memory that no executor has, MiB.
    pub fn memory_free_mb(&self) -> u64 {
        self.memory_mb.saturating_sub(self.memory_used_mb)
    }
}

/// An executor from its launch until its worker reports its end or is lost. Spark: `ExecutorDesc`.
///
/// One that is being killed keeps its cores and memory until it is gone, so that nothing is handed out twice.
#[derive(Clone, PartialEq, Debug)]
pub struct ExecutorInfo {
    /// Its worker.
    pub worker_id: WorkerId,
    /// Its cores.
    pub cores: u32,
    /// Its memory, MiB.
    pub memory_mb: u64,
    /// `Launching` or `Running`; it is running when its driver has accepted it.
    pub state: ExecutorState,
    /// The master asked for its end.
    pub killing: bool,
    /// When it was launched.
    pub launched_at: Tick,
    /// Since when its driver has it.
    pub running_since: Option<Tick>,
    /// Its worker is to leave: it counts no longer as one that the application has, only as one that it must be rid of.
    pub decommissioned: bool,
}

/// What went wrong with the executors of one application on one worker, until one has run well there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trouble {
    /// Bad ends in a row; executors that were there together count once.
    pub ends: u32,
    /// How many of them, the latest in a row, came before the executor had registered with its driver.
    pub early_ends: u32,
    /// The last of them, for a person.
    pub reason: String,
    /// The application gets no executor there before this; `None`: it may.
    pub until: Option<Tick>,
    /// The first executor of its application that was not launched yet at the last end.
    pub next_executor_id: u32,
}

/// Why executors, of whatever application, do not come to run on a worker. Placement takes such workers last.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sickness {
    /// Executors in a row that ended before they had registered with their driver.
    pub early_ends: u32,
    /// How the last of them ended, for a person.
    pub reason: String,
}

/// A registered application. Spark: `ApplicationInfo`.
#[derive(Clone, PartialEq, Debug)]
pub struct ApplicationInfo {
    /// What its driver said.
    pub description: ApplicationDescription,
    /// What a driver that comes back for it must show.
    pub token: Token,
    /// By what its driver's process is known.
    pub incarnation: Vec<u8>,
    /// Its stream, which its driver opens; `None` between one that closed and the driver's return.
    pub connection: Option<ConnectionId>,
    /// With no stream: when the application is removed.
    pub lost_at: Option<Tick>,
    /// When it registered with this master.
    pub registered_at: Tick,
    /// When its driver was last heard of.
    pub last_heard: Tick,
    /// Its driver sends heartbeats, and is held to them.
    pub beats: bool,
    /// The number of its next executor.
    pub next_executor_id: u32,
    /// Its executors, those that are being killed or decommissioned included.
    pub executors: BTreeSet<u32>,
    /// Cores of its executors but those that are decommissioned, which are to be replaced.
    pub cores_granted: u32,
    /// How many of its executors are decommissioned.
    pub decommissioned: u32,
    /// Executors in a row that ended badly.
    pub retries: i32,
    /// Workers on which its executors ended badly.
    pub troubles: BTreeMap<WorkerId, Trouble>,
    /// Executors that it wants in all; `None`: as many as it may have.
    pub executor_limit: Option<u32>,
    /// It was logged that no worker is large enough for it.
    pub warned: bool,
    /// It was logged that it wants more executors than one may have.
    pub bounded: bool,
    /// What is logged of its executors.
    pub(crate) lines: Lines,
}

impl ApplicationInfo {
    /// Whether a line about its executors may be written; says before it how many were left out.
    pub(crate) fn may_log(&mut self, now: Tick, app_id: &str) -> bool {
        let admitted = self.lines.admit(now);
        if let Some(lines @ 1..) = admitted {
            tracing::info!(app_id, lines, "so many lines about the executors of this application were left out");
        }
        admitted.is_some()
    }

    /// Cores that it may still get, `default_cores` being the master's answer for those who set no limit.
    pub fn cores_left(&self, default_cores: Option<u32>) -> u32 {
        self.cores_limit(default_cores).saturating_sub(self.cores_granted)
    }

    /// Upper bound of its cores.
    pub fn cores_limit(&self, default_cores: Option<u32>) -> u32 {
        self.description.cores_max.or(default_cores).unwrap_or(u32::MAX)
    }
}

/// What is remembered of an application that is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct OverApplication {
    /// Executor ids below this one were given away: a driver that comes back under its old name gets none of them again.
    pub(crate) next_executor_id: u32,
    /// What a driver that comes back for it must show.
    pub(crate) token: Token,
    /// Why it may not come back; `None` when only its driver had not been heard of.
    pub(crate) failed: Option<String>,
}
