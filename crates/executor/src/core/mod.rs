//! The executor's task table as a pure state machine: which tasks wait, which run, what may go.
//!
//! ```text
//!  Launch ─▶ waiting ──slot free──▶ running ──Finished──▶ gone      Kill: a waiting task is reported at once,
//!                                                                    a running one is flagged and ends by itself
//!                                                          Recall: a waiting task is given back, a running one goes on
//!  stage:  known with its first task ─▶ ended by the driver ─▶ dropped when its last task here is gone
//! ```
//!
//! Driven by [`crate::Executor`] and by the simulation; calls nobody.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use firesteel_common::{StageAttempt, TaskId, Tick};
use firesteel_machine::Machine;

/// What happens to an executor.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The driver sent tasks, and named stage attempts that are over.
    Launch {
        /// The tasks, in the order in which they shall begin.
        tasks: Vec<(TaskId, StageAttempt)>,
        /// Stage attempts from which no task will come any more.
        ended: Vec<StageAttempt>,
    },
    /// The driver wants a task to end.
    Kill {
        /// The number of the task attempt, unique within the Context.
        task: TaskId,
        /// The reason, in words for people.
        reason: String,
    },
    /// The driver wants those of these tasks back that have not begun.
    Recall {
        /// The numbers of the task attempts.
        tasks: Vec<TaskId>,
    },
    /// A task that was started has ended, however.
    Finished {
        /// The number of the task attempt, unique within the Context.
        task: TaskId,
    },
    /// The driver, or the owner of the executor, wants everything to end.
    Stop {
        /// The reason, in words for people.
        reason: String,
    },
    /// The time of [`ExecutorCore::next_deadline`] has come.
    Wake,
}

/// What is to be done about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Begin this task on a thread.
    Start {
        /// The number of the task attempt, unique within the Context.
        task: TaskId,
        /// It had to wait for a slot, so that the driver does not know yet that it runs.
        waited: bool,
    },
    /// Ask this running task to end.
    Flag {
        /// The number of the task attempt, unique within the Context.
        task: TaskId,
        /// The reason, in words for people.
        reason: String,
    },
    /// Tell the driver that this task was killed before it began.
    NeverRan {
        /// The number of the task attempt, unique within the Context.
        task: TaskId,
        /// The reason, in words for people.
        reason: String,
    },
    /// Give the driver this task back, which has not begun.
    GiveBack {
        /// The number of the task attempt, unique within the Context.
        task: TaskId,
    },
    /// Forget the data and the results of this stage attempt.
    DropStage {
        /// The stage and its attempt.
        stage: StageAttempt,
    },
    /// This task was asked to end some time ago and still runs: say so in the log.
    StillRuns {
        /// The number of the task attempt, unique within the Context.
        task: TaskId,
        /// How long ago it was asked.
        asked: Duration,
    },
    /// This task was asked to end too long ago: the process must end, as the task does not.
    EndProcess {
        /// The number of the task attempt, unique within the Context.
        task: TaskId,
        /// How long ago it was asked.
        asked: Duration,
    },
    /// Tell the driver that this executor lives.
    Heartbeat,
}

/// How tasks are watched that were asked to end (`spark.task.reaper.*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reaper {
    /// How often those that still run are logged.
    pub interval: Duration,
    /// How long they may go on before the process must end; None for ever.
    pub kill_timeout: Option<Duration>,
}

#[derive(Debug)]
struct Task {
    stage: StageAttempt,
    running: bool,
    /// When it was asked to end, and when to look at it next.
    killed: Option<(Tick, Tick)>,
}

#[derive(Default, Debug)]
struct Stage {
    tasks: u32,
    ended: bool,
}

impl Reaper {
    /// When to look again at a task that was asked to end at `since`.
    fn next(&self, since: Tick, now: Tick) -> Tick {
        let at = now + self.interval;
        match self.kill_timeout.map(|most| since + most) {
            Some(end) if end > now => at.min(end),
            _ => at,
        }
    }
}

