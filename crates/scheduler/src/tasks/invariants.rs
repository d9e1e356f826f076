//! What must hold between any two events of the tasks, the slots and the executors.

use super::{
    executor::Executor,
    pace::MOST_AHEAD,
    task_scheduler::TaskScheduler,
    task_set::{TaskSetManager, TaskState},
};
use crate::invariants::hold;

impl TaskScheduler {
    /// Checks all of them; the error says which does not hold. Takes time in proportion to all that is known.
    pub(crate) fn check(&self) -> Result<(), String> {
        self.check_slots()?;
        self.check_leaving()?;
        self.check_task_sets()
    }

    /// What is free is what is not taken; more tasks than slots have only executors that end them fast, or where they
    /// have been called back.
    fn check_slots(&self) -> Result<(), String> {
        for (id, e) in &self.executors.known {
            let taken = e.tasks.iter().filter(|t| self.running.get(t).is_some_and(|r| r.has_slot)).count();
            hold!(taken == e.used as usize, "{id} counts {} slots as taken, and {taken} are", e.used);
            hold!(e.waiting() <= MOST_AHEAD, "{id} has {} cores and {} tasks", e.cores, e.used);
            let waits = self.not_begun(*id);
            let kept = waits.iter().filter(|t| self.running.get(t).is_some_and(|r| !r.recalled)).count();
            let most = e.pace.ahead() as usize * 4;
            hold!(e.lost_at.is_some() || kept <= most, "{kept} tasks wait at {id}, where {} may", e.pace.ahead());
            hold!(e.lost_at.is_some() || e.leaving.is_none() || kept == 0, "{kept} tasks wait at {id}, which leaves");
            let roomy = e.stays() && !e.excluded && e.room() > 0;
            hold!(roomy == self.executors.roomy.contains(id), "{id} is offered wrongly for tasks that wait");
            let offered = e.stays() && !e.excluded && e.used < e.cores;
            hold!(offered == self.executors.free.contains(id), "{id} is offered wrongly");
            for t in &e.tasks {
                hold!(self.running.get(t).is_some_and(|r| r.executor == *id), "{t} of {id} is not known");
            }
        }
        for (task, r) in &self.running {
            let known = self.executors.known.get(&r.executor);
            hold!(known.is_some_and(|e| e.tasks.contains(task)), "{task} runs on {}, which lacks it", r.executor);
        }
        Ok(())
    }

    /// Whoever leaves is known as decommissioned, goes in time, and is counted where it may get tasks nowhere.
    fn check_leaving(&self) -> Result<(), String> {
        let executors = &self.executors;
        for (id, e) in executors.known.iter().filter(|(_, e)| e.leaving.is_some()) {
            hold!(executors.was_decommissioned(*id), "{id} leaves and is not known to be decommissioned");
            hold!(!executors.takes_tasks(*id), "{id} leaves and takes tasks");
            let kill_at = e.leaving.and_then(|l| l.kill_at).filter(|_| e.lost_at.is_none());
            let next = self.next_deadline();
            hold!(
                kill_at.is_none_or(|at| next.is_some_and(|n| n <= at)),
                "{id} is not looked at when its time is over"
            );
        }
        let staying = executors.known.values().filter(|e| e.stays()).count();
        hold!(
            staying == executors.on_hosts() as usize,
            "{staying} executors stay, {} are counted",
            executors.on_hosts()
        );
        Ok(())
    }

    fn check_task_sets(&self) -> Result<(), String> {
        for (key, set) in &self.sets {
            let name = key.1.to_string();
            set.check_counts(&name)?;
            hold!(set.wants_slots() == self.pools.wants(*key), "{name} is offered slots wrongly");
            self.check_running(&name, set)?;
        }
        let orphan = self.pools.keys().find(|key| !self.sets.contains_key(key));
        hold!(orphan.is_none(), "{orphan:?} is offered slots and is gone");
        for (pool, (name, counted)) in self.pools.running().enumerate() {
            let run = self.running.values().filter(|r| r.has_slot && r.pool == pool).count();
            hold!(run == counted as usize, "pool {name} counts {counted} running tasks, {run} are");
        }
        Ok(())
    }

