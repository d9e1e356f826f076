//! What a worker is: the production [`Worker`], and the shuffle files that it serves.

use firesteel_common::Tick;
use firesteel_rpc::master_client::Attempt;
use firesteel_worker::Worker;

use crate::state::{network::LinkId, served::ServedFiles};

pub(crate) const WORKERS: usize = 2;

/// Cores and MiB of each worker.
pub(crate) const WORKER_CORES: u32 = 4;
pub(crate) const WORKER_MEMORY_MB: u64 = 4096;

pub(crate) struct WorkerNode {
    pub(crate) machine: Worker,
    /// The connection of the latest attempt, while it stands.
    pub(crate) link: Option<(Attempt, LinkId)>,
    /// Which start of this worker it is: what was meant for an earlier one is not for it.
    pub(crate) start: u32,
    /// Since when no process keeps it although it is to leave.
    pub(crate) kept_by_nothing: Option<Tick>,
    /// The shuffle files that it serves.
    pub(crate) service: ServedFiles,
}
