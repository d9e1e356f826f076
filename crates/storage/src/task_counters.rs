//! What a task has read, written and held, counted where it happens: a block, a frame or a file at a time.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use firesteel_events::{
    InputMetrics, OutputMetrics, ShuffleReadMetrics, ShuffleWriteMetrics, SpillMetrics, TaskMetrics,
};

/// Declares the counters once, with a method for each that adds to it.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// The counts of one task. Those who count are on the task's thread, so that nothing contends.
        #[derive(Default, Debug)]
        pub struct TaskCounters {
            $($(#[$doc])* pub $name: Counter,)*
        }
    };
}

/// A number that grows.
#[derive(Default, Debug)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Adds a time, in nanoseconds.
    pub fn add_time(&self, time: Duration) {
        self.add(time.as_nanos() as u64);
    }

    /// Makes it at least `n`.
    pub fn reach(&self, n: u64) {
        self.0.fetch_max(n, Relaxed);
    }

    /// What it is.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }

    fn time(&self) -> Duration {
        Duration::from_nanos(self.get())
    }
}

counters! {
    /// The most bytes that it held of the pool at a time.
    peak_memory,
    /// Bytes that were spilled, before they were compressed.
    spilled_memory,
    /// Bytes of spill files.
    spilled_disk,
    /// Bytes read of sources.
    input_bytes,
    /// Records read of sources.
    input_records,
    /// Bytes written to the user's files.
    output_bytes,
    /// Records written to the user's files.
    output_records,
    /// Blocks of shuffles from other executors.
    remote_blocks,
    /// Blocks of shuffles from files of this host.
    local_blocks,
    /// Bytes of the remote ones.
    remote_bytes,
    /// Bytes of the local ones.
    local_bytes,
    /// Nanoseconds of waiting for remote ones.
    fetch_wait,
    /// Records in blocks of shuffles.
    shuffle_records,
    /// Bytes of map output.
    written_bytes,
    /// Records of map output.
    written_records,
    /// Nanoseconds of writing its files.
    write_time,
}

impl TaskCounters {
    /// The counts as metrics; times that the task took are not among them.
    pub fn metrics(&self) -> TaskMetrics {
        TaskMetrics {
            peak_memory: self.peak_memory.get(),
            spill: SpillMetrics { memory_bytes: self.spilled_memory.get(), disk_bytes: self.spilled_disk.get() },
            input: InputMetrics { bytes: self.input_bytes.get(), records: self.input_records.get() },
            output: OutputMetrics { bytes: self.output_bytes.get(), records: self.output_records.get() },
            shuffle_read: ShuffleReadMetrics {
                remote_blocks: self.remote_blocks.get(),
                local_blocks: self.local_blocks.get(),
                remote_bytes: self.remote_bytes.get(),
                local_bytes: self.local_bytes.get(),
                fetch_wait: self.fetch_wait.time(),
                records: self.shuffle_records.get(),
            },
            shuffle_write: ShuffleWriteMetrics {
                bytes: self.written_bytes.get(),
                records: self.written_records.get(),
                time: self.write_time.time(),
            },
            ..TaskMetrics::default()
        }
    }
}
