//! The executor: runs the tasks of one application on one host.
//!
//! ```text
//!  driver ──LaunchTasks, KillTask──▶ Executor ──events──▶ core::ExecutorCore (pure: slots, queue, stages)
//!    ▲                                  │  ▲ effects ◀────────┘
//!    │                                  ▼  │ Finished
//!    │                       pool: task threads ──▶ attempt: decode the stage once (stage), run, catch (panics)
//!    └──ToDriver── status: batches ◀── success, failure, cached blocks
//! ```
//!
//! * [`Executor`]: the shell, the same in `local[N]` and in a process of its own.
//! * [`core`]: its state machine, also run by the simulation, as is [`departure`]: how it leaves.
//! * [`backend`]: the process: launch message, lifeline, block server, registration, heartbeats. `closure::enter!` runs it.
//!
//! Called by `firesteel` (places the entry, `local[N]`); calls `rdd` for the tasks themselves, `storage` and `shuffle` for
//! their services, `rpc` for the stream, `os` for the lifeline.

mod attempt;
pub mod backend;
pub mod bootstrap;
pub mod config;
pub mod core;
mod decommission;
pub mod departure;
mod driver_stream;
pub mod error;
mod executor;
mod meter;
mod panics;
mod pool;
mod stage;
pub mod status;
mod this_host;

pub use config::{DecommissionSettings, ExecutorConfig, ExecutorSettings};
pub use error::ExecutorError;
pub use executor::Executor;
pub use status::DriverLink;
