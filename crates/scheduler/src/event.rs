//! What happens to the driver's schedulers. The driver's shell (or the simulation) makes these; [`crate::DriverCore`]
//! takes them.

use bytes::Bytes;
use firesteel_common::{CallSite, ExecutorId, JobId, RddId, ShuffleId, StageId, TaskId};
use firesteel_protocol::ToDriver;

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
        /// The job's number within the Context.
        job: JobId,
        /// Why; part of the job's error.
        reason: String,
    },
    /// The user no longer wants some jobs.
    CancelJobs {
        /// The jobs that end.
        which: JobSelection,
        /// Why; part of the jobs' errors.
        reason: String,
    },
    /// The user no longer wants the jobs that need this stage.
    CancelStage {
        /// The stage's number within the Context.
        stage: StageId,
        /// Why; part of the jobs' errors.
        reason: String,
    },
    /// An executor said something; all of one executor in the order in which it was sent. A registration comes first, and
    /// only when the executor is known to belong to the application.
    Heard {
        /// The executor's number within its application.
        executor: ExecutorId,
        /// The message.
        message: ToDriver,
    },
    /// Its stream closed. It gets no more tasks; why it is gone is awaited for a bounded time.
    ExecutorDisconnected {
        /// The executor's number within its application.
        executor: ExecutorId,
    },
    /// It is gone for good.
    ExecutorRemoved {
        /// The executor's number within its application.
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
        /// The executor's number within its application.
        executor: ExecutorId,
        /// What happened, in words for people.
        message: String,
        /// Its whole worker goes, and with it the shuffle service there.
        worker_leaves: bool,
    },
    /// A worker is gone, and what its shuffle service had with it, also of executors that had gone before.
    /// Spark: `workerRemoved`.
    WorkerRemoved {
        /// Those that it ever ran for this application.
        executors: Vec<ExecutorId>,
        /// What happened, in words for people.
        message: String,
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
        /// The RDD's number.
        rdd: RddId,
    },
    /// Nobody holds the shuffle any more.
    ShuffleRemoved {
        /// The shuffle's number.
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
        /// The group's name.
        group: String,
        /// Also those that will be submitted in it.
        future: bool,
    },
    /// Those that have a tag.
    Tag(String),
}
