//! The executor: carries out what [`ExecutorCore`] decides. One type serves `local[N]`, where the driver hands it its
//! messages as values, and the process [`crate::backend`], where they come from the stream.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use firesteel_common::{BroadcastId, ShuffleId, StageAttempt, TaskFailure, TaskId, Tick};
use firesteel_machine::Machine;
use firesteel_protocol::{
    BarrierAnswer, BarrierSync as BarrierArrival, BarrierTask, BlockUpdate, DecommissionExecutor, LaunchTasks,
    ReplicateBlock, TaskDescription, TaskOutcome, TaskUpdate, ToDriver, ToExecutor,
};
use firesteel_storage::{Abort, BlockId, StorageLevel};
use firesteel_task::{
    KillFlag, TaskError,
    barrier::{BarrierCall, BarrierSync, BarrierTaskInfo},
    cache::copy_to_peers,
};

use crate::{
    attempt::{Attempt, failed},
    config::ExecutorConfig,
    core::{Effect, Event, ExecutorCore},
    decommission::Leaving,
    panics::{self, BeforeAbort},
    pool::TaskThreads,
    stage::StageSlot,
    status::{DriverLink, StatusBatcher},
};

/// Exit code of an executor of which a task could not be stopped.
const UNSTOPPABLE_TASK: i32 = 50;

/// How long the failure of a task may take to reach the driver before the process aborts.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// So many running tasks are named beside the memory that is held.
const NAMED: usize = 16;

struct Table {
    core: ExecutorCore,
    attempts: BTreeMap<TaskId, Arc<Attempt>>,
    stages: BTreeMap<StageAttempt, Arc<StageSlot>>,
    /// Results that the driver may still fetch; they go with their stage.
    results: BTreeMap<StageAttempt, Vec<BlockId>>,
}

struct Inner {
    config: ExecutorConfig,
    origin: Instant,
    table: Mutex<Table>,
    threads: TaskThreads,
    status: StatusBatcher,
    departure: Leaving,
}

/// What is to be done after the table is no longer locked.
#[derive(Default)]
struct Todo {
    start: Vec<Arc<Attempt>>,
    updates: Vec<TaskUpdate>,
    blocks: Vec<BlockId>,
    stages: Vec<Arc<StageSlot>>,
    heartbeat: bool,
    end_process: Option<(TaskId, Duration)>,
}

/// Runs tasks. Dropping it asks running tasks to end and does not wait for them.
pub struct Executor(Arc<Inner>);

impl Executor {
    /// An executor without tasks; what becomes of them goes to `driver`.
    pub fn new(config: ExecutorConfig, driver: Arc<dyn DriverLink>) -> Executor {
        panics::install_hook();
        let core = ExecutorCore::new(config.cores, config.settings.heartbeat, Tick::ZERO);
        let core = core.with_reaper(config.settings.reaper);
        // One more thread than slots, for removing files.
        let threads = config.cores.max(1) as usize + 1;
        Executor(Arc::new(Inner {
            origin: Instant::now(),
            table: Mutex::new(Table {
                core,
                attempts: BTreeMap::new(),
                stages: BTreeMap::new(),
                results: BTreeMap::new(),
            }),
            threads: TaskThreads::new("firesteel-task", threads, config.settings.stack_bytes),
            status: StatusBatcher::new(driver),
            departure: Leaving::default(),
            config,
        }))
    }

    /// Who holds the memory of the process, and which tasks run: for one who reads it when the process is gone.
    pub(crate) fn memory_text(&self) -> String {
        let inner = &self.0;
        let mut text = inner.config.services.blocks.memory_manager().holders().to_string();
        let running: Vec<_> = inner.lock().attempts.values().map(|a| (a.task, a.stage.stage, a.partition)).collect();
        for (i, (task, stage, partition)) in running.iter().take(NAMED).enumerate() {
            let start = if i == 0 { "; tasks: " } else { ", " };
            text.push_str(&format!("{start}{task} is partition {partition} of {stage}"));
        }
        if let Some(more @ 1..) = running.len().checked_sub(NAMED) {
            text.push_str(&format!(" and {more} more"));
        }
        text
    }

