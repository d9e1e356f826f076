//! The names of blocks, with Spark's text forms (`shuffle_0_12_3`, `rdd_1_2`, `taskresult_7`).

use std::{fmt, str::FromStr};

use firesteel_common::{BroadcastId, RddId, ShuffleId, TaskId};

/// Names one block. Spark: `BlockId`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum BlockId {
    /// What one map task wrote for one reducer.
    Shuffle {
        /// The shuffle.
        shuffle: ShuffleId,
        /// The attempt that wrote it.
        map_task: TaskId,
        /// The reducer it is for.
        reduce: u32,
    },
    /// All that one map task wrote, for all reducers. Spark: `ShuffleDataBlockId`.
    ShuffleData {
        /// The shuffle.
        shuffle: ShuffleId,
        /// The attempt that wrote it.
        map_task: TaskId,
    },
    /// Where each reducer's block lies in that, with its checksum. Spark: `ShuffleIndexBlockId`.
    ShuffleIndex {
        /// The shuffle.
        shuffle: ShuffleId,
        /// The attempt that wrote it.
        map_task: TaskId,
    },
    /// A cached partition.
    Rdd {
        /// The RDD.
        rdd: RddId,
        /// Its partition.
        partition: u32,
    },
    /// A result too large for a status update.
    TaskResult(TaskId),
    /// An application binary, by its BLAKE3 hash.
    Binary([u8; 32]),
    /// A piece of a broadcast value.
    Broadcast {
        /// Which value.
        broadcast: BroadcastId,
        /// Which piece of it.
        piece: u32,
    },
    /// The value itself as an executor has decoded it; never served.
    BroadcastValue(BroadcastId),
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BlockId::Shuffle { shuffle, map_task, reduce } => {
                write!(f, "shuffle_{}_{}_{reduce}", shuffle.0, map_task.0)
            }
            BlockId::ShuffleData { shuffle, map_task } => write!(f, "shuffledata_{}_{}", shuffle.0, map_task.0),
            BlockId::ShuffleIndex { shuffle, map_task } => write!(f, "shuffleindex_{}_{}", shuffle.0, map_task.0),
            BlockId::Rdd { rdd, partition } => write!(f, "rdd_{}_{partition}", rdd.0),
            BlockId::TaskResult(task) => write!(f, "taskresult_{}", task.0),
            BlockId::Binary(hash) => {
                f.write_str("binary_")?;
                hash.iter().try_for_each(|b| write!(f, "{b:02x}"))
            }
            BlockId::Broadcast { broadcast, piece } => write!(f, "broadcast_{}_piece{piece}", broadcast.0),
            BlockId::BroadcastValue(broadcast) => write!(f, "broadcast_{}", broadcast.0),
        }
    }
}

/// A text that names no block.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} does not name a block")]
pub struct ParseBlockIdError(pub String);

impl FromStr for BlockId {
    type Err = ParseBlockIdError;

    fn from_str(text: &str) -> Result<Self, ParseBlockIdError> {
        parse(text).ok_or_else(|| ParseBlockIdError(text.chars().take(100).collect()))
    }
}

fn parse(text: &str) -> Option<BlockId> {
    let (kind, rest) = text.split_once('_')?;
    if kind == "binary" {
        return parse_hash(rest).map(BlockId::Binary);
    }
    if kind == "broadcast" {
        let id = |text| number(text).and_then(small).map(BroadcastId);
        return match rest.split_once("_piece") {
            Some((broadcast, piece)) => {
                Some(BlockId::Broadcast { broadcast: id(broadcast)?, piece: number(piece).and_then(small)? })
            }
            None => id(rest).map(BlockId::BroadcastValue),
        };
    }
    let mut parts = rest.split('_');
    let mut next = || parts.next().and_then(number);
    let id = match kind {
        "shuffle" => {
            BlockId::Shuffle { shuffle: ShuffleId(small(next()?)?), map_task: TaskId(next()?), reduce: small(next()?)? }
        }
        "shuffledata" => BlockId::ShuffleData { shuffle: ShuffleId(small(next()?)?), map_task: TaskId(next()?) },
        "shuffleindex" => BlockId::ShuffleIndex { shuffle: ShuffleId(small(next()?)?), map_task: TaskId(next()?) },
        "rdd" => BlockId::Rdd { rdd: RddId(small(next()?)?), partition: small(next()?)? },
        "taskresult" => BlockId::TaskResult(TaskId(next()?)),
        _ => return None,
    };
    parts.next().is_none().then_some(id)
}

/// Digits only: `parse` alone would let a sign through, and two texts would name one block.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn small(n: u64) -> Option<u32> {
    u32::try_from(n).ok()
}

fn parse_hash(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; 32];
    for (i, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_sparks() {
        let id = BlockId::Shuffle { shuffle: ShuffleId(0), map_task: TaskId(12), reduce: 3 };
        assert_eq!(id.to_string(), "shuffle_0_12_3");
        assert_eq!(BlockId::Rdd { rdd: RddId(1), partition: 2 }.to_string(), "rdd_1_2");
        assert_eq!(BlockId::TaskResult(TaskId(7)).to_string(), "taskresult_7");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", "rdd", "rdd_1", "rdd_1_2_3", "rdd_+1_2", "rdd_1_4294967296", "binary_00", "hat_1"] {
            assert!(text.parse::<BlockId>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_name_parses_back(a: u32, b: u64, c: u32, hash: [u8; 32]) {
            for id in [
                BlockId::Shuffle { shuffle: ShuffleId(a), map_task: TaskId(b), reduce: c },
                BlockId::ShuffleData { shuffle: ShuffleId(a), map_task: TaskId(b) },
                BlockId::ShuffleIndex { shuffle: ShuffleId(a), map_task: TaskId(b) },
                BlockId::Rdd { rdd: RddId(a), partition: c },
                BlockId::TaskResult(TaskId(b)),
                BlockId::Binary(hash),
                BlockId::Broadcast { broadcast: BroadcastId(a), piece: c },
                BlockId::BroadcastValue(BroadcastId(a)),
            ] {
                prop_assert_eq!(id.to_string().parse::<BlockId>().unwrap(), id);
            }
        }
    }
}
