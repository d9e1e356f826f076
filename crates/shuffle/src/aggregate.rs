//! Combining by key in bounded memory: reduce_by_key, group_by_key, cogroup and the like, on both sides of a shuffle.
//!
//! ```text
//!  insert ─▶ hot table ─(not there, and it is full)─▶ rows of 256 parts, by hash ─(many)─▶ combined entries of the part
//!                                                             └─(no memory)─▶ spill file, by part ─▶ Merge
//!  finish ─▶ part after part: hot entries, combined entries and rows in one table that fits into the cache
//! ```
//!
//! A table beyond the size of the cache pays a miss for each row. So the first few thousand keys, which are the frequent
//! ones where some are, have a table that stays in the cache; all other rows are only appended to their part, and a part's
//! rows are combined together, when it has enough of them.
//!
//! **Order.** Keys come out part by part, and within a part in the order in which they first came. When and how often
//! something was combined or spilled changes nothing about it. Only a part which by itself exceeds the task's memory comes
//! out split further by hash.

use std::{iter::Zip, mem::needs_drop, vec::IntoIter};

use firesteel_common::{TaskFailure, size};
use firesteel_storage::Reservation;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    ShuffleError, Spills,
    index::{Found, Index},
    merge::Merge,
    spill::{FIRST_BITS, SpillFile, digit},
};

/// What is done with the values of a key. Spark: `Aggregator`.
pub trait Combine {
    /// The key.
    type Key: std::hash::Hash + Eq + Serialize + DeserializeOwned;
    /// What comes in under a key.
    type Value: Serialize;
    /// What the values of a key become.
    type Combined: Serialize + DeserializeOwned;

    /// Makes one of a key's first value.
    fn create(&self, value: Self::Value) -> Self::Combined;
    /// Adds a value.
    fn merge_value(&self, combined: Self::Combined, value: Self::Value) -> Self::Combined;
    /// Puts two together, the one of the earlier values first.
    fn merge_combined(&self, a: Self::Combined, b: Self::Combined) -> Self::Combined;
}

/// Heap bytes of a value, without its own size.
pub(crate) fn heap_bytes<T: Serialize>(value: &T) -> u64 {
    size::heap_estimate(value)
}

/// Entries as two vectors: a value can be taken out, combined and put back without unsafe code or an `Option` each.
pub(crate) struct Entries<K, C> {
    pub keys: Vec<(u64, K)>,
    pub values: Vec<C>,
}

impl<K, C> Default for Entries<K, C> {
    fn default() -> Self {
        Entries { keys: Vec::new(), values: Vec::new() }
    }
}

impl<K: Eq, C> Entries<K, C> {
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn bytes(&self) -> u64 {
        (self.keys.capacity() * size_of::<(u64, K)>() + self.values.capacity() * size_of::<C>()) as u64
    }

    /// Gives back room for more than a few entries.
    pub fn shrink(&mut self) {
        if self.keys.capacity() > self.keys.len() + self.keys.len() / 4 {
            self.keys.shrink_to_fit();
            self.values.shrink_to_fit();
        }
    }

    #[inline]
    pub fn push(&mut self, hash: u64, key: K, value: C) {
        self.keys.push((hash, key));
        self.values.push(value);
    }

    #[inline]
    pub fn find(&self, index: &Index, hash: u64, key: &K) -> Found {
        index.find(hash, |i| self.keys[i].0 == hash && self.keys[i].1 == *key)
    }

    #[inline]
    pub fn change(&mut self, at: usize, change: impl FnOnce(C) -> C) {
        let last = self.values.len() - 1;
        let value = self.values.swap_remove(at);
        self.values.push(change(value));
        self.values.swap(at, last);
    }

    /// Gives `value` to `key`. The index must have room.
    #[inline]
    pub fn upsert<V>(
        &mut self,
        index: &mut Index,
        hash: u64,
        key: K,
        value: V,
        create: impl FnOnce(V) -> C,
        merge: impl FnOnce(C, V) -> C,
    ) {
        match self.find(index, hash, &key) {
            Found::Entry(at) => self.change(at, |c| merge(c, value)),
            Found::Slot(slot) => {
                index.fill(slot, hash, self.len());
                self.push(hash, key, create(value));
            }
        }
    }

