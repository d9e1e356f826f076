//! Barrier execution: all tasks of a stage run at once and may wait for one another. Spark: `RDDBarrier`,
//! `BarrierTaskContext`.
//!
//! [`BarrierTaskContext`] is what a task calls; [`BarrierSync`] is where a task waits, and what its executor lets it go on with.

mod context;
pub(crate) mod sync;

pub use self::{
    context::{BarrierError, BarrierTaskContext},
    sync::{BarrierCall, BarrierSync, BarrierTaskInfo},
};
