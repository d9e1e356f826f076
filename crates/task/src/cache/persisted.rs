//! Which partitions are kept, and how.

use firesteel_common::RddId;
use firesteel_storage::{BlockId, StorageLevel};

/// Bytes that an element owns on the heap, where its type knows.
pub type HeapOf<T> = Option<fn(&T) -> u64>;

/// A persisted partition: which, and how it is kept.
pub struct Persisted<T> {
    /// The RDD.
    pub rdd: RddId,
    /// Its partition.
    pub partition: u32,
    /// How it is kept.
    pub level: StorageLevel,
    /// How large an element is.
    pub heap_of: HeapOf<T>,
}

impl<T> Persisted<T> {
    pub(super) fn block(&self) -> BlockId {
        BlockId::Rdd { rdd: self.rdd, partition: self.partition }
    }
}
