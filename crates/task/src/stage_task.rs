//! What a stage is to the executor that runs its tasks.

use std::sync::Arc;

use crate::{context::TaskContext, error::TaskError, output::TaskOutput};

/// The last node of a stage's lineage table: reads one partition of the stage's RDD and puts it somewhere.
pub trait StageTask: Send + Sync {
    /// Runs the task for `partition`.
    ///
    /// # Errors
    /// Why the task ended early.
    fn run(&self, partition: u32, ctx: &Arc<TaskContext>) -> Result<TaskOutput, TaskError>;
}

/// The form in which a lineage table's last node is found: `AnyNode` downcasts to this.
pub struct StageTaskNode(pub Arc<dyn StageTask>);
