//! What the driver's schedulers want done. [`crate::DriverCore`] makes these; the driver's shell (or the simulation)
//! carries them out, in order.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use firesteel_common::{ExecutorId, JobId, RddId, ShuffleId, StageAttempt, StageId, TaskFailure, TaskId};
use firesteel_events::AccumulatorUpdate;
use firesteel_protocol::ToExecutor;

use crate::error::JobError;

/// One thing to do.
#[derive(Clone, Debug)]
pub enum DriverEffect {
    /// Encode the data that the tasks of this attempt share. Comes before the attempt's first `LaunchTasks`.
    StageStarted {
        /// Which attempt of which stage.
        attempt: StageAttempt,
        /// What its tasks do.
        kind: StageKind,
        /// The RDD whose partitions its tasks compute.
        rdd: RddId,
        /// Tasks that this attempt will run.
        tasks: u32,
        /// Where the outputs of its parent shuffles lie. A parent is left out when some of its output is missing,
        /// which happens only behind fully cached RDDs: a task that must read it all the same fails with
        /// `FetchFailed` (map index `u32::MAX`), and the next attempt has it.
        shuffles: Vec<(ShuffleId, Arc<Vec<MapLocation>>)>,
        /// The local properties of the first job that needs the stage.
        properties: Arc<BTreeMap<String, String>>,
    },
    /// Nothing of this attempt is launched any more: its data may go.
    StageEnded {
        /// The stage and its attempt.
        attempt: StageAttempt,
    },
    /// Send tasks.
    LaunchTasks {
        /// Where to.
        executor: ExecutorId,
        /// The tasks to be launched.
        tasks: Vec<TaskSpec>,
    },
    /// All tasks of a barrier stage attempt are launched by the effects that follow.
    BarrierStarted {
        /// Which attempt.
        attempt: StageAttempt,
        /// Where each of its tasks runs, in the order of the partitions.
        places: Vec<BarrierPlace>,
    },
    /// Let a task go on that waits at a barrier.
    AnswerBarrier {
        /// Where it runs.
        executor: ExecutorId,
        /// The number of the task attempt, unique within the Context.
        task: TaskId,
        /// Which of its calls it waits at.
        call: u32,
        /// The messages of all tasks in the order of the partitions, none if nobody wants them; or why it must not go on.
        result: Result<Arc<Vec<Bytes>>, String>,
    },
    /// Send the executor a message that needs nothing but what it says.
    Tell {
        /// To whom.
        executor: ExecutorId,
        /// The message.
        message: ToExecutor,
    },
    /// Ask for those of these tasks that have not begun; each one that comes back is a `TaskOutcome::GivenBack`.
    RecallTasks {
        /// Where they wait.
        executor: ExecutorId,
        /// The numbers of the task attempts.
        tasks: Vec<TaskId>,
    },
    /// Ask a task to end. Its slot is taken until the executor reports it ended.
    KillTask {
        /// Where it runs.
        executor: ExecutorId,
        /// The number of the task attempt, unique within the Context.
        task: TaskId,
        /// The reason, in words for people.
        reason: String,
    },
    /// Fetch a large result and answer with `ResultFetched`.
    FetchResult {
        /// Who has it.
        executor: ExecutorId,
        /// host:port of its block server.
        block_address: Arc<str>,
        /// Whose result.
        task: TaskId,
        /// Which block.
        block_id: String,
        /// Its size.
        size: u64,
    },
    /// A task failed; for the log. The job's fate is told by other effects.
    TaskFailed {
        /// The number of the task attempt, unique within the Context.
        task: TaskId,
        /// Of which stage attempt.
        stage: StageAttempt,
        /// For which partition.
        partition: u32,
        /// The executor's number within its application.
        executor: ExecutorId,
        /// Failures of this partition that count so far.
        failures: u32,
        /// The typed reason.
        failure: TaskFailure,
    },
    /// One partition's result; exactly once each, and once more for each time that the results were discarded.
    JobResult {
        /// The job's number within the Context.
        job: JobId,
        /// Index into the submitted list of partitions.
        index: u32,
        /// The encoded result.
        bytes: Bytes,
    },
    /// Add what tasks made to their accumulators; comes before the `JobSucceeded` or `JobFailed` of the job.
    Accumulate {
        /// Each counts once.
        updates: Vec<AccumulatorUpdate>,
    },
    /// The results that were handed over count no more: they were made from output that has been replaced by other output.
    /// All will come again. Only for a job that allows it.
    ResultsDiscarded {
        /// The job's number within the Context.
        job: JobId,
    },
    /// A task that was to make lost map output again made other rows; for the log. What was computed from the first
    /// edition is computed again, or fails.
    OutputDiffers {
        /// Which shuffle it writes.
        shuffle: ShuffleId,
        /// Which partition of the RDD it computed.
        map: u32,
        /// The RDD.
        rdd: RddId,
        /// The operator that made it.
        operator: &'static str,
        /// Whether the rows were compared. Otherwise they could not be, as their number depends on the memory that a task had:
        /// they are taken for the same.
        compared: bool,
    },
    /// All results have been handed over.
    JobSucceeded {
        /// The job's number within the Context.
        job: JobId,
    },
    /// The job is over without success.
    JobFailed {
        /// The job's number within the Context.
        job: JobId,
        /// The typed reason.
        error: JobError,
    },
    /// A stage is not run, as its shuffle's outputs are all there; for the log.
    StageSkipped {
        /// The stage's number within the Context.
        stage: StageId,
        /// Its shuffle.
        shuffle: ShuffleId,
        /// In which job.
        job: JobId,
    },
    /// Tell every executor to drop the shuffle's files.
    DropShuffle {
        /// The shuffle's number.
        shuffle: ShuffleId,
    },
    /// Tell every executor to drop the RDD's cached partitions.
    DropRdd {
        /// The RDD's number.
        rdd: RddId,
    },
    /// The registration is not accepted: tell the executor so and close its stream.
    ExecutorRefused {
        /// The executor's number within its application.
        executor: ExecutorId,
        /// The reason, in words for people.
        reason: String,
    },
    /// Ask the master for this many executors in all, in place of what was asked for before.
    RequestExecutors {
        /// How many; those that there are count.
        total: u32,
    },
    /// Give these executors back to the cluster. They get no tasks any more and have none, except those that had long
    /// enough to end by themselves; their removal is reported as any other.
    RetireExecutors {
        /// Which, and why.
        executors: Vec<(ExecutorId, String)>,
    },
    /// The executor is to end when its tasks have, after others have taken what it holds; once each. It gets no tasks any
    /// more. What it is to do is told by `Tell`, once and whenever it changes.
    DecommissionExecutor {
        /// The executor's number within its application.
        executor: ExecutorId,
    },
    /// Tasks have waited all this time and none could be launched. Warn the user: "the job has not accepted any
    /// resources; check that workers are registered and have enough cores and memory".
    NoResources {
        /// Since when.
        waited: Duration,
        /// Executors that are there.
        executors: u32,
    },
}

