//! Sorting in bounded memory: sorted runs that are spilled, and their merge.
//!
//! Rows are not compared by their keys but by the first bytes of these ([`SortKey::prefix`]) beside their numbers; only
//! where the prefixes are equal the keys are looked at. Equal keys stay in the order in which they came.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, binary_heap::PeekMut},
    vec::IntoIter,
};

use firesteel_common::{
    TaskFailure,
    size::{CHUNK_BYTES, Filling},
};
use firesteel_storage::Reservation;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    SortKey, Spills,
    aggregate::heap_bytes,
    spill::{SpillFile, SpillReader, Spilled},
};

/// Runs that are merged at a time. Each has some tens of kilobytes of records in memory.
const FAN_IN: usize = 64;
/// Rows between two looks at the heap that they own.
const CHECK_ROWS: usize = 1024;

/// Sorts pairs by their keys. Spark: `ExternalSorter`.
pub struct ExternalSorter<K, V> {
    spills: Spills,
    memory: Reservation,
    ascending: bool,
    rows: SortRows<K, V>,
    /// Heap bytes of the rows up to the last look at the memory, estimated; and of those since.
    heap: u64,
    since: Filling,
    /// Rows until the next look at the memory, if they do not get large.
    unchecked: usize,
    runs: u32,
    spilled: Option<SpillFile>,
    fan_in: usize,
}

impl<K, V> ExternalSorter<K, V>
where
    K: SortKey + Serialize + DeserializeOwned,
    V: Serialize + DeserializeOwned,
{
    /// An empty one.
    pub fn new(ascending: bool, spills: &Spills) -> Self {
        ExternalSorter {
            spills: spills.clone(),
            memory: spills.reserve("sort"),
            ascending,
            rows: SortRows::default(),
            heap: 0,
            since: Filling::default(),
            unchecked: 0,
            runs: 0,
            spilled: None,
            fan_in: FAN_IN,
        }
    }

    /// Adds a row.
    #[inline]
    pub fn insert(&mut self, key: K, value: V) -> Result<(), TaskFailure> {
        let large = self.since.is_full_by::<(K, V)>(|| heap_bytes(&key) + heap_bytes(&value));
        self.rows.push(key, value);
        if large || self.unchecked == 0 {
            self.make_room()?;
        }
        self.unchecked -= 1;
        Ok(())
    }

    /// Bytes of a row, and of its place in the order that is made.
    const ROW: u64 = (size_of::<Option<(K, V)>>() + size_of::<(u64, u32)>()) as u64;

    /// Takes memory for the rows and those that come until the next look, or spills.
    #[cold]
    fn make_room(&mut self) -> Result<(), TaskFailure> {
        self.unchecked = CHECK_ROWS;
        let (len, came) = (self.rows.len, self.since.bytes());
        self.heap += came;
        self.since.begin();
        // What comes is as what came, and it is looked at again when it is a megabyte.
        let bytes = (len + CHECK_ROWS) as u64 * Self::ROW + self.heap + came.min(CHUNK_BYTES);
        let asked = self.memory.asked_to_spill() && self.memory.held() > self.spills.floor();
        let full = len >= u32::MAX as usize - CHECK_ROWS;
        if !asked && !full && (bytes <= self.memory.held() || self.memory.resize(bytes + (bytes / 8).min(8 << 20))) {
            return Ok(());
        }
        if !asked && !full && bytes <= self.spills.floor() / 4 {
            self.memory.force(bytes);
            return Ok(());
        }
        self.spill()?;
        self.memory.force(CHECK_ROWS as u64 * Self::ROW);
        Ok(())
    }

    fn spill(&mut self) -> Result<(), TaskFailure> {
        let file = match &mut self.spilled {
            Some(file) => file,
            None => self.spilled.insert(self.spills.file()?),
        };
        for (_, i) in self.rows.order(self.ascending) {
            if let Some(row) = self.rows.get(i as usize) {
                file.write(self.runs, row)?;
            }
        }
        file.seal()?;
        self.runs += 1;
        self.rows = SortRows::default();
        self.heap = 0;
        Ok(())
    }

    /// Ends the input.
    pub fn finish(mut self) -> Result<Sorted<K, V>, TaskFailure> {
        if self.spilled.is_some() && self.rows.len > 0 {
            self.spill()?;
        }
        let Some(file) = self.spilled.take() else {
            let order = self.rows.order(self.ascending).into_iter();
            let (filling, source) = (Filling::default(), Source::Memory(self.rows, order));
            return Ok(Sorted { memory: self.memory, filling, source });
        };
        self.memory.force(0);
        // Each run has a frame in memory, as it is stored and as records: of large records only a few fit.
        let of_run = 3 * file.largest_frame() as u64;
        let fan_in = (self.memory.pool() / 8).checked_div(of_run).unwrap_or(u64::MAX);
        self.fan_in = self.fan_in.min(usize::try_from(fan_in).unwrap_or(usize::MAX)).max(2);
        let (mut file, mut runs) = (file.finish()?, self.runs);
        while runs as usize > self.fan_in {
            let mut merged = self.spills.file()?;
            let groups = runs.div_ceil(self.fan_in as u32);
            for group in 0..groups {
                let first = group * self.fan_in as u32;
                let mut merge: Merging<K, V> =
                    Merging::new(&file, first..runs.min(first + self.fan_in as u32), self.ascending)?;
                while let Some((key, value)) = merge.next_row()? {
                    merged.write(group, &(key, value))?;
                }
                merged.seal()?;
            }
            (file, runs) = (merged.finish()?, groups);
        }
        let merge = Merging::new(&file, 0..runs, self.ascending)?;
        Ok(Sorted { memory: self.memory, filling: Filling::default(), source: Source::Disk(merge) })
    }
}

