//! TaskSetManager: the tasks of one stage attempt, which of them wait, and where they would best run.
//!
//! Called by the TaskScheduler. Knows nothing of stages' meaning. A task waits in up to four kinds of queues at once
//! (executors that hold its cached partition, preferred hosts, their racks, all); an entry whose task no longer waits is
//! thrown away when it comes to the front, so that launching costs a constant amortised time.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use firesteel_common::{ExecutorId, StageAttempt, TaskId, Tick};

use super::{
    exclusion::SetExclusion,
    executors::Executors,
    locality::{Locality, LocalityWaits, Preference},
    median::Median,
    place::Place,
    pools::PoolId,
};

/// A task to be: which result or map output it makes, from which partition.
#[derive(Clone, Debug)]
pub(crate) struct NewTask {
    /// Index of the output within the stage.
    pub(crate) index: u32,
    pub(crate) partition: u32,
    pub(crate) preference: Preference,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum TaskState {
    Waiting,
    /// One attempt runs, or two side by side.
    Running,
    /// Made its output, or will not be tried again in this set.
    Over,
}

#[derive(Debug)]
pub(crate) struct Task {
    pub(super) index: u32,
    pub(super) partition: u32,
    pub(super) state: TaskState,
    pub(super) launches: u32,
    pub(super) failures: u32,
    /// The attempts whose output is still wanted, while it runs.
    pub(super) attempts: [Option<TaskId>; 2],
    preference: Option<Box<Preference>>,
}

impl Task {
    /// Whether this attempt's output is still wanted.
    pub(crate) fn wants(&self, task: TaskId) -> bool {
        self.attempts.contains(&Some(task))
    }
}

#[derive(Debug)]
pub(crate) struct TaskSetManager {
    pub(super) attempt: StageAttempt,
    /// In the order of their index.
    pub(super) tasks: Vec<Task>,
    pub(super) waiting: u32,
    pub(super) running: u32,
    pub(super) over: u32,
    /// Attempts that failed.
    pub(super) failed: u32,
    pub(super) submitted: Tick,
    /// Launches nothing more; its running tasks may still succeed.
    pub(super) zombie: bool,
    /// All of its tasks are launched at once, and never a copy of one.
    pub(super) barrier: bool,
    /// Nothing of it is launched ahead of a free slot.
    pub(super) one_by_one: bool,
    pub(super) pool: PoolId,
    /// Running tasks of which a copy shall be launched.
    pub(super) slow: BTreeSet<u32>,
    /// Where its tasks have failed, if that matters.
    pub(super) exclusion: Option<Box<SetExclusion>>,
    /// How long its successful tasks took; kept for speculation only.
    pub(super) took: Median,
    on_executor: BTreeMap<ExecutorId, VecDeque<u32>>,
    on_host: BTreeMap<Arc<str>, VecDeque<u32>>,
    on_rack: BTreeMap<Arc<str>, VecDeque<u32>>,
    anywhere: VecDeque<u32>,
    no_preference: VecDeque<u32>,
    waits: LocalityWaits,
    level: Locality,
    /// Since when the present level is waited at.
    level_since: Tick,
}

impl TaskSetManager {
    pub(crate) fn new(
        attempt: StageAttempt,
        tasks: Vec<NewTask>,
        pool: PoolId,
        waits: LocalityWaits,
        now: Tick,
    ) -> Self {
        let mut set = TaskSetManager {
            attempt,
            waiting: tasks.len() as u32,
            running: 0,
            over: 0,
            failed: 0,
            submitted: now,
            zombie: false,
            barrier: false,
            one_by_one: false,
            pool,
            slow: BTreeSet::new(),
            exclusion: None,
            took: Median::default(),
            tasks: Vec::with_capacity(tasks.len()),
            on_executor: BTreeMap::new(),
            on_host: BTreeMap::new(),
            on_rack: BTreeMap::new(),
            anywhere: VecDeque::new(),
            no_preference: VecDeque::with_capacity(tasks.len()),
            waits,
            level: Locality::Process,
            level_since: now,
        };
        for (position, t) in (0u32..).zip(tasks) {
            let preference = (t.preference != Preference::default()).then(|| Box::new(t.preference));
            set.tasks.push(Task {
                index: t.index,
                partition: t.partition,
                state: TaskState::Waiting,
                launches: 0,
                failures: 0,
                attempts: [None; 2],
                preference,
            });
            set.enqueue(position);
        }
        set
    }

