//! What one task attempt knows of itself and gets of its executor.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use bytes::Bytes;
use firesteel_common::{ExecutorId, RddId, ShuffleId, StageAttempt, TaskId};
use firesteel_events::TaskMetrics;
use firesteel_shuffle::{Abort, MapWriter, ShuffleBlocks, ShuffleInput, ShuffleManager, Spills};
use firesteel_storage::{BlockId, BlockManager, TaskMemory};

use crate::{
    barrier::sync::BarrierSync,
    broadcast::values::BroadcastValues,
    current,
    error::TaskError,
    kill::KillFlag,
    output::{ResultBounds, ResultWriter},
};

/// A cached partition that a task stored, or dropped from memory to make room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CacheUpdate {
    /// The RDD.
    pub rdd: RddId,
    /// Its partition.
    pub partition: u32,
    /// Stored, not dropped.
    pub stored: bool,
    /// Size in memory, bytes.
    pub memory_bytes: u64,
    /// Other executors that got a copy.
    pub replicas: Vec<ExecutorId>,
}

/// What an executor offers all of its tasks.
pub struct TaskServices {
    /// Cached partitions and other blocks.
    pub blocks: Arc<BlockManager>,
    /// Shuffle files, written and read.
    pub shuffle: Arc<ShuffleManager>,
    /// Broadcast values, fetched or in this process.
    pub broadcasts: Arc<BroadcastValues>,
}

/// Which task attempt it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TaskInfo {
    /// The attempt.
    pub task: TaskId,
    /// The stage attempt it belongs to.
    pub stage: StageAttempt,
    /// The partition of the stage's RDD that it computes.
    pub partition: u32,
    /// How many times this partition was tried before, from 0.
    pub attempt_number: u32,
}

type CompletionListener = Box<dyn FnOnce(&TaskContext) + Send>;
type FailureListener = Box<dyn FnOnce(&TaskContext, &TaskError) + Send>;

#[derive(Default)]
struct Listeners {
    completion: Vec<CompletionListener>,
    failure: Vec<FailureListener>,
}

/// Where the outputs of the parent shuffles lie, by shuffle.
pub type ShuffleInputs = Arc<BTreeMap<ShuffleId, Arc<ShuffleInput>>>;

/// What the thread had set that submitted the stage's job, shared by all tasks of the stage attempt.
pub type LocalProperties = Arc<BTreeMap<String, String>>;

/// One task attempt, as it sees itself. Spark: `TaskContext`.
///
/// User code that runs in a task finds its own by [`TaskContext::get`]:
///
/// * which it is: [`stage_id`](Self::stage_id), [`stage_attempt_number`](Self::stage_attempt_number),
///   [`partition_id`](Self::partition_id), [`attempt_number`](Self::attempt_number),
///   [`task_attempt_id`](Self::task_attempt_id);
/// * what its job's thread had set: [`local_property`](Self::local_property);
/// * what it has read, written and held so far: [`metrics`](Self::metrics);
/// * whether it shall end: [`is_interrupted`](Self::is_interrupted);
/// * who is told of its end: [`on_completion`](Self::on_completion), [`on_failure`](Self::on_failure).
///
/// ```
/// # fn main() -> firesteel::Result<()> {
/// # let sc = firesteel::Context::builder().master("local[2]").build()?;
/// use firesteel::TaskContext;
///
/// sc.set_local_property("tenant", "reports");
/// let tasks = sc.partitioned(2).range(0..4u64).map_partitions(|_| {
///     let task = TaskContext::get().unwrap();
///     task.on_completion(|task| println!("task {} is over", task.task_attempt_id()));
///     task.on_failure(|task, _| eprintln!("partition {} failed", task.partition_id()));
///     assert!(!task.is_interrupted());
///     assert_eq!(task.local_property("tenant"), Some("reports"));
///     assert_eq!(task.metrics().input.bytes, 0);
///     [(task.stage_id(), task.stage_attempt_number(), task.partition_id(), task.attempt_number())]
/// });
/// assert_eq!(tasks.collect()?, [(0, 0, 0, 0), (0, 0, 1, 0)]);
/// # Ok(()) }
/// ```
pub struct TaskContext {
    info: TaskInfo,
    kill: Arc<KillFlag>,
    services: Arc<TaskServices>,
    memory: Arc<TaskMemory>,
    /// What the driver sent with the stage and the task, once it has been decoded.
    shuffles: OnceLock<ShuffleInputs>,
    properties: OnceLock<LocalProperties>,
    inputs: OnceLock<BTreeMap<(RddId, u32), Bytes>>,
    /// Block servers that have cached partitions which this executor lacks.
    cached: BTreeMap<(RddId, u32), Vec<String>>,
    /// Executors that can keep copies, best first, with their block servers.
    peers: Vec<(ExecutorId, String)>,
    barrier: Option<Arc<BarrierSync>>,
    results: ResultBounds,
    measured: bool,
    updates: Mutex<Vec<CacheUpdate>>,
    listeners: Mutex<Listeners>,
}

