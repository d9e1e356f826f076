//! TaskScheduler: gives the waiting tasks of all task sets to the free slots of executors.
//!
//! ```text
//!   dag/  ── submit, complete, retry, retire, cancel ──▶  TaskScheduler ──▶ LaunchTasks, RecallTasks, KillTask, NoResources
//!                                                          ├─ Pools (whose turn it is: FIFO or FAIR)
//!                                                          ├─ TaskSetManager (one a stage attempt: tasks, locality)
//!                                                          ├─ speculation (copies of slow tasks)
//!                                                          └─ Executors (slots, pace)
//! ```
//!
//! Where tasks are short, some are launched ahead of the free slots, so that an executor need not wait for the driver
//! after each one. They are called back when the tasks before them turn out not to be short; those that have not begun
//! then are given back and wait as before.
//!
//! It does not know what success or failure means for a job: the DAGScheduler's files decide that.

mod ahead;
mod exclusion;
pub(crate) mod executors;
pub(crate) mod leaving;
mod offers;
pub(crate) mod pace;
mod place;
pub(crate) mod pools;
pub(crate) mod speculation;
pub(crate) mod task_set;

use std::{collections::BTreeMap, time::Duration};

use firesteel_common::{ExecutorId, JobId, StageAttempt, StageId, TaskId, Tick};

use self::{
    exclusion::{Health, SetExclusion},
    executors::Executors,
    pools::{PoolId, Pools},
    task_set::{Locality, LocalityWaits, NewTask, TaskSetManager, TaskState},
};
use crate::{
    config::{SchedulerConfig, SpeculationConfig},
    effect::DriverEffect,
};

/// Names a task set; the order is the order in which sets of a FIFO pool get slots.
pub(crate) type SetKey = (JobId, StageAttempt);

/// A task that was launched and is not over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunningTask {
    pub(crate) set: SetKey,
    pub(crate) position: u32,
    pub(crate) executor: ExecutorId,
    pub(crate) pool: PoolId,
    /// When it was launched, or when it began, if it had to wait at its executor.
    pub(crate) since: Tick,
    /// It still takes a slot; false while its large result is fetched.
    pub(crate) has_slot: bool,
    /// Its executor said that it has begun; it does not say so of those that found a free slot.
    pub(crate) begun: bool,
    /// It was launched although no slot was free.
    pub(crate) ahead: bool,
    /// How far from its data.
    pub(crate) locality: Locality,
    /// It was called back, and comes unless it has begun before.
    pub(crate) recalled: bool,
}

/// What a task was, once it is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndedTask {
    pub(crate) set: SetKey,
    pub(crate) position: u32,
    pub(crate) index: u32,
    pub(crate) partition: u32,
    pub(crate) executor: ExecutorId,
    /// When it began.
    pub(crate) since: Tick,
    /// It had a large result, which was to be fetched.
    pub(crate) in_block: bool,
    /// Its set launches nothing more.
    pub(crate) zombie: bool,
    /// Its output was still wanted of it; false when it was killed because another attempt had been faster.
    pub(crate) wanted: bool,
}

#[derive(Debug)]
pub(crate) struct TaskScheduler {
    pub(crate) executors: Executors,
    pub(crate) sets: BTreeMap<SetKey, TaskSetManager>,
    pub(crate) pools: Pools,
    pub(crate) running: BTreeMap<TaskId, RunningTask>,
    next_task: u64,
    /// Barrier sets all of whose tasks were launched just now, with their executors by position.
    barriers: Vec<(StageAttempt, Vec<ExecutorId>)>,
    waits: LocalityWaits,
    speculation: Option<SpeculationConfig>,
    /// When to look for slow tasks.
    look_at: Option<Tick>,
    /// Where tasks have failed, if that matters.
    health: Option<Health>,
    /// Since when a set's tasks are excluded everywhere.
    stuck: BTreeMap<SetKey, Tick>,
    /// When the jobs of such sets fail.
    stuck_until: Option<Tick>,
    starvation_timeout: Duration,
    /// When a set that holds slots back widens its choice.
    locality_deadline: Option<Tick>,
    /// Since when tasks wait and none runs, and when to warn next.
    starving: Option<(Tick, Tick)>,
}

impl TaskScheduler {
    pub(crate) fn new(config: &SchedulerConfig) -> Self {
        let waits = LocalityWaits {
            process: config.locality_wait_process,
            node: config.locality_wait_node,
            rack: config.locality_wait_rack,
        };
        TaskScheduler {
            executors: Executors::new(&config.racks),
            sets: BTreeMap::new(),
            pools: Pools::new(config.mode, &config.pools),
            running: BTreeMap::new(),
            next_task: 0,
            barriers: Vec::new(),
            waits,
            speculation: config.speculation.clone(),
            look_at: None,
            health: config.exclusion.clone().map(Health::new),
            stuck: BTreeMap::new(),
            stuck_until: None,
            starvation_timeout: config.starvation_timeout,
            locality_deadline: None,
            starving: None,
        }
    }