    /// Takes a message of the driver. Never waits for user code or for the network.
    pub fn handle(&self, message: ToExecutor) {
        let inner = &self.0;
        match message {
            ToExecutor::LaunchTasks(launch) => inner.launch(launch),
            ToExecutor::KillTask(kill) => inner.event(Event::Kill { task: kill.task, reason: kill.reason }),
            ToExecutor::RecallTasks(tasks) => inner.event(Event::Recall { tasks }),
            ToExecutor::StopExecutor => self.stop("the driver stopped the executor"),
            ToExecutor::RemoveRdd(rdd) => {
                inner.config.services.blocks.remove_rdd(rdd);
            }
            ToExecutor::RemoveBroadcast(broadcast) => inner.remove_broadcast(broadcast),
            ToExecutor::ReplicateBlock(block) => inner.replicate(block),
            ToExecutor::DecommissionExecutor(orders) => inner.decommission(orders),
            ToExecutor::BarrierAnswer(answer) => inner.barrier_answer(answer),
            ToExecutor::RemoveShuffle(shuffle) => inner.remove_shuffle(shuffle),
            ToExecutor::RegisteredExecutor(_) | ToExecutor::RegisterExecutorFailed(_) => {
                tracing::warn!("a message of registration came to an executor that is registered");
            }
        }
    }

    /// Asks all tasks to end and takes no more.
    pub fn stop(&self, reason: &str) {
        self.0.event(Event::Stop { reason: reason.to_owned() });
    }

    /// How long until [`wake`](Executor::wake) is wanted; None for never.
    pub fn next_wake(&self) -> Option<Duration> {
        let deadline = self.0.lock().core.next_deadline()?;
        Some(deadline.since(self.0.now()))
    }

    /// Does what is due, such as a heartbeat.
    pub fn wake(&self) {
        self.0.event(Event::Wake);
    }

