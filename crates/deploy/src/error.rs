//! Why a program could not do what it was asked for.

use std::{io, path::PathBuf};

use firesteel_common::conf::ConfError;
use firesteel_os::elf::ElfError;
use firesteel_rpc::RpcError;
use firesteel_worker::WorkerError;

/// Ends a program with a status that is not 0.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// A setting is wrong or missing.
    #[error(transparent)]
    Conf(#[from] ConfError),
    /// Listening, or what came over the network.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// No port for the state to be shown on.
    #[error("the state cannot be shown: {source}; set --webui-port or {key} to a free port (0 takes any)")]
    Web {
        /// The key of the port.
        key: &'static str,
        /// Why there is none.
        source: RpcError,
    },
    /// The worker could not start or go on.
    #[error(transparent)]
    Worker(#[from] WorkerError),
    /// The filter in FIRESTEEL_LOG cannot be read.
    #[error(
        "bad value '{value}' of environment variable FIRESTEEL_LOG: {reason}; write for example info or firesteel_master=debug"
    )]
    LogFilter {
        /// As written.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system refused something.
    #[error("cannot {action}: {source}")]
    System {
        /// What was tried.
        action: String,
        /// What it said.
        source: io::Error,
    },
    /// firesteel-worker and firesteel-executor belong into one directory.
    #[error("there is no program {}: install firesteel-executor beside firesteel-worker", path.display())]
    NoExecutorProgram {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The daemon was asked to end and did not.
    #[error("the daemon did not end within {seconds} s after it was asked to")]
    SlowShutdown {
        /// How long it had.
        seconds: u64,
    },
    /// `spark.master` names a cluster manager that is not ours.
    #[error("cannot run on master '{master}': {reason}")]
    Master {
        /// As written.
        master: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Cluster deploy mode.
    #[error(
        "deploy mode cluster does not exist yet: the driver runs where firesteel-submit does; leave --deploy-mode out or write client"
    )]
    ClusterMode,
    /// No file of that name.
    #[error("cannot run the application {}: there is no such file; give the path of the program that cargo build made", path.display())]
    NoApplication {
        /// The path.
        path: PathBuf,
    },
    /// What was given is no program.
    #[error("cannot run the application {}: {reason}", path.display())]
    NotAProgram {
        /// The path.
        path: PathBuf,
        /// What it is, and what to do.
        reason: String,
    },
    /// This host cannot run the program.
    #[error("cannot run the application {}: {source}", path.display())]
    Elf {
        /// The path.
        path: PathBuf,
        /// Why not.
        source: ElfError,
    },
    /// The system refused to run it.
    #[error("cannot run the application {}: {source}", path.display())]
    Exec {
        /// The path.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl DeployError {
    /// For `map_err` on what the operating system refuses.
    pub(crate) fn system(action: impl Into<String>) -> impl FnOnce(io::Error) -> DeployError {
        let action = action.into();
        move |source| DeployError::System { action, source }
    }
}