    /// Adds the tasks of a stage attempt, ascending by index, to a pool.
    pub(crate) fn submit(&mut self, now: Tick, key: SetKey, pool: Option<&str>, tasks: Vec<NewTask>, barrier: bool) {
        let pool = self.pools.add(key, pool);
        let mut set = TaskSetManager::new(key.1, tasks, pool, self.waits, now);
        set.exclusion = self.health.as_ref().map(|h| Box::new(SetExclusion::new(h.config.clone())));
        set.barrier = barrier;
        self.sets.insert(key, set);
        self.note_waiting(key);
    }

    fn note_waiting(&mut self, key: SetKey) {
        let wants = self.sets.get(&key).is_some_and(TaskSetManager::wants_slots);
        self.pools.note(key, wants);
    }

    /// Forgets a set; what runs of it is known until it ends.
    fn drop_set(&mut self, key: SetKey) -> Option<TaskSetManager> {
        self.pools.remove(key);
        self.sets.remove(&key)
    }

    /// The running task of that name, if it runs on that executor.
    pub(crate) fn find(&self, executor: ExecutorId, task: TaskId) -> Option<RunningTask> {
        self.running.get(&task).filter(|r| r.executor == executor).copied()
    }

    /// Whether the task's output is still wanted of it.
    pub(crate) fn is_wanted(&self, task: TaskId) -> bool {
        let set = self.running.get(&task).and_then(|r| Some((r, self.sets.get(&r.set)?)));
        set.is_some_and(|(r, set)| set.tasks[r.position as usize].wants(task))
    }

    /// The place of a running task's result among those of its stage.
    pub(crate) fn index_of(&self, task: TaskId) -> Option<u32> {
        let r = self.running.get(&task)?;
        Some(self.sets.get(&r.set)?.tasks.get(r.position as usize)?.index)
    }

    /// The task has ended but its large result is still to be fetched: its slot is free.
    pub(crate) fn await_result(&mut self, task: TaskId) {
        if let Some(r) = self.running.get_mut(&task)
            && std::mem::replace(&mut r.has_slot, false)
        {
            self.executors.free_slot(r.executor, true);
            self.pools.ended(r.pool, r.set);
        }
    }

    /// The task is over: its slot is free and it is known no more. The caller says by `complete`, `retry` or `give_up`
    /// what becomes of its output. None when its set is gone.
    pub(crate) fn end(&mut self, task: TaskId) -> Option<EndedTask> {
        self.remove(task, true)
    }

    fn remove(&mut self, task: TaskId, ended: bool) -> Option<EndedTask> {
        let r = self.running.remove(&task)?;
        if r.has_slot {
            self.executors.free_slot(r.executor, ended);
            self.pools.ended(r.pool, r.set);
        }
        self.executors.end_task(r.executor, task);
        let set = self.sets.get_mut(&r.set)?;
        let wanted = set.ended(r.position, task);
        let t = &set.tasks[r.position as usize];
        let (index, partition, zombie) = (t.index, t.partition, set.zombie);
        if zombie && set.running == 0 {
            self.drop_set(r.set);
        }
        // The copy of it that it may have waited for is not launched any more.
        self.note_waiting(r.set);
        let RunningTask { set, position, executor, since, has_slot, .. } = r;
        Some(EndedTask { set, position, index, partition, executor, since, in_block: !has_slot, zombie, wanted })
    }

    /// A task's output was taken: what its set's others are compared with.
    pub(crate) fn note_success(&mut self, now: Tick, ended: &EndedTask) {
        if let (Some(_), Some(set)) = (&self.speculation, self.sets.get_mut(&ended.set)) {
            set.took.add(now.since(ended.since));
        }
    }

    /// The attempt counts as failed, whatever becomes of its task.
    pub(crate) fn note_failed(&mut self, ended: &EndedTask) {
        if let Some(set) = self.sets.get_mut(&ended.set) {
            set.failed += 1;
        }
    }

    /// The task's failure is held against its executor.
    pub(crate) fn blame(&mut self, ended: &EndedTask) {
        let host = self.executors.host_of(ended.executor);
        if let (Some(host), Some(set)) = (host, self.sets.get_mut(&ended.set))
            && let Some(exclusion) = &mut set.exclusion
        {
            exclusion.failed(ended.position, ended.executor, &host);
        }
    }

