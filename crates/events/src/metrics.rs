//! What a task attempt cost. Spark: `TaskMetrics`, with its nested kinds.

use std::time::Duration;

use crate::AccumulatorUpdate;

/// What one task attempt cost, measured on its executor.
///
/// There is no garbage collection here, so that Spark's `jvmGCTime` has no counterpart.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TaskMetrics {
    /// From its arrival at the executor to its beginning. Spark counts that within its scheduler delay.
    pub queued: Duration,
    /// Decoding its stage and fetching what the driver did not send inline. Spark: `executorDeserializeTime`.
    pub deserialize: Duration,
    /// The same on the thread's processor clock. Spark: `executorDeserializeCpuTime`.
    pub deserialize_cpu: Duration,
    /// Computing, from the decoded stage to its result. Spark: `executorRunTime`.
    pub run: Duration,
    /// The same on the thread's processor clock; what other threads do for it is not in it. Spark: `executorCpuTime`.
    pub cpu: Duration,
    /// Putting a large result where the driver can fetch it; results are encoded while they are computed, which is within
    /// `run`. Spark: `resultSerializationTime`.
    pub result_serialization: Duration,
    /// Bytes of the encoded result, or of what tells the driver where it lies. Spark: `resultSize`.
    pub result_bytes: u64,
    /// The most memory that its tables, sorters and kept partitions held at a time. Spark: `peakExecutionMemory`.
    pub peak_memory: u64,
    /// What went to disk for want of memory.
    pub spill: SpillMetrics,
    /// What it read of sources and kept partitions.
    pub input: InputMetrics,
    /// What it wrote to files of the user's.
    pub output: OutputMetrics,
    /// What it read of shuffles.
    pub shuffle_read: ShuffleReadMetrics,
    /// What it wrote for a shuffle.
    pub shuffle_write: ShuffleWriteMetrics,
}

/// What went to disk for want of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SpillMetrics {
    /// Its bytes in memory. Spark: `memoryBytesSpilled`.
    pub memory_bytes: u64,
    /// Its bytes in files. Spark: `diskBytesSpilled`.
    pub disk_bytes: u64,
}

/// What a task read of sources and kept partitions. Spark: `InputMetrics`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct InputMetrics {
    /// Bytes. Spark: `bytesRead`.
    pub bytes: u64,
    /// Records. Spark: `recordsRead`.
    pub records: u64,
}

/// What a task wrote to files of the user's. Spark: `OutputMetrics`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OutputMetrics {
    /// Bytes. Spark: `bytesWritten`.
    pub bytes: u64,
    /// Records. Spark: `recordsWritten`.
    pub records: u64,
}

/// What a task read of shuffles. Spark: `ShuffleReadMetrics`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShuffleReadMetrics {
    /// Blocks that came from other executors. Spark: `remoteBlocksFetched`.
    pub remote_blocks: u64,
    /// Blocks in files of this host. Spark: `localBlocksFetched`.
    pub local_blocks: u64,
    /// Bytes of the remote blocks. Spark: `remoteBytesRead`.
    pub remote_bytes: u64,
    /// Bytes of the local blocks. Spark: `localBytesRead`.
    pub local_bytes: u64,
    /// Time in which the task waited for blocks that were on their way. Spark: `fetchWaitTime`.
    pub fetch_wait: Duration,
    /// Records in all blocks. Spark: `recordsRead`.
    pub records: u64,
}

/// What a task wrote for a shuffle. Spark: `ShuffleWriteMetrics`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ShuffleWriteMetrics {
    /// Bytes in the map output's file. Spark: `bytesWritten`.
    pub bytes: u64,
    /// Records. Spark: `recordsWritten`.
    pub records: u64,
    /// Time in which the files were written. Spark: `writeTime`.
    pub time: Duration,
}

/// What an executor says of a task attempt besides its outcome.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TaskReport {
    /// What it cost, where that was measured.
    pub metrics: Option<TaskMetrics>,
    /// What it added to accumulators.
    pub accumulators: Vec<AccumulatorUpdate>,
}
