//! The broadcast values of one process: each is fetched and decoded once, whichever task asks first.

use std::{
    any::{Any, type_name},
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use firesteel_common::{BroadcastId, Env};
use firesteel_storage::BroadcastFetcher;

use super::{
    cell::{Cell, Wire},
    error::BroadcastError,
};

type AnyCell = dyn Any + Send + Sync;

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

    /// The cell that a handle which arrived refers to.
    pub(super) fn open<T: Env>(self: &Arc<Self>, wire: Wire) -> Result<Arc<Cell<T>>, BroadcastError> {
        let id = wire.meta.id;
        // Its drop takes the lock.
        let found = self.lock().get(&id).and_then(Weak::upgrade);
        if let Some(cell) = found {
            return cell.downcast().map_err(|_| BroadcastError::Type { id, type_name: type_name::<T>() });
        }
        if self.fetcher.is_none() {
            return Err(BroadcastError::Gone { id });
        }
        let cell = Arc::new(Cell::on_executor(wire, self));
        let known = {
            let mut cells = self.lock();
            let known = cells.get(&id).and_then(Weak::upgrade);
            if known.is_none() {
                cells.insert(id, Arc::downgrade(&cell) as Weak<AnyCell>);
            }
            known
        };
        match known {
            // Another thread was faster.
            Some(known) => known.downcast().map_err(|_| BroadcastError::Type { id, type_name: type_name::<T>() }),
            None => Ok(cell),
        }
    }
}
