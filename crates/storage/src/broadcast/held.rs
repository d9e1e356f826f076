//! Which pieces of which values a process has, and the answers to those who ask for them.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use firesteel_common::{BroadcastId, ExecutorId};

use super::{BroadcastMeta, Pieces, holders::Holders};
use crate::{
    BlockData, BlockError, BlockId, BlockManager,
    source::{BroadcastHolders, BroadcastPieces},
};

/// Who asks for news of pieces and there is none is answered after this time.
const NO_NEWS: Duration = Duration::from_millis(50);

/// The broadcast values of one process.
#[derive(Default)]
pub struct Broadcasts {
    sets: Mutex<BTreeMap<BroadcastId, Arc<PieceSet>>>,
    holders: Mutex<Holders>,
    served: AtomicU64,
}

/// Which pieces of one value are here. The pieces themselves lie in the memory store.
pub struct PieceSet {
    broadcast: BroadcastId,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    here: Pieces,
    removed: bool,
}

impl PieceSet {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the value was removed since this was made: nothing more of it is kept.
    pub fn is_removed(&self) -> bool {
        self.lock().removed
    }

    /// The pieces that are here, once there are more than `known`, or after a moment.
    fn news(&self, known: u32) -> Pieces {
        let until = Instant::now() + NO_NEWS;
        let mut state = self.lock();
        while state.here.count() <= known && !state.removed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.here.clone()
    }
}

impl Broadcasts {
    fn sets(&self) -> MutexGuard<'_, BTreeMap<BroadcastId, Arc<PieceSet>>> {
        self.sets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holders(&self) -> MutexGuard<'_, Holders> {
        self.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// On the driver: an executor whose block server is at `address` may get values.
    pub fn executor_joined(&self, executor: ExecutorId, address: &str) {
        self.holders().joined(executor, address.to_owned());
    }

    /// On the driver: nobody is sent to this executor any more.
    pub fn executor_left(&self, executor: ExecutorId) {
        self.holders().left(executor);
    }

    /// On the driver: those who have pieces of a value, which are about to be told to drop them, are no longer named.
    pub fn forget_holders(&self, broadcast: BroadcastId) -> BTreeSet<ExecutorId> {
        self.holders().forget(broadcast)
    }

    /// Bytes of pieces that others got from here.
    pub fn bytes_served(&self) -> u64 {
        self.served.load(Ordering::Relaxed)
    }

    /// Number of values of which pieces may be here.
    pub fn len(&self) -> usize {
        self.sets().len()
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl BlockManager {
    /// Room for the pieces of a value, or what is there of it already.
    pub fn begin_broadcast(&self, broadcast: BroadcastId) -> Arc<PieceSet> {
        let new = || Arc::new(PieceSet { broadcast, state: Mutex::default(), changed: Condvar::new() });
        self.broadcasts().sets().entry(broadcast).or_insert_with(new).clone()
    }

    /// Keeps a piece and offers it to others; a piece of a removed value is not kept.
    pub fn put_piece(&self, set: &PieceSet, piece: u32, bytes: Bytes) -> Result<(), BlockError> {
        let mut state = set.lock();
        if state.removed {
            return Ok(());
        }
        self.put_bytes(BlockId::Broadcast { broadcast: set.broadcast, piece }, bytes)?;
        state.here.insert(piece);
        drop(state);
        set.changed.notify_all();
        Ok(())
    }

    /// Keeps all pieces of a value: the driver's side.
    pub fn put_broadcast(&self, meta: &BroadcastMeta, pieces: Vec<Bytes>) -> Result<(), BlockError> {
        let set = self.begin_broadcast(meta.id);
        for (piece, bytes) in (0u32..).zip(pieces) {
            if let Err(e) = self.put_piece(&set, piece, bytes) {
                self.remove_broadcast(meta.id);
                return Err(e);
            }
        }
        Ok(())
    }

    /// Removes the pieces of a value, and the value as it was decoded here. Returns who else has pieces of it, on the
    /// driver.
    pub fn remove_broadcast(&self, broadcast: BroadcastId) -> BTreeSet<ExecutorId> {
        let removed = self.broadcasts().sets().remove(&broadcast);
        let holders = self.broadcasts().forget_holders(broadcast);
        self.remove(&BlockId::BroadcastValue(broadcast));
        let Some(set) = removed else { return holders };
        let mut state = set.lock();
        state.removed = true;
        let here = std::mem::take(&mut state.here);
        for piece in here.iter() {
            self.remove(&BlockId::Broadcast { broadcast, piece });
        }
        drop(state);
        set.changed.notify_all();
        holders
    }

    pub(crate) fn open_piece(&self, id: &BlockId) -> Result<BlockData, BlockError> {
        let bytes = self.get(id).ok_or(BlockError::NotFound { id: *id })?;
        self.broadcasts().served.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(BlockData::Unchecked(bytes))
    }
}

impl BroadcastPieces for BlockManager {
    fn pieces(&self, broadcast: BroadcastId, known: u32) -> Option<Pieces> {
        let set = self.broadcasts().sets().get(&broadcast).cloned()?;
        Some(set.news(known))
    }
}

impl BroadcastHolders for BlockManager {
    fn holders(&self, broadcast: BroadcastId, asker: ExecutorId) -> Option<Vec<String>> {
        // Under the lock, so that nobody is noted as a holder of what is gone.
        let sets = self.broadcasts().sets();
        sets.get(&broadcast)?;
        Some(self.broadcasts().holders().ask(broadcast, asker).into_iter().map(str::to_owned).collect())
    }
}
