//! What happens to the driver's schedulers. The driver's shell (or the simulation) makes these; [`crate::DriverCore`]
//! takes them.

use std::time::Duration;

use bytes::Bytes;
use firesteel_common::{CallSite, ExecutorId, JobId, RddId, ShuffleId, StageId, TaskFailure, TaskId};

use firesteel_events::TaskReport;

use crate::{graph::JobGraph, properties::JobProperties};

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum DriverEvent {
    /// An action was called.
    SubmitJob {
        /// Names the job; never used before. Within a FIFO pool lower numbers get slots first.
        job: JobId,
        /// The action, and where it was called.
        site: CallSite,
        /// What it computes.
        graph: JobGraph,
        /// Partitions of the root to compute, in the order of the results.
        partitions: Vec<u32>,
        /// What the submitting thread said of it.
        properties: JobProperties,
        /// Nobody acts on a result before the job has succeeded, so that they may be taken back: see
        /// [`crate::DriverEffect::ResultsDiscarded`].
        repeatable: bool,
    },
    /// The user no longer wants the job.
    CancelJob {
        /// Which.
        job: JobId,
        /// Why; part of the job's error.
        reason: String,
    },
    /// The user no longer wants some jobs.
    CancelJobs {
        /// Which.
        which: JobSelection,
        /// Why; part of the jobs' errors.
        reason: String,
    },
    /// The user no longer wants the jobs that need this stage.
    CancelStage {
        /// Which.
        stage: StageId,
        /// Why; part of the jobs' errors.
        reason: String,
    },
    /// An executor opened its stream and is ready for tasks.
    ExecutorRegistered {
        /// Which; numbered by the master and never used again.
        executor: ExecutorId,
        /// Where it runs, for locality.
        host: String,
        /// Where its shuffle blocks are read.
        block_address: String,
        /// host:port of the shuffle service on its host, which serves its shuffle blocks, also after its end.
        shuffle_service: Option<String>,
        /// Its cores; a task takes `spark.task.cpus` of them.
        cores: u32,
    },
    /// Its stream closed. It gets no more tasks; why it is gone is awaited for a bounded time.
    ExecutorDisconnected {
        /// Which.
        executor: ExecutorId,
    },
    /// It is gone for good.
    ExecutorRemoved {
        /// Which.
        executor: ExecutorId,
        /// Exit code, signal, end of stderr, or what is known.
        message: String,
        /// The application's own code ended it: its running tasks count a failure each.
        by_application: bool,
        /// The whole worker is gone.
        worker_lost: bool,
    },
    /// Its worker goes, or it is to go by itself: it gets no more tasks, ends those that it has, and moves what it holds to
    /// others before it ends. Repeating it is no news; it may come before the registration. Spark: `decommissionExecutor`.
    ExecutorDecommissioning {
        /// Which.
        executor: ExecutorId,
        /// Why.
        message: String,
        /// Its whole worker goes, and with it the shuffle service there.
        worker_leaves: bool,
    },
    /// A decommissioned executor has had another one take the output of a map task.
    MapOutputMoved {
        /// Whose it was.
        executor: ExecutorId,
        /// Of which shuffle.
        shuffle: ShuffleId,
        /// The task that wrote it.
        map_task: TaskId,
        /// Who has it now, too.
        to: ExecutorId,
    },
    /// A worker is gone, and what its shuffle service had with it, also of executors that had gone before.
    /// Spark: `workerRemoved`.
    WorkerRemoved {
        /// Those that it ever ran for this application.
        executors: Vec<ExecutorId>,
        /// Why.
        message: String,
    },
    /// News of tasks, in the order in which the executor sent them.
    TasksUpdated {
        /// Who says so.
        executor: ExecutorId,
        /// What.
        updates: Vec<TaskUpdate>,
    },
    /// A task of a barrier stage waits for the others.
    BarrierSync {
        /// Where it runs.
        executor: ExecutorId,
        /// Which.
        task: TaskId,
        /// Which of its calls it is, from 0.
        call: u32,
        /// It wants the others' messages.
        gathers: bool,
        /// What it hands them.
        message: Bytes,
    },
    /// The answer to a `FetchResult` effect; every one must be answered.
    ResultFetched {
        /// Whose result.
        task: TaskId,
        /// The bytes, or why they could not be had.
        result: Result<Bytes, String>,
    },
    /// The user called `unpersist`.
    RddUnpersisted {
        /// On which.
        rdd: RddId,
    },
    /// Nobody holds the RDD any more, whose partitions were kept at some time.
    RddRemoved {
        /// Which.
        rdd: RddId,
    },
    /// Nobody holds the shuffle any more.
    ShuffleRemoved {
        /// Which.
        shuffle: ShuffleId,
    },
    /// The cluster will give no executors any more (the master refused or removed the application): every job fails.
    ClusterFailed {
        /// Why; part of the jobs' errors.
        message: String,
    },
    /// The Context stops: every job fails.
    Stop,
    /// The time of [`crate::DriverCore::next_deadline`] has come.
    Wake,
}

/// Jobs to cancel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JobSelection {
    /// All that run.
    All,
    /// Those of a group.
    Group {
        /// Which.
        group: String,
        /// Also those that will be submitted in it.
        future: bool,
    },
    /// Those that have a tag.
    Tag(String),
}

/// News of one task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskUpdate {
    /// Which.
    pub task: TaskId,
    /// What became of it.
    pub outcome: TaskOutcome,
    /// Cached partitions that its executor stored or dropped since the last news.
    pub blocks: Vec<BlockUpdate>,
    /// How long it ran, by its executor's clock; zero where that is not known.
    pub ran: Duration,
    /// What else its executor says of its end; None where that is nothing.
    pub report: Option<Box<TaskReport>>,
}

/// What became of a task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TaskOutcome {
    /// It had waited at its executor, and has begun.
    Running,
    /// It was recalled and had not begun: its executor has forgotten it.
    GivenBack,
    /// A result task's encoded result.
    Result(Bytes),
    /// A result task's result lies in a block of its executor, as it is too large for a message.
    ResultInBlock {
        /// Which block.
        block_id: String,
        /// Its size.
        size: u64,
    },
    /// A shuffle map task wrote its output.
    MapOutput(MapOutput),
    /// It did not succeed.
    Failed(TaskFailure),
}

/// What a shuffle map task wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MapOutput {
    /// The task that wrote it: names the files.
    pub map_task: TaskId,
    /// Compressed size of each reducer's block, one byte each on a log scale; 0 is empty.
    pub sizes: Bytes,
    /// Of all its rows and where they go, whatever their order: a task that computes the same gives the same one. None
    /// where that cannot be said.
    pub checksum: Option<u64>,
}

/// A cached partition came or went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockUpdate {
    /// Of which RDD.
    pub rdd: RddId,
    /// Which partition.
    pub partition: u32,
    /// It is there now; otherwise it is no longer.
    pub stored: bool,
    /// Its size in memory.
    pub bytes: u64,
}
