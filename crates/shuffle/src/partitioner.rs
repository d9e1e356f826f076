//! Which reducer a key goes to.

use std::hash::Hash;

use firesteel_common::hash::{fixed_hash, partition_of};
use serde::{Deserialize, Serialize};

/// Maps keys to partitions, the same in every process.
pub trait Partitioner<K> {
    /// The partition of `key`, below [`Partitioner::partitions`].
    fn partition(&self, key: &K) -> u32;

    /// As [`Partitioner::partition`], for a caller that has `fixed_hash(key)` already.
    #[inline]
    fn partition_hashed(&self, key: &K, hash: u64) -> u32 {
        let _ = hash;
        self.partition(key)
    }

    /// How many partitions there are.
    fn partitions(&self) -> u32;
}

/// Spreads keys evenly by their fixed-seed hash. Spark: `HashPartitioner`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HashPartitioner {
    partitions: u32,
}

impl HashPartitioner {
    /// A partitioner over `partitions` partitions, at least one.
    pub fn new(partitions: u32) -> HashPartitioner {
        HashPartitioner { partitions: partitions.max(1) }
    }
}

impl<K: Hash> Partitioner<K> for HashPartitioner {
    #[inline]
    fn partition(&self, key: &K) -> u32 {
        partition_of(fixed_hash(key), self.partitions)
    }

    #[inline]
    fn partition_hashed(&self, _key: &K, hash: u64) -> u32 {
        partition_of(hash, self.partitions)
    }

    fn partitions(&self) -> u32 {
        self.partitions
    }
}

/// A count of partitions spreads as [`HashPartitioner`] does; none counts as one.
impl<K: Hash> Partitioner<K> for u32 {
    #[inline]
    fn partition(&self, key: &K) -> u32 {
        HashPartitioner::new(*self).partition(key)
    }

    #[inline]
    fn partition_hashed(&self, key: &K, hash: u64) -> u32 {
        HashPartitioner::new(*self).partition_hashed(key, hash)
    }

    fn partitions(&self) -> u32 {
        (*self).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_spread_evenly() {
        let p = HashPartitioner::new(7);
        let mut counts = [0u32; 7];
        for key in 0u64..70_000 {
            counts[Partitioner::partition(&p, &key) as usize] += 1;
        }
        assert!(counts.iter().all(|c| (9_000..11_000).contains(c)), "{counts:?}");
    }

    #[test]
    fn a_known_hash_gives_the_same_partition() {
        let p = HashPartitioner::new(13);
        for key in ["a", "b", "", "a long one"] {
            assert_eq!(p.partition(&key), p.partition_hashed(&key, fixed_hash(key)));
        }
    }
}
