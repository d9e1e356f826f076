//! The entries of a table, whose index is kept apart. Those of an aggregation and of the merge of what it spilled.

use std::mem::needs_drop;

use serde::Serialize;

use super::heap_bytes;
use crate::index::{Found, Index};

/// Where the rows of a batch belong, found out before any of them is moved.
///
/// A row that is moved is written in pieces. Who reads it right afterwards in other pieces, as hashing and comparing do,
/// or the look at an `Option` around it, waits until all writes before have reached the cache: that took a quarter of the
/// time of a word count. So rows are hashed and compared where they lie, and moved once.
#[derive(Default)]
pub(crate) struct Places {
    /// Of each row the number of its entry.
    pub of: Vec<u32>,
    /// The rows that make new entries.
    new: Vec<u32>,
}

impl Places {
    /// For a row without an entry.
    pub const NONE: u32 = u32::MAX;
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
    pub fn change(&mut self, at: usize, change: impl FnOnce(C) -> C) {
        let last = self.values.len() - 1;
        let value = self.values.swap_remove(at);
        self.values.push(change(value));
        self.values.swap(at, last);
    }

    /// Finds out where each of `rows` rows belongs, of which `row` gives hash and key. A new key gets the next number
    /// as long as that is below `most`; its entry is to be pushed by [`Entries::put`]. The index must have room for them.
    #[inline]
    pub fn place<'a>(
        &self,
        index: &mut Index,
        rows: usize,
        row: impl Fn(usize) -> (u64, &'a K),
        most: usize,
        places: &mut Places,
    ) where
        K: 'a,
    {
        let Places { of, new } = places;
        of.clear();
        new.clear();
        for i in 0..rows {
            let (hash, key) = row(i);
            let is_it = |at: usize| match self.keys.get(at) {
                Some((h, k)) => *h == hash && k == key,
                None => row(new[at - self.len()] as usize) == (hash, key),
            };
            of.push(match index.find(hash, is_it) {
                Found::Entry(at) => at as u32,
                Found::Slot(slot) => {
                    let at = self.len() + new.len();
                    if at < most {
                        index.fill(slot, hash, at);
                        new.push(i as u32);
                        at as u32
                    } else {
                        Places::NONE
                    }
                }
            });
        }
    }

    /// Gives `value` to the key whose place is `at`. The rows of a batch come in its order.
    #[inline]
    pub fn put<V>(
        &mut self,
        at: u32,
        (hash, key, value): (u64, K, V),
        create: impl FnOnce(V) -> C,
        merge: impl FnOnce(C, V) -> C,
    ) {
        if at as usize == self.len() {
            self.push(hash, key, create(value));
        } else {
            self.change(at as usize, |c| merge(c, value));
        }
    }

    /// Gives all values to their keys. The index must have room.
    pub fn put_all<V>(
        &mut self,
        index: &mut Index,
        rows: Vec<(u64, K, V)>,
        places: &mut Places,
        create: impl Fn(V) -> C,
        merge: impl Fn(C, V) -> C,
    ) {
        self.place(index, rows.len(), |i| (rows[i].0, &rows[i].1), usize::MAX, places);
        let mut at = 0;
        // Not a `for` loop: see `Places`.
        rows.into_iter().for_each(|row| {
            self.put(places.of[at], row, &create, &merge);
            at += 1;
        });
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
