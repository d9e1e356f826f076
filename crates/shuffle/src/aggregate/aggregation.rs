//! Takes rows in: into the hot table, or to the rows of their part. Nothing else lies on the way of a row.

use std::{mem::needs_drop, vec::IntoIter};

use firesteel_common::{TaskFailure, hash::fixed_hash, size::Filling};
use firesteel_storage::Reservation;

use super::{
    Combine, Entries,
    entries::Places,
    estimate::{Growing, Mean, expected_rest},
    heap_bytes,
    part::{Part, Row},
};
use crate::{
    Spills,
    index::Index,
    spill::{FIRST_BITS, SpillFile, digit},
};

/// The frequent keys' table holds so many at most.
pub(super) const HOT: usize = 8192;
/// Rows that are taken in together, and at least so many between two looks at the memory.
pub(super) const CHECK_ROWS: usize = 1024;
/// By the first digit of the hash.
pub(super) const PARTS: usize = 1 << FIRST_BITS;
/// Bytes of a part's rows that are worth combining.
const ENOUGH_BYTES: usize = 128 * 1024;

/// Combines records by key; spills when it is refused memory. See the module.
pub struct Aggregation<A: Combine> {
    pub(super) how: A,
    pub(super) spills: Spills,
    pub(super) memory: Reservation,
    /// Where it ends instead of spilling: [`Aggregation::is_full`].
    pub(super) limit: Option<u64>,
    pub(super) full: bool,
    /// It was refused memory at some time, so what it hands out, and when, depends on more than its input.
    pub(super) was_short: bool,
    pub(super) hot: Entries<A::Key, A::Combined>,
    pub(super) index: Index,
    pub(super) hot_most: usize,
    /// Whether the frequent keys are looked for.
    pub(super) hot_on: bool,
    /// Of the rows since the hot table was full: how many, and how many were found in it.
    pub(super) asked: u32,
    pub(super) hits: u32,
    pub(super) hot_heap: Growing,
    pub(super) parts: Vec<Part<A>>,
    pub(super) chunk_rows: usize,
    pub(super) chunks: usize,
    /// Rows since it was last empty.
    pub(super) seen: u64,
    /// Rows since the last look at the memory.
    pub(super) unchecked: usize,
    /// What these rows own.
    pub(super) unchecked_heap: Filling,
    /// Bytes of the combined entries of all parts.
    pub(super) combined_bytes: u64,
    pub(super) row_heap: Mean,
    pub(super) scratch: Index,
    pub(super) spilled: Option<SpillFile>,
    pub(super) places: Places,
    /// Of the rows that are being taken in.
    hashes: Vec<u64>,
}

impl<A: Combine> Aggregation<A> {
    pub(super) const ROW_HEAP: bool = needs_drop::<(A::Key, A::Value)>();
    const COMBINED_HEAP: bool = needs_drop::<A::Combined>();
    const ENOUGH: usize = {
        let rows = ENOUGH_BYTES / size_of::<Row<A>>();
        if rows < 512 { 512 } else { rows }
    };

    /// An empty one, which spills.
    pub fn new(how: A, spills: &Spills) -> Self {
        let chunk_rows = (4096 / size_of::<Row<A>>()).clamp(8, 512);
        Aggregation {
            how,
            spills: spills.clone(),
            memory: spills.reserve("aggregation"),
            limit: None,
            full: false,
            was_short: false,
            hot: Entries::default(),
            index: Index::default(),
            hot_most: HOT,
            hot_on: true,
            asked: 0,
            hits: 0,
            hot_heap: Growing::default(),
            parts: Vec::new(),
            chunk_rows,
            chunks: 0,
            seen: 0,
            unchecked: 0,
            unchecked_heap: Filling::default(),
            combined_bytes: 0,
            row_heap: Mean::default(),
            scratch: Index::default(),
            spilled: None,
            places: Places::default(),
            hashes: Vec::new(),
        }
    }

    /// An empty one that never spills: when it has reached `limit` bytes, or is refused memory, it says that it is full,
    /// and is to be drained.
    pub fn bounded(how: A, spills: &Spills, limit: u64) -> Self {
        Aggregation { limit: Some(limit), ..Self::new(how, spills) }
    }

    /// Adds a value to the key of each row.
    pub fn insert_all(&mut self, rows: Vec<(A::Key, A::Value)>) -> Result<(), TaskFailure> {
        let mut rows = rows.into_iter();
        while rows.len() > 0 {
            let n = rows.len().min(CHECK_ROWS);
            let next = rows.as_slice().get(..n).unwrap_or_default();
            let large = self.unchecked_heap.is_full_by_all(next, |(key, value)| heap_bytes(key) + heap_bytes(value));
            self.insert_batch(&mut rows, n);
            self.seen += n as u64;
            self.unchecked += n;
            if large || self.unchecked >= CHECK_ROWS {
                if self.unchecked < CHECK_ROWS / 8 {
                    // Of few large rows a sample is too small.
                    self.hot_heap.added += self.unchecked_heap.bytes();
                }
                self.unchecked = 0;
                self.unchecked_heap.begin();
                self.check()?;
            }
        }
        Ok(())
    }