    /// Makes `index` that of these entries, with room for `more`.
    pub fn index_into(&self, index: &mut Index, more: usize) {
        index.reset(self.len() + more);
        self.keys.iter().enumerate().for_each(|(i, (hash, _))| index.add(*hash, i));
    }

    pub fn drain(&mut self) -> impl Iterator<Item = (u64, K, C)> {
        let entries = std::mem::take(self);
        entries.keys.into_iter().zip(entries.values).map(|((hash, key), value)| (hash, key, value))
    }
}

impl<K: Eq + Serialize, C: Serialize> Entries<K, C> {
    /// Heap bytes of keys and values, measured on `most` of them.
    pub fn heap(&self, most: usize) -> u64 {
        if !needs_drop::<(K, C)>() || self.len() == 0 {
            return 0;
        }
        let step = self.len().div_ceil(most.max(1));
        let sample = self.keys.iter().zip(&self.values).step_by(step);
        let sum: u64 = sample.map(|((_, k), c)| heap_bytes(k) + heap_bytes(c)).sum();
        sum * self.len() as u64 / (self.len().div_ceil(step) as u64)
    }
}

/// When `seen` rows had `distinct` keys, the part of `all` rows that their keys will be: as if all keys were equally
/// frequent, by how often they met.
fn expected_rest(seen: f64, distinct: f64, all: f64) -> f64 {
    if distinct >= seen {
        return 1.0;
    }
    // n keys, of which `rows` rows have n (1 - e^(-rows / n)): rises with n.
    let met = |n: f64, rows: f64| n * -(-rows / n).exp_m1();
    let (mut low, mut high) = (distinct.max(1.0), 1e15);
    for _ in 0..100 {
        let middle = (low * high).sqrt();
        if met(middle, seen) < distinct { low = middle } else { high = middle }
    }
    (met(low, all) / all).min(1.0)
}

type Row<A> = (u64, <A as Combine>::Key, <A as Combine>::Value);

struct Part<A: Combine> {
    combined: Entries<A::Key, A::Combined>,
    combined_heap: u64,
    /// In chunks of equal size, all but the last one full.
    rows: Vec<Vec<Row<A>>>,
}

impl<A: Combine> Part<A> {
    /// Rows and entries.
    fn entries(&self) -> usize {
        self.combined.keys.len() + self.rows.iter().map(Vec::len).sum::<usize>()
    }
}

/// The frequent keys' table holds so many at most.
const HOT: usize = 8192;
/// Rows between two looks at the memory.
const CHECK_ROWS: u32 = 1024;
const PARTS: usize = 1 << FIRST_BITS;
/// Bytes of a part's rows that are worth combining.
const ENOUGH_BYTES: usize = 128 * 1024;

/// Combines records by key; spills when it is refused memory. See the module.
pub struct Aggregation<A: Combine> {
    how: A,
    spills: Spills,
    memory: Reservation,
    /// Where it ends instead of spilling: [`Aggregation::is_full`].
    limit: Option<u64>,
    full: bool,
    hot: Entries<A::Key, A::Combined>,
    index: Index,
    hot_most: usize,
    /// Whether the frequent keys are looked for.
    hot_on: bool,
    /// Of the rows since the hot table was full: how many, and how many were found in it.
    asked: u32,
    hits: u32,
    hot_heap: Growing,
    parts: Vec<Part<A>>,
    chunk_rows: usize,
    /// Empty chunks.
    pool: Vec<Vec<Row<A>>>,
    chunks: usize,
    /// Rows since it was last empty, less up to `CHECK_ROWS`.
    seen: u64,
    /// Bytes of the combined entries of all parts.
    combined_bytes: u64,
    row_heap: Mean,
    scratch: Index,
    countdown: u32,
    spilled: Option<SpillFile>,
}

/// The mean of a sample.
#[derive(Default)]
struct Mean {
    sum: u64,
    count: u64,
}