/// What the tasks of a stage do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StageKind {
    /// Write shuffle output.
    ShuffleMap {
        /// Of which shuffle.
        shuffle: ShuffleId,
        /// How many partitions it writes.
        reducers: u32,
    },
    /// Compute a job's results.
    Result {
        /// Of which job.
        job: JobId,
    },
}

/// Where a task of a barrier stage runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BarrierPlace {
    /// Its executor.
    pub executor: ExecutorId,
    /// That executor's host.
    pub host: Arc<str>,
    /// host:port of that executor's block server.
    pub block_address: Arc<str>,
}

/// One task to launch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TaskSpec {
    /// Unique within the Context.
    pub task: TaskId,
    /// Which stage attempt it belongs to.
    pub stage: StageAttempt,
    /// Which partition of the stage's RDD it computes.
    pub partition: u32,
    /// How often this partition was tried before in this stage attempt.
    pub attempt_number: u32,
    /// It runs beside an attempt that is slow.
    pub speculative: bool,
}

/// Where one map task's output lies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MapLocation {
    /// The task that wrote it.
    pub map_task: TaskId,
    /// Who has it.
    pub executor: ExecutorId,
    /// host:port of its block server.
    pub block_address: Arc<str>,
    /// Compressed size of each reducer's block, one byte each on a log scale; 0 is empty.
    pub sizes: Bytes,
}