/// Rows to be sorted, in blocks of [`CHECK_ROWS`], so that growing copies nothing. They are never put in order where they
/// lie, which would be one cache miss after the other: taken out in order, the misses overlap.
struct SortRows<K, V> {
    blocks: Vec<Vec<Option<(K, V)>>>,
    len: usize,
}

impl<K, V> Default for SortRows<K, V> {
    fn default() -> Self {
        SortRows { blocks: Vec::new(), len: 0 }
    }
}

impl<K, V> SortRows<K, V> {
    #[inline]
    fn push(&mut self, key: K, value: V) {
        match self.blocks.last_mut() {
            Some(block) if block.len() < CHECK_ROWS => block.push(Some((key, value))),
            _ => {
                let mut block = Vec::with_capacity(CHECK_ROWS);
                block.push(Some((key, value)));
                self.blocks.push(block);
            }
        }
        self.len += 1;
    }

    #[inline]
    fn get(&self, i: usize) -> Option<&(K, V)> {
        self.blocks[i / CHECK_ROWS][i % CHECK_ROWS].as_ref()
    }

    /// A row, once.
    #[inline]
    fn take(&mut self, i: u32) -> Option<(K, V)> {
        self.blocks[i as usize / CHECK_ROWS][i as usize % CHECK_ROWS].take()
    }
}

impl<K: SortKey, V> SortRows<K, V> {
    /// The rows' numbers in the order of the keys, beside the prefixes that they were sorted by.
    fn order(&self, ascending: bool) -> Vec<(u64, u32)> {
        let flip = if ascending { 0 } else { u64::MAX };
        let mut order = Vec::with_capacity(self.len);
        let keys = self.blocks.iter().flatten().flatten().map(|(key, _)| key.prefix() ^ flip);
        order.extend(keys.zip(0u32..));
        let compare = |a: &(u64, u32), b: &(u64, u32)| {
            a.0.cmp(&b.0).then_with(|| {
                let keys = match (self.get(a.1 as usize), self.get(b.1 as usize)) {
                    (Some(a), Some(b)) => a.0.cmp_key(&b.0),
                    _ => Ordering::Equal,
                };
                (if ascending { keys } else { keys.reverse() }).then(a.1.cmp(&b.1))
            })
        };
        // The number decides last: as stable as a stable sort, without its buffer.
        order.sort_unstable_by(compare);
        order
    }
}

/// The first row of a run that is not merged yet.
struct Head<K, V> {
    prefix: u64,
    row: (K, V),
    run: usize,
    ascending: bool,
}

impl<K: SortKey, V> Ord for Head<K, V> {
    /// The smallest is the greatest, as the heap has that on top.
    fn cmp(&self, other: &Self) -> Ordering {
        let keys = || {
            let keys = other.row.0.cmp_key(&self.row.0);
            if self.ascending { keys } else { keys.reverse() }
        };
        other.prefix.cmp(&self.prefix).then_with(keys).then(other.run.cmp(&self.run))
    }
}

impl<K: SortKey, V> PartialOrd for Head<K, V> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<K: SortKey, V> PartialEq for Head<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<K: SortKey, V> Eq for Head<K, V> {}

/// A run that is being read: what is left of its current frame, and the frames after it.
type Run<K, V> = (IntoIter<(K, V)>, SpillReader<(K, V)>);

/// Merges runs.
struct Merging<K, V> {
    heap: BinaryHeap<Head<K, V>>,
    runs: Vec<Run<K, V>>,
    ascending: bool,
}

