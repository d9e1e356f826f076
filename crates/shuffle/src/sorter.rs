//! Sorting in bounded memory: sorted runs that are spilled, and their merge.
//!
//! Rows are not compared by their keys but by the first bytes of these ([`SortKey::prefix`]) beside their numbers; only
//! where the prefixes are equal the keys are looked at. Equal keys stay in the order in which they came.

use std::{
    cmp::Ordering,
    collections::{BinaryHeap, binary_heap::PeekMut},
    mem::needs_drop,
    vec::IntoIter,
};

use firesteel_common::TaskFailure;
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
    rows: Vec<(K, V)>,
    /// Heap bytes of the rows, estimated.
    heap: u64,
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
            rows: Vec::new(),
            heap: 0,
            runs: 0,
            spilled: None,
            fan_in: FAN_IN,
        }
    }

    /// Adds a row.
    #[inline]
    pub fn insert(&mut self, key: K, value: V) -> Result<(), TaskFailure> {
        let len = self.rows.len();
        if len == self.rows.capacity() || len.is_multiple_of(CHECK_ROWS) {
            self.make_room(&key, &value)?;
        }
        self.rows.push((key, value));
        Ok(())
    }

    /// Bytes of a row in the vector, and in the order that is made of it.
    const ROW: u64 = (size_of::<(K, V)>() + size_of::<(u64, u32)>()) as u64;

    #[cold]
    fn make_room(&mut self, key: &K, value: &V) -> Result<(), TaskFailure> {
        let (len, capacity) = (self.rows.len(), self.rows.capacity());
        if needs_drop::<(K, V)>() {
            // A few of the last rows stand for all of them.
            let sample = self.rows[len - len.min(CHECK_ROWS)..].iter().step_by(CHECK_ROWS / 16);
            let (sum, count) = sample.fold((0, 0), |(sum, n), (k, v)| (sum + heap_bytes(k) + heap_bytes(v), n + 1));
            let first = || heap_bytes(key) + heap_bytes(value);
            self.heap += (sum * CHECK_ROWS as u64).checked_div(count).unwrap_or_else(first);
        }
        let more = if len == capacity { (capacity / 2).max(CHECK_ROWS) } else { 0 };
        // While it grows, the old vector is there as well.
        let moved = if more > 0 { (capacity * size_of::<(K, V)>()) as u64 } else { 0 };
        let bytes = (capacity + more) as u64 * Self::ROW + moved + self.heap;
        let asked = self.memory.asked_to_spill() && self.memory.held() > self.spills.floor();
        let full = len >= u32::MAX as usize - CHECK_ROWS;
        if !asked && !full && (bytes <= self.memory.held() || self.memory.resize(bytes + (bytes / 8).min(8 << 20))) {
            self.rows.reserve_exact(more);
            return Ok(());
        }
        if !asked && !full && bytes <= self.spills.floor() / 4 {
            self.memory.force(bytes);
            self.rows.reserve_exact(more);
            return Ok(());
        }
        self.spill()?;
        self.rows = Vec::with_capacity(CHECK_ROWS);
        self.memory.force(CHECK_ROWS as u64 * Self::ROW);
        Ok(())
    }

    fn spill(&mut self) -> Result<(), TaskFailure> {
        let file = match &mut self.spilled {
            Some(file) => file,
            None => self.spilled.insert(self.spills.file()?),
        };
        for (_, i) in order(&self.rows, self.ascending) {
            file.write(self.runs, &self.rows[i as usize])?;
        }
        file.seal()?;
        self.runs += 1;
        self.rows = Vec::new();
        self.heap = 0;
        Ok(())
    }

    /// Ends the input.
    pub fn finish(mut self) -> Result<Sorted<K, V>, TaskFailure> {
        if self.spilled.is_some() && !self.rows.is_empty() {
            self.spill()?;
        }
        let Some(file) = self.spilled.take() else {
            sort(&mut self.rows, self.ascending);
            let bytes = (self.rows.capacity() * size_of::<(K, V)>()) as u64 + self.heap;
            self.memory.force(bytes.min(self.memory.held()));
            return Ok(Sorted { memory: self.memory, source: Source::Memory(self.rows.into_iter()) });
        };
        self.memory.force(0);
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
        Ok(Sorted { memory: self.memory, source: Source::Disk(merge) })
    }
}

/// The rows' numbers in the order of the keys, beside the prefixes that they were sorted by.
fn order<K: SortKey, V>(rows: &[(K, V)], ascending: bool) -> Vec<(u64, u32)> {
    let flip = if ascending { 0 } else { u64::MAX };
    let mut order: Vec<(u64, u32)> = rows.iter().zip(0..).map(|((key, _), i)| (key.prefix() ^ flip, i)).collect();
    let compare = |a: &(u64, u32), b: &(u64, u32)| {
        a.0.cmp(&b.0).then_with(|| {
            let keys = rows[a.1 as usize].0.cmp_key(&rows[b.1 as usize].0);
            (if ascending { keys } else { keys.reverse() }).then(a.1.cmp(&b.1))
        })
    };
    // The number decides last: as stable as a stable sort, without its buffer.
    order.sort_unstable_by(compare);
    order
}

/// Sorts in place.
fn sort<K: SortKey, V>(rows: &mut [(K, V)], ascending: bool) {
    let mut order = order(rows, ascending);
    for start in 0..rows.len() {
        // Along a cycle of the permutation each row takes one swap.
        let mut at = start;
        loop {
            let from = order[at].1 as usize;
            order[at].1 = at as u32;
            if from == start || from == at {
                break;
            }
            rows.swap(at, from);
            at = from;
        }
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
    Memory(IntoIter<(K, V)>),
    Disk(Merging<K, V>),
}

/// The rows of an [`ExternalSorter`], in order.
pub struct Sorted<K, V> {
    /// Held until the last row is out.
    memory: Reservation,
    source: Source<K, V>,
}

impl<K: SortKey + DeserializeOwned, V: DeserializeOwned> Sorted<K, V> {
    /// The next rows, about `most`; `None` at the end.
    pub fn next_batch(&mut self, most: usize) -> Result<Option<Vec<(K, V)>>, TaskFailure> {
        let batch = match &mut self.source {
            Source::Memory(rows) => rows.by_ref().take(most).collect(),
            Source::Disk(merge) => {
                let mut batch = Vec::with_capacity(most);
                while batch.len() < most
                    && let Some(row) = merge.next_row()?
                {
                    batch.push(row);
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