/// The task table of one executor. Spark: the state of `Executor` and `CoarseGrainedExecutorBackend`.
#[derive(Debug)]
pub struct ExecutorCore {
    slots: u32,
    running: u32,
    tasks: BTreeMap<TaskId, Task>,
    waiting: VecDeque<TaskId>,
    stages: BTreeMap<StageAttempt, Stage>,
    heartbeat: Option<(Duration, Tick)>,
    reaper: Option<Reaper>,
    stopped: bool,
}

impl ExecutorCore {
    /// An executor that runs `slots` tasks at a time (0 is taken for 1) and beats every `heartbeat`, if that is given.
    pub fn new(slots: u32, heartbeat: Option<Duration>, now: Tick) -> ExecutorCore {
        ExecutorCore {
            slots: slots.max(1),
            running: 0,
            tasks: BTreeMap::new(),
            waiting: VecDeque::new(),
            stages: BTreeMap::new(),
            heartbeat: heartbeat.map(|every| (every, now + every)),
            reaper: None,
            stopped: false,
        }
    }

    /// Watches over tasks that were asked to end.
    pub fn with_reaper(self, reaper: Option<Reaper>) -> ExecutorCore {
        ExecutorCore { reaper, ..self }
    }

    /// Whether it was told to stop.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Whether the task runs or waits here.
    pub fn knows(&self, task: TaskId) -> bool {
        self.tasks.contains_key(&task)
    }

    /// Tasks that run.
    pub fn running(&self) -> u32 {
        self.running
    }

    /// Tasks that run or wait.
    pub fn tasks(&self) -> usize {
        self.tasks.len()
    }

    fn launch(&mut self, tasks: Vec<(TaskId, StageAttempt)>, ended: Vec<StageAttempt>, out: &mut Vec<Effect>) {
        for (task, stage) in tasks {
            // A repeated message starts nothing twice; after a stop nothing starts.
            if self.stopped || self.tasks.contains_key(&task) {
                continue;
            }
            let running = self.running < self.slots;
            self.tasks.insert(task, Task { stage, running, killed: None });
            self.stages.entry(stage).or_default().tasks += 1;
            if running {
                self.running += 1;
                out.push(Effect::Start { task, waited: false });
            } else {
                self.waiting.push_back(task);
            }
        }
        for stage in ended {
            self.stages.entry(stage).or_default().ended = true;
            self.drop_if_over(stage, out);
        }
    }

    fn kill(&mut self, now: Tick, task: TaskId, reason: String, out: &mut Vec<Effect>) {
        match self.tasks.get_mut(&task) {
            Some(Task { running: true, killed, .. }) => {
                if let Some(reaper) = self.reaper {
                    killed.get_or_insert((now, reaper.next(now, now)));
                }
                out.push(Effect::Flag { task, reason });
            }
            Some(Task { running: false, .. }) => {
                self.waiting.retain(|t| *t != task);
                out.push(Effect::NeverRan { task, reason });
                self.forget(task, out);
            }
            // It has ended, and the driver's message met its last update on the way.
            None => {}
        }
    }

    fn recall(&mut self, tasks: Vec<TaskId>, out: &mut Vec<Effect>) {
        for task in tasks {
            if self.tasks.get(&task).is_some_and(|t| !t.running) {
                // Its stage goes after it, where that is over.
                out.push(Effect::GiveBack { task });
                self.forget(task, out);
            }
        }
        self.waiting.retain(|task| self.tasks.contains_key(task));
    }

    fn finished(&mut self, task: TaskId, out: &mut Vec<Effect>) {
        if !self.tasks.get(&task).is_some_and(|t| t.running) {
            return;
        }
        self.running -= 1;
        self.forget(task, out);
        while self.running < self.slots {
            let Some(next) = self.waiting.pop_front() else { break };
            if let Some(t) = self.tasks.get_mut(&next) {
                t.running = true;
                self.running += 1;
                out.push(Effect::Start { task: next, waited: true });
            }
        }
    }

