//! Joining by key in bounded memory: one side is built into a table, the other one is streamed past it.
//!
//! ```text
//!  build rows ─▶ table ◀─(a batch at a time)─ probe rows ─▶ output
//!       └─(no memory: both sides are split by hash to disk)─▶ the same, pair of parts after pair of parts
//! ```
//!
//! The table is compact: the rows in one vector, the index in another. A probe above cache size is a miss in each; all
//! the index places of a batch are looked at before any row is, so that the misses overlap.
//!
//! The output comes in the order of the probe side, and for each of its rows in that of the build side; where the table
//! did not fit into memory, part by part.

use std::{mem::needs_drop, vec::IntoIter};

use firesteel_common::{TaskFailure, hash::fixed_hash, size::Filling};
use firesteel_storage::Reservation;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Spills,
    aggregate::heap_bytes,
    index::{Found, Index},
    spill::{MAX_LEVEL, NEXT_BITS, SpillReader, Spilled, Splitter},
};

/// What a join makes of its rows.
pub trait JoinShape {
    /// The key.
    type Key: std::hash::Hash + Eq + Clone + Serialize + DeserializeOwned + 'static;
    /// A value of the side that is built into the table.
    type Build: Clone + Serialize + DeserializeOwned + 'static;
    /// A value of the side that is streamed.
    type Probe: Clone + Serialize + DeserializeOwned + 'static;
    /// What comes out.
    type Out: Serialize;
    /// Whether pairs of rows come out.
    const PAIRS: bool;
    /// Whether probe rows without a partner come out.
    const LONE_PROBE: bool;
    /// Whether build rows without a partner come out.
    const LONE_BUILD: bool;

    /// Of a pair. Asked only if [`JoinShape::PAIRS`].
    fn pair(key: Self::Key, probe: Self::Probe, build: Self::Build) -> Option<Self::Out>;
    /// Of a probe row without a partner. Asked only if [`JoinShape::LONE_PROBE`].
    fn lone_probe(key: Self::Key, probe: Self::Probe) -> Option<Self::Out>;
    /// Of a build row without a partner. Asked only if [`JoinShape::LONE_BUILD`].
    fn lone_build(key: Self::Key, build: Self::Build) -> Option<Self::Out>;
}

/// Rows, batch by batch.
pub trait Rows<T> {
    /// The next rows; `None` at the end.
    fn next_rows(&mut self) -> Result<Option<Vec<T>>, TaskFailure>;
}

impl<T: DeserializeOwned> Rows<T> for SpillReader<T> {
    fn next_rows(&mut self) -> Result<Option<Vec<T>>, TaskFailure> {
        self.next_batch()
    }
}

type Built<S> = (u64, <S as JoinShape>::Key, <S as JoinShape>::Build);
type Probed<S> = (<S as JoinShape>::Key, <S as JoinShape>::Probe);

/// Both sides, split.
struct Level {
    build: Spilled,
    probe: Spilled,
    level: u32,
    next: u32,
}

/// The rows of one side by key.
struct Table<S: JoinShape> {
    rows: Vec<Built<S>>,
    index: Index,
    /// Of each row the next one with the same key, from 1; 0 at the last one.
    next: Vec<u32>,
    /// Which rows had a partner, if that matters.
    met: Vec<bool>,
}

impl<S: JoinShape> Table<S> {
    fn new() -> Self {
        Table { rows: Vec::new(), index: Index::default(), next: Vec::new(), met: Vec::new() }
    }

    /// Bytes of a row with its part of the index.
    const ROW: u64 = (size_of::<Built<S>>() + size_of::<u32>() + 4 * size_of::<u64>() + 1) as u64;

    fn index(&mut self) {
        self.index.reset(self.rows.len());
        self.next = vec![0; self.rows.len()];
        if S::LONE_BUILD {
            self.met = vec![false; self.rows.len()];
        }
        // Backwards, so that each row becomes the first of those with its key.
        for i in (0..self.rows.len()).rev() {
            let (hash, key, _) = &self.rows[i];
            match self.index.find(*hash, |j| self.rows[j].0 == *hash && self.rows[j].1 == *key) {
                Found::Slot(slot) => self.index.fill(slot, *hash, i),
                Found::Entry(j) => {
                    self.next[i] = j as u32 + 1;
                    self.index.replace(*hash, j, i);
                }
            }
        }
    }

    /// The first row with this key. `candidate` is one that [`Index::candidate`] gave.
    #[inline]
    fn first(&self, hash: u64, key: &S::Key, candidate: u32) -> Option<usize> {
        let at = candidate.checked_sub(1)? as usize;
        if self.rows[at].1 == *key {
            return Some(at);
        }
        match self.index.find(hash, |j| self.rows[j].0 == hash && self.rows[j].1 == *key) {
            Found::Entry(at) => Some(at),
            Found::Slot(_) => None,
        }
    }
}

