//! Why a broadcast variable has no value to give.

use std::{panic::resume_unwind, sync::Arc};

use firesteel_common::{BroadcastId, TaskFailure, codec::CodecError};
use firesteel_storage::BlockError;

use crate::{
    current,
    error::{TaskAbort, TaskError},
};

/// A broadcast variable cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BroadcastError {
    /// Its value cannot travel.
    #[error(transparent)]
    Encode(Arc<CodecError>),
    /// The driver cannot hold it for the executors.
    #[error("cannot hold {id} for the executors: {source}")]
    Hold {
        /// The broadcast variable's number.
        id: BroadcastId,
        /// What went wrong.
        source: Arc<BlockError>,
    },
    /// It was destroyed.
    #[error("{id} was destroyed at {at}: it cannot be used any more")]
    Destroyed {
        /// The broadcast variable's number.
        id: BroadcastId,
        /// Where `destroy` was called.
        at: String,
    },
    /// Its last handle on the driver is gone.
    #[error("{id} is gone: the driver holds no handle on it any more")]
    Gone {
        /// The broadcast variable's number.
        id: BroadcastId,
    },
    /// A handle was decoded outside of a task.
    #[error("{id} was decoded outside of a task: results cannot carry broadcast variables to the driver")]
    NoTask {
        /// The broadcast variable's number.
        id: BroadcastId,
    },
    /// It holds a value of another type.
    #[error("{id} does not hold a {type_name}")]
    Type {
        /// The broadcast variable's number.
        id: BroadcastId,
        /// What was expected.
        type_name: &'static str,
    },
    /// A piece could not be fetched; the source names it and the peer.
    #[error("{source}")]
    Fetch {
        /// The broadcast variable's number.
        id: BroadcastId,
        /// What went wrong.
        source: Arc<BlockError>,
    },
    /// The bytes are not a value.
    #[error("cannot decode {id}: {source}")]
    Decode {
        /// The broadcast variable's number.
        id: BroadcastId,
        /// What the codec said.
        source: Arc<CodecError>,
    },
}

impl BroadcastError {
    /// Ends the task of this thread with this error; elsewhere, panics with its text.
    #[track_caller]
    #[expect(clippy::panic, reason = "what the caller documents")]
    pub(super) fn raise(self) -> ! {
        let Some(context) = current::context() else { panic!("{self}") };
        let error = match context.kill().check() {
            Err(killed) => killed,
            Ok(()) => match self {
                BroadcastError::Fetch { id, source } => {
                    TaskFailure::BroadcastLost { broadcast: id, message: source.to_string() }.into()
                }
                other => TaskError::failed(other),
            },
        };
        resume_unwind(Box::new(TaskAbort(error)))
    }
}
