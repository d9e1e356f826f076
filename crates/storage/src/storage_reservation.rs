//! Memory for a block that is being put together. Called by the cache of `rdd`. Spark: unroll memory.

use std::sync::Arc;

use firesteel_common::RddId;

use crate::MemoryManager;

/// Storage memory that belongs to no block yet; dropping it gives it back.
pub struct StorageReservation {
    manager: Arc<MemoryManager>,
    keep: Option<RddId>,
    held: u64,
}

impl StorageReservation {
    /// None yet. To make room for it no block of `keep` is dropped.
    pub fn new(manager: Arc<MemoryManager>, keep: Option<RddId>) -> StorageReservation {
        StorageReservation { manager, keep, held: 0 }
    }

    /// Makes it `bytes`; false when they cannot be had, and then it is what it was.
    pub fn resize(&mut self, bytes: u64) -> bool {
        if bytes > self.held && !self.manager.acquire_storage(bytes - self.held, self.keep) {
            return false;
        }
        if bytes < self.held {
            self.manager.release_storage(self.held - bytes);
        }
        self.held = bytes;
        true
    }

    /// Bytes that it holds.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Leaves the memory to a block that is in the store from now on, and returns how much it is.
    pub fn into_block(mut self) -> u64 {
        std::mem::take(&mut self.held)
    }
}

impl Drop for StorageReservation {
    fn drop(&mut self) {
        if self.held > 0 {
            self.manager.release_storage(self.held);
        }
    }
}
