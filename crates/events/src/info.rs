//! What events say of stages, tasks and RDDs. Times are milliseconds since 1970, as Spark's are.

use std::fmt;

use firesteel_common::{DeterministicLevel, ExecutorId, RddId, StageAttempt, StageId, TaskId};

/// A stage attempt. Spark: `StageInfo`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StageInfo {
    /// Which attempt of which stage.
    pub attempt: StageAttempt,
    /// The operator or action that it ends with, as `count at main.rs:12`.
    pub name: String,
    /// The same with the file's whole path as the compiler knows it. Spark has a stack trace here.
    pub details: String,
    /// Tasks of this attempt: what an earlier one has made is not made again.
    pub tasks: u32,
    /// What its tasks make.
    pub kind: TaskKind,
    /// The RDDs that its tasks compute, the last one first.
    pub rdds: Vec<RddInfo>,
    /// Stages whose output it may read.
    pub parents: Vec<StageId>,
    /// When its tasks were offered slots; None before that.
    pub submitted: Option<u64>,
    /// When it was over; None before that.
    pub completed: Option<u64>,
    /// Why it was given up; None while it runs and where it succeeded.
    pub failure: Option<String>,
}

/// An RDD within a stage. Spark: `RDDInfo`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RddInfo {
    /// The RDD's number.
    pub rdd: RddId,
    /// What the program calls it, or else the operator that made it.
    pub name: String,
    /// The operator that made it, and where it was called, as `map at main.rs:12`.
    pub call_site: String,
    /// How many partitions it has.
    pub partitions: u32,
    /// The RDDs that it is computed from, also through shuffles.
    pub parents: Vec<RddId>,
    /// Its partitions are kept once computed.
    pub cached: bool,
    /// Its tasks wait for one another.
    pub barrier: bool,
    /// What computing it twice gives.
    pub level: DeterministicLevel,
}

/// What a task makes. Spark: `taskType`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TaskKind {
    /// Output of a shuffle.
    ShuffleMap,
    /// A result of a job.
    Result,
}

impl fmt::Display for TaskKind {
    /// Spark's names: `ShuffleMapTask` and `ResultTask`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TaskKind::ShuffleMap => "ShuffleMapTask",
            TaskKind::Result => "ResultTask",
        })
    }
}

/// How far from its data a task was launched. Spark: `TaskLocality`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum TaskLocality {
    /// On the executor that holds a kept partition.
    Process,
    /// On a host that holds its input.
    Node,
    /// It has no preference.
    NoPreference,
    /// In the rack of such a host.
    Rack,
    /// On any host of the cluster.
    #[default]
    Any,
}

impl fmt::Display for TaskLocality {
    /// Spark's names, as `PROCESS_LOCAL`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TaskLocality::Process => "PROCESS_LOCAL",
            TaskLocality::Node => "NODE_LOCAL",
            TaskLocality::NoPreference => "NO_PREF",
            TaskLocality::Rack => "RACK_LOCAL",
            TaskLocality::Any => "ANY",
        })
    }
}

/// A task attempt. Spark: `TaskInfo`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TaskInfo {
    /// Unique within the Context.
    pub task: TaskId,
    /// The place of what it makes among the outputs of its stage.
    pub index: u32,
    /// How often this was tried before in the stage attempt, from 0.
    pub attempt_number: u32,
    /// The partition of the stage's RDD that it computes.
    pub partition: u32,
    /// When it was launched; of one that had to wait at its executor, when it began there.
    pub launched: u64,
    /// Where it runs.
    pub executor: ExecutorId,
    /// That executor's host.
    pub host: String,
    /// How far from its data that is.
    pub locality: TaskLocality,
    /// It runs beside an attempt that is slow.
    pub speculative: bool,
    /// Since when its large result is fetched; None where there is none.
    pub getting_result: Option<u64>,
    /// When it was over; None before that.
    pub finished: Option<u64>,
}
