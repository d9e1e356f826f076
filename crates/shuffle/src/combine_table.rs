//! The in-memory table of aggregations, on both sides of a shuffle and in joins.

use hashbrown::{
    HashTable,
    hash_table::{self, Entry},
};

/// Keys with their combined values.
///
/// The caller hashes each key once (`fixed_hash`) and hands the hash in; the table keeps it, so that neither growing nor
/// partitioning afterwards hashes again. Entries lie in the table itself: above cache size a second place to look at,
/// which an order of insertion would need, doubled the time of a lookup.
///
/// The order of its contents depends on nothing but the calls made: equal calls give equal orders in every process of
/// one build.
///
/// ```
/// use firesteel_common::hash::fixed_hash;
/// use firesteel_shuffle::CombineTable;
///
/// let mut counts = CombineTable::new();
/// for word in ["to", "be", "to"] {
///     counts.upsert(fixed_hash(word), word, 1, |n| n, |sum, n| *sum += n);
/// }
/// assert_eq!(counts.get(fixed_hash("to"), &"to"), Some(&2));
/// assert_eq!(counts.into_iter().map(|(_hash, _word, n)| n).sum::<i32>(), 3);
/// ```
pub struct CombineTable<K, C> {
    table: HashTable<Slot<K, C>>,
}

type Slot<K, C> = (u64, K, C);

/// What the table works by. It takes its tags from the top seven bits, where the keys of one partition are alike, and
/// its places from the low ones: the low seven bits go to the top.
#[inline]
fn place(hash: u64) -> u64 {
    hash.rotate_right(7)
}

impl<K: Eq, C> Default for CombineTable<K, C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Eq, C> CombineTable<K, C> {
    /// An empty table, which allocates nothing yet.
    pub fn new() -> Self {
        CombineTable { table: HashTable::new() }
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
        match self.table.entry(place(hash), |slot| slot.1 == key, |slot| place(slot.0)) {
            Entry::Occupied(mut slot) => merge(&mut slot.get_mut().2, value),
            Entry::Vacant(slot) => {
                slot.insert((hash, key, create(value)));
            }
        }
    }

    /// What `key` has.
    #[inline]
    pub fn get(&self, hash: u64, key: &K) -> Option<&C> {
        self.table.find(place(hash), |slot| slot.1 == *key).map(|slot| &slot.2)
    }

    /// What `key` has, to be changed.
    #[inline]
    pub fn get_mut(&mut self, hash: u64, key: &K) -> Option<&mut C> {
        self.get_mut_by(hash, |k| k == key)
    }

    /// What the key that `is_it` recognises has, to be changed: for lookups by a borrowed form of the key.
    #[inline]
    pub fn get_mut_by(&mut self, hash: u64, mut is_it: impl FnMut(&K) -> bool) -> Option<&mut C> {
        self.table.find_mut(place(hash), |slot| is_it(&slot.1)).map(|slot| &mut slot.2)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Bytes that the table itself takes, without what keys and values own elsewhere.
    pub fn memory_bytes(&self) -> usize {
        self.table.allocation_size()
    }

    /// The entries as (hash, key, value).
    pub fn iter(&self) -> impl Iterator<Item = (u64, &K, &C)> {
        self.table.iter().map(|(hash, key, value)| (*hash, key, value))
    }

    /// Takes all entries out as (hash, key, value) and keeps the memory for the next ones.
    pub fn drain(&mut self) -> impl Iterator<Item = (u64, K, C)> {
        self.table.drain()
    }
}

impl<K, C> IntoIterator for CombineTable<K, C> {
    type Item = (u64, K, C);
    type IntoIter = IntoIter<K, C>;

    /// Takes all entries out as (hash, key, value).
    fn into_iter(self) -> IntoIter<K, C> {
        IntoIter(self.table.into_iter())
    }
}

/// The entries of a [`CombineTable`], by value.
pub struct IntoIter<K, C>(hash_table::IntoIter<Slot<K, C>>);

impl<K, C> Iterator for IntoIter<K, C> {
    type Item = (u64, K, C);

    #[inline]
    fn next(&mut self) -> Option<(u64, K, C)> {
        self.0.next()
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
    fn keys_of_one_partition_do_not_share_their_tags() {
        let partition = |key: &u64| firesteel_common::hash::partition_of(fixed_hash(key), 128) == 5;
        let tags: std::collections::BTreeSet<u64> =
            (0..100_000u64).filter(partition).map(|key| place(fixed_hash(&key)) >> 57).collect();
        assert!(tags.len() > 100, "{} different tags", tags.len());
    }

    #[test]
    fn equal_calls_give_equal_orders() {
        let fill = || {
            let mut table = CombineTable::new();
            (0..5000u64).for_each(|key| table.upsert(fixed_hash(&key), key, key, |v| v, |_, _| ()));
            table.into_iter().map(|(_, key, _)| key).collect::<Vec<_>>()
        };
        assert_eq!(fill(), fill());
    }

    #[test]
    fn a_drained_table_starts_anew() {
        let mut table = CombineTable::new();
        for round in 0..3u64 {
            for key in (0..1000u64).rev() {
                table.upsert(fixed_hash(&key), key, round, |v| v, |c, v| *c += v);
            }
            let mut drained: Vec<_> = table.drain().collect();
            drained.sort_by_key(|e| e.1);
            assert!(table.is_empty() && table.get(fixed_hash(&5u64), &5).is_none());
            assert!(drained.iter().map(|e| e.1).eq(0..1000));
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
