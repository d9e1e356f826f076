//! What a driver says to its executors.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use firesteel_common::{BroadcastId, ExecutorId, RddId, ShuffleId, StageAttempt, TaskId};

use crate::payload::Payload;

/// A message of the driver. All of them are taken in the order in which it sent them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ToExecutor {
    /// It is taken, and works by these settings (`spark.*` keys of the application). Spark: `RegisteredExecutor`.
    RegisteredExecutor(BTreeMap<String, String>),
    /// It is not taken, for this reason. Spark: `RegisterExecutorFailed`.
    RegisterExecutorFailed(String),
    /// Tasks to run. Spark: `LaunchTask`.
    LaunchTasks(LaunchTasks),
    /// A task is to end. Spark: `KillTask`.
    KillTask(KillTask),
    /// Those of these tasks that have not begun are wanted back.
    RecallTasks(Vec<TaskId>),
    /// It is to end now. Spark: `StopExecutor`.
    StopExecutor,
    /// It gets no more tasks, and is to end when it holds nothing any more. Sent again when the peers are others. Spark:
    /// `DecommissionExecutor`.
    DecommissionExecutor(DecommissionExecutor),
    /// Copies of a cached partition were lost: those that hold it shall make as many again. Spark: `ReplicateBlock`.
    ReplicateBlock(ReplicateBlock),
    /// A task that waits for the others of its barrier stage goes on.
    BarrierAnswer(BarrierAnswer),
    /// Its cached partitions of this RDD may go. Spark: `RemoveRdd`.
    RemoveRdd(RddId),
    /// Its files of this shuffle may go. Spark: `RemoveShuffle`.
    RemoveShuffle(ShuffleId),
    /// Its pieces of this broadcast value may go. Spark: `RemoveBroadcast`.
    RemoveBroadcast(BroadcastId),
}

/// Tasks, and what they need.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct LaunchTasks {
    /// The data of stage attempts of which the executor gets its first tasks.
    pub stages: Vec<StageBinary>,
    /// In the order in which they shall begin.
    pub tasks: Vec<TaskDescription>,
    /// Stage attempts that are over: their data may go.
    pub ended: Vec<StageAttempt>,
}

/// What all tasks of one stage attempt share.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StageBinary {
    /// Of which attempt.
    pub stage: StageAttempt,
    /// An encoded `StageData`.
    pub data: Payload,
}

/// One task. Spark: `TaskDescription`.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TaskDescription {
    /// Unique within the Context.
    pub task: TaskId,
    /// Which stage attempt it belongs to.
    pub stage: StageAttempt,
    /// Which partition of the stage's RDD it computes.
    pub partition: u32,
    /// How often this partition was tried before in this stage attempt.
    pub attempt_number: u32,
    /// Data of source partitions that it computes from.
    pub inputs: Vec<PartitionData>,
    /// Cached partitions that it may need and its executor does not hold.
    pub cached: Vec<CachedPlace>,
    /// Where to keep copies of what it caches, best first; only when its stage caches with copies.
    pub peers: Vec<BlockAddress>,
    /// Where the tasks of a barrier stage run, in the order of the partitions; empty for others.
    pub barrier: Vec<BarrierTask>,
    /// What it costs is to be measured.
    pub measure: bool,
}

/// The data of a source partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionData {
    /// Of which RDD.
    pub rdd: RddId,
    /// Which partition.
    pub partition: u32,
    /// What the source needs to make the partition.
    pub data: Payload,
}

/// Who holds a cached partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CachedPlace {
    /// Of which RDD.
    pub rdd: RddId,
    /// Which partition.
    pub partition: u32,
    /// host:port of the block servers of executors that hold it.
    pub addresses: Vec<String>,
}

/// An executor that can take blocks.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct BlockAddress {
    /// The executor's number within its application.
    pub executor: ExecutorId,
    /// host:port of its block server.
    pub address: String,
}

/// Where a task of a barrier stage runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BarrierTask {
    /// Host of its executor.
    pub host: String,
    /// host:port of its executor's block server.
    pub address: String,
}

/// The end of a task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KillTask {
    /// The number of the task attempt, unique within the Context.
    pub task: TaskId,
    /// The reason, in words for people.
    pub reason: String,
}

/// What an executor that leaves is to do.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct DecommissionExecutor {
    /// Who takes what it holds, best first.
    pub peers: Vec<BlockAddress>,
    /// Nobody serves its map outputs once it has ended: they are to be taken, too.
    pub map_outputs: bool,
}

/// A partition of which there are too few copies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplicateBlock {
    /// Of which RDD.
    pub rdd: RddId,
    /// Which partition.
    pub partition: u32,
    /// A storage level's bits.
    pub level: u16,
    /// How many copies are missing.
    pub copies: u32,
    /// Who can take one, best first.
    pub peers: Vec<BlockAddress>,
}

/// The answer to a `BarrierSync`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BarrierAnswer {
    /// Which task.
    pub task: TaskId,
    /// Which of its calls.
    pub call: u32,
    /// The messages of all tasks in the order of the partitions, none if nobody wants them; or why it must not go on.
    pub result: Result<Arc<Vec<Bytes>>, String>,
}
