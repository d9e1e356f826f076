//! Blocks in memory, within a bound. Called by [`crate::BlockManager`] and by the cache of `rdd`.

use std::{
    any::Any,
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use firesteel_common::RddId;

use crate::{
    BlockError, BlockId, MemoryManager,
    memory_manager::{Eviction, Evictor},
};

/// The elements of a cached partition, as the type-erased `Arc<Vec<T>>` that `rdd` made.
pub type Values = Arc<dyn Any + Send + Sync>;

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
    /// Dropped to make room, and nobody has been told yet.
    evicted: Vec<BlockId>,
}

/// Cached partitions and byte blocks of one process, least recently used partitions dropped first.
///
/// A partition never pushes out partitions of its own RDD: a scan larger than the memory would otherwise drop each
/// partition just before it is wanted again.
///
/// Its memory is the [`MemoryManager`]'s, which has it drop partitions; the manager is never called under its lock.
pub struct MemoryStore {
    manager: Arc<MemoryManager>,
    inner: Mutex<Inner>,
}

impl MemoryStore {
    /// A store that takes its memory from `manager`, as its evictor.
    pub fn new(manager: Arc<MemoryManager>) -> Arc<MemoryStore> {
        let store = Arc::new(MemoryStore { manager, inner: Mutex::default() });
        let evictor: Arc<dyn Evictor> = store.clone();
        store.manager.set_evictor(Arc::downgrade(&evictor));
        store
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

    /// Keeps the elements of a partition when they fit, `size` bytes in memory, in place of an earlier copy; whether it
    /// is kept.
    pub fn put_values(&self, id: BlockId, values: Values, size: u64) -> bool {
        self.remove(&id);
        let rdd = match id {
            BlockId::Rdd { rdd, .. } => Some(rdd),
            _ => None,
        };
        let fits = self.manager.acquire_storage(size, rdd);
        if fits {
            self.insert(id, Content::Values(values), size);
        }
        fits
    }

    /// A byte block.
    pub fn get_bytes(&self, id: &BlockId) -> Option<Bytes> {
        match &self.lock().entries.get(id)?.content {
            Content::Bytes(bytes) => Some(bytes.clone()),
            Content::Values(_) => None,
        }
    }

    /// Keeps a byte block until it is removed; cached partitions give way to it.
    pub fn put_bytes(&self, id: BlockId, bytes: Bytes) -> Result<(), BlockError> {
        self.remove(&id);
        let size = bytes.len() as u64;
        if !self.manager.acquire_storage(size, None) {
            let (used, limit) = (self.manager.storage_used() + self.manager.execution_used(), self.manager.total());
            return Err(BlockError::OutOfMemory { id, size, used, limit });
        }
        self.insert(id, Content::Bytes(bytes), size);
        Ok(())
    }

    /// Removes a block; whether it was there.
    pub fn remove(&self, id: &BlockId) -> bool {
        let removed = self.lock().remove(id);
        self.released(removed.into_iter().collect())
    }

    /// Cached partitions that were dropped to make room since this was last asked.
    pub fn take_evicted(&self) -> Vec<BlockId> {
        std::mem::take(&mut self.lock().evicted)
    }

    fn insert(&self, id: BlockId, content: Content, size: u64) {
        let mut inner = self.lock();
        // Another thread may have stored the same block meanwhile.
        let replaced = inner.remove(&id);
        inner.insert(id, content, size);
        drop(inner);
        self.released(replaced.into_iter().collect());
    }

    /// Frees entries that are out of the table and gives their memory back: both may take long. Whether there were any.
    fn released(&self, entries: Vec<Entry>) -> bool {
        let any = !entries.is_empty();
        let bytes = entries.iter().map(|e| e.size).sum();
        drop(entries);
        if any {
            self.manager.release_storage(bytes);
        }
        any
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
            partitions.iter().filter_map(|&partition| inner.remove(&BlockId::Rdd { rdd, partition })).collect();
        drop(inner);
        self.released(dropped);
        partitions
    }
}

impl Evictor for MemoryStore {
    fn evict(&self, eviction: Eviction) {
        let mut inner = self.lock();
        let entries = inner.victims(eviction);
        drop(inner);
        self.released(entries);
    }
}

impl Inner {
    fn insert(&mut self, id: BlockId, content: Content, size: u64) {
        self.clock += 1;
        if matches!(content, Content::Values(_)) {
            self.by_age.insert(self.clock, id);
        }
        self.entries.insert(id, Entry { content, size, used_at: self.clock });
    }