    /// Tasks that run or wait.
    pub fn tasks(&self) -> usize {
        self.0.lock().core.tasks()
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.stop("the executor ends");
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Tick {
        self.tick(Instant::now())
    }

    fn tick(&self, now: Instant) -> Tick {
        Tick::ZERO + (now - self.origin)
    }

    /// Lets a task go on that waits for the others of its stage.
    fn barrier_answer(&self, answer: BarrierAnswer) {
        let attempt = self.lock().attempts.get(&answer.task).cloned();
        // One that is gone was killed meanwhile.
        let Some(barrier) = attempt.as_ref().and_then(|a| a.barrier.as_ref()) else { return };
        barrier.answer(answer.call, answer.result.map(Arc::unwrap_or_clone));
    }

    fn launch(self: &Arc<Self>, launch: LaunchTasks) {
        let _reporting = self.departure.reporting();
        let todo = self.lock().launch(self.now(), launch, self.status.driver());
        self.carry_out(todo);
    }

    fn event(self: &Arc<Self>, event: Event) {
        let _reporting = self.departure.reporting();
        let todo = self.lock().handle(self.now(), event);
        self.carry_out(todo);
    }

    fn carry_out(self: &Arc<Self>, mut todo: Todo) {
        if let Some((task, asked)) = todo.end_process {
            let text = format!("{task} was killed {asked:?} ago and still runs (spark.task.reaper.killTimeout)");
            match self.config.settings.heartbeat {
                Some(_) => {
                    // The worker reports the end of standard error with the exit.
                    firesteel_common::say!("the executor ends itself: {text}");
                    std::process::exit(UNSTOPPABLE_TASK);
                }
                // In the driver's own process there is nothing to end.
                None => tracing::error!("{text}"),
            }
        }
        let start = std::mem::take(&mut todo.start);
        self.clean_up(todo, false);
        start.into_iter().for_each(|attempt| self.start(attempt));
    }

    /// All but the starts. With `more` this thread has the next task at hand.
    fn clean_up(&self, todo: Todo, more: bool) {
        if more {
            self.status.hold(todo.updates);
        } else {
            self.status.push(todo.updates);
        }
        if todo.heartbeat {
            // A stream that is closed ends the executor; whoever receives from it does that.
            let _ = self.status.driver().send(ToDriver::Heartbeat);
        }
        for block in &todo.blocks {
            self.config.services.blocks.remove(block);
        }
        drop_users(todo.stages);
    }

    fn start(self: &Arc<Self>, attempt: Arc<Attempt>) {
        let (inner, task) = (self.clone(), attempt.task);
        if let Err(e) = self.threads.execute(move || inner.run(attempt)) {
            let failure = TaskError::failed(format!("cannot start a thread for the task: {e}")).into_failure();
            self.ended(task, TaskUpdate::of(task, failed(failure)));
        }
    }

    /// On a task thread: this task, and then those that waited for its slot.
    fn run(self: Arc<Self>, attempt: Arc<Attempt>) {
        let mut next = Some(attempt);
        // The end of one task is the start of the next: a clock costs as much as much of a small task.
        let mut began = Instant::now();
        while let Some(attempt) = next.take() {
            let before_abort = cfg!(panic = "abort").then(|| self.last_words(attempt.task));
            let mut ended = attempt.run(&self.config, before_abort);
            let now = Instant::now();
            ended.update.ran = now - began;
            began = now;
            let _reporting = self.departure.reporting();
            let mut table = self.lock();
            if let Some(block) = ended.result_block {
                table.results.entry(attempt.stage).or_default().push(block);
            }
            // The slot is free before the driver hears of it, so that what it sends next does not wait.
            let mut todo = table.handle(self.tick(now), Event::Finished { task: attempt.task });
            drop(table);
            drop_users(attempt);
            todo.updates.insert(0, ended.update);
            let mut start = std::mem::take(&mut todo.start).into_iter();
            next = start.next();
            self.clean_up(todo, next.is_some());
            start.for_each(|other| self.start(other));
        }
    }

    fn ended(self: &Arc<Self>, task: TaskId, update: TaskUpdate) {
        let _reporting = self.departure.reporting();
        let mut todo = self.lock().handle(self.now(), Event::Finished { task });
        todo.updates.insert(0, update);
        self.carry_out(todo);
    }

    /// Reports a task's panic while the process still lives.
    fn last_words(self: &Arc<Self>, task: TaskId) -> BeforeAbort {
        let inner = self.clone();
        Arc::new(move |failure: TaskFailure| {
            inner.status.push(vec![TaskUpdate::of(task, failed(failure))]);
            inner.status.flush(LAST_WORDS);
        })
    }

    /// Drops a value of the user's type: not on the thread that hears the driver.
    fn remove_broadcast(self: &Arc<Self>, broadcast: BroadcastId) {
        let inner = self.clone();
        let remove = move || {
            if let Err(failure) = panics::catch(None, || inner.config.services.broadcasts.remove(broadcast)) {
                tracing::error!(%failure, "dropping a broadcast value failed");
            }
        };
        if let Err(e) = self.threads.execute(remove) {
            tracing::warn!(%broadcast, error = %e, "cannot start a thread to drop a broadcast value");
        }
    }

    /// Has other executors keep copies of a cached partition, and tells the driver which do.
    fn replicate(self: &Arc<Self>, wanted: ReplicateBlock) {
        let inner = self.clone();
        let replicate = move || {
            let ReplicateBlock { rdd, partition, level, copies, peers } = wanted;
            let (level, block) = (StorageLevel::from_bits(level), BlockId::Rdd { rdd, partition });
            let peers: Vec<_> = peers.into_iter().map(|p| (p.executor, p.address)).collect();
            let blocks = &inner.config.services.blocks;
            let replicas = copy_to_peers(blocks, block, level, copies, &peers, &Abort::never());
            let stored = blocks.find_cached(&block).is_some();
            // News also when nobody took a copy: the driver may ask somebody else.
            let update = BlockUpdate { rdd, partition, stored, bytes: 0, replicas };
            inner.status.tell(ToDriver::BlockUpdates(vec![update]));
        };
        if let Err(e) = self.threads.execute(replicate) {
            tracing::warn!(error = %e, "cannot start a thread to replicate a cached partition");
        }
    }

    /// Ends in order: others take what is here while the last tasks run.
    fn decommission(self: &Arc<Self>, orders: DecommissionExecutor) {
        if !self.departure.order(orders) {
            return;
        }
        tracing::info!("decommissioned: no more tasks come, and others take what this executor holds");
        let inner = self.clone();
        let leave = move || {
            inner.departure.leave(&inner.config, &inner.status, || inner.is_idle());
            inner.event(Event::Stop { reason: "the executor was decommissioned".to_owned() });
            inner.status.leave(LAST_WORDS);
        };
        if let Err(error) = std::thread::Builder::new().name("firesteel-leave".into()).spawn(leave) {
            tracing::error!(%error, "cannot start the thread that moves what this executor holds; it stays as it is");
        }
    }

    /// No task is here, and no result that the driver may still fetch.
    fn is_idle(&self) -> bool {
        let table = self.lock();
        table.core.tasks() == 0 && table.results.is_empty()
    }

    /// Removing files takes its time: not on the thread that hears the driver.
    fn remove_shuffle(self: &Arc<Self>, shuffle: ShuffleId) {
        let inner = self.clone();
        let remove = move || inner.config.services.shuffle.remove_shuffle(shuffle);
        if let Err(e) = self.threads.execute(remove) {
            tracing::warn!(%shuffle, error = %e, "cannot start a thread to remove the files of a shuffle");
        }
    }
}

impl Table {
    fn launch(&mut self, now: Tick, launch: LaunchTasks, driver: &Arc<dyn DriverLink>) -> Todo {
        let LaunchTasks { stages, tasks: descriptions, ended } = launch;
        for binary in stages {
            self.stages.entry(binary.stage).or_insert_with(|| Arc::new(StageSlot::new(Some(binary.data))));
        }
        let mut tasks = Vec::with_capacity(descriptions.len());
        for description in descriptions {
            let TaskDescription { task, stage, partition, attempt_number, inputs, cached, peers, barrier, measure } =
                description;
            let slot = self.stages.get(&stage).cloned().unwrap_or_else(|| Arc::new(StageSlot::new(None)));
            tasks.push((task, stage));
            self.attempts.entry(task).or_insert_with(|| {
                Arc::new(Attempt {
                    task,
                    stage,
                    partition,
                    attempt_number,
                    inputs,
                    cached,
                    peers,
                    arrived: measure.then(Instant::now),
                    kill: Arc::new(KillFlag::default()),
                    slot,
                    barrier: barrier_of(task, barrier, driver),
                })
            });
        }
        let todo = self.handle(now, Event::Launch { tasks, ended });
        if self.core.stopped() {
            // None of them was taken.
            self.attempts.retain(|task, _| self.core.knows(*task));
        }
        todo
    }

