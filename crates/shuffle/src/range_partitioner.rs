//! Partitions that follow the order of the keys, so that sorted partitions are a sorted whole.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::{Partitioner, SortKey};

/// Splits the keys at bounds that were taken from a sample. Spark: `RangePartitioner`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RangePartitioner<K> {
    /// Ascending, each with its prefix, which mostly decides; partition `i` holds what is above bound `i - 1` and not above
    /// bound `i`.
    bounds: Vec<(u64, K)>,
    ascending: bool,
}

impl<K: SortKey> RangePartitioner<K> {
    /// Splits into at most `partitions` ranges that hold about equally many of the sampled keys. A key is never split, so
    /// few distinct keys give fewer partitions.
    pub fn from_sample(sample: Vec<K>, partitions: u32, ascending: bool) -> RangePartitioner<K> {
        Self::from_weighted_sample(sample.into_iter().map(|key| (key, 1.0)).collect(), partitions, ascending)
    }

    /// As [`RangePartitioner::from_sample`], where each sampled key stands for as many keys as its weight says.
    pub fn from_weighted_sample(mut sample: Vec<(K, f64)>, partitions: u32, ascending: bool) -> RangePartitioner<K> {
        sample.sort_by(|a, b| a.0.cmp_key(&b.0));
        let total: f64 = sample.iter().map(|(_, weight)| weight).sum();
        let step = total / f64::from(partitions.max(1));
        let mut bounds: Vec<(u64, K)> = Vec::new();
        let mut seen = 0.0;
        let mut keys = sample.into_iter().peekable();
        while let Some((key, weight)) = keys.next() {
            seen += weight;
            let wanted = step * (bounds.len() as f64 + 1.0);
            let full = bounds.len() + 1 >= partitions as usize;
            // The last key is no bound: nothing that was seen lies above it.
            if full || keys.peek().is_none() {
                break;
            }
            if seen >= wanted && bounds.last().is_none_or(|(_, last)| last.cmp_key(&key).is_lt()) {
                bounds.push((key.prefix(), key));
            }
        }
        RangePartitioner { bounds, ascending }
    }
}

impl<K: SortKey> Partitioner<K> for RangePartitioner<K> {
    #[inline]
    fn partition(&self, key: &K) -> u32 {
        let prefix = key.prefix();
        let is_below = |bound: &K| bound.cmp_key(key) == Ordering::Less;
        let above = self.bounds.partition_point(|(p, bound)| *p < prefix || *p == prefix && is_below(bound));
        (if self.ascending { above } else { self.bounds.len() - above }) as u32
    }

    fn partitions(&self) -> u32 {
        self.bounds.len() as u32 + 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_uniform_sample_gives_equal_ranges() {
        let p = RangePartitioner::from_sample((0..1000).rev().collect(), 4, true);
        assert_eq!(p.partitions(), 4);
        let mut counts = [0; 4];
        (0..1000).for_each(|k| counts[p.partition(&k) as usize] += 1);
        assert_eq!(counts, [250; 4]);
    }

    #[test]
    fn few_distinct_keys_give_few_partitions_and_no_sample_gives_one() {
        assert!(RangePartitioner::from_sample(vec![7; 100], 4, true).partitions() <= 2);
        assert_eq!(RangePartitioner::<u8>::from_sample(vec![], 4, true).partitions(), 1);
        assert_eq!(RangePartitioner::from_sample(vec![1, 2, 3], 1, true).partitions(), 1);
    }

    #[test]
    fn weights_count() {
        let p = RangePartitioner::from_weighted_sample(vec![(1, 10.0), (2, 1.0), (3, 1.0), (4, 10.0)], 2, true);
        assert_eq!((p.partition(&1), p.partition(&4)), (0, 1));
    }

    proptest! {
        #[test]
        fn partitions_follow_the_order_of_the_keys(
            sample: Vec<i16>, mut keys: Vec<i16>, partitions in 1u32..10, ascending: bool,
        ) {
            let p = RangePartitioner::from_sample(sample, partitions, ascending);
            prop_assert!(p.partitions() <= partitions);
            keys.sort_unstable();
            let mut parts: Vec<u32> = keys.iter().map(|k| p.partition(k)).collect();
            if !ascending {
                parts.reverse();
            }
            prop_assert!(parts.is_sorted());
            prop_assert!(parts.iter().all(|&x| x < p.partitions()));
        }
    }
}