    /// Tries a task that ended without success again, counting a failure if told so. Says how many failures it has.
    pub(crate) fn retry(&mut self, ended: &EndedTask, counts: bool) -> u32 {
        let Some(set) = self.sets.get_mut(&ended.set) else { return 0 };
        let t = &mut set.tasks[ended.position as usize];
        t.failures += u32::from(counts);
        let failures = t.failures;
        // Otherwise a copy of it still runs.
        if !set.zombie && t.state == TaskState::Over {
            set.set_state(ended.position, TaskState::Waiting);
        }
        self.note_waiting(ended.set);
        failures
    }

    /// Output `index` of the stage is there: no set of the stage makes it again, and tasks that do are killed.
    pub(crate) fn complete(&mut self, job: JobId, stage: StageId, index: u32, out: &mut Vec<DriverEffect>) {
        let mut touched = Vec::new();
        for (key, set) in self.sets.range_mut(all_attempts(job, stage)) {
            let Some(position) = set.position_of(index) else { continue };
            if set.tasks[position as usize].state == TaskState::Over {
                continue;
            }
            for task in set.complete(position).into_iter().flatten() {
                kill(&self.running, &self.executors, task, "another attempt succeeded", out);
            }
            touched.push(*key);
        }
        for key in touched {
            self.note_waiting(key);
            if self.sets.get(&key).is_some_and(|s| s.zombie && s.running == 0) {
                self.drop_set(key);
            }
        }
    }

    /// Output `index` got lost: makes it again in this set, unless that is under way. Says whether it waits now.
    pub(crate) fn redo(&mut self, key: SetKey, index: u32) -> bool {
        let Some(set) = self.sets.get_mut(&key).filter(|s| !s.zombie) else { return false };
        let Some(position) = set.position_of(index) else { return false };
        if set.tasks[position as usize].state == TaskState::Over {
            set.set_state(position, TaskState::Waiting);
        }
        self.note_waiting(key);
        true
    }

    /// Launches nothing more of a set; its running tasks go on.
    pub(crate) fn retire(&mut self, key: SetKey) {
        let Some(set) = self.sets.get_mut(&key) else { return };
        set.zombie = true;
        set.slow.clear();
        if set.running == 0 {
            self.drop_set(key);
        }
        self.note_waiting(key);
    }

    /// Forgets all sets of a stage and kills their running tasks, whose slots are free when they have ended.
    pub(crate) fn cancel(&mut self, job: JobId, stage: StageId, reason: &str, out: &mut Vec<DriverEffect>) {
        let keys: Vec<SetKey> = self.sets.range(all_attempts(job, stage)).map(|(key, _)| *key).collect();
        for key in keys {
            self.cancel_set(key, reason, out);
        }
    }

    /// Forgets a set and kills its running tasks, whose slots are free when they have ended.
    pub(crate) fn cancel_set(&mut self, key: SetKey, reason: &str, out: &mut Vec<DriverEffect>) {
        let Some(set) = self.drop_set(key) else { return };
        for task in set.tasks.iter().flat_map(|t| t.attempts.iter().flatten()) {
            kill(&self.running, &self.executors, *task, reason, out);
        }
    }

    pub(crate) fn is_over(&self, key: SetKey) -> bool {
        self.sets.get(&key).is_none_or(TaskSetManager::all_over)
    }

    pub(crate) fn next_deadline(&self) -> Option<Tick> {
        let starving = self.starving.map(|(_, warn_at)| warn_at);
        let executors = min_some(self.executors.next_overdue(), self.executors.next_measure());
        let health = min_some(self.health.as_ref().and_then(Health::next_expiry), self.stuck_until);
        let sets = min_some(min_some(self.locality_deadline, starving), health);
        min_some(sets, min_some(self.look_at, executors))
    }
}

/// Asks for the end of a task that takes a slot of a connected executor.
fn kill(
    running: &BTreeMap<TaskId, RunningTask>,
    executors: &Executors,
    task: TaskId,
    reason: &str,
    out: &mut Vec<DriverEffect>,
) {
    if let Some(r) = running.get(&task)
        && r.has_slot
        && executors.is_connected(r.executor)
    {
        out.push(DriverEffect::KillTask { executor: r.executor, task, reason: reason.to_owned() });
    }
}

fn all_attempts(job: JobId, stage: StageId) -> std::ops::RangeInclusive<SetKey> {
    (job, StageAttempt { stage, attempt: 0 })..=(job, StageAttempt { stage, attempt: u32::MAX })
}

/// The earlier of two times that may not be set.
pub(crate) fn min_some(a: Option<Tick>, b: Option<Tick>) -> Option<Tick> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
