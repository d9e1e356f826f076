//! How things stand with a master: a view of its tables for those who ask, and the page that shows it.
//!
//! ```text
//!  GET /json ─▶ StatusPages ─Asker─▶ MasterShell ─▶ Master::status ─MasterStatus─▶ json.rs
//! ```
//!
//! What peers must prove is in none of it: no token, no incarnation.

mod json;
mod pages;
mod view;

use firesteel_common::{AppId, WorkerId};
use firesteel_rpc::proto::deploy::ExecutorState;
pub(crate) use pages::StatusPages;

use crate::state::{RecoveryState, WorkerState};

/// How things stand with a master. Spark: `MasterStateResponse`.
#[derive(Clone, PartialEq, Debug)]
pub struct MasterStatus {
    /// `spark://host:port`.
    pub url: String,
    /// Whether it leads.
    pub state: RecoveryState,
    /// The registered workers, by id.
    pub workers: Vec<WorkerStatus>,
    /// The registered applications, in the order in which they get cores.
    pub active_applications: Vec<ApplicationStatus>,
    /// The latest applications that are over (`spark.deploy.retainedApplications`), oldest first.
    pub completed_applications: Vec<ApplicationStatus>,
}

/// A registered worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkerStatus {
    /// Its name.
    pub id: WorkerId,
    /// Host of its listener.
    pub host: String,
    /// Port of its listener.
    pub port: u32,
    /// What it is good for.
    pub state: WorkerState,
    /// Cores that it offers.
    pub cores: u32,
    /// Cores of its executors.
    pub cores_used: u32,
    /// Memory that it offers, MiB.
    pub memory_mb: u64,
    /// Memory of its executors, MiB.
    pub memory_used_mb: u64,
    /// When it was last heard of, milliseconds since 1970.
    pub last_heartbeat_ms: u64,
}

/// What has become of an application. Spark: `ApplicationState`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ApplicationState {
    /// No executor of it runs.
    Waiting,
    /// An executor of it runs.
    Running,
    /// Its driver has said that it is over.
    Finished,
    /// Its executors ended badly too often, or its driver was not heard of any more.
    Failed,
    /// Its driver's stream has closed; it may come back.
    Unknown,
}

/// An application.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ApplicationStatus {
    /// Its id.
    pub id: AppId,
    /// Its name, of its driver's choice.
    pub name: String,
    /// Who runs it, by its driver's word.
    pub user: String,
    /// What has become of it.
    pub state: ApplicationState,
    /// Cores that it has; of one that is over, those that it had at its end.
    pub cores: u32,
    /// Memory of each of its executors, MiB.
    pub memory_per_executor_mb: u64,
    /// When it registered, milliseconds since 1970.
    pub registered_ms: u64,
    /// How long it has lasted, milliseconds.
    pub duration_ms: u64,
    /// Its executors, by number; none of one that is over.
    pub executors: Vec<ExecutorStatus>,
}

/// An executor that has not ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExecutorStatus {
    /// Its number within its application.
    pub id: u32,
    /// Its worker.
    pub worker_id: WorkerId,
    /// How it stands.
    pub state: ExecutorState,
    /// Its cores.
    pub cores: u32,
    /// Its memory, MiB.
    pub memory_mb: u64,
}
