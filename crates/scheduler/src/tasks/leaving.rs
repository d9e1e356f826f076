//! Decommissioned executors: they end their tasks, get no more, and go by themselves or are killed after a time.
//!
//! Called by the DAGScheduler's `decommission` and by the TaskScheduler.

use firesteel_common::{ExecutorId, Tick};

use super::{executor::Leaving, executors::Executors, task_scheduler::TaskScheduler};
use crate::{deadline::min_some, effect::DriverEffect};

impl Executors {
    /// Whether the executor is leaving, or had been before it was gone: its end, and that it cannot be reached, are nobody's
    /// fault.
    pub(crate) fn was_decommissioned(&self, id: ExecutorId) -> bool {
        self.decommissioned.contains(&id)
    }

    /// Offers nothing of an executor any more. Says whether it is known and that is news.
    fn leave(&mut self, id: ExecutorId, kill_at: Option<Tick>, worker: bool) -> bool {
        if self.is_gone(id) {
            return false;
        }
        let Some(e) = self.known.get_mut(&id) else {
            *self.leave_at_once.entry(id).or_default() |= worker;
            return false;
        };
        self.decommissioned.insert(id);
        self.changed = true;
        if let Some(leaving) = &mut e.leaving {
            leaving.worker |= worker;
            return false;
        }
        e.leaving = Some(Leaving { kill_at, worker });
        if e.lost_at.is_some() {
            return false;
        }
        self.close(id);
        true
    }

    /// Whether an executor that has just registered was decommissioned before, and whether with its worker.
    pub(super) fn leaves_at_once(&mut self, id: ExecutorId) -> Option<bool> {
        self.leave_at_once.remove(&id)
    }

    /// Connected executors that have had their time to leave, which are then as good as disconnected, until `until`.
    pub(super) fn kill_overdue(&mut self, now: Tick, until: Tick) -> Vec<ExecutorId> {
        let mut overdue = Vec::new();
        for (id, e) in self.known.iter_mut().filter(|(_, e)| e.lost_at.is_none()) {
            if e.leaving.and_then(|l| l.kill_at).is_some_and(|at| at <= now) {
                e.lost_at = Some(until);
                overdue.push(*id);
                self.changed = true;
            }
        }
        overdue
    }

    /// When the next one has had its time.
    pub(super) fn next_kill(&self) -> Option<Tick> {
        let leaving = self.known.values().filter(|e| e.lost_at.is_none()).filter_map(|e| e.leaving?.kill_at);
        leaving.fold(None, |first, at| min_some(first, Some(at)))
    }
}

impl TaskScheduler {
    /// Offers nothing of an executor any more and calls back what waits there. Says whether it is connected and that is
    /// news.
    pub(crate) fn leave(
        &mut self,
        id: ExecutorId,
        kill_at: Option<Tick>,
        worker: bool,
        out: &mut Vec<DriverEffect>,
    ) -> bool {
        if !self.executors.leave(id, kill_at, worker) {
            return false;
        }
        let mut tasks = self.not_begun(id);
        tasks.retain(|task| self.running.get_mut(task).is_some_and(|r| !std::mem::replace(&mut r.recalled, true)));
        if !tasks.is_empty() {
            out.push(DriverEffect::RecallTasks { executor: id, tasks });
        }
        true
    }
}
