//! Blocks in memory. Called by [`crate::BlockManager`], by the cache of `rdd`, and by the memory manager, which has it
//! drop or spill cached partitions.

use std::{
    any::Any,
    collections::{BTreeMap, HashMap},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use firesteel_common::RddId;

use crate::{
    BlockError, BlockId, DiskStore, Frame, MemoryManager,
    memory_manager::{Eviction, Evictor},
};

/// Takes the frames of a partition one after the other.
pub type FrameSink<'a> = &'a mut dyn FnMut(&Frame) -> Result<(), BlockError>;

/// The elements of a cached partition, whose type only `rdd` knows.
pub trait CachedValues: Any + Send + Sync {
    /// Encodes the elements.
    fn encode(&self, sink: FrameSink<'_>) -> Result<(), BlockError>;

    /// For a downcast.
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

/// A cached partition in memory.
#[derive(Clone)]
pub enum Cached {
    /// As values.
    Values(Arc<dyn CachedValues>),
    /// As bytes.
    Frames(Arc<Vec<Frame>>),
}

impl Cached {
    /// Encodes it, or hands over what is encoded already.
    pub fn encode(&self, sink: FrameSink<'_>) -> Result<(), BlockError> {
        match self {
            Cached::Values(values) => values.encode(sink),
            Cached::Frames(frames) => frames.iter().try_for_each(sink),
        }
    }

    /// Whether somebody besides the store and one more holder reads it.
    fn in_use(&self) -> bool {
        match self {
            Cached::Values(values) => Arc::strong_count(values) > 1,
            Cached::Frames(frames) => Arc::strong_count(frames) > 1,
        }
    }
}

enum Content {
    /// Can be computed again or spilled, so it may be dropped.
    Cached(Cached),
    /// Nobody else has it: never dropped to make room.
    Bytes(Bytes),
}

struct Entry {
    content: Content,
    size: u64,
    /// Goes to disk when it is dropped to make room.
    spills: bool,
    /// Its place in `Inner::by_age`.
    used_at: u64,
    /// Tells it from a later block of the same id.
    serial: u64,
    /// Somebody is dropping it.
    leaving: bool,
}

/// What is being dropped: block, serial, content where it goes to disk first.
type Victim = (BlockId, u64, Option<Cached>);

#[derive(Default)]
struct Inner {
    entries: HashMap<BlockId, Entry>,
    /// Droppable blocks, least recently used first.
    by_age: BTreeMap<u64, BlockId>,
    clock: u64,
    /// Gone from memory and disk, and nobody has been told yet.
    dropped: Vec<BlockId>,
}

/// Cached partitions and byte blocks of one process, least recently used partitions dropped first.
///
/// A partition never pushes out partitions of its own RDD: a scan larger than the memory would otherwise drop each
/// partition just before it is wanted again. Nor is one dropped while it is read.
///
/// Its memory is the [`MemoryManager`]'s, which has it drop partitions; the manager is never called under its lock.
pub struct MemoryStore {
    manager: Arc<MemoryManager>,
    disk: Option<Arc<DiskStore>>,
    inner: Mutex<Inner>,
}

impl MemoryStore {
    /// A store that takes its memory from `manager`, as its evictor, and spills to `disk`.
    pub fn new(manager: Arc<MemoryManager>, disk: Option<Arc<DiskStore>>) -> Arc<MemoryStore> {
        let store = Arc::new(MemoryStore { manager, disk, inner: Mutex::default() });
        let evictor: Arc<dyn Evictor> = store.clone();
        store.manager.set_evictor(Arc::downgrade(&evictor));
        store
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A cached partition; counts as a use of it.
    pub fn get(&self, id: &BlockId) -> Option<Cached> {
        let inner = &mut *self.lock();
        let entry = inner.entries.get_mut(id)?;
        let Content::Cached(cached) = &entry.content else { return None };
        inner.clock += 1;
        inner.by_age.remove(&entry.used_at);
        entry.used_at = inner.clock;
        inner.by_age.insert(inner.clock, *id);
        Some(cached.clone())
    }

    /// Keeps a partition in place of an earlier copy. Its `size` bytes have been acquired from the manager; from here on
    /// they are the store's. With `spills` it goes to disk when it must make room.
    pub fn put(&self, id: BlockId, cached: Cached, size: u64, spills: bool) {
        self.insert(id, Content::Cached(cached), size, spills);
    }

    /// A byte block.
    pub fn get_bytes(&self, id: &BlockId) -> Option<Bytes> {
        match &self.lock().entries.get(id)?.content {
            Content::Bytes(bytes) => Some(bytes.clone()),
            Content::Cached(_) => None,
        }
    }

    /// Keeps a byte block until it is removed; cached partitions give way to it.
    pub fn put_bytes(&self, id: BlockId, bytes: Bytes) -> Result<(), BlockError> {
        self.remove(&id);
        let size = bytes.len() as u64;
        if !self.manager.acquire_storage(size, None) {
            return Err(self.out_of_memory(id, size));
        }
        self.insert(id, Content::Bytes(bytes), size, false);
        Ok(())
    }

    /// As [`MemoryStore::put_bytes`], with `size` bytes that have been acquired from the manager.
    pub(crate) fn put_acquired(&self, id: BlockId, bytes: Bytes, size: u64) {
        self.insert(id, Content::Bytes(bytes), size, false);
    }

    /// There are no `size` bytes for block `id`.
    pub(crate) fn out_of_memory(&self, id: BlockId, size: u64) -> BlockError {
        BlockError::OutOfMemory { id, size, holders: Box::new(self.manager.holders()) }
    }

    /// The cached partitions that are here, and whether each goes to disk when it must make room.
    pub(crate) fn cached(&self) -> Vec<(BlockId, bool)> {
        let inner = self.lock();
        let cached = inner.entries.iter().filter(|(_, e)| matches!(e.content, Content::Cached(_)));
        cached.map(|(id, e)| (*id, e.spills)).collect()
    }

    /// Removes a block; whether it was there.
    pub fn remove(&self, id: &BlockId) -> bool {
        let removed = self.lock().remove(id);
        self.released(removed.into_iter().collect())
    }

    /// Cached partitions that are gone, to make room or for damage, since this was last asked.
    pub fn take_dropped(&self) -> Vec<BlockId> {
        std::mem::take(&mut self.lock().dropped)
    }

    /// Has [`MemoryStore::take_dropped`] tell of a block that is gone.
    pub fn note_dropped(&self, id: BlockId) {
        self.lock().dropped.push(id);
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

    fn insert(&self, id: BlockId, content: Content, size: u64, spills: bool) {
        let mut inner = self.lock();
        let replaced = inner.remove(&id);
        inner.insert(id, content, size, spills);
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

    /// Writes a partition to disk; false when it is lost from here.
    fn spill(&self, id: BlockId, cached: &Cached) -> bool {
        let Some(disk) = &self.disk else { return false };
        if disk.get(&id).is_some() {
            return true;
        }
        let write = || {
            let mut writer = disk.write(id)?;
            cached.encode(&mut |frame| writer.write(frame))?;
            writer.finish().map_err(|(e, _)| e)
        };
        // Encoding runs the user's code, on behalf of a task that has nothing to do with it.
        let written = catch_unwind(AssertUnwindSafe(write));
        let message = match written {
            Ok(Ok(_)) => return true,
            Ok(Err(e)) => e.to_string(),
            Err(_) => "encoding it panicked".to_owned(),
        };
        tracing::warn!(block = %id, error = message, "a cached partition could not be moved to disk: it is dropped");
        false
    }
}

impl Evictor for MemoryStore {
    fn evict(&self, eviction: Eviction) {
        let victims = self.lock().victims(eviction);
        for (id, serial, to_disk) in victims {
            let spilled = to_disk.is_some_and(|cached| self.spill(id, &cached));
            let mut inner = self.lock();
            let there = inner.entries.get(&id).is_some_and(|e| e.serial == serial);
            let entry = if there { inner.remove(&id) } else { None };
            if there && !spilled {
                inner.dropped.push(id);
            }
            drop(inner);
            // It was removed while it was being written: the file goes, too.
            if !there
                && spilled
                && let Some(disk) = &self.disk
            {
                disk.remove(&id);
            }
            self.released(entry.into_iter().collect());
        }
    }
}

impl Inner {
    fn insert(&mut self, id: BlockId, content: Content, size: u64, spills: bool) {
        self.clock += 1;
        if matches!(content, Content::Cached(_)) {
            self.by_age.insert(self.clock, id);
        }
        let (used_at, serial) = (self.clock, self.clock);
        self.entries.insert(id, Entry { content, size, spills, used_at, serial, leaving: false });
    }

    fn remove(&mut self, id: &BlockId) -> Option<Entry> {
        let entry = self.entries.remove(id)?;
        self.by_age.remove(&entry.used_at);
        Some(entry)
    }

    /// Marks the oldest partitions that shall go.
    fn victims(&mut self, Eviction { bytes, keep, all_or_nothing }: Eviction) -> Vec<Victim> {
        let (mut victims, mut freed) = (Vec::new(), 0);
        for id in self.by_age.values() {
            if freed >= bytes {
                break;
            }
            let of_kept = matches!(id, BlockId::Rdd { rdd, .. } if Some(*rdd) == keep);
            let Some(Entry { content: Content::Cached(cached), size, leaving, .. }) = self.entries.get(id) else {
                continue;
            };
            if !of_kept && !leaving && !cached.in_use() {
                freed += size;
                victims.push(*id);
            }
        }
        if all_or_nothing && freed < bytes {
            return Vec::new();
        }
        let mark = |id: BlockId| {
            let entry = self.entries.get_mut(&id)?;
            entry.leaving = true;
            match &entry.content {
                Content::Cached(cached) => Some((id, entry.serial, entry.spills.then(|| cached.clone()))),
                Content::Bytes(_) => None,
            }
        };
        victims.into_iter().filter_map(mark).collect()
    }
}

#[cfg(test)]
#[path = "memory_store_tests.rs"]
mod tests;
