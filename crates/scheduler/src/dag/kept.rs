//! Partitions that executors keep: where they are, and what they were computed from.

use firesteel_common::{ExecutorId, RddId, TaskId};
use firesteel_protocol::BlockUpdate;

use super::dag_scheduler::DagScheduler;
use crate::{
    block_locations::BlockLocations,
    map_outputs::Generations,
    news::News,
    tasks::{executor::Executor, set_key::SetKey, task_scheduler::TaskScheduler},
};

/// Keeps the books of kept partitions, with what is known of the tasks that store them.
#[derive(Debug)]
pub(crate) struct Kept<'a> {
    pub(super) dag: &'a DagScheduler,
    pub(super) tasks: &'a TaskScheduler,
    pub(super) blocks: &'a mut BlockLocations,
    pub(super) news: &'a mut News,
}

impl Kept<'_> {
    /// Kept partitions came or went at an executor, by a task of it or without one.
    pub(crate) fn updated(&mut self, executor: ExecutorId, task: Option<TaskId>, updates: &[BlockUpdate]) {
        let set = task.and_then(|task| self.tasks.find(executor, task)).map(|r| r.set);
        for u in updates {
            // A copy counts while its original is known, so that the end of that comes after it, and its beginning before.
            if u.stored {
                self.stored(executor, u.rdd, u.partition, u.bytes, set);
            }
            for replica in &u.replicas {
                self.stored(*replica, u.rdd, u.partition, 0, None);
            }
            if !u.stored && self.tasks.executors().is_known(executor) {
                self.news.block(executor, u.rdd, u.partition, None);
                self.blocks.dropped(executor, u.rdd, u.partition);
            }
        }
    }

    /// A partition was stored by a task of the set, or as a copy.
    fn stored(&mut self, executor: ExecutorId, rdd: RddId, partition: u32, bytes: u64, set: Option<SetKey>) {
        // What one has that is given back, or whose stream is closed, goes with it.
        if !self.tasks.executor(executor).is_some_and(Executor::is_connected) {
            return;
        }
        self.news.block(executor, rdd, partition, Some(bytes));
        let none = Generations::new();
        let stage = set.and_then(|s| self.dag.stages.get(s.1.stage));
        let attempt = set.and_then(|s| stage?.attempts.get(&s.1.attempt));
        let reads = attempt.map_or(&none, |a| &a.reads);
        let parents = stage.map_or(&[][..], |s| &s.parents);
        // Of a copy alone nobody knows what it was computed from.
        if set.is_some() || !self.blocks.holders(rdd, partition).is_empty() {
            self.blocks.stored(executor, rdd, partition, reads, parents.iter().map(|(shuffle, _)| *shuffle));
        }
    }

    /// Nobody reads a damaged copy again. That of the task's own executor comes off the books with its block updates.
    pub(super) fn forget_damaged(&mut self, rdd: RddId, partition: u32, address: &str) {
        let at = |e: &ExecutorId| self.tasks.executor(*e).is_some_and(|known| **known.block_address() == *address);
        let mut holders = self.blocks.holders(rdd, partition).iter().copied();
        if let Some(executor) = holders.find(at) {
            self.blocks.dropped(executor, rdd, partition);
        }
    }
}
