//! What must hold between any two events, written once: property tests and the simulation call it after each step.

use std::collections::BTreeSet;

use firesteel_common::{StageAttempt, TaskId};
use firesteel_machine::Machine;

use crate::{
    dag::stage::StageState,
    driver_core::DriverCore,
    effect::StageKind,
    tasks::{
        pace::MOST_AHEAD,
        task_set::{TaskSetManager, TaskState},
    },
};

/// Fails with the formatted text unless the condition holds.
macro_rules! hold {
    ($cond:expr, $($text:tt)*) => {
        if !$cond {
            return Err(format!($($text)*));
        }
    };
}

impl DriverCore {
    /// Checks every invariant; the error says which one does not hold. Takes time in proportion to all that is known.
    pub(crate) fn check_tables(&self) -> Result<(), String> {
        hold!(self.doubles == 0, "{} outputs were counted twice", self.doubles);
        self.check_slots()?;
        self.check_leaving()?;
        self.check_task_sets()?;
        self.check_barriers()?;
        self.check_stages()?;
        self.check_jobs()?;
        self.check_news()?;
        let executors: BTreeSet<_> = self.tasks.executors.known.keys().copied().collect();
        self.replication.check(|executor| self.tasks.executors.is_connected(executor))?;
        self.outputs.check(&executors)?;
        self.blocks.check(&executors)
    }

    /// Whoever was said to have begun has not ended, unless that was said.
    fn check_news(&self) -> Result<(), String> {
        let running = |task: &TaskId| self.tasks.running.contains_key(task);
        let stray = self.reports.keys().find(|task| !running(task));
        hold!(stray.is_none(), "{stray:?} is over and what its executor said of it is kept");
        let runs = |attempt: StageAttempt| {
            let stage = self.dag.stages.get(&attempt.stage);
            stage.and_then(|s| s.running_attempt()) == Some(attempt.attempt)
        };
        self.news.check(|task| running(&task), runs, |job| self.dag.jobs.contains_key(&job))
    }

    /// What is free is what is not taken; more tasks than slots have only executors that end them fast, or where they
    /// have been called back.
    fn check_slots(&self) -> Result<(), String> {
        for (id, e) in &self.tasks.executors.known {
            let taken = e.tasks.iter().filter(|t| self.tasks.running.get(t).is_some_and(|r| r.has_slot)).count();
            hold!(taken == e.used as usize, "{id} counts {} slots as taken, and {taken} are", e.used);
            hold!(e.waiting() <= MOST_AHEAD, "{id} has {} cores and {} tasks", e.cores, e.used);
            let waits = self.tasks.not_begun(*id);
            let kept = waits.iter().filter(|t| self.tasks.running.get(t).is_some_and(|r| !r.recalled)).count();
            let most = e.pace.ahead() as usize * 4;
            hold!(e.lost_at.is_some() || kept <= most, "{kept} tasks wait at {id}, where {} may", e.pace.ahead());
            hold!(e.lost_at.is_some() || e.leaving.is_none() || kept == 0, "{kept} tasks wait at {id}, which leaves");
            let roomy = e.stays() && !e.excluded && e.room() > 0;
            hold!(roomy == self.tasks.executors.roomy.contains(id), "{id} is offered wrongly for tasks that wait");
            let offered = e.stays() && !e.excluded && e.used < e.cores;
            hold!(offered == self.tasks.executors.free.contains(id), "{id} is offered wrongly");
            for t in &e.tasks {
                hold!(self.tasks.running.get(t).is_some_and(|r| r.executor == *id), "{t} of {id} is not known");
            }
        }
        for (task, r) in &self.tasks.running {
            let known = self.tasks.executors.known.get(&r.executor);
            hold!(known.is_some_and(|e| e.tasks.contains(task)), "{task} runs on {}, which lacks it", r.executor);
        }
        Ok(())
    }