    fn check_running(&self, name: &str, set: &TaskSetManager) -> Result<(), String> {
        for (position, t) in (0u32..).zip(&set.tasks) {
            for task in t.attempts.iter().flatten() {
                let known = self.running.get(task).is_some_and(|r| r.position == position);
                hold!(known, "{name}: {task} is said to run and is not known");
            }
        }
        Ok(())
    }
}

impl Executor {
    /// Whether the counts can be true, as far as one executor alone can tell.
    pub(super) fn is_plausible(&self) -> bool {
        self.used as usize <= self.tasks.len() && self.waiting() <= MOST_AHEAD
    }
}

impl TaskSetManager {
    /// Whether every task is counted in one state.
    pub(super) fn adds_up(&self) -> bool {
        self.waiting + self.running + self.over == self.tasks.len() as u32
    }

    fn check_counts(&self, name: &str) -> Result<(), String> {
        let count = |f: fn(&TaskState) -> bool| self.tasks.iter().filter(|t| f(&t.state)).count();
        let waiting = count(|s| *s == TaskState::Waiting);
        let over = count(|s| *s == TaskState::Over);
        hold!(waiting == self.waiting as usize, "{name}: {waiting} tasks wait, it counts {}", self.waiting);
        hold!(over == self.over as usize, "{name}: {over} tasks are over, it counts {}", self.over);
        hold!(self.adds_up(), "{name}: its tasks do not add up");
        for (position, t) in (0u32..).zip(&self.tasks) {
            let runs = t.attempts.iter().flatten().count() > 0;
            hold!(runs == (t.state == TaskState::Running), "{name}: what runs of task {position} is not what it says");
            let slow = self.slow.contains(&position);
            hold!(!slow || runs, "{name}: task {position} counts as slow and does not run");
        }
        if self.barrier {
            // Tasks of a barrier stage run all or none.
            let none = self.waiting as usize == self.tasks.len();
            hold!(none || self.waiting == 0, "{name}: some tasks of a barrier stage run and others wait");
            hold!(self.tasks.iter().all(|t| t.launches <= 1), "{name}: a task of a barrier stage runs again");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use firesteel_common::{ExecutorId, JobId, StageAttempt, StageId, Tick};

    use super::*;
    use crate::{
        config::SchedulerConfig,
        tasks::{locality::Preference, set_key::SetKey, task_set::NewTask},
    };

    const EXECUTOR: ExecutorId = ExecutorId(7);
    const SET: SetKey = (JobId(1), StageAttempt { stage: StageId(2), attempt: 0 });

    /// Three tasks, of which two run on an executor with two slots.
    fn busy() -> TaskScheduler {
        let mut tasks = TaskScheduler::new(&SchedulerConfig::default());
        assert_eq!(tasks.add_executor(EXECUTOR, "host", "host:1", 2), Ok(true));
        let new = |index| NewTask { index, partition: index, preference: Preference::default() };
        tasks.submit(Tick::ZERO, SET, None, (0..3).map(new).collect(), false);
        tasks.offer(Tick::ZERO, &mut Vec::new());
        tasks.check().unwrap();
        tasks
    }

    /// What is said after `spoil` has made the tables wrong.
    fn found(spoil: impl FnOnce(&mut TaskScheduler) -> Option<()>) -> String {
        let mut tasks = busy();
        spoil(&mut tasks).unwrap();
        tasks.check().unwrap_err()
    }

    #[test]
    fn tables_that_disagree_are_found() {
        let slots = found(|all| all.executors.known.get_mut(&EXECUTOR).map(|e| e.used = 1));
        assert!(slots.contains("counts 1 slots as taken, and 2 are"), "{slots}");
        let offered = found(|all| all.executors.free.insert(EXECUTOR).then_some(()));
        assert!(offered.contains("is offered wrongly"), "{offered}");
        let lost = found(|all| all.running.pop_first().map(drop));
        assert!(lost.contains("counts 2 slots as taken, and 1 are"), "{lost}");
        let waiting = found(|all| all.sets.get_mut(&SET).map(|set| set.waiting = 0));
        assert!(waiting.contains("1 tasks wait, it counts 0"), "{waiting}");
        let slow = found(|all| all.sets.get_mut(&SET).and_then(|set| set.slow.insert(2).then_some(())));
        assert!(slow.contains("task 2 counts as slow and does not run"), "{slow}");
        let pools = found(|all| all.sets.remove(&SET).map(drop));
        assert!(pools.contains("is offered slots and is gone"), "{pools}");
    }
}
