//! TaskScheduler: gives the waiting tasks of all task sets to the free slots of executors.
//!
//! ```text
//!   dag/  ── submit, complete, retry, retire, cancel ──▶  TaskScheduler ──▶ LaunchTasks, RecallTasks, KillTask, NoResources
//!                                                          ├─ TaskSetManager (one a stage attempt, FIFO by job and stage)
//!                                                          └─ Executors (slots, pace)
//! ```
//!
//! Where tasks are short, some are launched ahead of the free slots, so that an executor need not wait for the driver
//! after each one. They are called back when the tasks before them turn out not to be short; those that have not begun
//! then are given back and wait as before.
//!
//! It does not know what success or failure means for a job: the DAGScheduler's files decide that.

mod ahead;
pub(crate) mod executors;
pub(crate) mod pace;
pub(crate) mod task_set;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    time::Duration,
};

use firesteel_common::{ExecutorId, JobId, StageAttempt, StageId, TaskId, Tick};

use self::{
    executors::Executors,
    task_set::{Locality, LocalityWaits, NewTask, TaskSetManager, TaskState},
};
use crate::effect::{DriverEffect, TaskSpec};

/// Names a task set; the order is the order in which sets get slots.
pub(crate) type SetKey = (JobId, StageAttempt);

/// A task that was launched and is not over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunningTask {
    pub(crate) set: SetKey,
    pub(crate) position: u32,
    pub(crate) executor: ExecutorId,
    /// It still takes a slot; false while its large result is fetched.
    pub(crate) has_slot: bool,
    /// Size of the large result that is fetched; 0 before.
    pub(crate) result_size: u64,
    /// Its executor said that it has begun; it does not say so of those that found a free slot.
    pub(crate) begun: bool,
    /// It was called back, and comes unless it has begun before.
    pub(crate) recalled: bool,
}

impl RunningTask {
    fn new(set: SetKey, position: u32, executor: ExecutorId) -> Self {
        RunningTask { set, position, executor, has_slot: true, result_size: 0, begun: false, recalled: false }
    }
}

/// What a task was, once it is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndedTask {
    pub(crate) set: SetKey,
    pub(crate) position: u32,
    pub(crate) index: u32,
    pub(crate) partition: u32,
    pub(crate) executor: ExecutorId,
    /// Size of the large result that was to be fetched, 0 without one.
    pub(crate) result_size: u64,
    /// Its set launches nothing more.
    pub(crate) zombie: bool,
    /// Its output was still wanted of it; false when it was killed because another attempt had been faster.
    pub(crate) wanted: bool,
}

#[derive(Debug)]
pub(crate) struct TaskScheduler {
    pub(crate) executors: Executors,
    pub(crate) sets: BTreeMap<SetKey, TaskSetManager>,
    /// Sets that have waiting tasks and are no zombies.
    pub(crate) schedulable: BTreeSet<SetKey>,
    pub(crate) running: BTreeMap<TaskId, RunningTask>,
    next_task: u64,
    waits: LocalityWaits,
    starvation_timeout: Duration,
    /// When a set that holds slots back widens its choice.
    locality_deadline: Option<Tick>,
    /// Since when tasks wait and none runs, and when to warn next.
    starving: Option<(Tick, Tick)>,
}

impl TaskScheduler {
    pub(crate) fn new(waits: LocalityWaits, starvation_timeout: Duration) -> Self {
        TaskScheduler {
            executors: Executors::default(),
            sets: BTreeMap::new(),
            schedulable: BTreeSet::new(),
            running: BTreeMap::new(),
            next_task: 0,
            waits,
            starvation_timeout,
            locality_deadline: None,
            starving: None,
        }
    }

    /// Adds the tasks of a stage attempt, ascending by index.
    pub(crate) fn submit(&mut self, now: Tick, key: SetKey, tasks: Vec<NewTask>) {
        self.sets.insert(key, TaskSetManager::new(key.1, tasks, self.waits, now));
        self.note_waiting(key);
    }

