//! A whole cluster in one thread, from a seed: the production state machines of master, workers, driver and executors
//! on a virtual clock and virtual connections.
//!
//! ```text
//!            master_node (Master)
//!             ▲              ▲
//!   worker_node (Worker)   driver_node (MasterClient, DriverCore)        cluster: clock, queue of what is to come,
//!             │ starts       ▲                                            network: connections, delay, repetition, loss
//!             ▼              │                                            faults:  what goes wrong and how often
//!         executor_node (ExecutorCore) ── task_run (model of user code)    checks:  what must hold after each step
//! ```
//!
//! [`run`] plays one seed and returns its [`Outcome`] with the trace; the same seed gives the same trace, byte for byte.
//! The shells (sockets, processes, threads) are what is not simulated. [`model`] says what jobs should compute.

mod checks;
mod cluster;
mod driver_effects;
mod driver_node;
mod executor_node;
mod faults;
mod master_node;
pub mod model;
mod network;
mod summary;
mod task_run;
mod worker_node;

pub use cluster::{Outcome, run};
pub use faults::Faults;
