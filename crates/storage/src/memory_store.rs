//! Blocks in memory, within a bound. Called by [`crate::BlockManager`] and by the cache of `rdd`.

use std::{
    any::Any,
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use firesteel_common::RddId;

use crate::{BlockError, BlockId};

/// The elements of a cached partition, as the type-erased `Arc<Vec<T>>` that `rdd` made.
pub type Values = Arc<dyn Any + Send + Sync>;

/// What became of a partition that was offered to the store.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stored {
    /// It is kept. Otherwise it did not fit.
    pub stored: bool,
    /// Blocks that were dropped to make room, least recently used first.
    pub evicted: Vec<BlockId>,
}

enum Content {
    /// Can be computed again, so it may be dropped.
    Values(Values),
    /// Nobody else has it: never dropped to make room.
    Bytes(Bytes),
}

struct Entry {
    content: Content,
    size: u64,
    /// Its place in `Inner::by_age`.
    used_at: u64,
}

#[derive(Default)]
struct Inner {
    entries: HashMap<BlockId, Entry>,
    /// Droppable blocks, least recently used first.
    by_age: BTreeMap<u64, BlockId>,
    clock: u64,
    used: u64,
}

/// Cached partitions and byte blocks of one process, least recently used partitions dropped first.
///
/// A partition never pushes out partitions of its own RDD: a scan larger than the memory would otherwise drop each
/// partition just before it is wanted again.
pub struct MemoryStore {
    limit: u64,
    inner: Mutex<Inner>,
}

