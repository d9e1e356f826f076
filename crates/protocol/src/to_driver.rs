//! What executors say to their driver.

use std::time::Duration;

use bytes::Bytes;
use firesteel_common::{ExecutorId, RddId, ShuffleId, TaskFailure, TaskId};
use firesteel_events::TaskReport;

/// A message of an executor. All of one executor are taken in the order in which it sent them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ToDriver {
    /// It is ready for tasks; its first message. Spark: `RegisterExecutor`.
    RegisterExecutor(Box<RegisterExecutor>),
    /// News of tasks. Spark: `StatusUpdate`.
    StatusUpdates(Vec<TaskUpdate>),
    /// Kept partitions came or went without a task: copies that were asked for, or what an executor that leaves has handed
    /// over. Spark: `UpdateBlockInfo`.
    BlockUpdates(Vec<BlockUpdate>),
    /// Another executor has the output of a map task now.
    MapOutputMoved(MapOutputMoved),
    /// A task waits for the others of its barrier stage. Spark: `RequestToSync`.
    BarrierSync(BarrierSync),
    /// It lives. Spark: `Heartbeat`.
    Heartbeat,
}

/// Who an executor is.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct RegisterExecutor {
    /// Its version of everything that goes over the wire.
    pub protocol_version: u32,
    /// Which; numbered by the cluster manager and never used again.
    pub executor: ExecutorId,
    /// Where it runs, for locality.
    pub host: String,
    /// host:port of its block server.
    pub block_address: String,
    /// Its cores; a task takes `spark.task.cpus` of them.
    pub cores: u32,
    /// SHA-256 of its executable; empty where it is the driver's own process.
    pub build_hash: Vec<u8>,
    /// Its process.
    pub pid: u32,
    /// host:port of the shuffle service that serves its map outputs, also after its end; None: it does so itself.
    pub shuffle_service: Option<String>,
    /// Tells one start of its host from the next; empty where that is not known.
    pub boot_id: String,
    /// Where others on its host find its map outputs.
    pub local_dirs: Vec<String>,
}

/// News of one task.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskUpdate {
    /// The number of the task attempt, unique within the Context.
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

impl TaskUpdate {
    /// That something became of a task, and nothing else.
    pub fn of(task: TaskId, outcome: TaskOutcome) -> TaskUpdate {
        TaskUpdate { task, outcome, blocks: Vec::new(), ran: Duration::ZERO, report: None }
    }
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
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockUpdate {
    /// Of which RDD.
    pub rdd: RddId,
    /// Which partition.
    pub partition: u32,
    /// It is at the executor that says so now; otherwise it is no longer.
    pub stored: bool,
    /// Its size in memory.
    pub bytes: u64,
    /// Other executors that have got a copy.
    pub replicas: Vec<ExecutorId>,
}

impl BlockUpdate {
    /// It is there now, and takes so many bytes.
    pub fn stored(rdd: RddId, partition: u32, bytes: u64) -> BlockUpdate {
        BlockUpdate { rdd, partition, stored: true, bytes, replicas: Vec::new() }
    }

    /// It is there no longer.
    pub fn dropped(rdd: RddId, partition: u32) -> BlockUpdate {
        BlockUpdate { rdd, partition, stored: false, bytes: 0, replicas: Vec::new() }
    }
}

/// An executor that leaves has had another one take the output of a map task.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapOutputMoved {
    /// Of which shuffle.
    pub shuffle: ShuffleId,
    /// The task that wrote it.
    pub map_task: TaskId,
    /// Who has it now, too.
    pub to: ExecutorId,
}

/// A call of a task that waits for the others of its barrier stage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BarrierSync {
    /// The number of the task attempt, unique within the Context.
    pub task: TaskId,
    /// Which of its calls it is, from 0.
    pub call: u32,
    /// It wants the others' messages.
    pub gathers: bool,
    /// What it hands them.
    pub message: Bytes,
}
