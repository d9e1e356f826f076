//! Splits: the parts that an input is read in, a task each.

use std::{cmp::Reverse, num::NonZeroU64, ops::Range};

use serde::{Deserialize, Serialize};

use crate::{BlockHosts, FilePath, FileStatus};

/// Bounds on the size of a split, bytes.
#[derive(Clone, Copy, Debug)]
pub struct SplitBounds {
    /// `spark.hadoop.mapreduce.input.fileinputformat.split.minsize`.
    pub smallest: u64,
    /// `spark.hadoop.fs.local.block.size`.
    pub largest: u64,
}

/// A part of an input that becomes a partition.
#[derive(Clone, Debug)]
pub struct InputSplit<S> {
    /// What a task needs to read it; travels with the task.
    pub data: S,
    /// How many bytes it has, about.
    pub bytes: u64,
    /// Hosts where it is best read; empty when that does not matter.
    pub hosts: Vec<String>,
}

/// Some bytes of a file. Spark: Hadoop's `FileSplit`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileSplit {
    /// The file.
    pub path: FilePath,
    /// Its first byte.
    pub start: u64,
    /// Bytes, as they lie in the file.
    pub len: u64,
}

impl FileSplit {
    /// Its bytes.
    pub fn range(&self) -> Range<u64> {
        self.start..self.start + self.len
    }
}

/// Into how many splits a file of `len` bytes of `total` goes: its share of `wanted`, rounded up, within the bounds.
fn splits_of(len: u64, total: u64, wanted: u32, bounds: SplitBounds) -> u64 {
    let share = (u128::from(len) * u128::from(wanted.max(1))).div_ceil(u128::from(total.max(1))) as u64;
    let most = len / bounds.smallest.max(1);
    share.max(len.div_ceil(bounds.largest.max(1))).min(most).max(1)
}

/// Adds the splits of a file which is one of `total` bytes, at multiples of `unit` bytes, or whole.
pub(crate) fn cut(
    file: FileStatus,
    unit: Option<NonZeroU64>,
    total: u64,
    wanted: u32,
    bounds: SplitBounds,
    hosts: &[BlockHosts],
    splits: &mut Vec<InputSplit<FileSplit>>,
) {
    let FileStatus { path, len, .. } = file;
    let (unit, units) = unit.map_or((len, 1), |unit| (unit.get(), len.div_ceil(unit.get()).max(1)));
    let count = if units == 1 { 1 } else { splits_of(len, total, wanted, bounds).min(units) };
    let at = |i: u64| {
        let whole = (u128::from(units) * u128::from(i) / u128::from(count)) as u64;
        whole.saturating_mul(unit).min(len)
    };
    splits.extend((0..count).map(|i| {
        let range = at(i)..at(i + 1);
        let (start, bytes) = (range.start, range.end - range.start);
        let data = FileSplit { path: path.clone(), start, len: bytes };
        InputSplit { data, bytes, hosts: best_hosts(&[(hosts, range)]) }
    }));
}

/// The hosts that have most of some files' bytes, the best first: as many as the block with the most of them has.
pub(crate) fn best_hosts(files: &[(&[BlockHosts], Range<u64>)]) -> Vec<String> {
    let mut bytes: Vec<(&str, u64)> = Vec::new();
    let mut most = 0;
    for (blocks, range) in files {
        for block in *blocks {
            let (from, to) = (block.range.start.max(range.start), block.range.end.min(range.end));
            if from >= to {
                continue;
            }
            most = most.max(block.hosts.len());
            for host in &block.hosts {
                match bytes.iter_mut().find(|(known, _)| known == host) {
                    Some((_, n)) => *n += to - from,
                    None => bytes.push((host, to - from)),
                }
            }
        }
    }
    bytes.sort_by_key(|(_, n)| Reverse(*n));
    bytes.into_iter().take(most).map(|(host, _)| host.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::FileKind;

    #[test]
    fn a_file_is_cut_within_the_bounds() {
        let bounds = SplitBounds { smallest: 1, largest: 32 };
        assert_eq!(splits_of(0, 0, 5, bounds), 1, "an empty file is one split");
        assert_eq!(splits_of(3, 3, 100, bounds), 3, "no split is empty");
        assert_eq!(splits_of(64, 64, 1, bounds), 2);
        assert_eq!(splits_of(64, 64, 8, SplitBounds { smallest: 20, largest: 32 }), 3);
    }

    fn block(range: Range<u64>, hosts: &[&str]) -> BlockHosts {
        BlockHosts { range, hosts: hosts.iter().map(|host| (*host).to_owned()).collect() }
    }

    #[test]
    fn the_hosts_of_most_bytes_come_first() {
        let blocks = [block(0..10, &["a", "b"]), block(10..20, &["c", "b"]), block(20..30, &["d"])];
        assert_eq!(best_hosts(&[(&blocks, 0..10)]), ["a", "b"]);
        assert_eq!(best_hosts(&[(&blocks, 4..20)]), ["b", "c"]);
        assert_eq!(best_hosts(&[(&blocks, 22..23)]), ["d"]);
        assert_eq!(best_hosts(&[(&blocks, 0..1), (&blocks, 20..30)]), ["d", "a"], "of several files");
        assert!(best_hosts(&[(&[], 0..30)]).is_empty());
    }

    proptest! {
        #[test]
        fn there_are_as_many_splits_as_asked_for(lens in prop::collection::vec(0u64..1000, 1..8), wanted in 1u32..50) {
            let total: u64 = lens.iter().sum();
            let bounds = SplitBounds { smallest: 1, largest: 1 << 30 };
            let splits: u64 = lens.iter().map(|len| splits_of(*len, total, wanted, bounds)).sum();
            prop_assert!(splits >= u64::from(wanted).min(total));
            prop_assert!(splits <= u64::from(wanted) + lens.len() as u64);
        }

        #[test]
        fn the_splits_of_a_file_are_its_bytes_cut_at_units(len in 0u64..1000, unit in 0u64..40, wanted in 1u32..50, largest in 1u64..2000) {
            let file = FileStatus { path: FilePath::local("/a"), kind: FileKind::File, len };
            let (mut splits, unit) = (Vec::new(), NonZeroU64::new(unit));
            cut(file, unit, len, wanted, SplitBounds { smallest: 1, largest }, &[], &mut splits);
            let mut at = 0;
            for InputSplit { data, bytes, .. } in &splits {
                prop_assert_eq!((data.start, data.len), (at, *bytes));
                prop_assert!(unit.is_some_and(|unit| at.is_multiple_of(unit.get())) || at == 0);
                prop_assert!(*bytes > 0 || len == 0);
                at += bytes;
            }
            prop_assert_eq!(at, len);
            prop_assert!(unit.is_some() || splits.len() == 1);
            if unit == NonZeroU64::new(1) {
                prop_assert!(splits.iter().all(|split| split.bytes <= largest));
            }
        }
    }
}
