//! Accumulators: values that tasks add to and the driver reads.
//!
//! ```text
//!  task: Accumulator::add ─▶ TaskAccumulators of the task ──encoded, with its success──▶ DriverCore counts it once
//!  driver: Accumulator::value ◀── Accumulators::merge ◀──DriverEffect::Accumulate───────────────┘
//! ```
//!
//! * `accumulate`: [`Accumulate`], a kind. `handle`: [`Accumulator`], [`Accumulators`].
//! * `kinds`: [`LongSum`], [`DoubleSum`], [`Collected`].
//! * `local`: what the tasks of an executor have added so far.

pub(crate) mod accumulate;
mod handle;
mod kinds;
pub(crate) mod local;

pub use self::{
    accumulate::Accumulate,
    handle::{Accumulator, Accumulators, NotOnDriver},
    kinds::{Collected, DoubleSum, LongSum},
};