    fn note_waiting(&mut self, key: SetKey) {
        if self.sets.get(&key).is_some_and(|s| s.waiting > 0 && !s.zombie) {
            self.schedulable.insert(key);
        } else {
            self.schedulable.remove(&key);
        }
    }

    /// Launches what can be launched at `now`.
    pub(crate) fn offer(&mut self, now: Tick, out: &mut Vec<DriverEffect>) {
        self.recall_slow(now, out);
        self.locality_deadline = None;
        let mut launches: BTreeMap<ExecutorId, Vec<TaskSpec>> = BTreeMap::new();
        // Nothing is launched ahead that could run at once elsewhere.
        for ahead in [false, true] {
            let mut turn = self.schedulable.first().copied();
            while let Some(key) = turn {
                if self.executors.offers(ahead).is_empty() {
                    break;
                }
                self.offer_to(now, key, ahead, &mut launches);
                self.note_waiting(key);
                turn = self.schedulable.range((Bound::Excluded(key), Bound::Unbounded)).next().copied();
            }
        }
        out.extend(launches.into_iter().map(|(executor, tasks)| DriverEffect::LaunchTasks { executor, tasks }));
        self.watch_starvation(now, out);
    }

    fn offer_to(&mut self, now: Tick, key: SetKey, ahead: bool, launches: &mut BTreeMap<ExecutorId, Vec<TaskSpec>>) {
        let Some(set) = self.sets.get_mut(&key).filter(|set| !ahead || !set.one_by_one) else { return };
        let mut farthest = None;
        let allowed = set.allowed(now, &self.executors);
        for level in [Locality::Process, Locality::Node, Locality::Any] {
            let mut misses = 0;
            while level <= allowed && set.waiting > 0 && misses < self.executors.offers(ahead).len() {
                let Some(executor) = self.executors.next_offer(ahead) else { break };
                let Some(host) = self.executors.known.get(&executor).map(|e| e.host.clone()) else { break };
                let Some((position, distance)) = set.take(executor, &host, level) else {
                    misses += 1;
                    continue;
                };
                misses = 0;
                farthest = farthest.max(distance);
                let task = TaskId(self.next_task);
                self.next_task += 1;
                set.set_state(position, TaskState::Running(task));
                let t = &mut set.tasks[position as usize];
                let spec = TaskSpec { task, stage: set.attempt, partition: t.partition, attempt_number: t.launches };
                t.launches += 1;
                self.executors.take_slot(now, executor, task);
                self.running.insert(task, RunningTask::new(key, position, executor));
                launches.entry(executor).or_default().push(spec);
            }
        }
        if let (Some(level), true) = (farthest, self.executors.free.is_empty()) {
            set.wait_anew(level, now);
        }
        if set.waiting > 0 && !self.executors.free.is_empty() {
            self.locality_deadline = min_some(self.locality_deadline, set.next_level_at());
        }
    }

    fn watch_starvation(&mut self, now: Tick, out: &mut Vec<DriverEffect>) {
        if self.schedulable.is_empty() || !self.running.is_empty() {
            self.starving = None;
            return;
        }
        let (since, warn_at) = *self.starving.get_or_insert((now, now + self.starvation_timeout));
        if now >= warn_at {
            let executors = self.executors.known.len() as u32;
            out.push(DriverEffect::NoResources { waited: now.since(since), executors });
            self.starving = Some((since, now + self.starvation_timeout));
        }
    }

    /// Tasks that wait for a slot, and tasks that have one.
    pub(crate) fn load(&self) -> (u64, u64) {
        let waiting = self.schedulable.iter().filter_map(|key| self.sets.get(key)).map(|s| u64::from(s.waiting)).sum();
        let waiting: u64 = waiting;
        let running = self.running.len() as u64;
        // What was launched ahead of the slots waits, too.
        let ahead = self.executors.known.values().map(|e| u64::from(e.waiting())).sum::<u64>().min(running);
        (waiting + ahead, running - ahead)
    }

