//! What a task hands back, and how a result is put together.

use std::sync::Arc;

use firesteel_common::TaskId;
use firesteel_shuffle::MapOutput;
use firesteel_storage::{BlockId, BlockManager, BlockWriter, WrittenBlock};

use crate::error::TaskError;

/// What a finished task hands back.
pub enum TaskOutput {
    /// Of a result task: the encoded result.
    Result(Vec<u8>),
    /// Of a result task: the encoded result, which is to be kept as a block.
    Written(WrittenBlock),
    /// Of a result task: the result has more bytes than the driver takes, so many at least, and was given up.
    TooLarge(u64),
    /// Of a shuffle map task: which files it wrote and how large the blocks are.
    Map(MapOutput),
}

/// How large results may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResultBounds {
    /// One of more bytes is kept as a block (`spark.task.maxDirectResultSize`).
    pub direct: u64,
    /// More than this the driver takes of no job (`spark.driver.maxResultSize`); 0 is no limit.
    pub total: u64,
}

impl ResultBounds {
    /// Whether a result of so many bytes is more than the driver takes.
    pub fn exceeded_by(self, bytes: u64) -> bool {
        self.total > 0 && bytes > self.total
    }
}

/// A result that is put together bit by bit.
pub struct ResultWriter {
    out: BlockWriter,
    bounds: ResultBounds,
}

impl ResultWriter {
    /// The result of the task `task`, kept as a block of `blocks` where it gets large.
    pub(crate) fn new(blocks: &Arc<BlockManager>, task: TaskId, bounds: ResultBounds) -> ResultWriter {
        ResultWriter { out: BlockWriter::new(blocks, BlockId::TaskResult(task), bounds.direct), bounds }
    }

    /// Appends what `append` appends; false when the driver would not take it, and no more need come.
    ///
    /// # Errors
    /// That of `append`, or of the disk to which a large result goes.
    pub fn write<E: Into<TaskError>>(
        &mut self,
        append: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<bool, TaskError> {
        self.out.write(|bytes| append(bytes).map_err(Into::into))?;
        Ok(!self.bounds.exceeded_by(self.out.len()))
    }

    /// The result.
    ///
    /// # Errors
    /// That of the disk.
    pub fn finish(self) -> Result<TaskOutput, TaskError> {
        let bytes = self.out.len();
        if self.bounds.exceeded_by(bytes) {
            return Ok(TaskOutput::TooLarge(bytes));
        }
        Ok(match self.out.finish()? {
            Ok(bytes) => TaskOutput::Result(bytes),
            Err(block) => TaskOutput::Written(block),
        })
    }
}