impl Mean {
    fn add(&mut self, x: u64) {
        // Old ones count less and less: data changes.
        if self.count >= 4096 {
            self.sum /= 2;
            self.count /= 2;
        }
        self.sum += x;
        self.count += 1;
    }

    fn times(&self, n: usize) -> u64 {
        (self.sum * n as u64).div_ceil(self.count.max(1))
    }
}

/// Heap bytes of the hot table: measured, and what has come since, at most.
#[derive(Default)]
struct Growing {
    measured: u64,
    added: u64,
    measure_at: u64,
}

impl<A: Combine> Aggregation<A> {
    const ROW_HEAP: bool = needs_drop::<(A::Key, A::Value)>();
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
            let empty = || Part { combined: Entries::default(), combined_heap: 0, rows: Vec::new() };
            self.parts.resize_with(PARTS, empty);
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

    /// Bytes that it takes.
    fn used(&self) -> u64 {
        let chunk = (self.chunk_rows * size_of::<Row<A>>()) as u64 + 16;
        let parts = (self.parts.len() * size_of::<Part<A>>()) as u64;
        self.hot.bytes()
            + self.index.bytes()
            + self.hot_heap.measured
            + self.hot_heap.added
            + parts
            + chunk * self.chunks as u64
            + self.combined_bytes
            + if Self::ROW_HEAP { self.row_heap.times((self.chunks - self.pool.len()) * self.chunk_rows) } else { 0 }
            + self.scratch.bytes()
    }

    /// Whether it may take `bytes`; asks for some more than that, so that it need not ask often.
    fn may_hold(&mut self, bytes: u64) -> bool {
        if bytes <= self.memory.held() {
            return true;
        }
        if self.limit.is_some_and(|limit| bytes > limit) {
            return false;
        }
        if self.memory.resize(bytes + (bytes / 8).clamp(64 << 10, 8 << 20)) || self.memory.resize(bytes) {
            return true;
        }
        if bytes > self.spills.floor() {
            return false;
        }
        self.memory.force(bytes);
        true
    }

    #[cold]
    #[inline(never)]
    fn check(&mut self) -> Result<(), TaskFailure> {
        self.countdown = CHECK_ROWS;
        self.seen += u64::from(CHECK_ROWS);
        if self.hot_on && self.asked >= 16 * CHECK_ROWS {
            // Where fewer than one in eight is found, looking costs more than it saves.
            self.hot_on = self.hits >= self.asked / 7;
            (self.asked, self.hits) = (0, 0);
        }
        if self.hot.len() < self.hot_most {
            // Counts rows that were not found in a full table, and hits meanwhile.
            (self.asked, self.hits) = (0, 0);
        }
        if Self::ROW_HEAP {
            for part in self.parts.iter().step_by(PARTS / 16) {
                if let Some((_, k, v)) = part.rows.last().and_then(|chunk| chunk.last()) {
                    self.row_heap.add(heap_bytes(k) + heap_bytes(v));
                }
            }
        }
        let asked = self.memory.asked_to_spill() && self.used() > self.spills.floor();
        if !asked && self.may_hold(self.used()) {
            return self.measure_hot();
        }
        // Combining first: where rows have much in common that is enough.
        let before = self.used();
        self.measure_now();
        // A few parts tell whether they have. What was combined gives its chunks back at once: beside all the rows there
        // is no room for all the entries.
        const FEW: usize = 16;
        let entries = |parts: &[Part<A>]| parts.iter().take(FEW).map(Part::entries).sum::<usize>();
        let of_few = entries(&self.parts);
        for p in 0..self.parts.len() {
            if p == FEW && entries(&self.parts) > of_few / 4 * 3 {
                break;
            }
            self.combine(p);
            self.chunks -= self.pool.len();
            self.pool = Vec::new();
        }
        let used = self.used();
        if !asked && used <= before / 4 * 3 && self.may_hold(used) {
            return Ok(());
        }
        match self.limit {
            Some(_) => {
                // Its holder drains it at once: what it has taken meanwhile counts.
                self.memory.force(used);
                self.full = true;
                Ok(())
            }
            None => self.spill(),
        }
    }

