//! The in-memory table of aggregations, on both sides of a shuffle and in joins.

/// Keys with their combined values, in the order in which the keys first came.
///
/// The caller hashes each key once (`fixed_hash`) and hands the hash in; the table keeps it, so that neither growing nor
/// partitioning afterwards hashes again. The order of its contents depends on nothing but the calls made.
///
/// A slot holds 32 bits of the hash beside the place of its entry: a lookup touches one slot and one entry, and growing
/// touches no entry at all. Partitions are taken from the high bits of a hash and slots from the low ones.
///
/// ```
/// use firesteel_common::hash::fixed_hash;
/// use firesteel_shuffle::CombineTable;
///
/// let mut counts = CombineTable::new();
/// for word in ["to", "be", "to"] {
///     counts.upsert(fixed_hash(word), word, 1, |n| n, |sum, n| *sum += n);
/// }
/// let counts: Vec<_> = counts.into_iter().map(|(_hash, word, n)| (word, n)).collect();
/// assert_eq!(counts, [("to", 2), ("be", 1)]);
/// ```
pub struct CombineTable<K, C> {
    /// Linear probing; 0 is free, else the low 32 bits of the hash above the entry's number plus one.
    slots: Vec<u64>,
    entries: Vec<Entry<K, C>>,
    /// Entries that fit before the slots must grow.
    grow_at: usize,
}

struct Entry<K, C> {
    hash: u64,
    key: K,
    value: C,
}

const FIRST_SLOTS: usize = 16;

impl<K: Eq, C> Default for CombineTable<K, C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Eq, C> CombineTable<K, C> {
    /// An empty table, which allocates nothing yet.
    pub fn new() -> Self {
        CombineTable { slots: Vec::new(), entries: Vec::new(), grow_at: 0 }
    }

    /// Gives `value` to `key`: by `create` when the key is new, else by `merge` into what is there.
    ///
    /// `hash` must be the hash of `key`, by the same function in all calls.
    ///
    /// A merge that works by value uses `C = Option<X>`: `|c, v| *c = c.take().map(|c| f(c, v))`.
    #[inline]
    pub fn upsert<V>(
        &mut self,
        hash: u64,
        key: K,
        value: V,
        create: impl FnOnce(V) -> C,
        merge: impl FnOnce(&mut C, V),
    ) {
        if self.entries.len() >= self.grow_at {
            self.grow();
        }
        let mask = self.slots.len() - 1;
        let tag = hash as u32;
        let mut at = tag as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                self.slots[at] = u64::from(tag) << 32 | (self.entries.len() as u64 + 1);
                self.entries.push(Entry { hash, key, value: create(value) });
                return;
            }
            if (slot >> 32) as u32 == tag {
                let entry = &mut self.entries[(slot as u32 - 1) as usize];
                if entry.key == key {
                    return merge(&mut entry.value, value);
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// The number of the entry whose hash is `hash` and whose key `is_it` recognises.
    #[inline]
    fn find(&self, hash: u64, mut is_it: impl FnMut(&K) -> bool) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let tag = hash as u32;
        let mut at = tag as usize & mask;
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return None;
            }
            if (slot >> 32) as u32 == tag {
                let number = (slot as u32 - 1) as usize;
                if is_it(&self.entries[number].key) {
                    return Some(number);
                }
            }
            at = (at + 1) & mask;
        }
    }

    /// What `key` has.
    #[inline]
    pub fn get(&self, hash: u64, key: &K) -> Option<&C> {
        self.find(hash, |k| k == key).map(|number| &self.entries[number].value)
    }

    /// What `key` has, to be changed.
    #[inline]
    pub fn get_mut(&mut self, hash: u64, key: &K) -> Option<&mut C> {
        self.find(hash, |k| k == key).map(|number| &mut self.entries[number].value)
    }

    /// What the key that `is_it` recognises has, to be changed: for lookups by a borrowed form of the key.
    #[inline]
    pub fn get_mut_by(&mut self, hash: u64, is_it: impl FnMut(&K) -> bool) -> Option<&mut C> {
        self.find(hash, is_it).map(|number| &mut self.entries[number].value)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes that the table itself takes, without what keys and values own elsewhere.
    pub fn memory_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u64>() + self.entries.capacity() * size_of::<Entry<K, C>>()
    }

    /// The entries as (hash, key, value), in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &K, &C)> {
        self.entries.iter().map(|e| (e.hash, &e.key, &e.value))
    }

    /// Takes all entries out as (hash, key, value), in order, and keeps the memory for the next ones.
    pub fn drain(&mut self) -> impl Iterator<Item = (u64, K, C)> {
        self.slots.fill(0);
        self.entries.drain(..).map(|e| (e.hash, e.key, e.value))
    }

    #[cold]
    #[inline(never)]
    fn grow(&mut self) {
        let old = std::mem::take(&mut self.slots);
        let size = (old.len() * 2).max(FIRST_SLOTS);
        assert!(size <= 1 << 32, "more than two billion keys in one partition; use more partitions");
        let mut slots = vec![0; size];
        let mask = size - 1;
        for slot in old.into_iter().filter(|slot| *slot != 0) {
            let mut at = (slot >> 32) as usize & mask;
            while slots[at] != 0 {
                at = (at + 1) & mask;
            }
            slots[at] = slot;
        }
        self.slots = slots;
        self.grow_at = size / 8 * 5;
    }
}