    fn remove(&mut self, id: &BlockId) -> Option<Entry> {
        let entry = self.entries.remove(id)?;
        self.by_age.remove(&entry.used_at);
        Some(entry)
    }

    /// Takes out the oldest partitions.
    fn victims(&mut self, Eviction { bytes, keep, all_or_nothing }: Eviction) -> Vec<Entry> {
        let (mut victims, mut freed) = (Vec::new(), 0);
        for id in self.by_age.values() {
            if freed >= bytes {
                break;
            }
            if !matches!(id, BlockId::Rdd { rdd, .. } if Some(*rdd) == keep) {
                freed += self.entries.get(id).map_or(0, |entry| entry.size);
                victims.push(*id);
            }
        }
        if all_or_nothing && freed < bytes {
            return Vec::new();
        }
        self.evicted.extend(&victims);
        victims.iter().filter_map(|id| self.remove(id)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryConfig;

    fn store(total_bytes: u64) -> Arc<MemoryStore> {
        MemoryStore::new(MemoryManager::new(MemoryConfig { total_bytes, storage_fraction: 0.5 }))
    }

    fn rdd(rdd: u32, partition: u32) -> BlockId {
        BlockId::Rdd { rdd: RddId(rdd), partition }
    }

    fn values() -> Values {
        Arc::new(vec![1u8])
    }

    #[test]
    fn the_least_recently_used_partition_goes_first() {
        let store = store(100);
        for p in 0..3 {
            assert!(store.put_values(rdd(1, p), values(), 30));
        }
        assert!(store.get_values(&rdd(1, 0)).is_some());
        assert!(store.put_values(rdd(2, 0), values(), 40));
        assert_eq!(store.take_evicted(), [rdd(1, 1)]);
        assert_eq!(store.manager.storage_used(), 100);
        assert!(store.get_values(&rdd(1, 1)).is_none() && store.get_values(&rdd(1, 0)).is_some());
    }

    #[test]
    fn a_partition_does_not_push_out_its_own_rdd() {
        let store = store(100);
        store.put_values(rdd(2, 0), values(), 20);
        store.put_values(rdd(1, 0), values(), 60);
        assert!(!store.put_values(rdd(1, 1), values(), 60) && store.take_evicted().is_empty());
        assert!(store.get_values(&rdd(2, 0)).is_some(), "nothing is dropped in vain");
    }

    #[test]
    fn bytes_push_out_partitions_but_not_bytes() {
        let store = store(100);
        store.put_values(rdd(1, 0), values(), 90);
        let a = BlockId::TaskResult(firesteel_common::TaskId(1));
        let b = BlockId::TaskResult(firesteel_common::TaskId(2));
        store.put_bytes(a, Bytes::from(vec![0; 60])).unwrap();
        assert_eq!(store.take_evicted(), [rdd(1, 0)]);
        let e = store.put_bytes(b, Bytes::from(vec![0; 60])).unwrap_err();
        assert!(e.to_string().contains("taskresult_2") && e.to_string().contains("spark.executor.memory"), "{e}");
        assert!(store.remove(&a) && !store.remove(&a));
        store.put_bytes(b, Bytes::from(vec![0; 60])).unwrap();
        assert_eq!(store.manager.storage_used(), 60);
    }

    #[test]
    fn a_second_copy_replaces_the_first() {
        let store = store(100);
        store.put_values(rdd(1, 0), values(), 60);
        assert!(store.put_values(rdd(1, 0), values(), 70));
        assert_eq!(store.manager.storage_used(), 70);
    }

    #[test]
    fn removing_an_rdd_frees_its_partitions_only() {
        let store = store(100);
        for id in [rdd(1, 3), rdd(1, 0), rdd(2, 0)] {
            store.put_values(id, values(), 10);
        }
        assert_eq!(store.remove_rdd(RddId(1)), [0, 3]);
        assert_eq!(store.manager.storage_used(), 10);
    }
}