impl<K: SortKey + DeserializeOwned, V: DeserializeOwned> Merging<K, V> {
    fn new(file: &Spilled, runs: std::ops::Range<u32>, ascending: bool) -> Result<Self, TaskFailure> {
        let runs: Vec<Run<K, V>> = runs.map(|run| (Vec::new().into_iter(), file.read(run))).collect();
        let mut merging = Merging { heap: BinaryHeap::with_capacity(runs.len()), runs, ascending };
        for run in 0..merging.runs.len() {
            if let Some(row) = next_of(&mut merging.runs[run])? {
                merging.heap.push(Head { prefix: prefix(&row.0, ascending), row, run, ascending });
            }
        }
        Ok(merging)
    }

    fn next_row(&mut self) -> Result<Option<(K, V)>, TaskFailure> {
        let Some(mut top) = self.heap.peek_mut() else { return Ok(None) };
        Ok(Some(match next_of(&mut self.runs[top.run])? {
            Some(row) => {
                top.prefix = prefix(&row.0, self.ascending);
                std::mem::replace(&mut top.row, row)
            }
            None => PeekMut::pop(top).row,
        }))
    }
}

fn prefix<K: SortKey>(key: &K, ascending: bool) -> u64 {
    if ascending { key.prefix() } else { !key.prefix() }
}

fn next_of<K: DeserializeOwned, V: DeserializeOwned>(run: &mut Run<K, V>) -> Result<Option<(K, V)>, TaskFailure> {
    if let Some(row) = run.0.next() {
        return Ok(Some(row));
    }
    Ok(match run.1.next_batch()? {
        Some(batch) => {
            run.0 = batch.into_iter();
            run.0.next()
        }
        None => None,
    })
}

enum Source<K, V> {
    /// The rows, and in which order they come.
    Memory(SortRows<K, V>, IntoIter<(u64, u32)>),
    Disk(Merging<K, V>),
}

/// The rows of an [`ExternalSorter`], in order.
pub struct Sorted<K, V> {
    /// Held until the last row is out.
    memory: Reservation,
    filling: Filling,
    source: Source<K, V>,
}

impl<K, V> Sorted<K, V>
where
    K: SortKey + Serialize + DeserializeOwned,
    V: Serialize + DeserializeOwned,
{
    /// The next rows, `most` of them or a megabyte; `None` at the end.
    pub fn next_batch(&mut self, most: usize) -> Result<Option<Vec<(K, V)>>, TaskFailure> {
        let batch = match &mut self.source {
            Source::Memory(rows, order) => {
                let mut batch = Vec::with_capacity(most.min(order.len()));
                batch.extend(order.by_ref().take(most).filter_map(|(_, i)| rows.take(i)));
                batch
            }
            Source::Disk(merge) => {
                self.filling.begin();
                let mut batch = Vec::with_capacity(self.filling.room(most));
                while batch.len() < most
                    && let Some(row) = merge.next_row()?
                {
                    let full = self.filling.is_full_with(&row);
                    batch.push(row);
                    if full {
                        break;
                    }
                }
                batch
            }
        };
        if batch.is_empty() {
            self.memory.force(0);
            return Ok(None);
        }
        Ok(Some(batch))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::test_support::spills;

    fn run<K, V>(rows: Vec<(K, V)>, ascending: bool, bytes: u64, fan_in: usize) -> (Vec<(K, V)>, u32)
    where
        K: SortKey + Serialize + DeserializeOwned,
        V: Serialize + DeserializeOwned,
    {
        let (spills, dir) = spills(bytes);
        let mut sorter = ExternalSorter::new(ascending, &spills);
        sorter.fan_in = fan_in;
        rows.into_iter().try_for_each(|(k, v)| sorter.insert(k, v)).unwrap();
        let runs = sorter.runs;
        let mut sorted = sorter.finish().unwrap();
        let mut all = Vec::new();
        while let Some(batch) = sorted.next_batch(100).unwrap() {
            assert!((1..=100).contains(&batch.len()));
            all.extend(batch);
        }
        drop(sorted);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "spill files are left");
        (all, runs)
    }

    #[test]
    fn many_runs_are_merged_in_several_passes() {
        let rows: Vec<(u64, u64)> = (0..40_000u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 5000, i)).collect();
        let (sorted, runs) = run(rows.clone(), true, 100_000, 3);
        assert!(runs > 9, "{runs} runs");
        let mut expected = rows;
        expected.sort_by_key(|row| row.0);
        assert!(sorted == expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn sorts_stably_with_any_memory(
            keys in prop::collection::vec("[ab]{0,12}", 0..4000), ascending: bool, bytes in 1000u64..2_000_000,
            fan_in in 2..5usize,
        ) {
            let rows: Vec<(String, usize)> = keys.into_iter().zip(0..).collect();
            let mut expected = rows.clone();
            expected.sort_by(|a, b| if ascending { a.0.cmp(&b.0) } else { b.0.cmp(&a.0) });
            prop_assert_eq!(run(rows, ascending, bytes, fan_in).0, expected);
        }
    }
}
