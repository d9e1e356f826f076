//! What a task is to the executor that runs it: [`StageTask`], the decoded last node of a stage's lineage table, and
//! the [`TaskContext`] through which everything below reaches the executor's services.
//!
//! The executor builds a context for each task attempt, calls [`StageTask::run`] on a task thread and turns the result,
//! or the unwinding of a [`TaskAbort`], into a status update.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use firesteel_common::{ExecutorId, RddId, ShuffleId, StageAttempt, TaskFailure, TaskId};
use firesteel_shuffle::{Abort, MapOutput, MapWriter, ShuffleBlocks, ShuffleInput, ShuffleManager, Spills};
use firesteel_storage::{BlockError, BlockId, BlockManager, BlockWriter, TaskMemory, WrittenBlock};

use crate::{barrier::BarrierSync, broadcast::BroadcastValues};

/// The reason for which a task ends early; boxed, because results carry it through every chunk.
#[derive(Clone, Debug)]
pub struct TaskError(Box<TaskFailure>);

impl TaskError {
    /// A returned error of user code, or of the task's input or output.
    pub fn failed(message: impl fmt::Display) -> Self {
        TaskFailure::Exception { message: message.to_string(), location: String::new(), panic: false }.into()
    }

    /// The typed reason.
    pub fn into_failure(self) -> TaskFailure {
        *self.0
    }
}

impl From<TaskFailure> for TaskError {
    fn from(failure: TaskFailure) -> Self {
        TaskError(Box::new(failure))
    }
}

impl From<firesteel_common::codec::CodecError> for TaskError {
    fn from(e: firesteel_common::codec::CodecError) -> Self {
        TaskError::failed(e)
    }
}

impl From<firesteel_files::Error> for TaskError {
    fn from(e: firesteel_files::Error) -> Self {
        TaskError::failed(e)
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The payload with which a [`crate::PartitionIter`] unwinds when its input failed or its task was killed.
///
/// User code that iterates a partition must never see a premature end, or it would commit half of it. The task runner
/// catches the unwinding and takes the typed reason back out. It is raised with `resume_unwind`, so no panic hook runs.
#[derive(Debug)]
pub struct TaskAbort(pub TaskError);

/// What a finished task hands back.
pub enum TaskOutput {
    /// Of a result task: the encoded result.
    Result(Vec<u8>),
    /// Of a result task: the encoded result, which is to be kept as a block.
    Written(WrittenBlock),
    /// Of a result task: the result has more bytes than the driver takes, so many at least, and was given up.
    TooLarge(u64),
    /// Of a shuffle map task: which files it wrote and how large the blocks are.
    Map(MapOutput),
}

/// The last node of a stage's lineage table: reads one partition of the stage's RDD and puts it somewhere.
pub trait StageTask: Send + Sync {
    /// Runs the task for `partition`.
    fn run(&self, partition: u32, ctx: &Arc<TaskContext>) -> Result<TaskOutput, TaskError>;
}

/// The form in which a lineage table's last node is found: `AnyNode` downcasts to this.
pub struct StageTaskNode(pub Arc<dyn StageTask>);

/// A request to end a task, shared between the executor and the task. Checked once a chunk.
#[derive(Default, Debug)]
pub struct KillFlag {
    set: AtomicBool,
    reason: OnceLock<String>,
}

impl KillFlag {
    /// Asks the task to end; the first reason stays.
    pub fn kill(&self, reason: impl Into<String>) {
        let _ = self.reason.set(reason.into());
        self.set.store(true, Ordering::Release);
    }

    /// Whether the task shall end.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.set.load(Ordering::Relaxed)
    }

    /// An error with the reason, once the flag is set.
    #[inline]
    pub fn check(&self) -> Result<(), TaskError> {
        if self.is_set() { Err(self.error()) } else { Ok(()) }
    }

    /// Why the task shall end, once it shall.
    pub fn reason(&self) -> Option<String> {
        // The reason was stored before the flag: acquire makes it visible.
        self.set.load(Ordering::Acquire).then(|| self.reason.get().cloned().unwrap_or_default())
    }

    #[cold]
    fn error(&self) -> TaskError {
        TaskFailure::Killed { reason: self.reason().unwrap_or_default() }.into()
    }
}

/// How large results may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResultBounds {
    /// One of more bytes is kept as a block (`spark.task.maxDirectResultSize`).
    pub direct: u64,
    /// More than this the driver takes of no job (`spark.driver.maxResultSize`); 0 is no limit.
    pub total: u64,
}