impl MemoryStore {
    /// A store that holds at most `limit` bytes.
    pub fn new(limit: u64) -> MemoryStore {
        MemoryStore { limit, inner: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The elements of a cached partition; counts as a use of it.
    pub fn get_values(&self, id: &BlockId) -> Option<Values> {
        let inner = &mut *self.lock();
        let entry = inner.entries.get_mut(id)?;
        let Content::Values(values) = &entry.content else { return None };
        inner.clock += 1;
        inner.by_age.remove(&entry.used_at);
        entry.used_at = inner.clock;
        inner.by_age.insert(inner.clock, *id);
        Some(values.clone())
    }

    /// Keeps the elements of a partition when they fit, `size` bytes in memory, in place of an earlier copy.
    pub fn put_values(&self, id: BlockId, values: Values, size: u64) -> Stored {
        let mut dropped = Vec::new();
        let mut inner = self.lock();
        dropped.extend(inner.remove(&id));
        let rdd = match id {
            BlockId::Rdd { rdd, .. } => Some(rdd),
            _ => None,
        };
        let (fits, evicted) = inner.make_room(size, self.limit, rdd, &mut dropped);
        if fits {
            inner.insert(id, Content::Values(values), size);
        }
        drop(inner);
        // Freeing a partition can take long: not under the lock.
        drop(dropped);
        Stored { stored: fits, evicted }
    }

    /// A byte block.
    pub fn get_bytes(&self, id: &BlockId) -> Option<Bytes> {
        match &self.lock().entries.get(id)?.content {
            Content::Bytes(bytes) => Some(bytes.clone()),
            Content::Values(_) => None,
        }
    }

    /// Keeps a byte block until it is removed; cached partitions give way to it. Returns those that did.
    pub fn put_bytes(&self, id: BlockId, bytes: Bytes) -> Result<Vec<BlockId>, BlockError> {
        let mut dropped = Vec::new();
        let mut inner = self.lock();
        dropped.extend(inner.remove(&id));
        let size = bytes.len() as u64;
        let (fits, evicted) = inner.make_room(size, self.limit, None, &mut dropped);
        if !fits {
            return Err(BlockError::OutOfMemory { id, size, used: inner.used, limit: self.limit });
        }
        inner.insert(id, Content::Bytes(bytes), size);
        drop(inner);
        Ok(evicted)
    }

    /// Removes a block; whether it was there.
    pub fn remove(&self, id: &BlockId) -> bool {
        let removed = self.lock().remove(id);
        removed.is_some()
    }

    /// Removes every cached partition of an RDD and returns their numbers in order.
    pub fn remove_rdd(&self, rdd: RddId) -> Vec<u32> {
        let mut inner = self.lock();
        let of_rdd = |id: &BlockId| match id {
            BlockId::Rdd { rdd: r, partition } if *r == rdd => Some(*partition),
            _ => None,
        };
        let mut partitions: Vec<u32> = inner.entries.keys().filter_map(of_rdd).collect();
        partitions.sort_unstable();
        let dropped: Vec<_> =
            partitions.iter().map(|&partition| inner.remove(&BlockId::Rdd { rdd, partition })).collect();
        drop(inner);
        drop(dropped);
        partitions
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.lock().used
    }

    /// The bound in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }
}

impl Inner {
    fn insert(&mut self, id: BlockId, content: Content, size: u64) {
        self.clock += 1;
        if matches!(content, Content::Values(_)) {
            self.by_age.insert(self.clock, id);
        }
        self.used += size;
        self.entries.insert(id, Entry { content, size, used_at: self.clock });
    }

    fn remove(&mut self, id: &BlockId) -> Option<Entry> {
        let entry = self.entries.remove(id)?;
        self.by_age.remove(&entry.used_at);
        self.used -= entry.size;
        Some(entry)
    }

    /// Drops the oldest partitions, none of RDD `keep`, until `size` more bytes fit. Drops none when that cannot help.
    fn make_room(
        &mut self,
        size: u64,
        limit: u64,
        keep: Option<RddId>,
        dropped: &mut Vec<Entry>,
    ) -> (bool, Vec<BlockId>) {
        let mut victims = Vec::new();
        let mut used = self.used;
        for id in self.by_age.values() {
            if used.saturating_add(size) <= limit {
                break;
            }
            if !matches!(id, BlockId::Rdd { rdd, .. } if Some(*rdd) == keep) {
                used -= self.entries.get(id).map_or(0, |entry| entry.size);
                victims.push(*id);
            }
        }
        if used.saturating_add(size) > limit {
            return (false, Vec::new());
        }
        dropped.extend(victims.iter().filter_map(|id| self.remove(id)));
        (true, victims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rdd(rdd: u32, partition: u32) -> BlockId {
        BlockId::Rdd { rdd: RddId(rdd), partition }
    }

    fn values() -> Values {
        Arc::new(vec![1u8])
    }

    #[test]
    fn the_least_recently_used_partition_goes_first() {
        let store = MemoryStore::new(100);
        for p in 0..3 {
            assert!(store.put_values(rdd(1, p), values(), 30).stored);
        }
        assert!(store.get_values(&rdd(1, 0)).is_some());
        let put = store.put_values(rdd(2, 0), values(), 40);
        assert_eq!(put, Stored { stored: true, evicted: vec![rdd(1, 1)] });
        assert_eq!(store.used(), 100);
        assert!(store.get_values(&rdd(1, 1)).is_none() && store.get_values(&rdd(1, 0)).is_some());
    }

    #[test]
    fn a_partition_does_not_push_out_its_own_rdd() {
        let store = MemoryStore::new(100);
        store.put_values(rdd(2, 0), values(), 20);
        store.put_values(rdd(1, 0), values(), 60);
        assert_eq!(store.put_values(rdd(1, 1), values(), 60), Stored { stored: false, evicted: vec![] });
        assert!(store.get_values(&rdd(2, 0)).is_some(), "nothing is dropped in vain");
    }

    #[test]
    fn bytes_push_out_partitions_but_not_bytes() {
        let store = MemoryStore::new(100);
        store.put_values(rdd(1, 0), values(), 90);
        let a = BlockId::TaskResult(firesteel_common::TaskId(1));
        let b = BlockId::TaskResult(firesteel_common::TaskId(2));
        assert_eq!(store.put_bytes(a, Bytes::from(vec![0; 60])).unwrap(), [rdd(1, 0)]);
        let e = store.put_bytes(b, Bytes::from(vec![0; 60])).unwrap_err();
        assert!(e.to_string().contains("taskresult_2") && e.to_string().contains("spark.executor.memory"), "{e}");
        assert!(store.remove(&a) && !store.remove(&a));
        store.put_bytes(b, Bytes::from(vec![0; 60])).unwrap();
        assert_eq!(store.used(), 60);
    }

    #[test]
    fn a_second_copy_replaces_the_first() {
        let store = MemoryStore::new(100);
        store.put_values(rdd(1, 0), values(), 60);
        assert!(store.put_values(rdd(1, 0), values(), 70).stored);
        assert_eq!(store.used(), 70);
    }

    #[test]
    fn removing_an_rdd_frees_its_partitions_only() {
        let store = MemoryStore::new(100);
        for id in [rdd(1, 3), rdd(1, 0), rdd(2, 0)] {
            store.put_values(id, values(), 10);
        }
        assert_eq!(store.remove_rdd(RddId(1)), [0, 3]);
        assert_eq!(store.used(), 10);
    }
}
