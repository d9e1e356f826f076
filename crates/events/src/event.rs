//! [`AppEvent`]: what happened in an application.

use std::{collections::BTreeMap, sync::Arc};

use firesteel_common::{ExecutorId, JobId, RddId, StageAttempt, TaskFailure};

use crate::{StageInfo, TaskInfo, TaskKind, TaskMetrics};

/// One thing that happened in an application. Spark: `SparkListenerEvent`.
///
/// Times are milliseconds since 1970 by the driver's clock.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum AppEvent {
    /// The Context is there. Spark: `SparkListenerApplicationStart`.
    ApplicationStart {
        /// `spark.app.name`.
        name: String,
        /// The id that the master gave, or `local-…`.
        id: String,
        /// The user whose process the driver is.
        user: String,
        /// Milliseconds since 1970.
        time: u64,
    },
    /// The Context stops; the last event of all. Spark: `SparkListenerApplicationEnd`.
    ApplicationEnd {
        /// Milliseconds since 1970.
        time: u64,
    },
    /// What the application works by. Spark: `SparkListenerEnvironmentUpdate`.
    EnvironmentUpdate {
        /// The configuration, by key. Secrets are replaced by `*********(redacted)`.
        properties: BTreeMap<String, String>,
    },
    /// A job was submitted and planned. Spark: `SparkListenerJobStart`.
    JobStart {
        /// The job's number within the Context.
        job: JobId,
        /// Milliseconds since 1970.
        time: u64,
        /// The action and where it was called, as `count at main.rs:12`.
        name: String,
        /// All stages that it may need, also those that will be skipped as their output is there.
        stages: Vec<StageInfo>,
        /// The local properties of the thread that submitted it, among them group, description and pool.
        properties: Arc<BTreeMap<String, String>>,
    },
    /// A job is over. Spark: `SparkListenerJobEnd`.
    JobEnd {
        /// The job's number within the Context.
        job: JobId,
        /// Milliseconds since 1970.
        time: u64,
        /// How it ended.
        result: JobEnd,
    },
    /// The tasks of a stage attempt are offered slots. Spark: `SparkListenerStageSubmitted`.
    StageSubmitted {
        /// The attempt.
        info: StageInfo,
        /// The local properties of the job that needs it.
        properties: Arc<BTreeMap<String, String>>,
    },
    /// A stage attempt launches nothing more: it has made all, or was given up. Tasks of it may still run.
    /// Spark: `SparkListenerStageCompleted`.
    StageCompleted {
        /// The attempt; `failure` says why it was given up.
        info: StageInfo,
    },
    /// A task has a slot. One that was sent ahead of a free slot is said to start when it has begun, and is not heard of
    /// when it is called back before that. Spark: `SparkListenerTaskStart`.
    TaskStart {
        /// Its stage attempt.
        stage: StageAttempt,
        /// The task.
        info: TaskInfo,
    },
    /// A task's large result is being fetched. Spark: `SparkListenerTaskGettingResult`.
    TaskGettingResult {
        /// Its stage attempt.
        stage: StageAttempt,
        /// The task.
        info: TaskInfo,
    },
    /// A task is over; exactly once for each that started, unless the Context stops before. Spark:
    /// `SparkListenerTaskEnd`.
    TaskEnd {
        /// Its stage attempt.
        stage: StageAttempt,
        /// What it was to make.
        kind: TaskKind,
        /// How it ended.
        end: TaskEnd,
        /// The task.
        info: TaskInfo,
        /// What it cost; None where its executor did not say: it is lost, or the task was launched while nobody listened.
        metrics: Option<Box<TaskMetrics>>,
    },
    /// An executor is ready for tasks. Spark: `SparkListenerExecutorAdded`.
    ExecutorAdded {
        /// The executor's number within its application.
        executor: ExecutorId,
        /// Milliseconds since 1970.
        time: u64,
        /// Where it runs.
        host: String,
        /// Tasks that it runs at a time.
        slots: u32,
    },
    /// An executor is gone for good. Spark: `SparkListenerExecutorRemoved`.
    ExecutorRemoved {
        /// The executor's number within its application.
        executor: ExecutorId,
        /// Milliseconds since 1970.
        time: u64,
        /// The reason, in words for people.
        reason: String,
    },
    /// Too many tasks failed on an executor: it gets none for a time. Spark: `SparkListenerExecutorExcluded`.
    ExecutorExcluded {
        /// The executor's number within its application.
        executor: ExecutorId,
        /// Milliseconds since 1970.
        time: u64,
    },
    /// An executor gets tasks again. Spark: `SparkListenerExecutorUnexcluded`.
    ExecutorUnexcluded {
        /// The executor's number within its application.
        executor: ExecutorId,
        /// Milliseconds since 1970.
        time: u64,
    },
    /// A kept partition came to an executor or went from it. Spark: `SparkListenerBlockUpdated`.
    BlockUpdated {
        /// The executor's number within its application.
        executor: ExecutorId,
        /// Of which RDD; the block's name is `rdd_<RDD>_<partition>`.
        rdd: RddId,
        /// Which partition.
        partition: u32,
        /// It is there now; otherwise it is no longer.
        stored: bool,
        /// Its size in memory.
        memory_bytes: u64,
    },
    /// The user called `unpersist`, or nobody holds the RDD any more. Spark: `SparkListenerUnpersistRDD`.
    Unpersisted {
        /// The RDD's number.
        rdd: RddId,
    },
}

/// How a job ended. Spark: `JobResult`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum JobEnd {
    /// All results were handed over.
    Succeeded,
    /// It failed or was cancelled.
    Failed {
        /// The error that the action returned, as text.
        error: String,
    },
}

/// How a task ended. Spark: `TaskEndReason`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TaskEnd {
    /// What it made counts.
    Success,
    /// It failed, was killed or lost, or what it made was not wanted any more ([`TaskFailure::Killed`]).
    Failed(TaskFailure),
}
