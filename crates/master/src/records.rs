//! What a master leaves to the one that is elected after it: who had registered. What runs is told by the workers themselves.
//!
//! Records go out as effects ([`MasterEffect::Persist`](crate::MasterEffect::Persist), `Forget`), before the answer that
//! depends on them, and come back with [`MasterEvent::Elected`](crate::MasterEvent::Elected). Where they are kept meanwhile is
//! the shell's business. Spark: `PersistenceEngine`.

use std::collections::{BTreeMap, BTreeSet};

use firesteel_common::{AppId, Tick, WorkerId};
use firesteel_rpc::{issuer::Token, proto::deploy::ApplicationDescription};

use crate::{
    limits::Lines,
    state::{ApplicationInfo, WorkerInfo},
};

/// Everything that a master leaves behind, in any order.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Records {
    /// The workers that had registered and were not lost.
    pub workers: Vec<WorkerRecord>,
    /// The applications that had registered and were not over.
    pub applications: Vec<ApplicationRecord>,
}

/// One record.
#[derive(Clone, PartialEq, Debug)]
pub enum Record {
    /// A worker has registered.
    Worker(WorkerRecord),
    /// An application has registered.
    Application(Box<ApplicationRecord>),
}

/// Which record.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RecordId {
    /// Of the worker of this name.
    Worker(WorkerId),
    /// Of the application of this id.
    Application(AppId),
}

/// A registered worker; see [`WorkerInfo`] for its fields.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkerRecord {
    /// Its name.
    pub id: WorkerId,
    /// Host of its listener.
    pub host: String,
    /// Port of its listener.
    pub port: u32,
    /// By what its process is known when it comes back. A secret between it and masters.
    pub incarnation: Vec<u8>,
    /// Cores that it offers.
    pub cores: u32,
    /// Memory that it offers, MiB.
    pub memory_mb: u64,
}

/// A registered application; see [`ApplicationInfo`] for its fields.
#[derive(Clone, PartialEq, Debug)]
pub struct ApplicationRecord {
    /// Its id.
    pub id: AppId,
    /// What its driver said.
    pub description: ApplicationDescription,
    /// What its driver must show. A secret between it and masters.
    pub token: Token,
    /// By what its driver's process is known. A secret between it and masters.
    pub incarnation: Vec<u8>,
    /// Executor ids below this one had been given away when it registered.
    pub next_executor_id: u32,
}

impl Record {
    /// Which record it is: another with the same id takes its place.
    pub fn id(&self) -> RecordId {
        match self {
            Record::Worker(record) => RecordId::Worker(record.id.clone()),
            Record::Application(record) => RecordId::Application(record.id.clone()),
        }
    }
}

impl FromIterator<Record> for Records {
    fn from_iter<I: IntoIterator<Item = Record>>(all: I) -> Records {
        let mut records = Records::default();
        for record in all {
            match record {
                Record::Worker(record) => records.workers.push(record),
                Record::Application(record) => records.applications.push(*record),
            }
        }
        records
    }
}

impl WorkerInfo {
    pub(crate) fn record(&self) -> Record {
        Record::Worker(WorkerRecord {
            id: self.id.clone(),
            host: self.host.clone(),
            port: self.port,
            incarnation: self.incarnation.clone(),
            cores: self.cores,
            memory_mb: self.memory_mb,
        })
    }

    /// One that may come back until then.
    pub(crate) fn recovered(record: WorkerRecord, order: u64, now: Tick, until: Tick) -> WorkerInfo {
        let WorkerRecord { id, host, port, incarnation, cores, memory_mb } = record;
        WorkerInfo {
            id,
            host,
            port,
            incarnation,
            cores,
            memory_mb,
            executors: 0,
            cores_used: 0,
            memory_used_mb: 0,
            connection: None,
            last_heard: now,
            lost_at: Some(until),
            order,
            decommissioning: false,
            sickness: None,
        }
    }
}

impl ApplicationInfo {
    pub(crate) fn record(&self, id: &AppId) -> Record {
        Record::Application(Box::new(ApplicationRecord {
            id: id.clone(),
            description: self.description.clone(),
            token: self.token.clone(),
            incarnation: self.incarnation.clone(),
            next_executor_id: self.next_executor_id,
        }))
    }

    /// One whose driver may come back until then.
    pub(crate) fn recovered(record: ApplicationRecord, now: Tick, until: Tick) -> ApplicationInfo {
        let ApplicationRecord { id: _, description, token, incarnation, next_executor_id } = record;
        ApplicationInfo {
            description,
            token,
            incarnation,
            connection: None,
            lost_at: Some(until),
            registered_at: now,
            last_heard: now,
            beats: false,
            next_executor_id,
            executors: BTreeSet::new(),
            cores_granted: 0,
            decommissioned: 0,
            retries: 0,
            troubles: BTreeMap::new(),
            executor_limit: None,
            warned: false,
            bounded: false,
            lines: Lines::default(),
        }
    }
}
