//! One pool of memory for everything in a process that can give way: execution (what tasks sort, group and join in)
//! and storage (cached partitions, byte blocks). Spark: `UnifiedMemoryManager`.
//!
//! ```text
//!  Reservation ─▶ TaskMemory ─▶ MemoryManager ◀─ MemoryStore (acquire_storage, release_storage)
//!                                    └── evict ──▶ MemoryStore, as its Evictor
//! ```
//!
//! Storage may take what execution leaves free. Execution may take what storage leaves free, and has cached partitions
//! dropped as long as storage holds more than its region. N tasks that ask for memory get at most 1/N of the pool each,
//! and one that has less than 1/(2N) waits until others let go, rather than spill its first few records.
//!
//! Lock order: the evictor takes its own lock and then calls [`MemoryManager::release_storage`]; so this module never
//! holds its lock while it calls the evictor.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use firesteel_common::{
    RddId, TaskId,
    conf::{Conf, ConfError, keys},
};

use crate::{Abort, TaskMemory, holders::Holders};

/// A waiting task looks at its kill flag this often; memory that becomes free wakes it at once.
const LOOK_AT_ABORT: Duration = Duration::from_millis(50);

/// What of a process's memory is kept out of the pool: as much as Spark, but no more than a quarter of a small process.
const RESERVED: u64 = 300 << 20;

/// How large the pool is.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct MemoryConfig {
    /// Bytes of the pool.
    pub total_bytes: u64,
    /// The part of it from which execution drops no cached partitions (`spark.memory.storageFraction`).
    pub storage_fraction: f64,
}

impl MemoryConfig {
    /// The pool of a process that may use `memory` bytes, as `spark.memory.fraction` and `spark.memory.storageFraction` say.
    ///
    /// # Errors
    /// When a value cannot be read.
    pub fn from_conf(conf: &Conf, memory: u64) -> Result<MemoryConfig, ConfError> {
        let (fraction, storage) = (conf.get(&keys::MEMORY_FRACTION)?, conf.get(&keys::MEMORY_STORAGE_FRACTION)?);
        Ok(MemoryConfig::of_process(memory, fraction, storage))
    }

    /// The pool of a process that may use `memory` bytes: `fraction` (`spark.memory.fraction`) of what is left after
    /// 300 MiB, or a quarter when that is less, for everything that is not accounted for.
    pub fn of_process(memory: u64, fraction: f64, storage_fraction: f64) -> MemoryConfig {
        let usable = memory - RESERVED.min(memory / 4);
        MemoryConfig { total_bytes: (usable as f64 * fraction) as u64, storage_fraction }
    }
}

/// What the manager wants dropped.
#[derive(Clone, Copy, Debug)]
pub struct Eviction {
    /// At least so many bytes.
    pub bytes: u64,
    /// But nothing of this RDD.
    pub keep: Option<RddId>,
    /// Nothing at all when that many bytes cannot be had.
    pub all_or_nothing: bool,
}

/// Drops cached blocks. The memory store is one.
pub trait Evictor: Send + Sync {
    /// Drops blocks, least recently used first, and releases their memory. Called without locks; may write to disk.
    fn evict(&self, eviction: Eviction);
}

#[derive(Default)]
struct State {
    storage: u64,
    /// Bytes of each task that has asked for some.
    execution: BTreeMap<u64, u64>,
}

impl State {
    fn execution(&self) -> u64 {
        self.execution.values().sum()
    }
}

/// The pool of one process. Spark: `UnifiedMemoryManager`.
pub struct MemoryManager {
    total: u64,
    region: u64,
    state: Mutex<State>,
    freed: Condvar,
    evictor: Mutex<Option<Weak<dyn Evictor>>>,
    forced: AtomicBool,
    next_key: AtomicU64,
    /// The accounts that are open, to name who holds what.
    tasks: Mutex<BTreeMap<u64, Weak<TaskMemory>>>,
}

impl MemoryManager {
    /// An empty pool.
    pub fn new(config: MemoryConfig) -> Arc<MemoryManager> {
        let region = (config.total_bytes as f64 * config.storage_fraction.clamp(0.0, 1.0)) as u64;
        Arc::new(MemoryManager {
            total: config.total_bytes,
            region: region.min(config.total_bytes),
            state: Mutex::default(),
            freed: Condvar::new(),
            evictor: Mutex::new(None),
            forced: AtomicBool::new(false),
            next_key: AtomicU64::new(1),
            tasks: Mutex::default(),
        })
    }

    /// Has blocks dropped by `evictor` from now on.
    pub fn set_evictor(&self, evictor: Weak<dyn Evictor>) {
        *self.evictor.lock().unwrap_or_else(PoisonError::into_inner) = Some(evictor);
    }

    /// The account of one task attempt, which `abort` ends when it waits.
    pub fn for_task(self: &Arc<Self>, task: TaskId, abort: Abort) -> Arc<TaskMemory> {
        let key = self.next_key.fetch_add(1, Ordering::Relaxed);
        TaskMemory::new(self.clone(), key, task, abort)
    }

