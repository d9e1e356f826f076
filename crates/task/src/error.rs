//! Why a task ends early.

use std::fmt;

use firesteel_common::TaskFailure;
use firesteel_storage::BlockError;

/// The reason for which a task ends early; boxed, because results carry it through every chunk.
#[derive(Clone, Debug)]
pub struct TaskError(Box<TaskFailure>);

impl TaskError {
    /// A returned error of user code, or of the task's input or output.
    pub fn failed(message: impl fmt::Display) -> Self {
        TaskFailure::Exception { message: message.to_string(), location: String::new(), panic: false }.into()
    }

    /// The typed reason.
    pub fn into_failure(self) -> TaskFailure {
        *self.0
    }
}

impl From<TaskFailure> for TaskError {
    fn from(failure: TaskFailure) -> Self {
        TaskError(Box::new(failure))
    }
}

impl From<firesteel_common::codec::CodecError> for TaskError {
    fn from(e: firesteel_common::codec::CodecError) -> Self {
        TaskError::failed(e)
    }
}

impl From<firesteel_files::Error> for TaskError {
    fn from(e: firesteel_files::Error) -> Self {
        TaskError::failed(e)
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The payload with which a [`PartitionIter`](crate::PartitionIter) unwinds when its input failed or its task was killed.
///
/// User code that iterates a partition must never see a premature end, or it would commit half of it. The task runner
/// catches the unwinding and takes the typed reason back out. It is raised with `resume_unwind`, so no panic hook runs.
#[derive(Debug)]
pub struct TaskAbort(pub TaskError);

impl From<firesteel_shuffle::ShuffleError> for TaskError {
    fn from(e: firesteel_shuffle::ShuffleError) -> Self {
        TaskError::failed(e)
    }
}

impl From<BlockError> for TaskError {
    fn from(e: BlockError) -> Self {
        TaskError::failed(format!("cannot keep the result: {e}"))
    }
}
