//! How an executor leaves: peers take what it holds, the driver is told of each move, and when no task runs any more and
//! nothing is left to move, the stream is closed. Spark: `BlockManagerDecommissioner`.
//!
//! ```text
//!  DecommissionExecutor ─▶ Departure ──orders, changes──▶ leave(), a thread ──"replicate", "adopt"──▶ peers' block servers
//!  a task has ended ──────────▲                             └─ news of moves ─▶ status ─▶ driver
//! ```
//!
//! Called by [`crate::Executor`]; calls the block manager, the block client and the status batcher.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use firesteel_common::{ExecutorId, RddId, ShuffleId, TaskId};
use firesteel_protocol::{BlockAddress, BlockUpdate, DecommissionExecutor, MapOutputMoved, ToDriver};
use firesteel_storage::{Abort, BlockError, BlockId, StorageLevel};

use crate::config::ExecutorConfig;
use crate::status::StatusBatcher;

#[derive(Default)]
struct Wanted {
    orders: DecommissionExecutor,
    /// Counts what may be a reason to look again.
    changes: u64,
}

/// Whether the executor leaves, and what happens meanwhile.
#[derive(Default)]
pub(crate) struct Departure {
    state: Mutex<Wanted>,
    changed: Condvar,
    begun: AtomicBool,
    /// Events whose news may not be on their way to the driver yet.
    unreported: AtomicU32,
}

/// While it lives, what just happened counts as not yet reported.
pub(crate) struct Reporting<'a>(&'a Departure);

impl Drop for Reporting<'_> {
    fn drop(&mut self) {
        // Before the look whether anybody waits, who looks in the other order.
        self.0.unreported.fetch_sub(1, Ordering::SeqCst);
        if self.0.begun.load(Ordering::SeqCst) {
            self.0.change(|_| ());
        }
    }
}

impl Departure {
    /// To be held from before an event is taken until its news have been handed over.
    pub fn reporting(&self) -> Reporting<'_> {
        self.unreported.fetch_add(1, Ordering::SeqCst);
        Reporting(self)
    }

    /// Takes the driver's orders, or newer ones. Says whether they are the first.
    pub fn order(&self, orders: DecommissionExecutor) -> bool {
        let first = !self.begun.swap(true, Ordering::SeqCst);
        self.change(|state| state.orders = orders);
        first
    }

    fn change(&self, change: impl FnOnce(&mut Wanted)) {
        let mut state = self.lock();
        change(&mut state);
        state.changes += 1;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Wanted> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What there was to see, and the orders then.
    fn seen(&self) -> (u64, DecommissionExecutor) {
        let state = self.lock();
        (state.changes, state.orders.clone())
    }

    /// Waits until something has changed since `seen`.
    fn wait(&self, seen: u64) {
        let waited = self.changed.wait_while(self.lock(), |state| state.changes == seen);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Moves what there is, again and again while tasks run, which may add to it. Returns when the executor is idle and all
    /// is moved or given up; the news of that have been pushed.
    pub fn leave(&self, config: &ExecutorConfig, status: &StatusBatcher, is_idle: impl Fn() -> bool) {
        let (moved, refused) = (BTreeMap::new(), BTreeMap::new());
        let mut mover = Mover { config, status, departure: self, moved, refused, early: Vec::new() };
        loop {
            let (seen, orders) = self.seen();
            // Before the look at what is there: from then on nothing is added.
            let idle = is_idle() && self.unreported.load(Ordering::SeqCst) == 0;
            mover.pass(&orders, idle);
            if !idle {
                self.wait(seen);
            } else if self.seen().1 == orders {
                return;
            }
        }
    }
}

/// Something that a peer shall take.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Item {
    Cached(RddId, u32),
    Output(ShuffleId, TaskId),
}

/// What became of an item.
enum Outcome {
    Moved(ExecutorId),
    /// These did not take it, or it is not there any more.
    Refused(Vec<ExecutorId>),
}

struct Mover<'a> {
    config: &'a ExecutorConfig,
    status: &'a StatusBatcher,
    departure: &'a Departure,
    /// Where it was moved. That counts as long as the one that took it is a peer: one that leaves as well, or is lost, may
    /// not have it any more.
    moved: BTreeMap<Item, ExecutorId>,
    /// Who was asked to take it, and did not.
    refused: BTreeMap<Item, BTreeSet<ExecutorId>>,
    /// What was moved while tasks ran. The driver may not have known then that it is here: it hears of it again.
    early: Vec<(Item, ExecutorId)>,
}

