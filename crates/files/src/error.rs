//! What is wrong with a path, a file or what is in it.

use std::{io, sync::Arc};

use crate::FilePath;

/// A file could not be found, read or written.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A path or pattern matches no file.
    #[error("input path does not exist: {0}")]
    Missing(String),
    /// What an output would create is there already.
    #[error("output directory {0} already exists: remove it or name another")]
    Exists(FilePath),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: FilePath,
        /// What the file system said.
        source: Arc<io::Error>,
    },
    /// An argument, a name or the content of a file makes no sense; the text names it and says what to do.
    #[error("{0}")]
    Invalid(String),
    /// Reading or writing failed; the text names the file where it comes from a [`TaskInput`](crate::TaskInput) or a
    /// [`TaskFile`](crate::TaskFile).
    #[error("{0}")]
    Stream(Arc<io::Error>),
}

/// The result of something done with files.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A file operation that failed, with its path.
    pub fn io(path: &FilePath, source: io::Error) -> Self {
        Error::Io { path: path.clone(), source: Arc::new(source) }
    }

    /// Something that makes no sense.
    pub fn invalid(what: impl Into<String>) -> Self {
        Error::Invalid(what.into())
    }
}

impl From<io::Error> for Error {
    fn from(e: io::Error) -> Self {
        Error::Stream(Arc::new(e))
    }
}
