//! The TaskScheduler's tables, and how tasks come in, end and are tried again. When they get slots is in `offers`.

use std::{collections::BTreeMap, time::Duration};

use firesteel_common::{ExecutorId, JobId, StageAttempt, StageId, TaskId, Tick};

use super::{
    exclusion::{Health, SetExclusion},
    executors::Executors,
    locality::LocalityWaits,
    pools::Pools,
    running::{EndedTask, RunningTask},
    set_key::SetKey,
    task_set::{NewTask, TaskSetManager, TaskState},
};
use crate::{
    config::{SchedulerConfig, SpeculationConfig},
    effect::DriverEffect,
};

/// The tasks of all stage attempts that are under way, and the executors that run them.
#[derive(Debug)]
pub(crate) struct TaskScheduler {
    pub(super) executors: Executors,
    pub(super) sets: BTreeMap<SetKey, TaskSetManager>,
    pub(super) pools: Pools,
    pub(super) running: BTreeMap<TaskId, RunningTask>,
    pub(super) next_task: u64,
    /// Barrier sets all of whose tasks were launched just now, with their executors by position.
    pub(super) barriers: Vec<(StageAttempt, Vec<ExecutorId>)>,
    pub(super) waits: LocalityWaits,
    pub(super) speculation: Option<SpeculationConfig>,
    /// When to look for slow tasks.
    pub(super) look_at: Option<Tick>,
    /// Where tasks have failed, if that matters.
    pub(super) health: Option<Health>,
    /// Since when a set's tasks are excluded everywhere.
    pub(super) stuck: BTreeMap<SetKey, Tick>,
    /// When the jobs of such sets fail.
    pub(super) stuck_until: Option<Tick>,
    pub(super) starvation_timeout: Duration,
    /// When a set that holds slots back widens its choice.
    pub(super) locality_deadline: Option<Tick>,
    /// Since when tasks wait and none runs, and when to warn next.
    pub(super) starving: Option<(Tick, Tick)>,
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

    pub(super) fn note_waiting(&mut self, key: SetKey) {
        let wants = self.sets.get(&key).is_some_and(TaskSetManager::wants_slots);
        self.pools.note(key, wants);
    }

    /// Forgets a set; what runs of it is known until it ends.
    fn drop_set(&mut self, key: SetKey) -> Option<TaskSetManager> {
        self.pools.remove(key);
        self.sets.remove(&key)
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

    pub(super) fn remove(&mut self, task: TaskId, ended: bool) -> Option<EndedTask> {
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