impl fmt::Debug for TaskContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskContext").field("info", &self.info).finish_non_exhaustive()
    }
}

/// For user code.
impl TaskContext {
    /// The context of the task that runs on this thread; `None` on the driver, and on threads that a task has started by
    /// itself. Spark: `TaskContext.get`.
    pub fn get() -> Option<Arc<TaskContext>> {
        current::context()
    }

    /// The number of its stage, within its application.
    #[doc(alias = "stageId")]
    pub fn stage_id(&self) -> u32 {
        self.info.stage.stage.0
    }

    /// How often its stage was tried before, from 0.
    #[doc(alias = "stageAttemptNumber")]
    pub fn stage_attempt_number(&self) -> u32 {
        self.info.stage.attempt
    }

    /// The partition that it computes, from 0.
    #[doc(alias = "partitionId")]
    pub fn partition_id(&self) -> u32 {
        self.info.partition
    }

    /// How often this partition was tried before in this attempt of its stage, from 0.
    #[doc(alias = "attemptNumber")]
    pub fn attempt_number(&self) -> u32 {
        self.info.attempt_number
    }

    /// The number of this attempt, which no other of the application has.
    #[doc(alias = "taskAttemptId")]
    pub fn task_attempt_id(&self) -> u64 {
        self.info.task.0
    }

    /// The value of a property that the thread had set by `set_local_property` when it submitted the job; the pool, the group
    /// and the tags of the job are properties, too. Where several jobs need the stage, it is the first one's. Spark:
    /// `getLocalProperty`.
    #[doc(alias = "getLocalProperty")]
    pub fn local_property(&self, key: &str) -> Option<&str> {
        self.properties.get()?.get(key).map(String::as_str)
    }

    /// What this attempt has read, written, spilled and held so far. Its times, and the size of its result, are known at its
    /// end and zero before; records of sources are counted while somebody listens to the Context. Spark: `taskMetrics`.
    #[doc(alias = "taskMetrics")]
    pub fn metrics(&self) -> TaskMetrics {
        self.memory.counters().metrics()
    }

    /// Whether it was asked to end. Operators look by themselves, once a chunk; user code that is long busy with one element
    /// does well to look, too. Spark: `isInterrupted`.
    #[doc(alias = "isInterrupted")]
    pub fn is_interrupted(&self) -> bool {
        self.kill.is_set()
    }

    /// Calls `listener` when this attempt ends, whether it succeeds, fails or is killed. The last one added is called first.
    /// One that panics fails the attempt. Spark: `addTaskCompletionListener`.
    #[doc(alias = "addTaskCompletionListener")]
    pub fn on_completion(&self, listener: impl FnOnce(&TaskContext) + Send + 'static) {
        self.listeners().completion.push(Box::new(listener));
    }