    /// Measures the hot table's heap when that may have doubled.
    fn measure_hot(&mut self) -> Result<(), TaskFailure> {
        if self.hot_heap.added > self.hot_heap.measure_at.max(64 << 10) {
            let before = self.hot_heap.measured;
            self.measure_now();
            let grown = self.hot_heap.measured.saturating_sub(before);
            let again = if grown > self.hot_heap.measure_at / 4 { self.hot_heap.measured } else { 0 };
            self.hot_heap.measure_at = again.max(2 * self.hot_heap.measure_at).clamp(64 << 10, 64 << 20);
        }
        Ok(())
    }

    fn measure_now(&mut self) {
        self.hot_heap.measured = self.hot.heap(usize::MAX);
        self.hot_heap.added = 0;
    }

    /// Combines the rows of a part.
    fn combine(&mut self, p: usize) {
        let part = &mut self.parts[p];
        let chunks = std::mem::take(&mut part.rows);
        let rows: usize = chunks.iter().map(Vec::len).sum();
        if rows == 0 {
            return;
        }
        let before = part.combined.bytes() + part.combined_heap;
        part.combined.index_into(&mut self.scratch, rows);
        let how = &self.how;
        for mut chunk in chunks {
            for (hash, key, value) in chunk.drain(..) {
                let merge = |c, v| how.merge_value(c, v);
                part.combined.upsert(&mut self.scratch, hash, key, value, |v| how.create(v), merge);
            }
            self.pool.push(chunk);
        }
        part.combined.shrink();
        part.combined_heap = part.combined.heap(64);
        self.combined_bytes = (self.combined_bytes + part.combined.bytes() + part.combined_heap).saturating_sub(before);
    }

