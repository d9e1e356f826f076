//! A driver's executors that are processes of their own: who was granted, who is connected, who is gone and why.
//!
//! ```text
//!  master's messages ──standalone, loss──▶ News ─┐
//!  executors' streams, the driver's wishes ──────┴─RosterEvent──▶ Roster ──RosterEffect──▶ streams, manager, schedulers
//! ```
//!
//! Decisions alone. The shell around them is `backend/coarse/` of crate `firesteel`, which keeps the streams and a clock; the
//! simulation plays the same ones.

mod admission;
mod endings;
mod event;
pub mod loss;
mod roster;
pub mod standalone;

#[cfg(test)]
mod tests;

pub use event::{Grant, Loss, News, RosterEffect, RosterEvent, StreamId};
pub use roster::Roster;