    /// Asks the core and gathers what is to be done from the tables.
    fn handle(&mut self, now: Tick, event: Event) -> Todo {
        let finished = match &event {
            Event::Finished { task } => Some(*task),
            _ => None,
        };
        let mut effects = Vec::new();
        self.core.handle(now, event, &mut effects);
        if let Some(task) = finished {
            self.attempts.remove(&task);
        }
        let mut todo = Todo::default();
        for effect in effects {
            match effect {
                Effect::Start { task, waited } => {
                    let Some(attempt) = self.attempts.get(&task) else { continue };
                    todo.start.push(attempt.clone());
                    if waited {
                        todo.updates.push(TaskUpdate::of(task, TaskOutcome::Running));
                    }
                }
                Effect::Flag { task, reason } => {
                    if let Some(attempt) = self.attempts.get(&task) {
                        attempt.kill.kill(reason);
                        attempt.barrier.iter().for_each(|barrier| barrier.wake());
                    }
                }
                Effect::NeverRan { task, reason } => {
                    self.attempts.remove(&task);
                    todo.updates.push(TaskUpdate::of(task, failed(TaskFailure::Killed { reason })));
                }
                Effect::GiveBack { task } => {
                    self.attempts.remove(&task);
                    todo.updates.push(TaskUpdate::of(task, TaskOutcome::GivenBack));
                }
                Effect::DropStage { stage } => {
                    todo.stages.extend(self.stages.remove(&stage));
                    todo.blocks.extend(self.results.remove(&stage).unwrap_or_default());
                }
                Effect::StillRuns { task, asked } => {
                    tracing::warn!(task = task.0, asked_s = asked.as_secs(), "a killed task still runs");
                }
                Effect::EndProcess { task, asked } => todo.end_process = Some((task, asked)),
                Effect::Heartbeat => todo.heartbeat = true,
            }
        }
        todo
    }
}

/// Where a task of a barrier stage waits; None for another.
fn barrier_of(task: TaskId, tasks: Vec<BarrierTask>, driver: &Arc<dyn DriverLink>) -> Option<Arc<BarrierSync>> {
    if tasks.is_empty() {
        return None;
    }
    let tasks = tasks.into_iter().map(|t| BarrierTaskInfo { host: t.host, address: t.address }).collect();
    let driver = driver.clone();
    let send = move |call: BarrierCall| {
        let BarrierCall { call, gathers, message } = call;
        let sync = BarrierArrival { task, call, gathers, message };
        driver.send(ToDriver::BarrierSync(sync)).map_err(|e| format!("the driver cannot be told of the call: {e}"))
    };
    Some(Arc::new(BarrierSync::new(tasks, send)))
}

/// Drops what holds values of the user's types: not under a lock, and a panic of theirs must not keep the next task from
/// starting.
fn drop_users<T>(value: T) {
    if let Err(failure) = panics::catch(None, || drop(value)) {
        tracing::error!(%failure, "dropping values of a stage failed");
    }
}