    /// Writes all that there is, and begins anew.
    fn spill(&mut self) -> Result<(), TaskFailure> {
        let mut file = match self.spilled.take() {
            Some(file) => file,
            None => self.spills.file()?,
        };
        self.drain(|hash, key, value| file.write(digit(hash, 0) as u32, &(key, value)))?;
        file.seal()?;
        self.spilled = Some(file);
        Ok(())
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

    /// Hands all entries to `to`, part by part, as (hash, key, combined), and gives its memory back.
    ///
    /// A key may come twice, once from the hot table.
    pub fn drain<E: From<ShuffleError>>(
        &mut self,
        mut to: impl FnMut(u64, A::Key, A::Combined) -> Result<(), E>,
    ) -> Result<(), E> {
        self.full = false;
        let mut hot = self.take_hot();
        self.pool = Vec::new();
        for p in 0..self.parts.len() {
            if let Some(hot) = hot.get_mut(p) {
                hot.drain().try_for_each(|(hash, key, value)| to(hash, key, value))?;
            }
            self.combine(p);
            let part = &mut self.parts[p];
            part.combined_heap = 0;
            part.combined.drain().try_for_each(|(hash, key, value)| to(hash, key, value))?;
            self.chunks -= self.pool.len();
            self.pool = Vec::new();
        }
        if self.parts.is_empty() {
            hot.iter_mut().try_for_each(|e| e.drain().try_for_each(|(hash, key, value)| to(hash, key, value)))?;
        }
        self.combined_bytes = 0;
        self.seen = 0;
        self.scratch = Index::default();
        (self.hot_on, self.hot_most, self.asked, self.hits) = (true, HOT, 0, 0);
        let used = self.used();
        self.memory.force(used);
        Ok(())
    }

    /// The hot entries by part, each part's in the order in which they came; all in one where there are no parts.
    fn take_hot(&mut self) -> Vec<Entries<A::Key, A::Combined>> {
        let mut hot = std::mem::take(&mut self.hot);
        (self.index, self.hot_heap) = (Index::default(), Growing::default());
        if self.parts.is_empty() {
            let mut all: Vec<_> = hot.drain().collect();
            all.sort_by_key(|(hash, ..)| digit(*hash, 0));
            all.into_iter().for_each(|(hash, key, value)| hot.push(hash, key, value));
            return vec![hot];
        }
        let mut parts: Vec<Entries<_, _>> = (0..PARTS).map(|_| Entries::default()).collect();
        hot.drain().for_each(|(hash, key, value)| parts[digit(hash, 0)].push(hash, key, value));
        parts
    }

    /// Ends the input.
    pub fn finish(mut self) -> Result<Aggregated<A>, TaskFailure> {
        if self.spilled.is_some() {
            self.spill()?;
        }
        match self.spilled.take() {
            None => {
                let hot = self.take_hot();
                let source = Source::Memory { table: Box::new(self), hot, part: 0 };
                Ok(Aggregated { source, current: Vec::new().into_iter().zip(Vec::new()) })
            }
            Some(file) => {
                let Aggregation { how, spills, memory, .. } = self;
                let source = Source::Disk(Box::new(Merge::new(how, spills, memory, file.finish()?)));
                Ok(Aggregated { source, current: Vec::new().into_iter().zip(Vec::new()) })
            }
        }
    }

    /// Everything of one part, combined.
    fn take_part(&mut self, p: usize, hot: Entries<A::Key, A::Combined>) -> Entries<A::Key, A::Combined> {
        if hot.len() > 0 {
            // Before the rest, as they came first.
            let part = &mut self.parts[p];
            let later = std::mem::replace(&mut part.combined, hot);
            if later.len() > 0 {
                part.combined.index_into(&mut self.scratch, later.len());
                let (mut later, how) = (later, &self.how);
                for (hash, key, value) in later.drain() {
                    let merge = |a, b| how.merge_combined(a, b);
                    part.combined.upsert(&mut self.scratch, hash, key, value, |c| c, merge);
                }
            }
        }
        self.combine(p);
        let part = &mut self.parts[p];
        let taken = std::mem::take(&mut part.combined);
        self.combined_bytes = self.combined_bytes.saturating_sub(taken.bytes() + part.combined_heap);
        // Every eighth part is enough to tell the others.
        if p % 8 == 7 {
            self.chunks -= self.pool.len();
            self.pool = Vec::new();
            let used = self.used();
            if used < self.memory.held() {
                self.memory.force(used);
            }
        }
        taken
    }
}

enum Source<A: Combine> {
    Memory { table: Box<Aggregation<A>>, hot: Vec<Entries<A::Key, A::Combined>>, part: usize },
    Disk(Box<Merge<A>>),
}

/// The entries of one part.
type Entering<A> = Zip<IntoIter<(u64, <A as Combine>::Key)>, IntoIter<<A as Combine>::Combined>>;

/// What an [`Aggregation`] came to.
pub struct Aggregated<A: Combine> {
    source: Source<A>,
    current: Entering<A>,
}

impl<A: Combine> Aggregated<A> {
    /// The next entries, about `most`; none of them only at the end, as `None`.
    pub fn next_batch(&mut self, most: usize) -> Result<Option<Vec<(A::Key, A::Combined)>>, TaskFailure> {
        let mut batch = Vec::with_capacity(self.current.len().min(most));
        loop {
            let room = most - batch.len();
            batch.extend(self.current.by_ref().take(room).map(|((_, key), value)| (key, value)));
            if batch.len() >= most {
                break;
            }
            let Some(entries) = self.next_part()? else { break };
            batch.reserve(entries.len().min(most - batch.len()));
            self.current = entries.keys.into_iter().zip(entries.values);
        }
        Ok(if batch.is_empty() { None } else { Some(batch) })
    }

    fn next_part(&mut self) -> Result<Option<Entries<A::Key, A::Combined>>, TaskFailure> {
        match &mut self.source {
            Source::Disk(merge) => merge.next_part(),
            Source::Memory { table, hot, part } => {
                let p = *part;
                *part += 1;
                let hot = hot.get_mut(p).map(std::mem::take);
                if table.parts.is_empty() {
                    return Ok(hot);
                }
                if p >= table.parts.len() {
                    table.memory.force(0);
                    return Ok(None);
                }
                Ok(Some(table.take_part(p, hot.unwrap_or_default())))
            }
        }
    }
}

#[cfg(test)]
#[path = "aggregate_tests.rs"]
mod tests;