impl Mover<'_> {
    /// Moves all that is there and was not moved before; `last` when nothing will be added.
    fn pass(&mut self, orders: &DecommissionExecutor, last: bool) {
        let work: Vec<(Item, StorageLevel)> = self.found(orders);
        if orders.peers.is_empty() {
            if last && !work.is_empty() {
                let items = work.len();
                tracing::warn!(items, "no other executor is there to take what this one holds; it is lost");
            }
        } else if !work.is_empty() {
            let outcomes = self.move_all(&work);
            let mut moved = Vec::new();
            for (item, outcome) in outcomes {
                match outcome {
                    Outcome::Moved(to) => moved.push((item, to)),
                    Outcome::Refused(by) => self.refused.entry(item).or_default().extend(by),
                }
            }
            tracing::info!(moved = moved.len(), of = work.len(), "moved what this executor holds to others");
            self.moved.extend(moved.iter().copied());
            if !last {
                self.early.extend(moved);
            }
        }
        if last {
            let again = std::mem::take(&mut self.early);
            again.into_iter().for_each(|(item, to)| self.status.tell(self.news(item, to)));
        }
    }

    fn found(&self, orders: &DecommissionExecutor) -> Vec<(Item, StorageLevel)> {
        let settings = &self.config.settings.decommission;
        let services = &self.config.services;
        let mut work = Vec::new();
        if settings.cached {
            let item = |(id, level)| match id {
                BlockId::Rdd { rdd, partition } => Some((Item::Cached(rdd, partition), level)),
                _ => None,
            };
            work.extend(services.blocks.cached().into_iter().filter_map(item));
        }
        if settings.map_outputs && orders.map_outputs {
            let outputs = services.shuffle.outputs().into_iter();
            work.extend(outputs.map(|(shuffle, task)| (Item::Output(shuffle, task), StorageLevel::NONE)));
        }
        let is_peer = |id: &ExecutorId| orders.peers.iter().any(|peer| peer.executor == *id);
        work.retain(|(item, _)| {
            let refused = self.refused.get(item);
            let untried = |id: &ExecutorId| refused.is_none_or(|by| !by.contains(id));
            let is_elsewhere = self.moved.get(item).is_some_and(is_peer);
            !is_elsewhere && (orders.peers.is_empty() || orders.peers.iter().any(|peer| untried(&peer.executor)))
        });
        work
    }

    /// Several at a time.
    fn move_all(&self, work: &[(Item, StorageLevel)]) -> Vec<(Item, Outcome)> {
        let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let run = || {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some((item, level)) = work.get(index) else { return };
                // Who is there may have changed since the work began.
                let peers = self.departure.seen().1.peers;
                let outcome = self.move_one(index, *item, *level, &peers);
                if let Outcome::Moved(to) = outcome {
                    self.status.tell(self.news(*item, to));
                }
                outcomes.lock().unwrap_or_else(PoisonError::into_inner).push((*item, outcome));
            }
        };
        let threads = (self.config.settings.decommission.threads as usize).clamp(1, work.len().max(1));
        std::thread::scope(|scope| {
            for _ in 1..threads {
                let spawned = std::thread::Builder::new().name("firesteel-move".into()).spawn_scoped(scope, run);
                if let Err(error) = spawned {
                    tracing::warn!(%error, "cannot start a thread to move blocks; fewer do it");
                    break;
                }
            }
            run();
        });
        outcomes.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has one of the peers take an item; another one after each failure.
    fn move_one(&self, index: usize, item: Item, level: StorageLevel, peers: &[BlockAddress]) -> Outcome {
        let attempts = self.config.settings.decommission.max_failures as usize;
        let mut refused = Vec::new();
        for BlockAddress { executor, address } in peers.iter().cycle().skip(index % peers.len().max(1)).take(attempts) {
            if !self.is_here(item) {
                return Outcome::Refused(refused);
            }
            match self.give(item, level, address) {
                Ok(()) => return Outcome::Moved(*executor),
                Err(e) => {
                    tracing::warn!(?item, executor_id = executor.0, error = %e, "an executor has not taken a block");
                    refused.push(*executor);
                }
            }
        }
        tracing::warn!(
            ?item,
            attempts,
            "nobody takes this; unless another executor comes, it is lost with this one \
             (spark.storage.decommission.maxReplicationFailuresPerBlock)"
        );
        Outcome::Refused(refused)
    }

    fn is_here(&self, item: Item) -> bool {
        let services = &self.config.services;
        match item {
            Item::Cached(rdd, partition) => services.blocks.find_cached(&BlockId::Rdd { rdd, partition }).is_some(),
            Item::Output(shuffle, task) => services.shuffle.has_output(shuffle, task),
        }
    }

    fn give(&self, item: Item, level: StorageLevel, address: &str) -> Result<(), BlockError> {
        let ExecutorConfig { client, services, block_address, .. } = self.config;
        match item {
            Item::Cached(rdd, partition) => {
                services.blocks.replicate_to(address, BlockId::Rdd { rdd, partition }, level, &Abort::never())
            }
            Item::Output(shuffle, task) => client.adopt(address, shuffle, task, block_address, &Abort::never()),
        }
    }

    fn news(&self, item: Item, to: ExecutorId) -> ToDriver {
        match item {
            Item::Cached(rdd, partition) => {
                let (stored, replicas) = (self.is_here(item), vec![to]);
                ToDriver::BlockUpdates(vec![BlockUpdate { rdd, partition, stored, bytes: 0, replicas }])
            }
            Item::Output(shuffle, map_task) => ToDriver::MapOutputMoved(MapOutputMoved { shuffle, map_task, to }),
        }
    }
}
