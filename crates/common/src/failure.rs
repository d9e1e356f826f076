//! Why a task did not succeed, typed all the way from the task to the schedulers. Nothing is recognised by its text.

use std::fmt;

use crate::ids::{BroadcastId, ExecutorId, RddId, ShuffleId, TaskId};

/// The end of a task attempt that is no success. Spark: `TaskFailedReason`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TaskFailure {
    /// A block of a parent shuffle could not be read. Does not count towards `spark.task.maxFailures`; the map output
    /// is computed again.
    FetchFailed {
        /// The shuffle that was read.
        shuffle: ShuffleId,
        /// Which map task's output, an index from 0.
        map_index: u32,
        /// The attempt that had written it.
        map_task: TaskId,
        /// Which reducer's block of it.
        reduce: u32,
        /// Where it should have been.
        executor: ExecutorId,
        /// What went wrong, for a person.
        message: String,
    },
    /// User code panicked or returned an error, or the task's input or output failed.
    Exception {
        /// The panic's or error's text.
        message: String,
        /// `file:line:column` of a panic, empty for a returned error.
        location: String,
        /// A panic, not a returned error.
        panic: bool,
    },
    /// The driver asked for its end. Does not count towards `spark.task.maxFailures`.
    Killed {
        /// The reason, in words for people.
        reason: String,
    },
    /// Its executor is gone.
    ExecutorLost {
        /// The executor's number within its application.
        executor: ExecutorId,
        /// The application's own code ended it (exit, abort, stack overflow, a signal): counts as a failure of the task.
        by_application: bool,
        /// Exit code, signal, end of stderr, or what is known.
        message: String,
    },
    /// It succeeded, but its result could not be fetched from its executor.
    ResultLost {
        /// What went wrong.
        message: String,
    },
    /// A broadcast value, or a large closure that travels as one does, could not be fetched.
    BroadcastLost {
        /// The broadcast variable's number.
        broadcast: BroadcastId,
        /// Who was asked for which piece, and what went wrong there.
        message: String,
    },
    /// A kept partition turned out to be damaged while it was read. That copy is not used any more: another attempt reads
    /// another one, or computes the partition.
    CachedPartitionDamaged {
        /// The RDD.
        rdd: RddId,
        /// Its partition.
        partition: u32,
        /// The block server that it came from; empty when it lay at the task's own executor, which has dropped it.
        address: String,
        /// What does not fit.
        message: String,
    },
    /// A partition of a checkpoint is missing or damaged: there is nothing that it could be computed from any more.
    CheckpointUnreadable {
        /// The RDD.
        rdd: RddId,
        /// Its partition.
        partition: u32,
        /// The file; empty for a local checkpoint.
        path: String,
        /// What is wrong with it.
        message: String,
    },
}

impl TaskFailure {
    /// Whether this counts towards `spark.task.maxFailures`.
    pub fn counts(&self) -> bool {
        match self {
            TaskFailure::FetchFailed { .. } | TaskFailure::Killed { .. } => false,
            TaskFailure::ExecutorLost { by_application, .. } => *by_application,
            TaskFailure::Exception { .. }
            | TaskFailure::ResultLost { .. }
            | TaskFailure::BroadcastLost { .. }
            | TaskFailure::CachedPartitionDamaged { .. }
            | TaskFailure::CheckpointUnreadable { .. } => true,
        }
    }
}

impl fmt::Display for TaskFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TaskFailure::FetchFailed { shuffle, map_index, reduce, executor, message, .. } => {
                write!(f, "could not fetch {shuffle} map {map_index} reduce {reduce} from {executor}: {message}")
            }
            TaskFailure::Exception { message, location, panic: true } => write!(f, "panicked at {location}: {message}"),
            TaskFailure::Exception { message, .. } => f.write_str(message),
            TaskFailure::Killed { reason } => write!(f, "killed: {reason}"),
            TaskFailure::ExecutorLost { executor, message, .. } => write!(f, "{executor} was lost: {message}"),
            TaskFailure::ResultLost { message } => write!(f, "result lost: {message}"),
            TaskFailure::BroadcastLost { broadcast, message } => write!(f, "could not fetch {broadcast}: {message}"),
            TaskFailure::CachedPartitionDamaged { rdd, partition, address, message } => {
                let place = if address.is_empty() { "its own executor" } else { address };
                write!(f, "partition {partition} of {rdd}, kept at {place}, is damaged: {message}; it is used no more")
            }
            TaskFailure::CheckpointUnreadable { rdd, partition, path, message } if path.is_empty() => {
                write!(f, "partition {partition} of the local checkpoint of {rdd} is lost: {message}")
            }
            TaskFailure::CheckpointUnreadable { rdd, partition, path, message } => {
                write!(f, "cannot read partition {partition} of the checkpoint of {rdd} from {path}: {message}")
            }
        }
    }
}