    /// Calls `listener` with the reason when this attempt fails or is killed, before those of [`TaskContext::on_completion`].
    /// Spark: `addTaskFailureListener`.
    #[doc(alias = "addTaskFailureListener")]
    pub fn on_failure(&self, listener: impl FnOnce(&TaskContext, &TaskError) + Send + 'static) {
        self.listeners().failure.push(Box::new(listener));
    }
}

/// For the executor.
impl TaskContext {
    /// The context of one attempt of one task.
    pub fn new(info: TaskInfo, kill: Arc<KillFlag>, services: Arc<TaskServices>) -> Self {
        let memory = services.blocks.memory_manager().for_task(info.task, abort(&kill));
        TaskContext {
            info,
            kill,
            services,
            memory,
            shuffles: OnceLock::new(),
            properties: OnceLock::new(),
            inputs: OnceLock::new(),
            cached: BTreeMap::new(),
            peers: Vec::new(),
            barrier: None,
            results: ResultBounds { direct: 1 << 20, total: 0 },
            measured: false,
            updates: Mutex::default(),
            listeners: Mutex::default(),
        }
    }

    /// The context with what the driver said of cached partitions: where those are that this executor lacks, and who can
    /// keep copies.
    #[must_use]
    pub fn with_cached(
        mut self,
        cached: BTreeMap<(RddId, u32), Vec<String>>,
        peers: Vec<(ExecutorId, String)>,
    ) -> Self {
        (self.cached, self.peers) = (cached, peers);
        self
    }

    /// The context of a task that may wait for the others of its stage.
    #[must_use]
    pub fn in_barrier(mut self, barrier: Option<Arc<BarrierSync>>) -> Self {
        self.barrier = barrier;
        self
    }

    /// The context of a task whose result is bounded.
    #[must_use]
    pub fn returning(mut self, results: ResultBounds) -> Self {
        self.results = results;
        self
    }

    /// The context of a task whose driver wants to know what it costs.
    #[must_use]
    pub fn measured(mut self, measured: bool) -> Self {
        self.measured = measured;
        self
    }

    /// Gives it what the driver sent with the stage, and with the task; once.
    pub fn begin(&self, shuffles: ShuffleInputs, properties: LocalProperties, inputs: BTreeMap<(RddId, u32), Bytes>) {
        let begun = self.shuffles.set(shuffles).is_err()
            | self.properties.set(properties).is_err()
            | self.inputs.set(inputs).is_err();
        debug_assert!(!begun, "a task begins once");
    }

    /// Whether anybody wants to hear of the attempt's end.
    pub fn has_listeners(&self) -> bool {
        let Listeners { completion, failure } = &*self.listeners();
        !completion.is_empty() || !failure.is_empty()
    }

    /// Calls the listeners of an attempt that has ended.
    pub fn ended(&self, result: Result<(), &TaskError>) {
        let Listeners { completion, failure } = std::mem::take(&mut *self.listeners());
        if let Err(e) = result {
            failure.into_iter().rev().for_each(|listener| listener(self, e));
        }
        completion.into_iter().rev().for_each(|listener| listener(self));
    }

    /// Takes the recorded updates, after those of partitions that were dropped to make room for whatever.
    pub fn take_cache_updates(&self) -> Vec<CacheUpdate> {
        let dropped = self.services.blocks.memory().take_dropped().into_iter().filter_map(|id| match id {
            BlockId::Rdd { rdd, partition } => {
                Some(CacheUpdate { rdd, partition, stored: false, memory_bytes: 0, replicas: Vec::new() })
            }
            _ => None,
        });
        let mut updates: Vec<_> = dropped.collect();
        updates.append(&mut self.updates.lock().unwrap_or_else(PoisonError::into_inner));
        updates
    }
}

/// For operators.
impl TaskContext {
    /// Which attempt it is.
    pub fn info(&self) -> TaskInfo {
        self.info
    }