impl<K, C> IntoIterator for CombineTable<K, C> {
    type Item = (u64, K, C);
    type IntoIter = IntoIter<K, C>;

    /// Takes all entries out as (hash, key, value), in order.
    fn into_iter(self) -> IntoIter<K, C> {
        IntoIter(self.entries.into_iter())
    }
}

/// The entries of a [`CombineTable`], by value.
pub struct IntoIter<K, C>(std::vec::IntoIter<Entry<K, C>>);

impl<K, C> Iterator for IntoIter<K, C> {
    type Item = (u64, K, C);

    #[inline]
    fn next(&mut self) -> Option<(u64, K, C)> {
        self.0.next().map(|e| (e.hash, e.key, e.value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<K, C> ExactSizeIterator for IntoIter<K, C> {}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use firesteel_common::hash::fixed_hash;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn equal_hashes_of_different_keys_stay_apart() {
        let mut table = CombineTable::new();
        for key in 0..100 {
            table.upsert(42, key, 1, |v| v, |c, v| *c += v);
            table.upsert(42, key, 1, |v| v, |c, v| *c += v);
        }
        assert_eq!(table.len(), 100);
        assert!((0..100).all(|key| table.get(42, &key) == Some(&2)));
        assert_eq!(table.get(42, &100), None);
        assert_eq!(table.get(43, &1), None);
    }

    #[test]
    fn a_drained_table_starts_anew_and_keeps_the_order() {
        let mut table = CombineTable::new();
        for round in 0..3u64 {
            for key in (0..1000u64).rev() {
                table.upsert(fixed_hash(&key), key, round, |v| v, |c, v| *c += v);
            }
            let drained: Vec<_> = table.drain().collect();
            assert!(table.is_empty() && table.get(fixed_hash(&5u64), &5).is_none());
            assert!(drained.iter().map(|e| e.1).eq((0..1000).rev()));
            assert!(drained.iter().all(|e| e.2 == round && e.0 == fixed_hash(&e.1)));
        }
    }

    proptest! {
        #[test]
        fn combines_as_a_map_does(records: Vec<(u8, u32)>) {
            let mut table = CombineTable::new();
            let mut model: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
            for (k, v) in records {
                table.upsert(fixed_hash(&k), k, v, |v| vec![v], |c, v| c.push(v));
                model.entry(k).or_default().push(v);
            }
            prop_assert_eq!(table.len(), model.len());
            let got: BTreeMap<u8, Vec<u32>> = table.into_iter().map(|(_, k, c)| (k, c)).collect();
            prop_assert_eq!(got, model);
        }
    }
}
