//! TaskSetManager: the tasks of one stage attempt, which of them wait, and where they would best run.
//!
//! Called by the TaskScheduler. Knows nothing of stages' meaning. A task waits in up to three kinds of queues at once
//! (executors that hold its cached partition, preferred hosts, all); an entry whose task no longer waits is thrown
//! away when it comes to the front, so that launching costs a constant amortised time.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use firesteel_common::{ExecutorId, StageAttempt, TaskId, Tick};

use super::executors::Executors;

/// Where a task would best run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Preference {
    /// Executors that hold its cached partition.
    pub(crate) executors: Vec<ExecutorId>,
    /// Hosts that hold its input.
    pub(crate) hosts: Vec<Arc<str>>,
}

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
    Running(TaskId),
    /// Made its output, or will not be tried again in this set.
    Over,
}

#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) index: u32,
    pub(crate) partition: u32,
    pub(crate) state: TaskState,
    pub(crate) launches: u32,
    pub(crate) failures: u32,
    preference: Option<Box<Preference>>,
}

/// How far from its data a task may run; the order is from near to far.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Locality {
    Process,
    Node,
    Any,
}

/// How long a task set holds slots back at each level.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalityWaits {
    pub(crate) process: Duration,
    pub(crate) node: Duration,
}

#[derive(Debug)]
pub(crate) struct TaskSetManager {
    pub(crate) attempt: StageAttempt,
    /// In the order of their index.
    pub(crate) tasks: Vec<Task>,
    pub(crate) waiting: u32,
    pub(crate) running: u32,
    pub(crate) over: u32,
    /// Launches nothing more; its running tasks may still succeed.
    pub(crate) zombie: bool,
    /// Nothing of it is launched ahead of a free slot.
    pub(crate) one_by_one: bool,
    on_executor: BTreeMap<ExecutorId, VecDeque<u32>>,
    on_host: BTreeMap<Arc<str>, VecDeque<u32>>,
    anywhere: VecDeque<u32>,
    no_preference: VecDeque<u32>,
    waits: LocalityWaits,
    level: Locality,
    /// Since when the present level is waited at.
    level_since: Tick,
}

impl TaskSetManager {
    pub(crate) fn new(attempt: StageAttempt, tasks: Vec<NewTask>, waits: LocalityWaits, now: Tick) -> Self {
        let mut set = TaskSetManager {
            attempt,
            waiting: tasks.len() as u32,
            running: 0,
            over: 0,
            zombie: false,
            one_by_one: false,
            tasks: Vec::with_capacity(tasks.len()),
            on_executor: BTreeMap::new(),
            on_host: BTreeMap::new(),
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
        self.anywhere.push_back(position);
    }

    /// The position of the task that makes the output `index`.
    pub(crate) fn position_of(&self, index: u32) -> Option<u32> {
        self.tasks.binary_search_by_key(&index, |t| t.index).ok().map(|p| p as u32)
    }

    pub(crate) fn all_over(&self) -> bool {
        self.over as usize == self.tasks.len()
    }

    fn count(&mut self, state: TaskState) -> &mut u32 {
        match state {
            TaskState::Waiting => &mut self.waiting,
            TaskState::Running(_) => &mut self.running,
            TaskState::Over => &mut self.over,
        }
    }

    /// Moves a task into another state; one that waits is queued.
    pub(crate) fn set_state(&mut self, position: u32, state: TaskState) {
        let old = std::mem::replace(&mut self.tasks[position as usize].state, state);
        *self.count(old) -= 1;
        *self.count(state) += 1;
        if state == TaskState::Waiting && old != TaskState::Waiting {
            self.enqueue(position);
        }
    }

    /// Finds a waiting task for a slot of `executor`, no farther from its data than `level`, and says how far it is;
    /// None for a task that runs equally well anywhere. The caller moves it to another state.
    pub(crate) fn take(
        &mut self,
        executor: ExecutorId,
        host: &str,
        level: Locality,
    ) -> Option<(u32, Option<Locality>)> {
        let tasks = &self.tasks;
        let waits = |p: &u32| tasks[*p as usize].state == TaskState::Waiting;
        if let Some(p) = self.on_executor.get_mut(&executor).and_then(|q| pop(q, waits)) {
            return Some((p, Some(Locality::Process)));
        }
        if level >= Locality::Node
            && let Some(p) = self.on_host.get_mut(host).and_then(|q| pop(q, waits))
        {
            return Some((p, Some(Locality::Node)));
        }
        if let Some(p) = pop(&mut self.no_preference, waits) {
            return Some((p, None));
        }
        if level < Locality::Any {
            return None;
        }
        pop(&mut self.anywhere, waits).map(|p| (p, Some(Locality::Any)))
    }

    /// The level allowed at `now`: it widens when nothing waits at it or when it was waited at long enough.
    pub(crate) fn allowed(&mut self, now: Tick, executors: &Executors) -> Locality {
        while self.level != Locality::Any {
            let (waits_here, wait) = match self.level {
                Locality::Process => (self.waits_for_executor(executors), self.waits.process),
                _ => (self.waits_for_host(executors), self.waits.node),
            };
            if waits_here && now < self.level_since + wait {
                break;
            }
            self.level_since = if waits_here { self.level_since + wait } else { now };
            self.level = if self.level == Locality::Process { Locality::Node } else { Locality::Any };
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
            Locality::Node => Some(self.level_since + self.waits.node),
            Locality::Any => None,
        }
    }

    fn waits_for_executor(&mut self, executors: &Executors) -> bool {
        let tasks = &self.tasks;
        self.on_executor.retain(|_, q| {
            clean(q, tasks);
            !q.is_empty()
        });
        self.on_executor.keys().any(|e| executors.takes_tasks(*e))
    }

    fn waits_for_host(&mut self, executors: &Executors) -> bool {
        let tasks = &self.tasks;
        self.on_host.retain(|_, q| {
            clean(q, tasks);
            !q.is_empty()
        });
        self.on_host.keys().any(|h| executors.on_host(h))
    }
}

fn clean(queue: &mut VecDeque<u32>, tasks: &[Task]) {
    while queue.front().is_some_and(|p| tasks[*p as usize].state != TaskState::Waiting) {
        queue.pop_front();
    }
}

fn pop(queue: &mut VecDeque<u32>, waits: impl Fn(&u32) -> bool) -> Option<u32> {
    while let Some(position) = queue.pop_front() {
        if waits(&position) {
            return Some(position);
        }
    }
    None
}