    /// Whoever leaves is known as decommissioned, goes in time, and is counted where it may get tasks nowhere.
    fn check_leaving(&self) -> Result<(), String> {
        let executors = &self.tasks.executors;
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
        for (key, set) in &self.tasks.sets {
            let count = |f: fn(&TaskState) -> bool| set.tasks.iter().filter(|t| f(&t.state)).count();
            let waiting = count(|s| *s == TaskState::Waiting);
            let over = count(|s| *s == TaskState::Over);
            hold!(waiting == set.waiting as usize, "{}: {waiting} tasks wait, it counts {}", key.1, set.waiting);
            hold!(over == set.over as usize, "{}: {over} tasks are over, it counts {}", key.1, set.over);
            hold!(waiting + over + set.running as usize == set.tasks.len(), "{}: its tasks do not add up", key.1);
            hold!(set.wants_slots() == self.tasks.pools.wants(*key), "{} is offered slots wrongly", key.1);
            self.check_running(key.1.to_string(), set)?;
            let stage = self.dag.stages.get(&key.1.stage);
            hold!(stage.is_some(), "{} is scheduled and its stage is gone", key.1);
        }
        let orphan = self.tasks.pools.keys().find(|key| !self.tasks.sets.contains_key(key));
        hold!(orphan.is_none(), "{orphan:?} is offered slots and is gone");
        for (pool, (name, counted)) in self.tasks.pools.running().enumerate() {
            let run = self.tasks.running.values().filter(|r| r.has_slot && r.pool == pool).count();
            hold!(run == counted as usize, "pool {name} counts {counted} running tasks, {run} are");
        }
        Ok(())
    }

    fn check_running(&self, name: String, set: &TaskSetManager) -> Result<(), String> {
        for (position, t) in (0u32..).zip(&set.tasks) {
            for task in t.attempts.iter().flatten() {
                let known = self.tasks.running.get(task).is_some_and(|r| r.position == position);
                hold!(known, "{name}: {task} is said to run and is not known");
            }
            let runs = t.attempts.iter().flatten().count() > 0;
            hold!(runs == (t.state == TaskState::Running), "{name}: what runs of task {position} is not what it says");
            let slow = set.slow.contains(&position);
            hold!(!slow || runs, "{name}: task {position} counts as slow and does not run");
        }
        Ok(())
    }

    /// Tasks of a barrier stage run all or none, and meet while they do.
    fn check_barriers(&self) -> Result<(), String> {
        for (key, set) in self.tasks.sets.iter().filter(|(_, set)| set.barrier) {
            let none = set.waiting as usize == set.tasks.len();
            hold!(none || set.waiting == 0, "{}: some tasks of a barrier stage run and others wait", key.1);
            hold!(set.tasks.iter().all(|t| t.launches <= 1), "{}: a task of a barrier stage runs again", key.1);
        }
        for attempt in self.barriers.attempts() {
            let running = self.dag.stages.get(&attempt.stage).and_then(|s| s.running_attempt());
            hold!(running == Some(attempt.attempt), "{attempt} is over and its barrier is not");
        }
        Ok(())
    }

    /// Nothing waits for what can never come.
    fn check_stages(&self) -> Result<(), String> {
        for (id, stage) in &self.dag.stages {
            hold!(!stage.jobs.is_empty(), "{id} is kept for nobody");
            let jobs_know = stage.jobs.iter().all(|j| self.dag.jobs.get(j).is_some_and(|j| j.stages.contains(id)));
            hold!(jobs_know, "{id} is kept for a job that does not know it");
            hold!(
                self.dag.failed.contains(id) == matches!(stage.state, StageState::Failed { .. }),
                "{id} is to be resubmitted and is not, or the reverse"
            );
            match stage.state {
                StageState::Running { attempt } => {
                    let set = self.tasks.sets.get(&stage.key(attempt));
                    hold!(set.is_some_and(|s| !s.zombie && !s.all_over()), "{id} runs without tasks to do");
                    let covered = |index: &u32| {
                        if stage.held.contains_key(index) {
                            return true;
                        }
                        let state = set.and_then(|s| Some(s.tasks[s.position_of(*index)? as usize].state));
                        state.is_some_and(|s| s != TaskState::Over)
                    };
                    if let StageKind::Result { .. } = stage.kind {
                        let all = self.missing_outputs(stage).iter().all(covered);
                        hold!(all, "{id} lacks a result that nobody computes");
                    }
                }
                StageState::Waiting => {
                    let comes = stage
                        .parents
                        .iter()
                        .any(|(_, parent)| self.dag.stages.get(parent).is_some_and(|p| p.state != StageState::Idle));
                    hold!(comes, "{id} waits and none of its parents runs");
                }
                StageState::Failed { .. } | StageState::Idle => {}
            }
        }
        Ok(())
    }

    fn check_jobs(&self) -> Result<(), String> {
        for (id, job) in &self.dag.jobs {
            let left = job.finished.iter().filter(|f| !**f).count();
            hold!(
                left == job.remaining as usize && left > 0,
                "{id} counts {} results to come, {left} do",
                job.remaining
            );
            let result = self.dag.stages.get(&job.result_stage);
            hold!(result.is_some_and(|s| s.state != StageState::Idle), "{id} runs and its result stage is idle");
        }
        Ok(())
    }
}