    /// The running task of that name, if it runs on that executor.
    pub(crate) fn find(&self, executor: ExecutorId, task: TaskId) -> Option<RunningTask> {
        self.running.get(&task).filter(|r| r.executor == executor).copied()
    }

    /// Whether the task's output is still wanted of it.
    pub(crate) fn is_wanted(&self, task: TaskId) -> bool {
        let set = self.running.get(&task).and_then(|r| Some((r, self.sets.get(&r.set)?)));
        set.is_some_and(|(r, set)| set.tasks[r.position as usize].state == TaskState::Running(task))
    }

    /// The task has ended but its large result is still to be fetched: its slot is free.
    pub(crate) fn await_result(&mut self, task: TaskId, result_size: u64) {
        if let Some(r) = self.running.get_mut(&task)
            && std::mem::replace(&mut r.has_slot, false)
        {
            r.result_size = result_size;
            self.executors.free_slot(r.executor, true);
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
        }
        self.executors.end_task(r.executor, task);
        let set = self.sets.get_mut(&r.set)?;
        let t = &set.tasks[r.position as usize];
        let (index, partition) = (t.index, t.partition);
        let wanted = t.state == TaskState::Running(task);
        if wanted {
            set.set_state(r.position, TaskState::Over);
        }
        let zombie = set.zombie;
        if zombie && set.running == 0 {
            self.sets.remove(&r.set);
        }
        let RunningTask { set, position, executor, result_size, .. } = r;
        Some(EndedTask { set, position, index, partition, executor, result_size, zombie, wanted })
    }

    /// Tries a task that ended without success again, counting a failure if told so. Says how many failures it has.
    pub(crate) fn retry(&mut self, ended: &EndedTask, counts: bool) -> u32 {
        let Some(set) = self.sets.get_mut(&ended.set) else { return 0 };
        let t = &mut set.tasks[ended.position as usize];
        t.failures += u32::from(counts);
        let failures = t.failures;
        if !set.zombie {
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
            match set.tasks[position as usize].state {
                TaskState::Waiting => {
                    set.set_state(position, TaskState::Over);
                    touched.push(*key);
                }
                TaskState::Running(task) => {
                    kill(&self.running, &self.executors, task, "another attempt succeeded", out);
                    set.set_state(position, TaskState::Over);
                    touched.push(*key);
                }
                TaskState::Over => {}
            }
        }
        for key in touched {
            self.note_waiting(key);
            if self.sets.get(&key).is_some_and(|s| s.zombie && s.running == 0) {
                self.sets.remove(&key);
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
        if set.running == 0 {
            self.sets.remove(&key);
        }
        self.note_waiting(key);
    }

    /// Forgets all sets of a stage and kills their running tasks, whose slots are free when they have ended.
    pub(crate) fn cancel(&mut self, job: JobId, stage: StageId, reason: &str, out: &mut Vec<DriverEffect>) {
        let keys: Vec<SetKey> = self.sets.range(all_attempts(job, stage)).map(|(key, _)| *key).collect();
        for key in keys {
            self.schedulable.remove(&key);
            let Some(set) = self.sets.remove(&key) else { continue };
            for t in &set.tasks {
                if let TaskState::Running(task) = t.state {
                    kill(&self.running, &self.executors, task, reason, out);
                }
            }
        }
    }

    pub(crate) fn is_over(&self, key: SetKey) -> bool {
        self.sets.get(&key).is_none_or(TaskSetManager::all_over)
    }

    pub(crate) fn next_deadline(&self) -> Option<Tick> {
        let starving = self.starving.map(|(_, warn_at)| warn_at);
        let executors = min_some(self.executors.next_overdue(), self.executors.next_measure());
        min_some(min_some(self.locality_deadline, starving), executors)
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
        && executors.takes_tasks(r.executor)
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
