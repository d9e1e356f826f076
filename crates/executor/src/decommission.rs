//! Carries out how an executor leaves, as [`Departure`] decides: peers take what it holds, the driver is told of each move,
//! and when no task runs any more and nothing is left to move, the stream is closed.
//!
//! ```text
//!  DecommissionExecutor ─▶ Leaving ──orders, changes──▶ leave(), a thread ──"replicate", "adopt"──▶ peers' block servers
//!  a task has ended ──────────▲                            └─ news of moves ─▶ status ─▶ driver
//! ```
//!
//! Called by [`crate::Executor`]; calls the block manager, the block client and the status batcher.

use std::{
    collections::BTreeMap,
    sync::{
        Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc,
    },
};

use firesteel_common::ExecutorId;
use firesteel_protocol::{BlockAddress, BlockUpdate, DecommissionExecutor, MapOutputMoved, ToDriver};
use firesteel_storage::{Abort, BlockError, BlockId, StorageLevel};

use crate::{
    config::ExecutorConfig,
    departure::{Departure, Effect, Event, Item},
    status::StatusBatcher,
};

#[derive(Default)]
struct Wanted {
    orders: DecommissionExecutor,
    /// Counts what may be a reason to look again.
    changes: u64,
}

/// Whether the executor leaves, and what happens meanwhile.
#[derive(Default)]
pub(crate) struct Leaving {
    state: Mutex<Wanted>,
    changed: Condvar,
    begun: AtomicBool,
    /// Events whose news may not be on their way to the driver yet.
    unreported: AtomicU32,
}

/// While it lives, what just happened counts as not yet reported.
pub(crate) struct Reporting<'a>(&'a Leaving);

impl Drop for Reporting<'_> {
    fn drop(&mut self) {
        // Before the look whether anybody waits, who looks in the other order.
        self.0.unreported.fetch_sub(1, Ordering::SeqCst);
        if self.0.begun.load(Ordering::SeqCst) {
            self.0.change(|_| ());
        }
    }
}

impl Leaving {
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
        let settings = &config.settings.decommission;
        let mover = Mover { config, status };
        let mut departure = Departure::new(self.seen().1, settings.max_failures, settings.threads);
        // What there was to see at the last look.
        let mut seen = None;
        let (answers, answered) = mpsc::channel();
        std::thread::scope(|scope| {
            let mut effects = vec![Effect::Look];
            let mut levels = BTreeMap::new();
            loop {
                let mut event = None;
                for effect in std::mem::take(&mut effects) {
                    match effect {
                        Effect::Leave => return,
                        Effect::Look => {
                            if let Some(seen) = seen {
                                self.wait(seen);
                            }
                            seen = Some(self.seen().0);
                            // Before the look at what is there: from then on nothing is added.
                            let idle = self.is_idle(&is_idle);
                            levels = mover.held();
                            event = Some(Event::Looked { held: levels.keys().copied().collect(), idle });
                        }
                        Effect::Give { item, peer } => {
                            let (mover, answers) = (&mover, answers.clone());
                            let level = levels.get(&item).copied().unwrap_or(StorageLevel::NONE);
                            let give = move || {
                                // The other end lives as long as this scope.
                                let _ = answers.send(mover.give(item, level, &peer));
                            };
                            let thread = std::thread::Builder::new().name("firesteel-move".into());
                            if let Err(error) = thread.spawn_scoped(scope, give.clone()) {
                                tracing::warn!(%error, "cannot start a thread to move a block; it is moved by itself");
                                give();
                            }
                        }
                        other => mover.tell(other),
                    }
                }
                let event = match event {
                    Some(event) => event,
                    // Something is being moved, or there would have been a look.
                    None => match answered.recv() {
                        Ok(event) => event,
                        Err(_) => return,
                    },
                };
                departure.handle(Event::Ordered(self.seen().1), &mut effects);
                departure.handle(event, &mut effects);
            }
        });
    }

    /// Nothing will be added to what is here, as the driver was told of all that has happened.
    fn is_idle(&self, is_idle: impl Fn() -> bool) -> bool {
        is_idle() && self.unreported.load(Ordering::SeqCst) == 0
    }
}

/// What has the blocks and reaches the peers.
struct Mover<'a> {
    config: &'a ExecutorConfig,
    status: &'a StatusBatcher,
}

impl Mover<'_> {
    /// What is here and is to be moved, as far as settings say, and how it is kept.
    fn held(&self) -> BTreeMap<Item, StorageLevel> {
        let settings = &self.config.settings.decommission;
        let services = &self.config.services;
        let mut held = BTreeMap::new();
        if settings.cached {
            held.extend(services.blocks.cached().into_iter().filter_map(|(id, level)| match id {
                BlockId::Rdd { rdd, partition } => Some((Item::Cached(rdd, partition), level)),
                _ => None,
            }));
        }
        if settings.map_outputs {
            let outputs = services.shuffle.outputs().into_iter();
            held.extend(outputs.map(|(shuffle, task)| (Item::Output(shuffle, task), StorageLevel::NONE)));
        }
        held
    }

    fn is_here(&self, item: Item) -> bool {
        let services = &self.config.services;
        match item {
            Item::Cached(rdd, partition) => services.blocks.find_cached(&BlockId::Rdd { rdd, partition }).is_some(),
            Item::Output(shuffle, task) => services.shuffle.has_output(shuffle, task),
        }
    }

    /// Has a peer take an item, and says what came of it.
    fn give(&self, item: Item, level: StorageLevel, BlockAddress { executor, address }: &BlockAddress) -> Event {
        if !self.is_here(item) {
            return Event::Gone { item };
        }
        match self.try_give(item, level, address) {
            Ok(()) => Event::Moved { item, to: *executor },
            Err(e) => {
                tracing::warn!(?item, executor_id = executor.0, error = %e, "an executor has not taken a block");
                Event::Refused { item, by: *executor }
            }
        }
    }

    fn try_give(&self, item: Item, level: StorageLevel, address: &str) -> Result<(), BlockError> {
        let ExecutorConfig { client, services, block_address, .. } = self.config;
        match item {
            Item::Cached(rdd, partition) => {
                services.blocks.replicate_to(address, BlockId::Rdd { rdd, partition }, level, &Abort::never())
            }
            Item::Output(shuffle, task) => client.adopt(address, shuffle, task, block_address, &Abort::never()),
        }
    }

    fn tell(&self, effect: Effect) {
        match effect {
            Effect::Tell { item, to } => self.status.tell(self.news(item, to)),
            Effect::GivenUp { item, attempts } => tracing::warn!(
                ?item,
                attempts,
                "nobody takes this; unless another executor comes, it is lost with this one \
                 (spark.storage.decommission.maxReplicationFailuresPerBlock)"
            ),
            Effect::Lost { items } => {
                tracing::warn!(items, "no other executor is there to take what this one holds; it is lost");
            }
            Effect::Look | Effect::Give { .. } | Effect::Leave => {}
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
