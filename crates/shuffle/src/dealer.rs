//! How many equal elements came before one, in bounded memory: what `repartition` deals by.

use std::marker::PhantomData;

use firesteel_common::TaskFailure;
use firesteel_storage::Reservation;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    CombineTable, ShuffleError, Spills,
    spill::{NEXT_BITS, Splitter},
};

/// Counts elements by hash. When the counts exceed memory, they and all further elements are spilled, split by hash, and
/// counted part by part: each element gets the number that it would have got anyway.
pub struct Dealer<T> {
    spills: Spills,
    memory: Reservation,
    seen: CombineTable<u64, u64>,
    /// The counts, and the elements since then.
    spilled: Option<(Splitter, Splitter)>,
    element: PhantomData<fn(T) -> T>,
}

/// The digits of the hash by which it is split.
const LEVEL: u32 = 1;

impl<T: Serialize + DeserializeOwned> Dealer<T> {
    /// An empty one.
    pub fn new(spills: &Spills) -> Dealer<T> {
        let (memory, seen) = (spills.reserve("repartition"), CombineTable::new());
        Dealer { spills: spills.clone(), memory, seen, spilled: None, element: PhantomData }
    }

    /// How many elements with this hash came before; none when the element was put aside until the end.
    pub fn count(&mut self, hash: u64, element: &T) -> Result<Option<u64>, ShuffleError> {
        if let Some((_, elements)) = &mut self.spilled {
            elements.write(hash, &(hash, element))?;
            return Ok(None);
        }
        let before = next(&mut self.seen, hash);
        // A table that grows has the old one beside it.
        let bytes = 3 * self.seen.memory_bytes() as u64 / 2;
        if bytes > self.memory.held() && bytes > self.spills.floor() && !self.memory.resize(bytes) {
            let mut counts = Splitter::new(&self.spills, LEVEL)?;
            self.seen.iter().try_for_each(|(hash, _, n)| counts.write(hash, &(hash, *n)))?;
            self.seen = CombineTable::new();
            self.memory.force(2 * Splitter::BYTES);
            self.spilled = Some((counts, Splitter::new(&self.spills, LEVEL)?));
        }
        Ok(Some(before))
    }

    /// Hands out what was put aside, as (hash, equal ones before it, element).
    pub fn finish<E: From<ShuffleError> + Into<TaskFailure>>(
        mut self,
        mut to: impl FnMut(u64, u64, T) -> Result<(), E>,
    ) -> Result<(), TaskFailure> {
        let Some((counts, elements)) = self.spilled.take() else { return Ok(()) };
        let (counts, elements) = (counts.finish()?, elements.finish()?);
        for part in 0..1 << NEXT_BITS {
            if elements.is_empty(part) {
                continue;
            }
            self.seen = CombineTable::new();
            let mut reader = counts.read::<(u64, u64)>(part);
            while let Some(batch) = reader.next_batch()? {
                batch.into_iter().for_each(|(hash, n)| self.seen.upsert(hash, hash, n, |n| n, |_, _| ()));
            }
            let mut reader = elements.read::<(u64, T)>(part);
            while let Some(batch) = reader.next_batch()? {
                for (hash, element) in batch {
                    to(hash, next(&mut self.seen, hash), element).map_err(Into::into)?;
                }
                self.memory.force(self.seen.memory_bytes() as u64);
            }
        }
        Ok(())
    }
}

/// How many times `hash` came before this time.
fn next(seen: &mut CombineTable<u64, u64>, hash: u64) -> u64 {
    match seen.get_mut(hash, &hash) {
        Some(n) => {
            *n += 1;
            *n - 1
        }
        None => {
            seen.upsert(hash, hash, 1, |n| n, |_, _| ());
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use firesteel_common::hash::fixed_hash;

    use super::*;
    use crate::test_support::spills;

    fn deal(bytes: u64) -> Vec<(u64, u64)> {
        let (spills, _dir) = spills(bytes);
        let mut dealer = Dealer::new(&spills);
        let mut dealt = Vec::new();
        for i in 0..30_000u64 {
            let x = i % 10_000;
            if let Some(before) = dealer.count(fixed_hash(&x), &x).unwrap() {
                dealt.push((x, before));
            }
        }
        let at_once = dealt.len();
        let more = |_, before, x| {
            dealt.push((x, before));
            Ok::<(), ShuffleError>(())
        };
        dealer.finish(more).unwrap();
        assert!(bytes > 1 << 20 || at_once < 10_000, "nothing was put aside");
        dealt.sort_unstable();
        dealt
    }

    #[test]
    fn little_memory_changes_no_number() {
        let expected: Vec<(u64, u64)> = (0..10_000).flat_map(|x| (0..3).map(move |n| (x, n))).collect();
        assert!(deal(1 << 30) == expected);
        assert!(deal(50_000) == expected);
    }
}
