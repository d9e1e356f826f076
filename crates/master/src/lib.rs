//! The master daemon: who the workers are, which applications run, and who gets which cores.
//!
//! * [`Master`] is the state machine: [`MasterEvent`] in, [`MasterEffect`] out. It has no clock, socket or thread, so
//!   that the simulation runs the very same code.
//! * [`placement`] is the pure function that deals out cores.
//! * [`run`] is the shell: it accepts the streams of workers and applications, feeds the machine, and answers who asks how
//!   things stand ([`status`]). The binary `firesteel-master` and the driver library's `local-cluster` call it.

mod applications;
mod config;
mod decommission;
mod event;
mod executors;
mod invariants;
mod limits;
mod machine;
pub mod placement;
mod records;
mod recovery;
mod roles;
mod shell;
mod state;
pub mod status;
mod trouble;
mod worker_loss;
mod workers;

pub use config::{MasterConfig, MasterListeners, MasterRules};
pub use event::{ConnectionId, MasterEffect, MasterEvent};
pub use machine::Master;
pub use records::{ApplicationRecord, Record, RecordId, Records, WorkerRecord};
pub use shell::run;
pub use state::{ApplicationInfo, ExecutorInfo, RecoveryState, Sickness, Trouble, WorkerInfo, WorkerState};

#[cfg(test)]
mod tests;
