//! The worker daemon: offers a host's cores to the master and runs executors on them.
//!
//! * [`Worker`] is the state machine: [`WorkerEvent`] in, [`WorkerEffect`] out; the simulation runs the very same.
//! * [`run`] is the shell: the stream to the master, and a task for each executor that starts its process, supervises
//!   it and cleans up after it. The binary `firesteel-worker` and the driver library's `local-cluster` call it.
//!   It answers who asks how things stand ([`status`]).
//!   With it runs the shuffle service, if the worker has one: it serves map outputs of executors that are gone.

mod config;
mod error;
mod event;
mod executors;
mod machine;
mod outputs;
mod process_runner;
mod runner;
mod shell;
mod shuffle_service;
pub mod status;
mod trash;
mod work_dir;

pub use config::{Cleanup, Launcher, ShuffleServiceConfig, Standing, WorkerConfig, WorkerListeners, WorkerSettings};
pub use error::WorkerError;
pub use event::{ExecutorEnd, WorkerEffect, WorkerEvent};
pub use machine::{Worker, WorkerIdentity};
pub use shell::run;