    /// The request to end it.
    #[inline]
    pub fn kill(&self) -> &Arc<KillFlag> {
        &self.kill
    }

    /// The executor's services.
    #[inline]
    pub fn services(&self) -> &Arc<TaskServices> {
        &self.services
    }

    /// What it may hold of the executor's memory.
    #[inline]
    pub fn memory(&self) -> &Arc<TaskMemory> {
        &self.memory
    }

    /// Where it waits for the others, in a barrier stage.
    pub fn barrier(&self) -> Option<&Arc<BarrierSync>> {
        self.barrier.as_ref()
    }

    /// The driver wants to know what it costs: what is dear to count is counted, too.
    pub fn is_measured(&self) -> bool {
        self.measured
    }

    /// `host:port` of the block servers of other executors that keep this partition, which this executor does not.
    pub fn cached_at(&self, rdd: RddId, partition: u32) -> &[String] {
        self.cached.get(&(rdd, partition)).map_or(&[], Vec::as_slice)
    }

    /// Executors that can keep copies of a partition, best first, with `host:port` of their block servers.
    pub fn peers(&self) -> &[(ExecutorId, String)] {
        &self.peers
    }

    /// Where the task's result is written, if it is more than one value.
    pub fn result_writer(&self) -> ResultWriter {
        ResultWriter::new(&self.services.blocks, self.info.task, self.results)
    }

    /// Gives the reason when the task shall end.
    pub fn abort(&self) -> Abort {
        abort(&self.kill)
    }

    /// The outputs of a parent shuffle, which the driver sent with the stage.
    ///
    /// # Errors
    /// When it did not send them.
    pub fn shuffle_input(&self, shuffle: ShuffleId) -> Result<&Arc<ShuffleInput>, TaskError> {
        self.shuffles.get().and_then(|shuffles| shuffles.get(&shuffle)).ok_or_else(|| {
            TaskError::failed(format!("the driver sent {} without the map outputs of {shuffle}", self.info.stage))
        })
    }

    /// The blocks of one reduce partition of a parent shuffle, in the order of the map tasks.
    ///
    /// # Errors
    /// As [`TaskContext::shuffle_input`].
    pub fn read_shuffle(&self, shuffle: ShuffleId, reduce: u32) -> Result<ShuffleBlocks, TaskError> {
        let input = self.shuffle_input(shuffle)?;
        Ok(self.services.shuffle.read(input, reduce, self.abort()).counted_in(&self.memory))
    }

    /// Where the task's tables and sorters take memory, and spill to.
    pub fn spills(&self) -> Spills {
        Spills::new(&self.services.shuffle, &self.memory, self.info.task)
    }

    /// The writer of the task's map output.
    pub fn map_writer(&self, shuffle: ShuffleId, reducers: u32) -> MapWriter {
        MapWriter::new(&self.services.shuffle, shuffle, self.info.task, reducers)
            .with_memory(self.memory.reserve("map output"))
    }

    /// The data of a source partition, which the driver sent with the task.
    ///
    /// # Errors
    /// When it did not send it.
    pub fn input(&self, rdd: RddId, partition: u32) -> Result<&Bytes, TaskError> {
        self.inputs.get().and_then(|inputs| inputs.get(&(rdd, partition))).ok_or_else(|| {
            let task = self.info.task;
            TaskError::failed(format!("the driver sent {task} without the data of {rdd} partition {partition}"))
        })
    }

    /// Records that a cached partition came or went; the executor sends it with the task's end.
    pub fn cache_updated(&self, update: CacheUpdate) {
        self.updates.lock().unwrap_or_else(PoisonError::into_inner).push(update);
    }

    fn listeners(&self) -> std::sync::MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn abort(kill: &Arc<KillFlag>) -> Abort {
    let kill = kill.clone();
    Abort::new(move || kill.reason())
}
