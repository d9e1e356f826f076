//! Tasks that were launched ahead of the free slots: which they are, when they are called back, what becomes of them.

use std::collections::BTreeSet;

use firesteel_common::{ExecutorId, TaskId, Tick};

use super::{task_scheduler::TaskScheduler, task_set::TaskState};
use crate::effect::DriverEffect;

impl TaskScheduler {
    /// Calls back what waits at executors that do not end tasks as fast as was thought.
    pub(super) fn recall_slow(&mut self, now: Tick, out: &mut Vec<DriverEffect>) {
        for (executor, keep) in self.executors.measure(now) {
            let mut tasks = self.not_begun(executor);
            tasks.drain(..(keep as usize).min(tasks.len()));
            tasks.retain(|task| self.running.get_mut(task).is_some_and(|r| !std::mem::replace(&mut r.recalled, true)));
            if !tasks.is_empty() {
                out.push(DriverEffect::RecallTasks { executor, tasks });
            }
        }
    }

    /// Tasks of an executor that, as far as is known, wait there for a slot, in the order in which they will begin. The
    /// executor begins its tasks in the order of their launch, so the first ones have a slot each.
    pub(crate) fn not_begun(&self, executor: ExecutorId) -> Vec<TaskId> {
        let Some(e) = self.executors.known.get(&executor) else { return Vec::new() };
        let waits = |task: &&TaskId| self.running.get(task).is_some_and(|r| !r.begun);
        let takes_slot = |task: &&TaskId| self.running.get(task).is_some_and(|r| r.has_slot);
        e.tasks.iter().filter(takes_slot).skip(e.cores as usize).filter(waits).copied().collect()
    }

    /// The executor says that a task that had waited there has begun.
    pub(crate) fn begun(&mut self, now: Tick, task: TaskId) {
        if let Some(r) = self.running.get_mut(&task) {
            r.begun = true;
            r.since = now;
        }
    }

    /// The task was called back before it had begun: it waits as if it had never been launched.
    pub(crate) fn give_back(&mut self, task: TaskId) {
        let Some(ended) = self.remove(task, false).filter(|ended| ended.wanted) else { return };
        let Some(set) = self.sets.get_mut(&ended.set) else { return };
        let t = &mut set.tasks[ended.position as usize];
        t.launches = t.launches.saturating_sub(1);
        if !set.zombie && t.state == TaskState::Over {
            set.set_state(ended.position, TaskState::Waiting);
        }
        self.note_waiting(ended.set);
    }

    /// The user's code has ended the executor of these tasks. Which of the stages' tasks do that must be seen the next
    /// time: nothing more of them is launched ahead.
    pub(crate) fn launch_one_by_one(&mut self, tasks: &BTreeSet<TaskId>) {
        for task in tasks {
            let set = self.running.get(task).map(|r| r.set);
            if let Some(set) = set.and_then(|key| self.sets.get_mut(&key)) {
                set.one_by_one = true;
            }
        }
    }
}
