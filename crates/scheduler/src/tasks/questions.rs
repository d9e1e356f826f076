//! What others may know of the TaskScheduler's tables. Nothing here changes them.

use std::collections::BTreeSet;

use firesteel_common::{ExecutorId, StageId, TaskId, Tick};

use super::{
    exclusion::Health, executor::Executor, executors::Executors, running::RunningTask, set_key::SetKey,
    task_scheduler::TaskScheduler, task_set::TaskSetManager,
};
use crate::deadline::min_some;

/// How far the tasks of a stage attempt have come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Progress {
    /// When they were first offered slots.
    pub(crate) submitted: Tick,
    pub(crate) tasks: u32,
    /// Tasks of which an attempt runs.
    pub(crate) running: u32,
    /// Tasks that have made their output.
    pub(crate) over: u32,
    /// Attempts of tasks that failed.
    pub(crate) failed: u32,
}

impl TaskScheduler {
    /// Those that are known.
    #[inline]
    pub(crate) fn executors(&self) -> &Executors {
        &self.executors
    }

    /// An executor, if it is known.
    #[inline]
    pub(crate) fn executor(&self, id: ExecutorId) -> Option<&Executor> {
        self.executors.get(id)
    }

    /// A task that was launched and is not over.
    #[inline]
    pub(crate) fn running(&self, task: TaskId) -> Option<&RunningTask> {
        self.running.get(&task)
    }

    /// The running task of that name, if it runs on that executor.
    #[inline]
    pub(crate) fn find(&self, executor: ExecutorId, task: TaskId) -> Option<RunningTask> {
        self.running.get(&task).filter(|r| r.executor == executor).copied()
    }

    /// Whether the task's output is still wanted of it.
    #[inline]
    pub(crate) fn is_wanted(&self, task: TaskId) -> bool {
        let set = self.running.get(&task).and_then(|r| Some((r, self.sets.get(&r.set)?)));
        set.is_some_and(|(r, set)| set.tasks[r.position as usize].wants(task))
    }

    /// The place of a running task's result among those of its stage.
    #[inline]
    pub(crate) fn index_of(&self, task: TaskId) -> Option<u32> {
        let r = self.running.get(&task)?;
        Some(self.sets.get(&r.set)?.tasks.get(r.position as usize)?.index)
    }

    /// Whether a task of the stage runs, of any attempt.
    pub(crate) fn runs_any_of(&self, stage: StageId) -> bool {
        self.running.values().any(|r| r.set.1.stage == stage)
    }

    /// The stages of all tasks that run.
    pub(crate) fn stages_that_run(&self) -> BTreeSet<StageId> {
        self.running.values().map(|r| r.set.1.stage).collect()
    }

    /// Tasks of a set that wait for a slot.
    pub(crate) fn waiting(&self, key: SetKey) -> u32 {
        self.sets.get(&key).map_or(0, |set| set.waiting)
    }

    /// How far a set has come; None when it is gone.
    pub(crate) fn progress(&self, key: SetKey) -> Option<Progress> {
        let set = self.sets.get(&key)?;
        Some(Progress {
            submitted: set.submitted,
            tasks: set.tasks.len() as u32,
            running: set.running,
            over: set.over,
            failed: set.failed,
        })
    }

    /// Whether the set has nothing left to do, or is gone.
    #[inline]
    pub(crate) fn is_over(&self, key: SetKey) -> bool {
        self.sets.get(&key).is_none_or(TaskSetManager::all_over)
    }

    /// Whether the set launches nothing more, or is gone.
    pub(crate) fn is_retired(&self, key: SetKey) -> bool {
        self.sets.get(&key).is_none_or(|set| set.zombie)
    }

    /// Whether the set makes the output `index`, or will.
    pub(crate) fn makes(&self, key: SetKey, index: u32) -> bool {
        self.sets.get(&key).is_some_and(|set| set.makes(index))
    }

    /// All sets.
    pub(crate) fn sets(&self) -> impl Iterator<Item = SetKey> {
        self.sets.keys().copied()
    }

    /// Tasks that wait for a slot, and tasks that have one.
    pub(crate) fn load(&self) -> (u64, u64) {
        let waiting = self.pools.wanting().filter_map(|key| self.sets.get(key)).map(TaskSetManager::to_launch).sum();
        let waiting: u64 = waiting;
        let running = self.running.len() as u64;
        // What was launched ahead of the slots waits, too.
        let ahead = self.executors.known.values().map(|e| u64::from(e.waiting())).sum::<u64>().min(running);
        (waiting + ahead, running - ahead)
    }

    /// When something is to be done although nothing happens.
    pub(crate) fn next_deadline(&self) -> Option<Tick> {
        let starving = self.starving.map(|(_, warn_at)| warn_at);
        let executors = min_some(self.executors.next_overdue(), self.executors.next_measure());
        let executors = min_some(executors, self.executors.next_kill());
        let health = min_some(self.health.as_ref().and_then(Health::next_expiry), self.stuck_until);
        let sets = min_some(min_some(self.locality_deadline, starving), health);
        min_some(sets, min_some(self.look_at, executors))
    }
}
