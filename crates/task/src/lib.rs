//! What a task is on the executor that runs it, and what it gets there.
//!
//! ```text
//!  executor ──enter(TaskContext)──▶ StageTask::run ──▶ streams of chunks ──▶ TaskOutput
//!                                       │ cached partitions (cache/), broadcast values, barriers, accumulators
//!                                       └ of the executor's services: blocks, shuffle files, memory
//! ```
//!
//! * [`TaskContext`]: one attempt; [`TaskServices`]: what its executor offers. [`KillFlag`], [`TaskError`], [`TaskAbort`]: how it
//!   ends early. [`StageTask`], [`TaskOutput`]: what it does and hands back.
//! * [`chunk`]: how elements flow. [`cache`]: how partitions are kept.
//! * [`broadcast`], [`accumulator`], [`barrier`]: what user code shares with its driver and other tasks.
//! * [`Cleaner`]: who is told of handles that were dropped.
//!
//! Called by `rdd`, whose operators run in tasks, and by `executor`, which runs them; calls `storage`, `shuffle`, `files`.

pub mod accumulator;
pub mod barrier;
pub mod broadcast;
pub mod cache;
pub mod chunk;
mod context;
mod current;
mod error;
pub mod frames;
mod kill;
mod output;
mod release;
mod stage_task;

pub use self::{
    accumulator::{Accumulate, Accumulator, Accumulators, Collected, DoubleSum, LongSum, NotOnDriver},
    broadcast::{Broadcast, BroadcastError, BroadcastSettings, BroadcastSource, BroadcastValues},
    chunk::PartitionIter,
    context::{CacheUpdate, ShuffleInputs, TaskContext, TaskInfo, TaskServices},
    current::{Entered, enter, take_accumulated},
    error::{TaskAbort, TaskError},
    kill::KillFlag,
    output::{ResultBounds, ResultWriter, TaskOutput},
    release::{Cleaner, Released},
    stage_task::{StageTask, StageTaskNode},
};