    fn enqueue(&mut self, position: u32) {
        let Some(p) = &self.tasks[position as usize].preference else {
            self.no_preference.push_back(position);
            return;
        };
        for e in &p.executors {
            self.on_executor.entry(*e).or_default().push_back(position);
        }
        for h in &p.hosts {
            self.on_host.entry(h.clone()).or_default().push_back(position);
        }
        for r in &p.racks {
            self.on_rack.entry(r.clone()).or_default().push_back(position);
        }
        self.anywhere.push_back(position);
    }

    /// The position of the task that makes the output `index`.
    pub(crate) fn position_of(&self, index: u32) -> Option<u32> {
        self.tasks.binary_search_by_key(&index, |t| t.index).ok().map(|p| p as u32)
    }

    /// Whether the output `index` is being made, or will be.
    pub(super) fn makes(&self, index: u32) -> bool {
        self.position_of(index).is_some_and(|p| self.tasks[p as usize].state != TaskState::Over)
    }

    pub(crate) fn all_over(&self) -> bool {
        self.over as usize == self.tasks.len()
    }

    fn count(&mut self, state: TaskState) -> &mut u32 {
        match state {
            TaskState::Waiting => &mut self.waiting,
            TaskState::Running => &mut self.running,
            TaskState::Over => &mut self.over,
        }
    }

    /// Moves a task into another state; one that waits is queued.
    pub(crate) fn set_state(&mut self, position: u32, state: TaskState) {
        let old = std::mem::replace(&mut self.tasks[position as usize].state, state);
        *self.count(old) -= 1;
        *self.count(state) += 1;
        debug_assert!(self.adds_up(), "{} counts its tasks wrongly", self.attempt);
        if state == TaskState::Waiting && old != TaskState::Waiting {
            self.enqueue(position);
        }
    }

    /// Has tasks that could be launched.
    pub(crate) fn wants_slots(&self) -> bool {
        !self.zombie && (self.waiting > 0 || !self.slow.is_empty())
    }

    /// Tasks and copies of tasks that wait for a slot.
    pub(crate) fn to_launch(&self) -> u64 {
        u64::from(self.waiting) + self.slow.len() as u64
    }

    /// A task has begun, or a copy of it.
    pub(crate) fn started(&mut self, position: u32, task: TaskId) {
        if self.tasks[position as usize].state != TaskState::Running {
            self.set_state(position, TaskState::Running);
        }
        let t = &mut self.tasks[position as usize];
        t.launches += 1;
        if let Some(free) = t.attempts.iter_mut().find(|a| a.is_none()) {
            *free = Some(task);
        }
    }

    /// An attempt is over. Says whether its output was still wanted; without a second attempt the task is over then.
    pub(crate) fn ended(&mut self, position: u32, task: TaskId) -> bool {
        let t = &mut self.tasks[position as usize];
        let Some(attempt) = t.attempts.iter_mut().find(|a| **a == Some(task)) else { return false };
        *attempt = None;
        if t.attempts == [None; 2] {
            self.slow.remove(&position);
            self.set_state(position, TaskState::Over);
        }
        true
    }

    /// The task's output is there: its attempts, which are returned, are of no use any more.
    pub(crate) fn complete(&mut self, position: u32) -> [Option<TaskId>; 2] {
        self.slow.remove(&position);
        self.set_state(position, TaskState::Over);
        std::mem::take(&mut self.tasks[position as usize].attempts)
    }

    /// Whether some task would best run at this distance; if not, it need not be tried.
    pub(crate) fn has_any_at(&self, level: Locality) -> bool {
        match level {
            Locality::Process => !self.on_executor.is_empty(),
            Locality::Node => !self.on_host.is_empty(),
            Locality::NoPreference => !self.no_preference.is_empty(),
            Locality::Rack => !self.on_rack.is_empty(),
            Locality::Any => !self.anywhere.is_empty(),
        }
    }

