//! What an action or a source tells the user's program when it cannot do its work.

use std::{fmt, io, path::PathBuf, sync::Arc};

use firesteel_common::codec::CodecError;

/// An action or a source failed.
///
/// ```
/// # fn main() -> firesteel::Result<()> {
/// # let sc = firesteel::Context::builder().master("local[2]").build()?;
/// use std::io::ErrorKind;
/// use firesteel::Error;
///
/// assert!(matches!(sc.text_file("/no/such/log"), Err(Error::InputMissing(_))));
///
/// let error = Error::io("/data/out", ErrorKind::StorageFull.into());
/// assert!(error.to_string().starts_with("/data/out: "));
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The job ended without a result; the source is the scheduler's typed reason.
    Job {
        /// Where the action was called.
        site: String,
        /// Why it failed.
        reason: Arc<dyn std::error::Error + Send + Sync>,
    },
    /// The Context of this RDD was stopped or dropped.
    Stopped,
    /// The Context could not be started.
    Start(String),
    /// A value cannot travel between processes.
    Codec(Arc<CodecError>),
    /// An operator's code has no place that another process of this binary finds.
    Code(String),
    /// An input path or pattern matches no file.
    InputMissing(String),
    /// The directory that a save would create is there already.
    OutputExists(PathBuf),
    /// A file could not be read or written.
    Io {
        /// The file's path.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// An argument makes no sense.
    InvalidArgument(String),
    /// An RDD cannot be checkpointed.
    Checkpoint {
        /// The operator that made it, and where.
        rdd: String,
        /// Why not.
        message: String,
    },
    /// The RDD has no element where at least one is needed.
    Empty(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Job { site, reason } => write!(f, "{site}: {reason}"),
            Error::Stopped => f.write_str("the Context of this RDD is stopped: actions need a living Context"),
            Error::Start(reason) => write!(f, "cannot start the Context: {reason}"),
            Error::Codec(e) => e.fmt(f),
            Error::Code(reason) => write!(f, "cannot name an operator's code: {reason}"),
            Error::InputMissing(path) => write!(f, "input path does not exist: {path}"),
            Error::OutputExists(path) => {
                write!(f, "output directory {} already exists: remove it or name another", path.display())
            }
            Error::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Error::InvalidArgument(what) => f.write_str(what),
            Error::Checkpoint { rdd, message } => write!(f, "cannot checkpoint the RDD of {rdd}: {message}"),
            Error::Empty(action) => write!(f, "{action} of an empty RDD"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Job { reason, .. } => Some(&**reason),
            Error::Codec(e) => e.source(),
            Error::Io { source, .. } => Some(&**source),
            _ => None,
        }
    }
}

/// The result of an action.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A file operation that failed, with its path.
    pub fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Error::Io { path: path.into(), source: Arc::new(source) }
    }
}

impl From<firesteel_files::Error> for Error {
    fn from(e: firesteel_files::Error) -> Self {
        use firesteel_files::Error as Files;
        match e {
            Files::Missing(path) => Error::InputMissing(path),
            Files::Exists(dir) => Error::OutputExists(dir.to_path_buf()),
            Files::Io { path, source } => Error::Io { path: path.to_path_buf(), source },
            e => Error::InvalidArgument(e.to_string()),
        }
    }
}

impl From<firesteel_task::NotOnDriver> for Error {
    fn from(e: firesteel_task::NotOnDriver) -> Self {
        Error::InvalidArgument(e.to_string())
    }
}

impl From<firesteel_task::BroadcastError> for Error {
    fn from(e: firesteel_task::BroadcastError) -> Self {
        match e {
            firesteel_task::BroadcastError::Encode(source) => Error::Codec(source),
            e => Error::InvalidArgument(e.to_string()),
        }
    }
}

impl From<CodecError> for Error {
    fn from(e: CodecError) -> Self {
        Error::Codec(Arc::new(e))
    }
}

impl From<firesteel_closure::DecodeError> for Error {
    fn from(e: firesteel_closure::DecodeError) -> Self {
        Error::Code(e.to_string())
    }
}

impl From<firesteel_closure::CodeRefError> for Error {
    fn from(e: firesteel_closure::CodeRefError) -> Self {
        Error::Code(e.to_string())
    }
}
