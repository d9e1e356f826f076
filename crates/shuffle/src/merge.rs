//! What an aggregation spilled, combined part by part. A part that is larger than memory is split by further bits of
//! the hash and its parts combined by themselves.

use std::mem::needs_drop;

use firesteel_common::{TaskFailure, hash::fixed_hash};
use firesteel_storage::Reservation;

use crate::{
    Spills,
    aggregate::{Combine, Entries, Places, heap_bytes},
    index::Index,
    spill::{FIRST_BITS, MAX_LEVEL, NEXT_BITS, SpillReader, Spilled, Splitter},
};

/// One spill file whose parts are to be read.
struct Level {
    file: Spilled,
    /// By whose digits it is split.
    level: u32,
    next: u32,
}

/// Yields the combined entries of spill files, part after part.
pub(crate) struct Merge<A: Combine> {
    how: A,
    spills: Spills,
    memory: Reservation,
    index: Index,
    places: Places,
    /// The last one is being read; it holds a part of the one before.
    levels: Vec<Level>,
}

impl<A: Combine> Merge<A> {
    pub fn new(how: A, spills: Spills, memory: Reservation, file: Spilled) -> Self {
        let levels = vec![Level { file, level: 0, next: 0 }];
        Merge { how, spills, memory, index: Index::default(), places: Places::default(), levels }
    }

    /// The entries of the next part.
    pub fn next_part(&mut self) -> Result<Option<Entries<A::Key, A::Combined>>, TaskFailure> {
        loop {
            let Some(level) = self.levels.last_mut() else {
                self.memory.force(0);
                return Ok(None);
            };
            let parts = 1 << if level.level == 0 { FIRST_BITS } else { NEXT_BITS };
            if level.next == parts {
                self.levels.pop();
                continue;
            }
            let part = level.next;
            level.next += 1;
            if level.file.is_empty(part) {
                continue;
            }
            let (reader, level) = (level.file.read(part), level.level);
            if let Some(entries) = self.load(reader, level)? {
                return Ok(Some(entries));
            }
        }
    }

    /// Combines a part; none when it has been split instead.
    fn load(
        &mut self,
        mut reader: SpillReader<(A::Key, A::Combined)>,
        level: u32,
    ) -> Result<Option<Entries<A::Key, A::Combined>>, TaskFailure> {
        let flat = !needs_drop::<(A::Key, A::Combined)>();
        let mut entries = Entries::default();
        let mut heap = 0;
        self.memory.call("aggregation");
        // What it found was another part's.
        self.index.reset(0);
        while let Some(batch) = reader.next_batch()? {
            if entries.len() + batch.len() > self.index.room() {
                entries.index_into(&mut self.index, entries.len().max(batch.len()));
            }
            if !flat {
                heap += batch.iter().map(|(key, value)| heap_bytes(key) + heap_bytes(value)).sum::<u64>();
            }
            let hashes: Vec<u64> = batch.iter().map(|(key, _)| fixed_hash(key)).collect();
            entries.place(&mut self.index, batch.len(), |i| (hashes[i], &batch[i].0), usize::MAX, &mut self.places);
            let (how, mut i) = (&self.how, 0);
            batch.into_iter().for_each(|(key, value)| {
                entries.put(self.places.of[i], (hashes[i], key, value), |c| c, |a, b| how.merge_combined(a, b));
                i += 1;
            });
            let fixed = entries.bytes() + self.index.bytes();
            if self.memory.held() >= fixed + heap || self.memory.resize(fixed + heap) {
                continue;
            }
            // What was merged may take less than it did.
            heap = entries.heap(256);
            if self.memory.resize(fixed + heap) || fixed + heap <= self.spills.floor() / 4 {
                continue;
            }
            if entries.len() == 1 || level == MAX_LEVEL {
                // All of a key must be there at once.
                self.memory.call("one key's values");
                self.memory.force(fixed + heap);
                continue;
            }
            self.split(entries, reader, level + 1)?;
            return Ok(None);
        }
        Ok(Some(entries))
    }

    fn split(
        &mut self,
        mut entries: Entries<A::Key, A::Combined>,
        mut reader: SpillReader<(A::Key, A::Combined)>,
        level: u32,
    ) -> Result<(), TaskFailure> {
        let mut split = Splitter::new(&self.spills, level)?;
        let how = &self.how;
        entries.drain().try_for_each(|(hash, key, value)| {
            how.pieces(value, |piece| split.write_as::<(A::Key, A::Combined), _>(hash, &(&key, &piece)))
        })?;
        self.index = Index::default();
        self.memory.force(Splitter::BYTES);
        while let Some(batch) = reader.next_batch()? {
            batch.iter().try_for_each(|record| split.write(fixed_hash(&record.0), record))?;
        }
        self.levels.push(Level { file: split.finish()?, level, next: 0 });
        self.memory.force(0);
        Ok(())
    }
}