    /// An account from which something is taken for the first time; many tasks take nothing.
    pub(crate) fn opened(&self, key: u64, account: Weak<TaskMemory>) {
        self.open_accounts().insert(key, account);
    }

    /// Who holds how much, for an error or a warning to say.
    pub fn holders(&self) -> Holders {
        Holders::of(self)
    }

    pub(crate) fn tasks(&self) -> Vec<Arc<TaskMemory>> {
        // Without the lock, which the last handle of an account takes when it goes.
        let accounts: Vec<_> = self.open_accounts().values().cloned().collect();
        accounts.iter().filter_map(Weak::upgrade).collect()
    }

    fn open_accounts(&self) -> MutexGuard<'_, BTreeMap<u64, Weak<TaskMemory>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes of the pool.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Bytes from which execution drops no cached partitions.
    pub fn storage_region(&self) -> u64 {
        self.region
    }

    /// Bytes that blocks take.
    pub fn storage_used(&self) -> u64 {
        self.lock().storage
    }

    /// Bytes that tasks take.
    pub fn execution_used(&self) -> u64 {
        self.lock().execution()
    }

    /// Takes `bytes` for a block, from what is free or by having blocks dropped, none of RDD `keep`. False when it cannot
    /// be had; then nothing was dropped.
    pub fn acquire_storage(&self, bytes: u64, keep: Option<RddId>) -> bool {
        let mut evicted = false;
        loop {
            let mut state = self.lock();
            let limit = self.total.saturating_sub(state.execution());
            let free = limit.saturating_sub(state.storage);
            if bytes <= free {
                state.storage += bytes;
                return true;
            }
            drop(state);
            if bytes > limit || evicted {
                return false;
            }
            evicted = true;
            self.evict(Eviction { bytes: bytes - free, keep, all_or_nothing: true });
        }
    }

    /// Gives back memory of a block.
    pub fn release_storage(&self, bytes: u64) {
        let mut state = self.lock();
        state.storage = state.storage.saturating_sub(bytes);
        drop(state);
        self.freed.notify_all();
    }

    /// Gives `bytes` more to task `key`; false when it must do with what it has.
    pub(crate) fn acquire_execution(&self, key: u64, bytes: u64, abort: &Abort) -> bool {
        let mut evicted = false;
        let mut state = self.lock();
        state.execution.entry(key).or_insert(0);
        loop {
            let tasks = state.execution.len() as u64;
            let (current, execution) = (state.execution.get(&key).copied().unwrap_or(0), state.execution());
            let most = self.total.saturating_sub(state.storage.min(self.region));
            if current.saturating_add(bytes) > most / tasks {
                return false;
            }
            let free = self.total.saturating_sub(execution).saturating_sub(state.storage);
            if bytes <= free {
                *state.execution.entry(key).or_insert(0) += bytes;
                return true;
            }
            if !evicted && state.storage > self.region {
                let bytes = (bytes - free).min(state.storage - self.region);
                drop(state);
                evicted = true;
                self.evict(Eviction { bytes, keep: None, all_or_nothing: false });
                state = self.lock();
                continue;
            }
            // Of what execution has now, so that blocks that cannot be dropped keep nobody waiting. That all wait at once
            // is not possible: one of N tasks has its 1/(2N).
            if current + free >= execution.saturating_add(free) / (2 * tasks) {
                return false;
            }
            if abort.reason().is_some() {
                return false;
            }
            let waited = self.freed.wait_timeout(state, LOOK_AT_ABORT);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            evicted = false;
        }
    }

    /// Gives `bytes` more to task `key` whether they are there or not.
    pub(crate) fn force_execution(&self, key: u64, bytes: u64, task: TaskId, name: &str) {
        let mut state = self.lock();
        *state.execution.entry(key).or_insert(0) += bytes;
        let used = state.execution().saturating_add(state.storage);
        drop(state);
        if used <= self.total {
            return;
        }
        self.evict(Eviction { bytes: used - self.total, keep: None, all_or_nothing: false });
        if !self.forced.swap(true, Ordering::Relaxed) {
            let holders = self.holders();
            tracing::warn!(%task, name, bytes, %holders, "what cannot be spilled takes more memory than there is");
        }
    }

    /// Takes back `bytes` of task `key`.
    pub(crate) fn release_execution(&self, key: u64, bytes: u64) {
        let mut state = self.lock();
        if let Some(held) = state.execution.get_mut(&key) {
            *held = held.saturating_sub(bytes);
        }
        drop(state);
        self.freed.notify_all();
    }

    /// Takes back all that task `key` had, and counts it no more.
    pub(crate) fn end_task(&self, key: u64) {
        self.open_accounts().remove(&key);
        if self.lock().execution.remove(&key).is_some() {
            self.freed.notify_all();
        }
    }

    fn evict(&self, eviction: Eviction) {
        let evictor = self.evictor.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(evictor) = evictor.and_then(|e| e.upgrade()) {
            evictor.evict(eviction);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "memory_manager_tests.rs"]
mod tests;