    fn insert_batch(&mut self, rows: &mut IntoIter<(A::Key, A::Value)>, n: usize) {
        let batch = &rows.as_slice()[..n];
        let (mut hashes, mut places) = (std::mem::take(&mut self.hashes), std::mem::take(&mut self.places));
        hashes.clear();
        hashes.extend(batch.iter().map(|(key, _)| fixed_hash(key)));
        if self.hot_on {
            self.grow_hot(n);
        }
        let hot = self.hot_on && self.index.room() > 0;
        if hot {
            self.hot.place(&mut self.index, n, |i| (hashes[i], &batch[i].0), self.hot_most, &mut places);
        }
        let mut i = 0;
        rows.by_ref().take(n).for_each(|(key, value)| {
            let (hash, at) = (hashes[i], if hot { places.of[i] } else { Places::NONE });
            i += 1;
            if at == Places::NONE { self.append(hash, key, value) } else { self.put_hot(at, hash, key, value) }
        });
        (self.hashes, self.places) = (hashes, places);
    }

    #[inline]
    fn put_hot(&mut self, at: u32, hash: u64, key: A::Key, value: A::Value) {
        let new = at as usize == self.hot.len();
        if new && Self::ROW_HEAP && self.hot.len() & 15 == 0 {
            self.hot_heap.added += 16 * (heap_bytes(&key) + heap_bytes(&value) + size_of::<A::Value>() as u64);
        }
        if !new {
            if Self::COMBINED_HEAP && self.hits & 15 == 0 {
                self.hot_heap.added += 16 * (heap_bytes(&value) + size_of::<A::Value>() as u64);
            }
            self.hits = self.hits.wrapping_add(1);
        }
        let how = &self.how;
        self.hot.put(at, (hash, key, value), |v| how.create(v), |c, v| how.merge_value(c, v));
    }

    /// Adds a row to its part.
    #[inline]
    fn append(&mut self, hash: u64, key: A::Key, value: A::Value) {
        // It means something only while the frequent keys are looked for; afterwards it may well overflow.
        self.asked = self.asked.wrapping_add(1);
        let p = digit(hash, 0);
        match self.parts.get_mut(p).and_then(|part| part.rows.last_mut()) {
            Some(chunk) if chunk.len() < chunk.capacity() => chunk.push((hash, key, value)),
            _ => self.append_to_new_chunk(p, (hash, key, value)),
        }
    }

    #[cold]
    #[inline(never)]
    fn append_to_new_chunk(&mut self, p: usize, row: Row<A>) {
        if self.parts.is_empty() {
            self.parts.resize_with(PARTS, Part::default);
        }
        let part = &self.parts[p];
        if part.rows.len() * self.chunk_rows >= part.combined.len().max(Self::ENOUGH) {
            self.combine(p);
        }
        let mut chunk = Vec::with_capacity(self.chunk_rows);
        self.chunks += 1;
        chunk.push(row);
        self.parts[p].rows.push(chunk);
    }

    /// Makes room for `rows` more keys in the hot table, as far as it may grow.
    #[inline]
    fn grow_hot(&mut self, rows: usize) {
        let wanted = (self.hot.len() + rows).min(self.hot_most);
        if self.index.room() < wanted {
            self.grow_hot_to(wanted);
        }
    }

    #[cold]
    fn grow_hot_to(&mut self, wanted: usize) {
        let entries = wanted.max(self.index.room() * 2).clamp(64, HOT);
        let more = (entries * (2 * size_of::<u64>() + size_of::<(u64, A::Key)>() + size_of::<A::Combined>())) as u64;
        // The first step is so small that nobody need be asked.
        if entries > 64 && !self.may_hold(self.used() + more) {
            self.hot_most = self.hot.len().max(self.index.room());
            return;
        }
        let more = entries - self.hot.len();
        self.hot.keys.reserve_exact(more);
        self.hot.values.reserve_exact(more);
        self.hot.index_into(&mut self.index, more);
    }

    /// Rows since it was last empty.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Which part of the rows combining will leave by the time that it is full, as far as one can tell: 1 when no two
    /// rows have a key in common. Costs the combining of a few parts.
    pub fn expected_rest(&mut self) -> f64 {
        const SAMPLE: usize = 16;
        (0..SAMPLE.min(self.parts.len())).for_each(|p| self.combine(p));
        let sampled: usize = self.parts.iter().take(SAMPLE).map(|part| part.combined.len()).sum();
        let distinct = (self.hot.len() + sampled * (PARTS / SAMPLE)) as f64;
        let row = size_of::<Row<A>>() as u64 + if Self::ROW_HEAP { self.row_heap.times(1) } else { 0 };
        let all = self.limit.unwrap_or(u64::MAX).max(self.memory.held()) / row.max(1);
        expected_rest(self.seen as f64, distinct, (all.max(self.seen)) as f64)
    }

    /// Whether it was ever refused memory. Then the rows that it was drained of depend on what others took.
    pub fn was_short(&self) -> bool {
        self.was_short
    }

    /// Whether it wants to be drained.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.full
    }
}
