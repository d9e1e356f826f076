//! What an executor and its driver say to each other: one vocabulary for the stream between them, for `local[N]`, for the
//! driver's schedulers and for the simulation.
//!
//! ```text
//!  executor ──ToDriver──▶ stream (`rpc::convert`), or the event loop's channel ──▶ schedulers
//!  driver ──ToExecutor──▶ stream (`rpc::convert`), or the executor itself
//! ```
//!
//! Types alone: how they travel is the business of `rpc`, what they mean of who gets them. Called by `rpc`, `scheduler`,
//! `executor`, `firesteel` and `simulation`.

mod payload;
mod to_driver;
mod to_executor;

pub use payload::{BroadcastRef, Payload};
pub use to_driver::*;
pub use to_executor::*;
