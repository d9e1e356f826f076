//! The broadcast values of one process: each is fetched and decoded once, whichever task asks first.

use std::{
    any::Any,
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use firesteel_common::BroadcastId;
use firesteel_storage::BroadcastFetcher;

/// A [`Cell`](super::cell::Cell) of any type.
pub(super) type AnyCell = dyn Any + Send + Sync;

/// Finds the values of a process by their numbers. Handles hold them; an executor's memory store does, too, as long as it
/// has room, so that the next stage finds them decoded.
pub struct BroadcastValues {
    cells: Mutex<BTreeMap<BroadcastId, Weak<AnyCell>>>,
    fetcher: Option<BroadcastFetcher>,
}

impl BroadcastValues {
    /// Of a process whose tasks share the driver's values.
    pub fn in_process() -> Arc<BroadcastValues> {
        Arc::new(BroadcastValues { cells: Mutex::default(), fetcher: None })
    }

    /// Of an executor that is a process of its own.
    pub fn fetched_by(fetcher: BroadcastFetcher) -> Arc<BroadcastValues> {
        Arc::new(BroadcastValues { cells: Mutex::default(), fetcher: Some(fetcher) })
    }

    /// Who fetches; `None` where the driver is in this process.
    pub fn fetcher(&self) -> Option<&BroadcastFetcher> {
        self.fetcher.as_ref()
    }

    /// Drops an executor's copy of a value. Tasks that look at it hold it to their end.
    pub fn remove(&self, id: BroadcastId) {
        if let Some(fetcher) = &self.fetcher {
            // Nobody upgrades it in between: a decoded handle that comes now fetches anew.
            self.lock().remove(&id);
            fetcher.blocks().remove_broadcast(id);
        }
    }

    /// Number of values that are known here.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Whether no value is known here.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<BroadcastId, Weak<AnyCell>>> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn register(&self, id: BroadcastId, cell: Weak<AnyCell>) {
        self.lock().insert(id, cell);
    }

    /// Takes a cell that was dropped off the table.
    pub(super) fn forget_dropped(&self, id: BroadcastId) {
        let mut cells = self.lock();
        if cells.get(&id).is_some_and(|cell| cell.strong_count() == 0) {
            cells.remove(&id);
        }
    }

    /// The cell of a value, if there is one.
    pub(super) fn find(&self, id: BroadcastId) -> Option<Arc<AnyCell>> {
        // Its drop takes the lock.
        let found = self.lock().get(&id).cloned();
        found.and_then(|cell| cell.upgrade())
    }

    /// Enters a cell, or returns that of another thread, which was faster.
    pub(super) fn find_or_insert(&self, id: BroadcastId, cell: Weak<AnyCell>) -> Option<Arc<AnyCell>> {
        let mut cells = self.lock();
        let known = cells.get(&id).and_then(Weak::upgrade);
        if known.is_none() {
            cells.insert(id, cell);
        }
        known
    }
}