/// A join that is running. Spark: `ShuffledHashJoin`.
pub struct HashJoin<S: JoinShape> {
    spills: Spills,
    memory: Reservation,
    table: Table<S>,
    probe: Option<Box<dyn Rows<Probed<S>>>>,
    /// The current batch, its hashes and candidates (from 1; 0 is none), and how far it is done.
    batch: IntoIter<Probed<S>>,
    hashes: Vec<u64>,
    candidates: Vec<u32>,
    at: usize,
    /// A probe row whose partners did not all fit into the last output, and the next of them.
    unfinished: Option<(S::Key, S::Probe, usize)>,
    /// The build rows without a partner are being looked for.
    rest: Option<IntoIter<Built<S>>>,
    rest_at: usize,
    levels: Vec<Level>,
    /// How large the output is that is being made: a large value may come out once for each row of the other side.
    filling: Filling,
    full: bool,
}

impl<S: JoinShape> HashJoin<S> {
    /// Reads all of `build`; `probe` is read as output is asked for.
    pub fn new(
        mut build: impl Rows<(S::Key, S::Build)>,
        probe: impl FnOnce() -> Result<Box<dyn Rows<Probed<S>>>, TaskFailure>,
        spills: &Spills,
    ) -> Result<Self, TaskFailure> {
        let mut join = HashJoin {
            spills: spills.clone(),
            memory: spills.reserve("join"),
            table: Table::new(),
            probe: None,
            batch: Vec::new().into_iter(),
            hashes: Vec::new(),
            candidates: Vec::new(),
            at: 0,
            unfinished: None,
            rest: None,
            rest_at: 0,
            levels: Vec::new(),
            filling: Filling::default(),
            full: false,
        };
        let split = join.build(&mut build, 0)?;
        drop(build);
        let mut probe = probe()?;
        match split {
            Some(split) => join.split_probe(split, &mut *probe, 1)?,
            None => join.probe = Some(probe),
        }
        Ok(join)
    }

    /// Fills the table; or, where it does not fit, splits the rows and returns them.
    fn build(&mut self, build: &mut dyn Rows<(S::Key, S::Build)>, level: u32) -> Result<Option<Splitter>, TaskFailure> {
        let mut heap = 0u64;
        let rows = &mut self.table.rows;
        while let Some(batch) = build.next_rows()? {
            if needs_drop::<(S::Key, S::Build)>() {
                let step = batch.len().div_ceil(16).max(1);
                let sample = batch.iter().step_by(step);
                heap += sample.map(|(k, b)| heap_bytes(k) + heap_bytes(b)).sum::<u64>() * step as u64;
            }
            let wanted = rows.len() + batch.len();
            let more = if wanted > rows.capacity() { wanted.max(rows.capacity() / 2 * 3) - rows.len() } else { 0 };
            // While it grows, the old vector is there as well.
            let moved = if more > 0 { (rows.len() * size_of::<Built<S>>()) as u64 } else { 0 };
            let bytes = (rows.len() + more).max(rows.capacity()) as u64 * Table::<S>::ROW + moved + heap;
            let granted = bytes <= self.memory.held() || self.memory.resize(bytes + (bytes / 8).min(8 << 20));
            let too_many = wanted >= u32::MAX as usize;
            if !granted {
                // What has equal hashes cannot be split.
                let alike = rows.iter().all(|row| row.0 == rows[0].0);
                if level == MAX_LEVEL || bytes <= self.spills.floor() / 4 || (alike && !rows.is_empty()) {
                    self.memory.force(bytes);
                } else {
                    return self.split_build(batch, build, level + 1).map(Some);
                }
            }
            if too_many {
                let message = "more than four billion rows on one side of a join's partition; use more partitions";
                return Err(TaskFailure::Exception { message: message.into(), location: String::new(), panic: false });
            }
            rows.reserve_exact(more);
            rows.extend(batch.into_iter().map(|(key, value)| (fixed_hash(&key), key, value)));
        }
        self.table.index();
        Ok(None)
    }

    fn split_build(
        &mut self,
        batch: Vec<(S::Key, S::Build)>,
        rest: &mut dyn Rows<(S::Key, S::Build)>,
        level: u32,
    ) -> Result<Splitter, TaskFailure> {
        let mut split = Splitter::new(&self.spills, level)?;
        for (hash, key, value) in std::mem::take(&mut self.table.rows) {
            split.write(hash, &(key, value))?;
        }
        self.memory.force(2 * Splitter::BYTES);
        let mut batch = Some(batch);
        while let Some(rows) = batch {
            rows.iter().try_for_each(|row| split.write(fixed_hash(&row.0), row))?;
            batch = rest.next_rows()?;
        }
        Ok(split)
    }

    fn split_probe(&mut self, build: Splitter, probe: &mut dyn Rows<Probed<S>>, level: u32) -> Result<(), TaskFailure> {
        let build = build.finish()?;
        let mut split = Splitter::new(&self.spills, level)?;
        while let Some(rows) = probe.next_rows()? {
            rows.iter().try_for_each(|row| split.write(fixed_hash(&row.0), row))?;
        }
        self.levels.push(Level { build, probe: split.finish()?, level, next: 0 });
        self.memory.force(0);
        Ok(())
    }

