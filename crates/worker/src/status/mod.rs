//! How things stand with a worker: a view of its executors for those who ask, and the page that shows it.
//!
//! ```text
//!  GET /json ─▶ StatusPages ─Asker─▶ WorkerShell ─▶ Worker::status ─WorkerStatus─▶ json.rs
//! ```
//!
//! What it proves to masters, and what executors are told on their way, is in none of it.

mod json;
mod pages;

use firesteel_common::ExecutorKey;
use firesteel_rpc::proto::deploy::{ApplicationDescription, ExecutorState};
pub(crate) use pages::StatusPages;

use crate::{executors::Executor, machine::Worker};

/// How things stand with a worker. Spark: `WorkerStateResponse`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkerStatus {
    /// Its name.
    pub id: String,
    /// Its host, as others reach it.
    pub host: String,
    /// The port of its listener.
    pub port: u32,
    /// `spark://host:port` of the master that has registered it; `None` while it looks for one.
    pub master_url: Option<String>,
    /// Whether it takes no executors any more.
    pub decommissioning: bool,
    /// Cores that it offers.
    pub cores: u32,
    /// Memory that it offers, MiB.
    pub memory_mb: u64,
    /// The executors that have not ended, by application and number.
    pub executors: Vec<ExecutorStatus>,
    /// The latest that have (`spark.worker.ui.retainedExecutors`), oldest first.
    pub finished_executors: Vec<ExecutorStatus>,
}

/// An executor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExecutorStatus {
    /// Application and number.
    pub key: ExecutorKey,
    /// How it stands, or how it ended.
    pub state: ExecutorState,
    /// Its cores.
    pub cores: u32,
    /// Its memory, MiB.
    pub memory_mb: u64,
    /// Its application.
    pub application: ApplicationBrief,
}

/// What is shown of an executor's application.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ApplicationBrief {
    /// Its name, of its driver's choice.
    pub name: String,
    /// Who runs it, by its driver's word.
    pub user: String,
    /// Upper bound on its cores; `None`: the master's.
    pub cores_max: Option<u32>,
    /// Memory of each of its executors, MiB.
    pub memory_per_executor_mb: u64,
}

impl ApplicationBrief {
    /// Of what its driver said.
    pub(crate) fn of(description: Option<&ApplicationDescription>) -> ApplicationBrief {
        description.map_or_else(ApplicationBrief::default, |description| ApplicationBrief {
            name: description.name.clone(),
            user: description.user.clone(),
            cores_max: description.cores_max,
            memory_per_executor_mb: description.memory_per_executor_mb,
        })
    }
}

impl Executor {
    /// What is shown of it in this state.
    pub(crate) fn status(&self, key: &ExecutorKey, state: ExecutorState) -> ExecutorStatus {
        let (cores, memory_mb, application) = (self.cores, self.memory_mb, self.application.clone());
        ExecutorStatus { key: key.clone(), state, cores, memory_mb, application }
    }
}

impl Worker {
    /// How things stand now.
    pub fn status(&self) -> WorkerStatus {
        let identity = self.identity();
        WorkerStatus {
            id: identity.worker_id.clone(),
            host: identity.host.clone(),
            port: identity.port,
            master_url: self.master().map(|address| format!("spark://{address}")),
            decommissioning: self.is_decommissioning(),
            cores: identity.cores,
            memory_mb: identity.memory_mb,
            executors: self.executors.iter().map(|(key, e)| e.status(key, e.state())).collect(),
            finished_executors: self.ended.iter().cloned().collect(),
        }
    }
}