    fn stop(&mut self, now: Tick, reason: &str, out: &mut Vec<Effect>) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        let all: Vec<TaskId> = self.tasks.keys().copied().collect();
        all.into_iter().for_each(|task| self.kill(now, task, reason.to_owned(), out));
    }

    fn look_around(&mut self, now: Tick, out: &mut Vec<Effect>) {
        self.watch_killed(now, out);
        if let Some((every, at)) = self.heartbeat
            && !self.stopped
            && now >= at
        {
            // From now, not from `at`: after a pause of the whole process one beat is enough.
            self.heartbeat = Some((every, now + every));
            out.push(Effect::Heartbeat);
        }
    }

    fn watch_killed(&mut self, now: Tick, out: &mut Vec<Effect>) {
        let Some(reaper) = self.reaper else { return };
        for (task, t) in &mut self.tasks {
            let Some((since, at)) = t.killed.as_mut().filter(|(_, at)| *at <= now) else { continue };
            let (task, asked) = (*task, now.since(*since));
            *at = reaper.next(*since, now);
            if reaper.kill_timeout.is_some_and(|most| asked >= most) {
                out.push(Effect::EndProcess { task, asked });
            } else {
                out.push(Effect::StillRuns { task, asked });
            }
        }
    }

    fn forget(&mut self, task: TaskId, out: &mut Vec<Effect>) {
        if let Some(Task { stage, .. }) = self.tasks.remove(&task) {
            if let Some(s) = self.stages.get_mut(&stage) {
                s.tasks -= 1;
            }
            self.drop_if_over(stage, out);
        }
    }

    fn drop_if_over(&mut self, stage: StageAttempt, out: &mut Vec<Effect>) {
        if self.stages.get(&stage).is_some_and(|s| s.ended && s.tasks == 0) {
            self.stages.remove(&stage);
            out.push(Effect::DropStage { stage });
        }
    }
}

impl Machine for ExecutorCore {
    type Event = Event;
    type Effect = Effect;

    fn handle(&mut self, now: Tick, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Launch { tasks, ended } => self.launch(tasks, ended, out),
            Event::Kill { task, reason } => self.kill(now, task, reason, out),
            Event::Recall { tasks } => self.recall(tasks, out),
            Event::Finished { task } => self.finished(task, out),
            Event::Stop { reason } => self.stop(now, &reason, out),
            Event::Wake => self.look_around(now, out),
        }
        debug_assert_eq!(self.check_invariants(), Ok(()));
    }

    fn next_deadline(&self) -> Option<Tick> {
        let heartbeat = self.heartbeat.filter(|_| !self.stopped).map(|(_, at)| at);
        let watched = self.reaper.iter().flat_map(|_| self.tasks.values().filter_map(|t| t.killed.map(|(_, at)| at)));
        heartbeat.into_iter().chain(watched).min()
    }

    fn wake() -> Event {
        Event::Wake
    }

    /// Slots are not overbooked, no task waits while a slot is free, counts are what the table says.
    fn check_invariants(&self) -> Result<(), String> {
        let running = self.tasks.values().filter(|t| t.running).count();
        let facts = [
            (running == self.running as usize, "the number of running tasks is not what the table says"),
            (self.running <= self.slots, "more tasks run than there are slots"),
            (self.waiting.len() + running == self.tasks.len(), "a task neither runs nor waits"),
            (self.waiting.is_empty() || self.running == self.slots, "a task waits although a slot is free"),
            (
                self.stages.iter().all(|(id, s)| {
                    s.tasks as usize == self.tasks.values().filter(|t| t.stage == *id).count()
                        && !(s.ended && s.tasks == 0)
                }),
                "a stage's count of tasks is wrong, or it is over and still known",
            ),
        ];
        facts.iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, what)| Err((*what).to_owned()))
    }
}

#[cfg(test)]
mod tests;
