//! Why map output could not be written. Failures to read are `TaskFailure::FetchFailed`.

use std::{
    io,
    path::{Path, PathBuf},
};

use firesteel_common::{ShuffleId, TaskFailure, codec::CodecError};
use firesteel_storage::local_dirs::{FileError, all_failed};

/// Map output could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ShuffleError {
    /// A file or directory failed.
    #[error("cannot {action} {path}: {source}{hint}", path = path.display(), hint = hint(source))]
    File {
        /// What was tried, a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A record could not be encoded.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The partitioner gave a reducer that does not exist.
    #[error("the partitioner of {shuffle} put a record into partition {reduce} of {reducers}")]
    NoSuchReducer {
        /// The shuffle.
        shuffle: ShuffleId,
        /// What the partitioner gave.
        reduce: u32,
        /// How many there are.
        reducers: u32,
    },
    /// No local directory takes what was to be written.
    #[error("{}", all_failed(reasons))]
    NoDirectory {
        /// Each directory's.
        reasons: Vec<String>,
    },
}

impl ShuffleError {
    /// A record that no frame can hold.
    pub(crate) fn record_too_large(bytes: usize) -> ShuffleError {
        let message = format!("it takes {bytes} bytes, more than the 2 GiB that can be shuffled");
        ShuffleError::Codec(CodecError::Encode { type_name: "record", message })
    }
}

impl FileError for ShuffleError {
    fn file(&self) -> Option<(&Path, &io::Error)> {
        match self {
            ShuffleError::File { path, source, .. } => Some((path, source)),
            _ => None,
        }
    }

    fn of_all(reasons: Vec<String>) -> ShuffleError {
        ShuffleError::NoDirectory { reasons }
    }
}

fn hint(e: &io::Error) -> &'static str {
    if e.kind() == io::ErrorKind::StorageFull {
        "; free some space there or name another directory with spark.local.dir"
    } else {
        ""
    }
}

impl From<ShuffleError> for TaskFailure {
    fn from(e: ShuffleError) -> TaskFailure {
        TaskFailure::Exception { message: e.to_string(), location: String::new(), panic: false }
    }
}
