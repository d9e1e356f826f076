//! Takes rows in: into the hot table, or to the rows of their part. Nothing else lies on the way of a row.

use std::mem::needs_drop;

use firesteel_common::TaskFailure;
use firesteel_storage::Reservation;

use super::{
    Combine, Entries,
    estimate::{Growing, Mean, expected_rest},
    heap_bytes,
    part::{Part, Row},
};
use crate::{
    Spills,
    index::{Found, Index},
    spill::{FIRST_BITS, SpillFile, digit},
};

/// The frequent keys' table holds so many at most.
pub(super) const HOT: usize = 8192;
/// Rows between two looks at the memory.
pub(super) const CHECK_ROWS: u32 = 1024;
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
    /// Empty chunks.
    pub(super) pool: Vec<Vec<Row<A>>>,
    pub(super) chunks: usize,
    /// Rows since it was last empty, less up to `CHECK_ROWS`.
    pub(super) seen: u64,
    /// Bytes of the combined entries of all parts.
    pub(super) combined_bytes: u64,
    pub(super) row_heap: Mean,
    pub(super) scratch: Index,
    pub(super) countdown: u32,
    pub(super) spilled: Option<SpillFile>,
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
            hot: Entries::default(),
            index: Index::default(),
            hot_most: HOT,
            hot_on: true,
            asked: 0,
            hits: 0,
            hot_heap: Growing::default(),
            parts: Vec::new(),
            chunk_rows,
            pool: Vec::new(),
            chunks: 0,
            seen: 0,
            combined_bytes: 0,
            row_heap: Mean::default(),
            scratch: Index::default(),
            countdown: CHECK_ROWS,
            spilled: None,
        }
    }

    /// An empty one that never spills: when it has reached `limit` bytes, or is refused memory, it says that it is full,
    /// and is to be drained.
    pub fn bounded(how: A, spills: &Spills, limit: u64) -> Self {
        Aggregation { limit: Some(limit), ..Self::new(how, spills) }
    }

    /// Adds a value to a key, of which `hash` must be the `fixed_hash`.
    #[inline]
    pub fn insert(&mut self, hash: u64, key: A::Key, value: A::Value) -> Result<(), TaskFailure> {
        self.countdown -= 1;
        if self.countdown == 0 {
            self.check()?;
        }
        if self.hot_on {
            if self.hot.len() < self.hot_most && self.hot.len() >= self.index.room() {
                self.grow_hot();
            }
            if self.index.room() > 0 {
                match self.hot.find(&self.index, hash, &key) {
                    Found::Entry(at) => {
                        if Self::COMBINED_HEAP && self.hits & 15 == 0 {
                            self.hot_heap.added += 16 * (heap_bytes(&value) + size_of::<A::Value>() as u64);
                        }
                        self.hits = self.hits.wrapping_add(1);
                        let how = &self.how;
                        self.hot.change(at, |c| how.merge_value(c, value));
                        return Ok(());
                    }
                    Found::Slot(slot) if self.hot.len() < self.hot_most => {
                        if Self::ROW_HEAP && self.hot.len() & 15 == 0 {
                            let heap = heap_bytes(&key) + heap_bytes(&value) + size_of::<A::Value>() as u64;
                            self.hot_heap.added += 16 * heap;
                        }
                        self.index.fill(slot, hash, self.hot.len());
                        self.hot.push(hash, key, self.how.create(value));
                        return Ok(());
                    }
                    Found::Slot(_) => {}
                }
            }
            self.asked += 1;
        }
        self.append(hash, key, value);
        Ok(())
    }

    /// Adds a row to its part.
    #[inline]
    fn append(&mut self, hash: u64, key: A::Key, value: A::Value) {
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
        let mut chunk = self.pool.pop().unwrap_or_else(|| {
            self.chunks += 1;
            Vec::with_capacity(self.chunk_rows)
        });
        chunk.push(row);
        self.parts[p].rows.push(chunk);
    }

    #[cold]
    fn grow_hot(&mut self) {
        let entries = (self.hot.len() * 2).clamp(64, HOT);
        let more = (entries * (2 * size_of::<u64>() + size_of::<(u64, A::Key)>() + size_of::<A::Combined>())) as u64;
        // The first step is so small that nobody need be asked.
        if entries > 64 && !self.may_hold(self.used() + more) {
            self.hot_most = self.hot.len();
            return;
        }
        let more = entries - self.hot.len();
        self.hot.keys.reserve_exact(more);
        self.hot.values.reserve_exact(more);
        self.hot.index_into(&mut self.index, more);
    }

    /// Rows since it was last empty, in steps of about a thousand.
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

    /// Whether it wants to be drained.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.full
    }
}
