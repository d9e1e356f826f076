//! Firesteel: RDDs on threads, or on a cluster of separate processes, with Spark's names and closures that the compiler
//! checks before anything is shipped.
//!
//! ```no_run
//! use firesteel::prelude::*;
//!
//! fn main() -> Result<()> {
//!     let sc = Context::builder().app_name("wordcount").build()?;
//!     let min = 3u64;
//!     let counts = sc
//!         .text_lines("README.md")?
//!         .flat_map_to(|line, words| line.split_whitespace().for_each(|word| words.emit((Str::from(word), 1u64))))
//!         .reduce_by_key(|a, b| a + b)
//!         .with(min)
//!         .filter(|min, (_, n)| n >= min);
//!     counts.save_as_text_file("out")
//! }
//! ```
//!
//! # Closures
//!
//! A closure runs in other processes, which run the same executable but never its `main`. It must capture nothing:
//! what it needs is passed with [`Rdd::with`]. One that captures is refused by `cargo build`. It must not rely on
//! process state that `main` set up (a [`Lazy`] is made once in each executor instead), nor on the existence of a captured zero-sized value as a promise.
//!
//! # Map of the crate
//!
//! * [`Context`], [`ContextBuilder`]: what users start with.
//! * `driver`: the event loop around the schedulers.
//! * `progress`, `summary`: listeners of its own: bars on the console, a line in the log for each job.
//! * `news`, `status`: what happens, for listeners ([`events`]), and how jobs stand ([`StatusTracker`]).
//! * `formats`: RDDs of files, in formats of its own and of users ([`files`]).
//! * `backend`: the cluster managers that `spark.master` names, which give the driver its executors.

mod accumulators;
mod backend;
mod builder;
mod checkpoints;
mod context;
mod custom;
mod driver;
mod fair_pools;
mod formats;
mod jobs;
mod logging;
mod news;
mod partitioned;
mod progress;
mod properties;
mod scheduling;
mod scratch;
mod setting;
mod status;
mod summary;

pub use builder::ContextBuilder;
pub use context::Context;
pub use firesteel_common::{Data, Env, Key, MemSize, NarrowMap, Str, TaskFailure, conf::Conf};
pub use firesteel_derive::MemSize;
pub use firesteel_rdd::{
    BarrierWith, BoundedDouble, CustomRdd, Emitter, Error, JobFuture, Lazy, Lines, LinesWith, LocalIterator, Number,
    ParentInput, ParentRdds, PartialResult, Partitioned, PartitionedWith, Partitioning, Rdd, RddBarrier, Result, Stats,
    StorageLevel, TextRecord, With,
};
pub use firesteel_scheduler::{JobError, JobState};
pub use firesteel_shuffle::{HashPartitioner, Partitioner, RangePartitioner, SortKey};
pub use firesteel_task::{
    Accumulate, Accumulator, Broadcast, Collected, DoubleSum, LongSum, NotOnDriver, PartitionIter, TaskContext,
    barrier::{BarrierError, BarrierTaskContext, BarrierTaskInfo},
};
pub use partitioned::PartitionedContext;
pub use properties::LocalProperties;
pub use status::{JobInfo, StageCounts, StatusTracker};

/// What happens in an application, and who hears of it.
pub mod events {
    pub use firesteel_common::{
        DeterministicLevel, ExecutorId, JobId, RddId, ShuffleId, StageAttempt, StageId, TaskFailure, TaskId,
    };
    pub use firesteel_events::{
        AccumulatorUpdate, AppEvent, InputMetrics, JobEnd, Listener, ListenerHandle, OutputMetrics, RddInfo,
        ShuffleReadMetrics, ShuffleWriteMetrics, SpillMetrics, StageInfo, TaskEnd, TaskInfo, TaskKind, TaskLocality,
        TaskMetrics,
    };
}

/// Where files lie, and what is in them: for formats and file systems of a program's own. They are used by
/// [`Context::read_with_format`], [`Rdd::save_with_format`] and [`Context::add_file_system`].
pub mod files {
    pub use firesteel_files::{
        AttemptFile, BlockHosts, Codec, CommitProtocol, Error, FileKind, FilePath, FileSplit, FileStatus, FileSystem,
        FileSystems, Input, InputFile, InputFormat, InputSplit, LocalDisk, ManifestEntry, OutputFile, OutputFormat,
        OutputJob, ReadTask, RecordIter, RecordReader, RecordWriter, RenameCommit, Result, SplitBounds, TaskAttempt,
        TaskFile, TaskInput, WriteTask, codec_of,
    };

    pub use crate::formats::PortableDataStream;
}

/// What a program needs to write jobs.
pub mod prelude {
    pub use crate::{
        Accumulator, Broadcast, Context, Error, HashPartitioner, Lazy, Lines, PartitionIter, Partitioning, Rdd, Result,
        StorageLevel, Str, TextRecord,
    };
}

firesteel_closure::enter!(firesteel_executor::backend::run);
