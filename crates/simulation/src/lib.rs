//! A whole cluster in one thread, from a seed: the production state machines of master, workers, driver and executors
//! on a virtual clock and virtual connections.
//!
//! ```text
//!            master_node (Master, or one that stands by)
//!             ▲              ▲                                  cluster:   clock, queue of what is to come
//!   worker_node (Worker)   driver_node (MasterClient, Roster,   network:   connections, delay, repetition, loss
//!             │ starts       ▲          DriverCore)             partition: nodes that stand still, networks in parts
//!             ▼              │                                  faults:    what goes wrong and how often
//!         executor_node (ExecutorCore) ── task_run              checks:    what must hold after each step
//!                                                               books, roster_books: what a driver was told, against what
//!                                                                          it does
//!                                                               editions:  what each output was made from
//!   shuffle_service, allocation, barrier, leaving: what         features:  which of these an application makes use of
//!   applications use beyond plain tasks                         counts:    how often each thing occurred
//!
//!   state/: what master, worker, driver, executor, connections … are; knows no cluster. The files above play them.
//! ```
//!
//! There may be several drivers, each with a program of its own; one may crash and be started anew. [`run`] plays one seed and returns its [`Outcome`] with the trace; the same seed gives the same trace, byte for byte.
//! The shells (sockets, processes, threads) are what is not simulated. [`model`] says what jobs should compute.

mod allocation;
mod barrier;
mod books;
mod checks;
mod cluster;
mod counts;
mod driver_effects;
mod driver_executors;
mod driver_node;
mod editions;
mod executor_node;
mod faults;
mod features;
mod heard;
mod leaving;
mod master_node;
pub mod model;
mod network;
mod partition;
mod pool;
mod roster_books;
mod shuffle_service;
mod state;
mod summary;
mod task_run;
mod worker_node;

pub use cluster::{Outcome, run, run_untold};
pub use counts::Counts;
pub use pool::run_many;
pub use state::faults::Faults;
