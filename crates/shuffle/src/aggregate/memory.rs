//! The memory of an aggregation: how much it takes, what it does when it is refused more. [`Aggregation::insert_all`] comes
//! here once in a thousand rows.

use firesteel_common::TaskFailure;

use super::{
    Aggregation, Combine,
    aggregation::{CHECK_ROWS, PARTS},
    heap_bytes,
    part::{Part, Row},
};
use crate::spill::digit;

impl<A: Combine> Aggregation<A> {
    /// Bytes that it takes.
    pub(super) fn used(&self) -> u64 {
        let chunk = (self.chunk_rows * size_of::<Row<A>>()) as u64 + 16;
        let parts = (self.parts.len() * size_of::<Part<A>>()) as u64;
        self.hot.bytes()
            + self.index.bytes()
            + self.hot_heap.measured
            + self.hot_heap.added
            + parts
            + chunk * self.chunks as u64
            + self.combined_bytes
            + if Self::ROW_HEAP { self.row_heap.times(self.chunks * self.chunk_rows) } else { 0 }
            + self.scratch.bytes()
    }

    /// Whether it may take `bytes`; asks for some more than that, so that it need not ask often.
    pub(super) fn may_hold(&mut self, bytes: u64) -> bool {
        if bytes <= self.memory.held() {
            return true;
        }
        if self.limit.is_some_and(|limit| bytes > limit) {
            return false;
        }
        if self.memory.resize(bytes + (bytes / 8).clamp(64 << 10, 8 << 20)) || self.memory.resize(bytes) {
            return true;
        }
        self.was_short = true;
        if bytes > self.spills.floor() {
            return false;
        }
        self.memory.force(bytes);
        true
    }

    /// Looks at the memory: measures, and combines or spills where it is short.
    #[cold]
    #[inline(never)]
    pub(super) fn check(&mut self) -> Result<(), TaskFailure> {
        if self.hot_on && self.asked as usize >= 16 * CHECK_ROWS {
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
        self.was_short |= asked;
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
    pub(super) fn combine(&mut self, p: usize) {
        let part = &mut self.parts[p];
        let chunks = std::mem::take(&mut part.rows);
        let rows: usize = chunks.iter().map(Vec::len).sum();
        if rows == 0 {
            return;
        }
        let before = part.combined.bytes() + part.combined_heap;
        part.combined.index_into(&mut self.scratch, rows);
        let how = &self.how;
        self.chunks -= chunks.len();
        for chunk in chunks {
            let merge = |c, v| how.merge_value(c, v);
            part.combined.put_all(&mut self.scratch, chunk, &mut self.places, |v| how.create(v), merge);
        }
        part.combined.shrink();
        part.combined_heap = part.combined.heap(64);
        self.combined_bytes = (self.combined_bytes + part.combined.bytes() + part.combined_heap).saturating_sub(before);
    }

    /// Writes all that there is, and begins anew.
    pub(super) fn spill(&mut self) -> Result<(), TaskFailure> {
        let mut file = match self.spilled.take() {
            Some(file) => file,
            None => self.spills.file()?,
        };
        self.drain_with(|how, hash, key, value| {
            let part = digit(hash, 0) as u32;
            how.pieces(value, |piece| file.write_as::<(A::Key, A::Combined), _>(part, &(&key, &piece)))
        })?;
        file.seal()?;
        self.spilled = Some(file);
        Ok(())
    }
}
