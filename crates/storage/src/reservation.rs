//! What one consumer (a table, a sorter, a writer) of a task holds. Called by consumers; calls [`TaskMemory`].

use std::sync::{Arc, PoisonError, atomic::Ordering};

use crate::{TaskCounters, TaskMemory, task_memory::Consumer};

/// Memory of one consumer of a task; dropping it gives it back. Spark: `MemoryConsumer`.
pub struct Reservation {
    task: Arc<TaskMemory>,
    consumer: Arc<Consumer>,
    held: u64,
}

impl Reservation {
    pub(crate) fn new(task: Arc<TaskMemory>, consumer: Arc<Consumer>) -> Reservation {
        Reservation { task, consumer, held: 0 }
    }

    /// Makes the holding `bytes`. False when it would grow and cannot: then it is what it was, and the consumer must
    /// spill. May wait for other tasks, and have cached partitions dropped. Shrinking never fails.
    pub fn resize(&mut self, bytes: u64) -> bool {
        if bytes > self.held && !self.task.acquire(&self.consumer, bytes - self.held) {
            return false;
        }
        self.holds(bytes);
        true
    }

    /// Names it otherwise from now on, where memory is short.
    pub fn call(&mut self, name: &'static str) {
        *self.consumer.name.lock().unwrap_or_else(PoisonError::into_inner) = name;
    }

    /// Bytes that it holds.
    pub fn held(&self) -> u64 {
        self.held
    }

    /// Bytes of the pool that it is taken from, which all tasks and blocks of the process share.
    pub fn pool(&self) -> u64 {
        self.task.manager().total()
    }

    /// Makes the holding `bytes` even if there are not so many: for what is there already and cannot be spilled. Logged
    /// once a process when it goes beyond the pool.
    pub fn force(&mut self, bytes: u64) {
        if bytes > self.held {
            self.task.force(&self.consumer, bytes - self.held);
        }
        self.holds(bytes);
    }

    /// What its task has read, written and held.
    pub fn counters(&self) -> &TaskCounters {
        self.task.counters()
    }

    /// Whether another consumer of the same task could not grow since this one last shrank. To be looked at once a chunk;
    /// the answer is to spill and [`resize`](Reservation::resize).
    pub fn asked_to_spill(&self) -> bool {
        self.consumer.asked.load(Ordering::Relaxed)
    }

    fn holds(&mut self, bytes: u64) {
        if bytes < self.held {
            self.task.release(self.held - bytes);
            self.consumer.asked.store(false, Ordering::Relaxed);
        }
        self.held = bytes;
        self.consumer.held.store(bytes, Ordering::Relaxed);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.held > 0 {
            self.task.release(self.held);
        }
        self.task.forget(&self.consumer);
    }
}