impl ResultBounds {
    /// Whether a result of so many bytes is more than the driver takes.
    pub fn exceeded_by(self, bytes: u64) -> bool {
        self.total > 0 && bytes > self.total
    }
}

/// A result that is put together bit by bit.
pub(crate) struct ResultWriter {
    out: BlockWriter,
    bounds: ResultBounds,
}

impl ResultWriter {
    /// Appends what `append` appends; false when the driver would not take it, and no more need come.
    pub fn write<E: Into<TaskError>>(
        &mut self,
        append: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<bool, TaskError> {
        self.out.write(|bytes| append(bytes).map_err(Into::into))?;
        Ok(!self.bounds.exceeded_by(self.out.len()))
    }

    /// The result.
    pub fn finish(self) -> Result<TaskOutput, TaskError> {
        let bytes = self.out.len();
        if self.bounds.exceeded_by(bytes) {
            return Ok(TaskOutput::TooLarge(bytes));
        }
        Ok(match self.out.finish()? {
            Ok(bytes) => TaskOutput::Result(bytes),
            Err(block) => TaskOutput::Written(block),
        })
    }
}

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

/// One task attempt's view of the executor. Spark: `TaskContext`.
pub struct TaskContext {
    /// The attempt.
    pub task: TaskId,
    /// The stage attempt it belongs to.
    pub stage: StageAttempt,
    /// The partition of the stage's RDD that it computes.
    pub partition: u32,
    /// How many times this partition was tried before, from 0.
    pub attempt_number: u32,
    /// The request to end it.
    pub kill: Arc<KillFlag>,
    /// Where the outputs of the parent shuffles lie.
    pub shuffles: Arc<BTreeMap<ShuffleId, Arc<ShuffleInput>>>,
    /// Data of the source partitions it computes from.
    pub inputs: BTreeMap<(RddId, u32), Bytes>,
    /// The executor's services.
    pub services: Arc<TaskServices>,
    /// What it may hold of the executor's memory.
    pub memory: Arc<TaskMemory>,
    /// Block servers that have cached partitions which this executor lacks.
    pub cached: BTreeMap<(RddId, u32), Vec<String>>,
    /// Executors that can keep copies, best first, with their block servers.
    pub peers: Vec<(ExecutorId, String)>,
    /// Where it waits for the others, in a barrier stage.
    pub barrier: Option<Arc<BarrierSync>>,
    /// How large its result may be.
    pub results: ResultBounds,
    /// The driver wants to know what it costs: what is dear to count is counted, too.
    pub measured: bool,
    updates: Mutex<Vec<CacheUpdate>>,
}

impl TaskContext {
    /// A context for one attempt of one task.
    #[expect(clippy::too_many_arguments, reason = "one call, in the executor")]
    pub fn new(
        task: TaskId,
        stage: StageAttempt,
        partition: u32,
        attempt_number: u32,
        kill: Arc<KillFlag>,
        shuffles: Arc<BTreeMap<ShuffleId, Arc<ShuffleInput>>>,
        inputs: BTreeMap<(RddId, u32), Bytes>,
        services: Arc<TaskServices>,
    ) -> Self {
        let updates = Mutex::default();
        let flag = kill.clone();
        let memory = services.blocks.memory_manager().for_task(task, Abort::new(move || flag.reason()));
        TaskContext {
            task,
            stage,
            partition,
            attempt_number,
            kill,
            shuffles,
            inputs,
            services,
            memory,
            cached: BTreeMap::new(),
            peers: Vec::new(),
            barrier: None,
            results: ResultBounds { direct: 1 << 20, total: 0 },
            measured: false,
            updates,
        }
    }

