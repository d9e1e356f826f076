//! Why an executor process could not begin its work.

use std::io;

use firesteel_closure::binary::BinaryError;
use firesteel_common::conf::ConfError;
use firesteel_rpc::RpcError;
use firesteel_shuffle::ShuffleError;

/// An executor process ends with this on standard error, where its worker finds it.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// The process was not started as an executor.
    #[error("this process was not started as an executor: its descriptors are missing")]
    NotLaunched,
    /// What the worker handed over is not readable.
    #[error("cannot read the launch message that the worker handed over: {reason}")]
    Launch {
        /// What is wrong with it.
        reason: String,
    },
    /// The operating system refused something.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// The own executable cannot be read.
    #[error(transparent)]
    Binary(#[from] BinaryError),
    /// No connection to the driver, or no listener.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// The directories for shuffle files cannot be used.
    #[error(transparent)]
    Shuffle(#[from] ShuffleError),
    /// A setting that the driver sent.
    #[error("the driver sent a setting that cannot be used: {0}")]
    Conf(#[from] ConfError),
    /// The driver does not want this executor.
    #[error("the driver at {driver} refused executor {executor_id}: {reason}")]
    Refused {
        /// Its address.
        driver: String,
        /// This executor.
        executor_id: u32,
        /// What it said.
        reason: String,
    },
    /// The stream closed before the driver answered the registration.
    #[error("the driver at {driver} closed the connection before it answered: {reason}")]
    Closed {
        /// Its address.
        driver: String,
        /// What is known.
        reason: String,
    },
}

impl ExecutorError {
    pub(crate) fn io(action: &'static str) -> impl FnOnce(io::Error) -> ExecutorError {
        move |source| ExecutorError::Io { action, source }
    }
}
