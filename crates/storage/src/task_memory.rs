//! The memory of one task attempt, split among its consumers. Called by tables, sorters and writers of `shuffle` and
//! `rdd`; calls [`MemoryManager`].

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use firesteel_common::TaskId;

use crate::{Abort, MemoryManager, Reservation, TaskCounters};

/// What a consumer and its task share.
#[derive(Default)]
pub(crate) struct Consumer {
    pub name: Mutex<&'static str>,
    pub held: AtomicU64,
    /// Another consumer of the task needs memory.
    pub asked: AtomicBool,
}

impl Consumer {
    fn name(&self) -> &'static str {
        *self.name.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One task attempt's share of the pool. Dropping the last handle, which each [`Reservation`] holds too, gives
/// everything back and wakes who waits for it. Spark: `TaskMemoryManager`.
pub struct TaskMemory {
    manager: Arc<MemoryManager>,
    key: u64,
    task: TaskId,
    abort: Abort,
    consumers: Mutex<Vec<Arc<Consumer>>>,
    /// Whether the manager knows of it: since its first consumer.
    open: AtomicBool,
    /// Bytes that it holds of the pool.
    taken: AtomicU64,
    counters: TaskCounters,
}

impl TaskMemory {
    pub(crate) fn new(manager: Arc<MemoryManager>, key: u64, task: TaskId, abort: Abort) -> Arc<TaskMemory> {
        let (open, taken, counters) = (AtomicBool::new(false), AtomicU64::new(0), TaskCounters::default());
        Arc::new(TaskMemory { manager, key, task, abort, consumers: Mutex::default(), open, taken, counters })
    }

    /// An empty reservation for a consumer, which `name` names where memory is short.
    pub fn reserve(self: &Arc<Self>, name: &'static str) -> Reservation {
        let consumer = Arc::new(Consumer { name: Mutex::new(name), ..Consumer::default() });
        self.lock().push(consumer.clone());
        if !self.open.swap(true, Ordering::AcqRel) {
            self.manager.opened(self.key, Arc::downgrade(self));
        }
        Reservation::new(self.clone(), consumer)
    }

    /// Bytes that all consumers of the task hold.
    pub fn held(&self) -> u64 {
        self.lock().iter().map(|c| c.held.load(Ordering::Relaxed)).sum()
    }

    /// What it has read, written and held.
    pub fn counters(&self) -> &TaskCounters {
        &self.counters
    }

    fn takes(&self, bytes: u64) {
        let before = self.taken.fetch_add(bytes, Ordering::Relaxed);
        self.counters.peak_memory.reach(before + bytes);
    }

    /// Whose it is.
    pub fn id(&self) -> TaskId {
        self.task
    }

    /// What each consumer holds that holds something, largest first.
    pub(crate) fn consumers(&self) -> Vec<(&'static str, u64)> {
        let consumers = self.lock();
        let held = consumers.iter().map(|c| (c.name(), c.held.load(Ordering::Relaxed)));
        let mut held: Vec<_> = held.filter(|(_, bytes)| *bytes > 0).collect();
        held.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        held
    }

    /// The pool.
    pub fn manager(&self) -> &Arc<MemoryManager> {
        &self.manager
    }

    /// `bytes` more for `consumer`. When they are not to be had, the largest other consumer is asked to spill.
    pub(crate) fn acquire(&self, consumer: &Arc<Consumer>, bytes: u64) -> bool {
        if self.manager.acquire_execution(self.key, bytes, &self.abort) {
            self.takes(bytes);
            return true;
        }
        let consumers = self.lock();
        let others = consumers.iter().filter(|c| !Arc::ptr_eq(c, consumer));
        if let Some(largest) = others.max_by_key(|c| c.held.load(Ordering::Relaxed))
            && largest.held.load(Ordering::Relaxed) > 0
        {
            largest.asked.store(true, Ordering::Relaxed);
        }
        false
    }

    pub(crate) fn force(&self, consumer: &Consumer, bytes: u64) {
        self.takes(bytes);
        self.manager.force_execution(self.key, bytes, self.task, consumer.name());
    }

    pub(crate) fn release(&self, bytes: u64) {
        self.taken.fetch_sub(bytes, Ordering::Relaxed);
        self.manager.release_execution(self.key, bytes);
    }

    pub(crate) fn forget(&self, consumer: &Arc<Consumer>) {
        self.lock().retain(|c| !Arc::ptr_eq(c, consumer));
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Consumer>>> {
        self.consumers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for TaskMemory {
    fn drop(&mut self) {
        if *self.open.get_mut() {
            self.manager.end_task(self.key);
        }
    }
}