    /// The next output, `most` long if there is so much, or shorter where that is a megabyte; `None` at the end.
    pub fn next_batch(&mut self, most: usize) -> Result<Option<Vec<S::Out>>, TaskFailure> {
        self.filling.begin();
        self.full = false;
        let mut out = Vec::with_capacity(self.filling.room(most));
        while out.len() < most && !self.full {
            if let Some((key, probe, at)) = self.unfinished.take() {
                self.pairs(key, probe, at, most, &mut out);
            } else if self.batch.len() > 0 {
                self.probe_rows(most, &mut out);
            } else if self.rest.is_some() {
                self.lone_rows(most, &mut out);
            } else if let Some(probe) = &mut self.probe {
                match probe.next_rows()? {
                    Some(rows) => self.look_up(rows),
                    None => self.end_of_probe(),
                }
            } else if !self.next_part()? {
                break;
            }
        }
        Ok(if out.is_empty() { None } else { Some(out) })
    }

    /// Finds the candidates of a batch, one independent of the other.
    fn look_up(&mut self, rows: Vec<Probed<S>>) {
        let index = &self.table.index;
        self.hashes.clear();
        self.hashes.extend(rows.iter().map(|(key, _)| fixed_hash(key)));
        self.candidates.clear();
        let candidate = |hash: &u64| index.candidate(*hash).map_or(0, |entry| entry as u32 + 1);
        self.candidates.extend(self.hashes.iter().map(candidate));
        self.at = 0;
        self.batch = rows.into_iter();
    }

    fn probe_rows(&mut self, most: usize, out: &mut Vec<S::Out>) {
        while out.len() < most && !self.full && self.unfinished.is_none() {
            let Some((key, probe)) = self.batch.next() else { break };
            let (hash, candidate) = (self.hashes[self.at], self.candidates[self.at]);
            self.at += 1;
            match self.table.first(hash, &key, candidate) {
                Some(first) if S::PAIRS || S::LONE_BUILD => self.pairs(key, probe, first, most, out),
                Some(_) => {}
                None if S::LONE_PROBE => self.put(S::lone_probe(key, probe), out),
                None => {}
            }
        }
    }

    /// A probe row with its partners from `at` on.
    #[inline]
    fn pairs(&mut self, key: S::Key, probe: S::Probe, mut at: usize, most: usize, out: &mut Vec<S::Out>) {
        loop {
            if S::LONE_BUILD {
                if self.table.met[at] && !S::PAIRS {
                    return;
                }
                self.table.met[at] = true;
            }
            let Some(next) = self.table.next[at].checked_sub(1).map(|next| next as usize) else {
                if S::PAIRS {
                    self.put(S::pair(key, probe, self.table.rows[at].2.clone()), out);
                }
                return;
            };
            if S::PAIRS {
                self.put(S::pair(key.clone(), probe.clone(), self.table.rows[at].2.clone()), out);
                if out.len() >= most || self.full {
                    self.unfinished = Some((key, probe, next));
                    return;
                }
            }
            at = next;
        }
    }

    /// Adds what came out, if anything did.
    #[inline]
    fn put(&mut self, x: Option<S::Out>, out: &mut Vec<S::Out>) {
        if let Some(x) = x {
            self.full |= self.filling.is_full_with(&x);
            out.push(x);
        }
    }

    fn end_of_probe(&mut self) {
        self.probe = None;
        let rows = std::mem::take(&mut self.table.rows);
        if S::LONE_BUILD {
            self.rest = Some(rows.into_iter());
            self.rest_at = 0;
        } else {
            self.clear();
        }
    }

    fn lone_rows(&mut self, most: usize, out: &mut Vec<S::Out>) {
        while out.len() < most && !self.full {
            let Some((_, key, value)) = self.rest.as_mut().and_then(Iterator::next) else {
                self.rest = None;
                self.clear();
                return;
            };
            if !self.table.met[self.rest_at] {
                self.put(S::lone_build(key, value), out);
            }
            self.rest_at += 1;
        }
    }

    /// Frees the table.
    fn clear(&mut self) {
        self.table = Table::new();
        self.memory.force(0);
    }

    /// Goes to the next pair of parts; false when there is none.
    fn next_part(&mut self) -> Result<bool, TaskFailure> {
        loop {
            let Some(level) = self.levels.last_mut() else { return Ok(false) };
            if level.next == 1 << NEXT_BITS {
                self.levels.pop();
                continue;
            }
            let (part, number) = (level.next, level.level);
            level.next += 1;
            let (no_build, no_probe) = (level.build.is_empty(part), level.probe.is_empty(part));
            if (no_build && (no_probe || !S::LONE_PROBE)) || (no_probe && !S::LONE_BUILD) {
                continue;
            }
            let mut build = level.build.read::<(S::Key, S::Build)>(part);
            let mut probe = level.probe.read::<Probed<S>>(part);
            match self.build(&mut build, number)? {
                None => {
                    self.probe = Some(Box::new(probe));
                    return Ok(true);
                }
                Some(split) => self.split_probe(split, &mut probe, number + 1)?,
            }
        }
    }
}

#[cfg(test)]
#[path = "join_tests.rs"]
mod tests;
