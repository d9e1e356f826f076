//! The executors that the driver knows, and their slots.
//!
//! Called by the TaskScheduler only.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use firesteel_common::{ExecutorId, TaskId, Tick};

#[derive(Debug)]
pub(crate) struct Executor {
    pub(crate) host: Arc<str>,
    pub(crate) block_address: Arc<str>,
    pub(crate) cores: u32,
    /// Slots taken: tasks launched there and not yet reported as ended.
    pub(crate) used: u32,
    /// All tasks of it that are not over, also those whose large result is being fetched.
    pub(crate) tasks: BTreeSet<TaskId>,
    /// Its stream closed; until then its loss reason is awaited.
    pub(crate) lost_at: Option<Tick>,
}

/// All executors of a Context.
#[derive(Debug, Default)]
pub(crate) struct Executors {
    pub(crate) known: BTreeMap<ExecutorId, Executor>,
    /// Connected executors with a free slot.
    pub(crate) free: BTreeSet<ExecutorId>,
    /// Connected executors by host.
    hosts: BTreeMap<Arc<str>, u32>,
    /// Ids that are over; an executor never comes back.
    gone: BTreeSet<ExecutorId>,
    /// Whose turn it is to get a task.
    cursor: ExecutorId,
}

impl Executors {
    /// Adds an executor. The error says why it is not taken.
    pub(crate) fn add(&mut self, id: ExecutorId, host: &str, block_address: &str, cores: u32) -> Result<bool, String> {
        if self.gone.contains(&id) {
            return Err(format!("{id} was removed from this application"));
        }
        if let Some(e) = self.known.get(&id) {
            return if e.lost_at.is_some() {
                Err(format!("the connection of {id} had closed; a lost executor does not come back"))
            } else {
                Ok(false)
            };
        }
        let host: Arc<str> = host.into();
        *self.hosts.entry(host.clone()).or_default() += 1;
        self.known.insert(
            id,
            Executor {
                host,
                block_address: block_address.into(),
                cores,
                used: 0,
                tasks: BTreeSet::new(),
                lost_at: None,
            },
        );
        if cores > 0 {
            self.free.insert(id);
        }
        Ok(true)
    }

    /// Stops offering an executor's slots. Says whether that is news.
    pub(crate) fn disconnect(&mut self, id: ExecutorId, reason_awaited_until: Tick) -> bool {
        let Some(e) = self.known.get_mut(&id).filter(|e| e.lost_at.is_none()) else { return false };
        e.lost_at = Some(reason_awaited_until);
        self.free.remove(&id);
        let host = e.host.clone();
        if let Some(n) = self.hosts.get_mut(&host) {
            *n -= 1;
            if *n == 0 {
                self.hosts.remove(&host);
            }
        }
        true
    }

    /// Forgets an executor; its id is never taken again. Returns the tasks it had, if it was known.
    pub(crate) fn remove(&mut self, id: ExecutorId) -> Option<BTreeSet<TaskId>> {
        self.disconnect(id, Tick::ZERO);
        self.gone.insert(id);
        self.known.remove(&id).map(|e| e.tasks)
    }

    /// Disconnected executors whose reason has been awaited long enough.
    pub(crate) fn overdue(&self, now: Tick) -> Vec<ExecutorId> {
        self.known.iter().filter(|(_, e)| e.lost_at.is_some_and(|at| at <= now)).map(|(id, _)| *id).collect()
    }

    pub(crate) fn next_overdue(&self) -> Option<Tick> {
        self.known.values().filter_map(|e| e.lost_at).min()
    }

    pub(crate) fn takes_tasks(&self, id: ExecutorId) -> bool {
        self.known.get(&id).is_some_and(|e| e.lost_at.is_none())
    }

    pub(crate) fn on_host(&self, host: &str) -> bool {
        self.hosts.contains_key(host)
    }

    /// The next executor with a free slot, in turns, so that tasks spread.
    pub(crate) fn next_free(&mut self) -> Option<ExecutorId> {
        let id = self.free.range(self.cursor..).next().or_else(|| self.free.first()).copied()?;
        self.cursor = ExecutorId(id.0.wrapping_add(1));
        Some(id)
    }

    /// Takes a slot for `task`.
    pub(crate) fn take_slot(&mut self, id: ExecutorId, task: TaskId) {
        if let Some(e) = self.known.get_mut(&id) {
            e.used += 1;
            e.tasks.insert(task);
            if e.used >= e.cores {
                self.free.remove(&id);
            }
        }
    }

    /// Gives a slot back.
    pub(crate) fn free_slot(&mut self, id: ExecutorId) {
        if let Some(e) = self.known.get_mut(&id) {
            e.used = e.used.saturating_sub(1);
            if e.lost_at.is_none() && e.used < e.cores {
                self.free.insert(id);
            }
        }
    }

    /// The task is over in every respect.
    pub(crate) fn end_task(&mut self, id: ExecutorId, task: TaskId) {
        if let Some(e) = self.known.get_mut(&id) {
            e.tasks.remove(&task);
        }
    }
}
