//! Why a worker could not start or go on.

use std::{io, path::PathBuf};

use firesteel_rpc::master_client::MasterError;

/// Ends [`run`](crate::run).
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Nothing to offer.
    #[error(
        "a worker with {cores} cores and {memory_mb} MiB of memory has nothing to offer; give it at least 1 of both"
    )]
    NothingToOffer {
        /// Cores as configured.
        cores: u32,
        /// Memory as configured.
        memory_mb: u64,
    },
    /// Another worker has this work directory.
    #[error(
        "the work directory {path} is in use by another worker; give this one its own with --work-dir or SPARK_WORKER_DIR"
    )]
    WorkDirInUse {
        /// The file's path.
        path: PathBuf,
    },
    /// A directory or file of its own could not be used.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A local directory belongs to somebody else.
    #[error("{path} belongs to another user (uid {owner}); remove it or set spark.local.dir to another directory")]
    NotOurs {
        /// The file's path.
        path: PathBuf,
        /// The number of the user who owns it.
        owner: u32,
    },
    /// The shuffle service does not start.
    #[error(
        "the shuffle service does not start: {reason}; set spark.shuffle.service.port to a free port (0 takes any), or          spark.shuffle.service.enabled=false"
    )]
    ShuffleService {
        /// The reason, in words for people.
        reason: String,
    },
    /// The worker's listener has no address.
    #[error("the worker's listener has no address: {source}")]
    Listener {
        /// What the system said.
        source: io::Error,
    },
    /// The web port cannot be served.
    #[error("cannot serve the worker's web port: {source}")]
    Web {
        /// What the system said.
        source: io::Error,
    },
    /// This host has no random numbers to give.
    #[error("cannot draw what masters shall know this worker by: {source}")]
    Incarnation {
        /// What the system said.
        source: io::Error,
    },
    /// No master will have this worker, or none can be reached.
    #[error(transparent)]
    Master(#[from] MasterError),
}
