//! The entries of a table, whose index is kept apart. Those of an aggregation and of the merge of what it spilled.

use std::mem::needs_drop;

use serde::Serialize;

use super::heap_bytes;
use crate::index::{Found, Index};

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
