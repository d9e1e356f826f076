//! What a task of a barrier stage calls.

use std::{fmt, panic::resume_unwind, sync::Arc};

use bytes::Bytes;
use firesteel_common::TaskFailure;

use super::sync::{BarrierSync, BarrierTaskInfo};
use crate::{
    context::TaskContext,
    error::{TaskAbort, TaskError},
};

/// Why tasks of a barrier stage did not meet: one ended early, made another call, or did not come in time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BarrierError(String);

impl fmt::Display for BarrierError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BarrierError {}

/// For operators.
impl BarrierError {
    /// One for this reason.
    pub fn new(reason: impl fmt::Display) -> Self {
        BarrierError(reason.to_string())
    }
}

/// What a task of a barrier stage knows of itself and the others. Spark: `BarrierTaskContext`.
///
/// Every task of the stage must make the same calls of [`barrier`](Self::barrier) and [`all_gather`](Self::all_gather),
/// in the same order. When the task is killed while it waits, the call unwinds.
///
/// ```
/// # fn main() -> firesteel::Result<()> {
/// # let sc = firesteel::Context::builder().master("local[2]").build()?;
/// use firesteel::BarrierError;
///
/// let workers = sc.partitioned(2).range(0..2u32).barrier().try_map_partitions(|ctx, _| {
///     assert_eq!((ctx.attempt_number(), ctx.stage_attempt_number()), (0, 0));
///     ctx.barrier()?;
///     // The first task tells the others where to find it.
///     let port = if ctx.partition_id() == 0 { "7077" } else { "" };
///     let ports = ctx.all_gather(port)?;
///     let ranks = ctx.all_gather_bytes(vec![ctx.partition_id() as u8])?;
///     Ok::<_, BarrierError>([(ports[0].clone(), ranks[1][0], ctx.task_infos().len())])
/// });
/// assert_eq!(workers.collect()?, vec![("7077".to_owned(), 1, 2); 2]);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct BarrierTaskContext {
    ctx: Arc<TaskContext>,
    sync: Arc<BarrierSync>,
}

/// For operators.
impl BarrierTaskContext {
    /// The context of a task; an error when it was not launched as one of a barrier stage.
    pub fn of(ctx: &Arc<TaskContext>) -> Result<Self, TaskError> {
        match ctx.barrier() {
            Some(sync) => Ok(BarrierTaskContext { ctx: ctx.clone(), sync: sync.clone() }),
            None => {
                Err(TaskError::failed(format!("{} was not launched as a task of a barrier stage", ctx.info().task)))
            }
        }
    }
}

impl BarrierTaskContext {
    /// Waits until all tasks of the stage are here. The error says who did not come, or ended before
    /// (`spark.barrier.sync.timeout`).
    pub fn barrier(&self) -> Result<(), BarrierError> {
        self.call(false, Bytes::new()).map(|_| ())
    }

    /// Hands a text to all tasks of the stage and waits for theirs, which are returned in the order of the partitions.
    #[doc(alias = "allGather")]
    pub fn all_gather(&self, message: impl Into<String>) -> Result<Vec<String>, BarrierError> {
        let messages = self.call(true, Bytes::from(message.into()))?;
        messages.into_iter().map(|m| String::from_utf8(m.into()).map_err(BarrierError::new)).collect()
    }

    /// As [`all_gather`](Self::all_gather), with bytes.
    pub fn all_gather_bytes(&self, message: impl Into<Bytes>) -> Result<Vec<Bytes>, BarrierError> {
        self.call(true, message.into())
    }

    fn call(&self, gathers: bool, message: Bytes) -> Result<Vec<Bytes>, BarrierError> {
        let Some(result) = self.sync.call(self.ctx.kill(), gathers, message) else {
            let reason = self.ctx.kill().reason().unwrap_or_default();
            resume_unwind(Box::new(TaskAbort(TaskFailure::Killed { reason }.into())));
        };
        result.map_err(BarrierError)
    }

    /// The partition that this task computes, from 0.
    pub fn partition_id(&self) -> u32 {
        self.ctx.partition_id()
    }

    /// How often this task was tried before in this attempt of its stage: always 0, as the stage starts again as a whole.
    pub fn attempt_number(&self) -> u32 {
        self.ctx.attempt_number()
    }

    /// How often the stage was tried before.
    pub fn stage_attempt_number(&self) -> u32 {
        self.ctx.stage_attempt_number()
    }

    /// Where the tasks of the stage run, in the order of the partitions. Spark: `getTaskInfos`.
    #[doc(alias = "getTaskInfos")]
    pub fn task_infos(&self) -> &[BarrierTaskInfo] {
        self.sync.tasks()
    }
}
