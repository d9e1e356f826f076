//! The one hash of partitioning and of in-memory tables: foldhash with a fixed seed, so that a recomputed partition
//! comes out in the same order in another process.

use std::hash::{BuildHasher, Hash};

use serde::{Deserialize, Serialize};

/// Builds the fixed-seed hasher. Partitioners take the high bits of its result, hash tables the low ones.
#[derive(Clone, Copy, Default, Debug)]
pub struct FixedHash;

impl BuildHasher for FixedHash {
    type Hasher = foldhash::fast::FoldHasher<'static>;

    #[inline]
    fn build_hasher(&self) -> Self::Hasher {
        foldhash::fast::FixedState::with_seed(0x6669_7265_7374_6c21).build_hasher()
    }
}

/// The hash of `value`, the same in every process of one build.
#[inline]
pub fn fixed_hash<T: Hash + ?Sized>(value: &T) -> u64 {
    FixedHash.hash_one(value)
}

/// Builds a fixed-seed hasher all of whose bits are equally good, for estimates that count leading zeros.
#[derive(Clone, Copy, Default, Debug, Serialize, Deserialize)]
pub struct SketchHash;

impl BuildHasher for SketchHash {
    type Hasher = foldhash::quality::FoldHasher<'static>;

    fn build_hasher(&self) -> Self::Hasher {
        foldhash::quality::FixedState::with_seed(0x6669_7265_7374_6c21).build_hasher()
    }
}

/// Maps a hash to one of `partitions` by its high bits (multiply-shift), so that the low bits stay free for tables.
///
/// `partitions` must not be 0.
#[inline]
pub fn partition_of(hash: u64, partitions: u32) -> u32 {
    ((u128::from(hash) * u128::from(partitions)) >> 64) as u32
}
