//! Why a job did not succeed, typed, with the words that the user reads.

use firesteel_common::{RddId, ShuffleId, StageId, TaskFailure};

/// Why a job did not succeed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JobError {
    /// A task failed as often as `spark.task.maxFailures` allows.
    #[error("partition {partition} of {stage} failed {attempts} times; the last failure: {failure}")]
    TaskFailed {
        /// Its stage.
        stage: StageId,
        /// Its partition.
        partition: u32,
        /// How often it failed.
        attempts: u32,
        /// The last failure.
        failure: TaskFailure,
    },
    /// A stage could not read its shuffle input in `spark.stage.maxConsecutiveAttempts` attempts.
    #[error("{stage} could not read its shuffle input in {attempts} attempts in a row; the last failure: {failure}")]
    FetchFailedTooOften {
        /// The stage's number within the Context.
        stage: StageId,
        /// How many attempts.
        attempts: u32,
        /// The last failure.
        failure: TaskFailure,
    },
    /// Lost output of an indeterminate stage would have to be computed again, but others have read it already.
    #[error(
        "output of {shuffle} was lost after {stage} had read part of it, and computing {rdd} ({operator}) again may give \
         other records; run the job again, or make the computation before the shuffle deterministic (a fixed seed, a sort) \
         or cache it"
    )]
    Indeterminate {
        /// The stage that had read it.
        stage: StageId,
        /// What was lost.
        shuffle: ShuffleId,
        /// The RDD that is shuffled.
        rdd: RddId,
        /// The operator that made it.
        operator: &'static str,
    },
    /// Lost output was computed again and came out with other rows, and what was made from the first ones cannot be taken
    /// back.
    #[error(
        "partition {partition} of {rdd} ({operator}), which {shuffle} is made of, gave other records when it was computed \
         again after a loss, and {stage} had used the first ones for what cannot be taken back; something before the \
         shuffle is not deterministic (time, random numbers without a fixed seed, process ids, the order of a HashMap): \
         make it so, or say so with indeterminate(), or keep the RDD with copies, and run the job again"
    )]
    OutputDiffers {
        /// The stage that had read the first ones.
        stage: StageId,
        /// What was lost.
        shuffle: ShuffleId,
        /// Which partition.
        partition: u32,
        /// The RDD that is shuffled.
        rdd: RddId,
        /// The operator that made it.
        operator: &'static str,
    },
    /// Executors on which tasks failed get no more of them, and no others are there.
    #[error(
        "partition {partition} of {stage} can run nowhere: every executor is excluded after failures \
         (spark.excludeOnFailure.*); see the failures in the log"
    )]
    Excluded {
        /// Its stage.
        stage: StageId,
        /// Its partition.
        partition: u32,
    },
    /// Something that barrier stages cannot do.
    #[error("a barrier stage cannot run like this: {message}")]
    BarrierUnsupported {
        /// What happened, in words for people.
        message: String,
    },
    /// A barrier stage needs more slots at once than the cluster has.
    #[error(
        "a barrier stage needs {needed} slots at once and the cluster has {slots}: repartition its input to fewer \
         partitions, or give the application more cores (spark.scheduler.barrier.maxConcurrentTasksCheck.*)"
    )]
    BarrierSlots {
        /// Slots that its tasks need.
        needed: u32,
        /// Slots of all executors.
        slots: u32,
    },
    /// A barrier stage failed in `spark.stage.maxConsecutiveAttempts` attempts.
    #[error("the barrier stage {stage} failed in {attempts} attempts in a row; the last failure: {failure}")]
    BarrierFailed {
        /// The stage's number within the Context.
        stage: StageId,
        /// How many attempts.
        attempts: u32,
        /// The failure that ended the last one.
        failure: TaskFailure,
    },
    /// The results together exceed `spark.driver.maxResultSize`.
    #[error(
        "total size of serialized results of {tasks} {} ({}) is bigger than spark.driver.maxResultSize ({}): return less \
         to the driver, save it from the tasks (save_as_text_file), or raise the limit (0 is none)",
        if *tasks == 1 { "task" } else { "tasks" }, mebibytes(*total), mebibytes(*limit)
    )]
    ResultTooLarge {
        /// Bytes of the results that are known so far; of one that is over the limit alone, as far as it was made.
        total: u64,
        /// The limit.
        limit: u64,
        /// Tasks whose results are counted.
        tasks: u32,
    },
    /// The user cancelled it.
    #[error("the job was cancelled: {reason}")]
    Cancelled {
        /// The reason, in words for people.
        reason: String,
    },
    /// The cluster gives no executors any more.
    #[error("the cluster runs no executors for this application any more: {message}")]
    NoExecutors {
        /// What happened, in words for people.
        message: String,
    },
    /// The Context was stopped.
    #[error("the context was stopped while the job ran")]
    Stopped,
    /// The submitted graph is not well formed.
    #[error("the job cannot be planned: {message}")]
    InvalidGraph {
        /// What is wrong.
        message: String,
    },
}

/// As Spark shows sizes: `1024.0 MiB`; small ones as they are.
fn mebibytes(bytes: u64) -> String {
    if bytes < 1 << 20 { format!("{bytes} bytes") } else { format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)) }
}