    /// Finds a waiting task that runs at this distance from its data on a slot of `place`. The caller starts it.
    pub(crate) fn take(&mut self, place: &Place, level: Locality) -> Option<u32> {
        let exclusion = self.exclusion.as_deref().filter(|e| !e.is_empty());
        if exclusion.is_some_and(|e| e.excludes(place)) {
            return None;
        }
        let tasks = &self.tasks;
        let queue = match level {
            Locality::Process => self.on_executor.get_mut(&place.executor)?,
            Locality::Node => self.on_host.get_mut(&place.host)?,
            Locality::NoPreference => &mut self.no_preference,
            Locality::Rack => self.on_rack.get_mut(place.rack.as_ref()?)?,
            Locality::Any => &mut self.anywhere,
        };
        clean(queue, tasks);
        let Some(exclusion) = exclusion else { return queue.pop_front() };
        let may = |p: &u32| tasks[*p as usize].state == TaskState::Waiting && !exclusion.excludes_task(*p, place);
        let at = queue.iter().position(may)?;
        queue.remove(at)
    }

    /// A waiting task that can run on none of `places`, the executors that are there.
    pub(crate) fn excluded_everywhere(&self, places: &[Place]) -> Option<u32> {
        let exclusion = self.exclusion.as_deref().filter(|_| self.waiting > 0 && !self.zombie)?;
        let waits = |p: &u32| self.tasks[*p as usize].state == TaskState::Waiting;
        let usable: Vec<&Place> = places.iter().filter(|place| !exclusion.excludes(place)).collect();
        if usable.is_empty() {
            return (0..self.tasks.len() as u32).find(waits);
        }
        let stuck = |p: &u32| waits(p) && usable.iter().all(|place| exclusion.excludes_task(*p, place));
        exclusion.tasks().into_iter().find(stuck)
    }

    /// The level allowed at `now`: it widens when nothing waits at it or when it was waited at long enough.
    pub(crate) fn allowed(&mut self, now: Tick, executors: &Executors) -> Locality {
        while self.level != Locality::Any {
            let tasks = &self.tasks;
            let (waits_here, wait, next) = match self.level {
                Locality::Process => {
                    let here = waits_at(&mut self.on_executor, tasks, |e| executors.takes_tasks(*e));
                    (here, self.waits.process, Locality::Node)
                }
                Locality::Node | Locality::NoPreference => {
                    let here = waits_at(&mut self.on_host, tasks, |h| executors.on_host(h));
                    (here, self.waits.node, Locality::Rack)
                }
                Locality::Rack | Locality::Any => {
                    let here = waits_at(&mut self.on_rack, tasks, |r| executors.on_rack(r));
                    (here, self.waits.rack, Locality::Any)
                }
            };
            if waits_here && now < self.level_since + wait {
                break;
            }
            self.level_since = if waits_here { self.level_since + wait } else { now };
            self.level = next;
        }
        self.level
    }

    /// Starts to wait anew at `level`, the farthest at which a task was just launched; called when every slot on offer
    /// was used, so that nobody was held back.
    pub(crate) fn wait_anew(&mut self, level: Locality, now: Tick) {
        self.level = level;
        self.level_since = now;
    }

    /// When the allowed level widens.
    pub(crate) fn next_level_at(&self) -> Option<Tick> {
        match self.level {
            Locality::Process => Some(self.level_since + self.waits.process),
            Locality::Node | Locality::NoPreference => Some(self.level_since + self.waits.node),
            Locality::Rack => Some(self.level_since + self.waits.rack),
            Locality::Any => None,
        }
    }
}

/// Whether a task waits in a queue whose place is there.
fn waits_at<K: Ord>(queues: &mut BTreeMap<K, VecDeque<u32>>, tasks: &[Task], is_there: impl Fn(&K) -> bool) -> bool {
    queues.retain(|_, q| {
        clean(q, tasks);
        !q.is_empty()
    });
    queues.keys().any(is_there)
}

fn clean(queue: &mut VecDeque<u32>, tasks: &[Task]) {
    while queue.front().is_some_and(|p| tasks[*p as usize].state != TaskState::Waiting) {
        queue.pop_front();
    }
}
