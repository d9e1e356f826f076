//! What the driver knows of map outputs: who wrote them, where they lie, how large each block is.

use std::{collections::BTreeMap, path::PathBuf};

use firesteel_common::{ExecutorId, ShuffleId, TaskId};

/// What a finished map task reports. Spark: `MapStatus`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MapOutput {
    /// The attempt that wrote the files; it names them.
    pub map_task: TaskId,
    /// For each reducer the size of its block, as [`size_to_code`] gives it.
    pub sizes: Vec<u8>,
    /// Of all rows and where they go, whatever their order: another run of the task that computes the same has the same one.
    /// None where that cannot be said. Spark: `MapStatus.checksumVal`.
    pub checksum: Option<u64>,
}

/// Where the output of one map task lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MapLocation {
    /// The attempt that wrote it.
    pub map_task: TaskId,
    /// The executor that has it.
    pub executor: ExecutorId,
    /// `host:port` of that executor's block server.
    pub block_address: String,
    /// For each reducer the size of its block, as [`size_to_code`] gives it.
    pub sizes: Vec<u8>,
}

/// All map outputs of one shuffle, in map order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShuffleInput {
    /// The shuffle.
    pub shuffle: ShuffleId,
    /// One a map task; the index is the map's partition.
    pub maps: Vec<MapLocation>,
    /// The local directories of those executors, other than the reader, whose files are on this host's disk. A file that
    /// is not found there is fetched.
    pub host_local: BTreeMap<ExecutorId, Vec<PathBuf>>,
}

const LOG_BASE: f64 = 1.1;

/// A size in one byte: 0 is empty, the others are steps of a tenth, up to 35 GB. Spark: `MapStatus.compressSize`.
pub fn size_to_code(size: u64) -> u8 {
    match size {
        0 => 0,
        1 => 1,
        _ => ((size as f64).ln() / LOG_BASE.ln()).ceil().min(255.0) as u8,
    }
}

/// The size that a code stands for, never smaller than the one it was made of (below the largest code).
pub fn size_of_code(code: u8) -> u64 {
    if code == 0 { 0 } else { LOG_BASE.powi(i32::from(code)).ceil() as u64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_keep_empty_apart_and_are_a_tenth_too_large_at_most() {
        assert_eq!((size_to_code(0), size_of_code(0)), (0, 0));
        for size in [1u64, 2, 10, 999, 4096, 1 << 20, 123_456_789, 30 << 30] {
            let back = size_of_code(size_to_code(size));
            assert!(back >= size && back as f64 <= size as f64 * 1.1 + 2.0, "{size} came back as {back}");
        }
        assert_eq!(size_to_code(u64::MAX), 255);
    }
}
