//! Executors that come and go, as the TaskScheduler is told of them. What that means for tasks is for the caller to say.

use std::{collections::BTreeSet, time::Duration};

use firesteel_common::{ExecutorId, TaskId, Tick};

use super::task_scheduler::TaskScheduler;

impl TaskScheduler {
    /// An executor has registered with so many slots. Says whether it is new; the error says why it is not taken.
    pub(crate) fn add_executor(
        &mut self,
        id: ExecutorId,
        host: &str,
        block_address: &str,
        slots: u32,
    ) -> Result<bool, String> {
        self.executors.add(id, host, block_address, slots)
    }

    /// Its stream is closed, or as good as that: it gets no tasks any more, and is forgotten at `until` unless that is
    /// done before.
    pub(crate) fn disconnect(&mut self, id: ExecutorId, until: Tick) {
        self.executors.disconnect(id, until);
    }

    /// Forgets an executor, which never comes back. Returns the tasks it had, which are to be ended, if it was known.
    pub(crate) fn remove_executor(&mut self, id: ExecutorId) -> Option<BTreeSet<TaskId>> {
        self.executors.remove(id)
    }

    /// Whether an executor that has just registered was decommissioned before, and whether with its worker.
    pub(crate) fn leaves_at_once(&mut self, id: ExecutorId) -> Option<bool> {
        self.executors.leaves_at_once(id)
    }

    /// Executors that have had their time to leave, which are then as good as disconnected, until `until`.
    pub(crate) fn kill_overdue(&mut self, now: Tick, until: Tick) -> Vec<ExecutorId> {
        self.executors.kill_overdue(now, until)
    }

    /// Whether executors came, went or are to leave since this was last asked.
    #[inline]
    pub(crate) fn take_changed(&mut self) -> bool {
        self.executors.take_changed()
    }

    /// A task of the executor ran for so long; zero is not known.
    #[inline]
    pub(crate) fn ran(&mut self, id: ExecutorId, time: Duration) {
        self.executors.ran(id, time);
    }
}