    /// The context with what the driver said of cached partitions: where those are that this executor lacks, and who can
    /// keep copies.
    pub fn with_cached(
        mut self,
        cached: BTreeMap<(RddId, u32), Vec<String>>,
        peers: Vec<(ExecutorId, String)>,
    ) -> Self {
        (self.cached, self.peers) = (cached, peers);
        self
    }

    /// The context of a task that may wait for the others of its stage.
    pub fn in_barrier(mut self, barrier: Option<Arc<BarrierSync>>) -> Self {
        self.barrier = barrier;
        self
    }

    /// The context of a task whose result is bounded.
    pub fn returning(mut self, results: ResultBounds) -> Self {
        self.results = results;
        self
    }

    /// The context of a task whose driver wants to know what it costs.
    pub fn measured(mut self, measured: bool) -> Self {
        self.measured = measured;
        self
    }

    /// Where the task's result is written, if it is more than one value.
    pub(crate) fn result_writer(&self) -> ResultWriter {
        let (id, bounds) = (BlockId::TaskResult(self.task), self.results);
        ResultWriter { out: BlockWriter::new(&self.services.blocks, id, bounds.direct), bounds }
    }

    /// Gives the reason when the task shall end.
    pub fn abort(&self) -> Abort {
        let kill = self.kill.clone();
        Abort::new(move || kill.reason())
    }

    /// The outputs of a parent shuffle, which the driver sent with the stage.
    pub fn shuffle_input(&self, shuffle: ShuffleId) -> Result<&Arc<ShuffleInput>, TaskError> {
        self.shuffles.get(&shuffle).ok_or_else(|| {
            TaskError::failed(format!("the driver sent {} without the map outputs of {shuffle}", self.stage))
        })
    }

    /// The blocks of one reduce partition of a parent shuffle, in the order of the map tasks.
    pub fn read_shuffle(&self, shuffle: ShuffleId, reduce: u32) -> Result<ShuffleBlocks, TaskError> {
        let kill = self.kill.clone();
        let abort = Abort::new(move || kill.reason());
        Ok(self.services.shuffle.read(self.shuffle_input(shuffle)?, reduce, abort).counted_in(&self.memory))
    }

    /// Where the task's tables and sorters take memory, and spill to.
    pub fn spills(&self) -> Spills {
        Spills::new(&self.services.shuffle, &self.memory, self.task)
    }

    /// The writer of the task's map output.
    pub fn map_writer(&self, shuffle: ShuffleId, reducers: u32) -> MapWriter {
        MapWriter::new(&self.services.shuffle, shuffle, self.task, reducers)
            .with_memory(self.memory.reserve("map output"))
    }

    /// The data of a source partition, which the driver sent with the task.
    pub fn input(&self, rdd: RddId, partition: u32) -> Result<&Bytes, TaskError> {
        self.inputs.get(&(rdd, partition)).ok_or_else(|| {
            TaskError::failed(format!("the driver sent {} without the data of {rdd} partition {partition}", self.task))
        })
    }

    /// Records that a cached partition came or went; the executor sends it with the task's end.
    pub fn cache_updated(&self, update: CacheUpdate) {
        self.updates.lock().unwrap_or_else(PoisonError::into_inner).push(update);
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

impl From<firesteel_shuffle::ShuffleError> for TaskError {
    fn from(e: firesteel_shuffle::ShuffleError) -> Self {
        TaskError::failed(e)
    }
}

impl From<BlockError> for TaskError {
    fn from(e: BlockError) -> Self {
        TaskError::failed(format!("cannot keep the result: {e}"))
    }
}
