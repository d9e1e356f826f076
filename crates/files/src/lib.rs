//! Files: where they lie, how they are cut into splits and read as records, and how records become files that appear only
//! when they are whole.
//!
//! ```text
//!  driver                                                   executor
//!  path ─▶ Input ─▶ FileSystem (by scheme) ─▶ files
//!            └─▶ InputFormat::splits ─▶ InputSplit ───────▶ InputFormat::open(split, ReadTask) ─▶ RecordReader ─▶ batches
//!
//!  CommitProtocol::setup_job ─▶ OutputJob ────────────────▶ OutputFormat::open(WriteTask) ─▶ RecordWriter ◀─ batches
//!  CommitProtocol::commit_job ◀─ ManifestEntry, of the ◀──── RecordWriter::finish
//!                                attempts that count
//! ```
//!
//! * [`FilePath`], [`FileSystem`], [`LocalDisk`], [`FileSystems`]: where files lie; others than the local disk are added under
//!   their scheme, and travel to the executors.
//! * [`Input`]: which files a path names (`glob`), and how they are cut into [`FileSplit`]s.
//! * [`InputFormat`], [`RecordReader`], [`ReadTask`]: how a split is read. [`Codec`]: how packed files are.
//! * [`OutputFormat`], [`RecordWriter`], [`WriteTask`]: how a task's records are written.
//! * [`CommitProtocol`], [`RenameCommit`]: how exactly one attempt's files become the output.
//! * [`text`]: lines of text, the first format.
//!
//! Called by `rdd`, which makes RDDs of formats, and by users' own formats; calls `closure`, by which an added file system's
//! code is named.

mod codec;
mod commit;
mod error;
mod file_path;
mod file_system;
mod file_systems;
mod glob;
mod input;
mod input_format;
mod local_disk;
mod output_format;
mod read_task;
mod rename_commit;
mod split;
pub mod text;
mod write_task;

pub use codec::{Codec, codec_of};
pub use commit::{AttemptFile, CommitProtocol, ManifestEntry, OutputJob, TaskAttempt};
pub use error::{Error, Result};
pub use file_path::FilePath;
pub use file_system::{BlockHosts, FileKind, FileStatus, FileSystem, InputFile, OutputFile};
pub use file_systems::FileSystems;
pub use input::Input;
pub use input_format::{InputFormat, RecordIter, RecordReader};
pub use local_disk::LocalDisk;
pub use output_format::{OutputFormat, RecordWriter};
pub use read_task::{ReadTask, TaskInput};
pub use rename_commit::RenameCommit;
pub use split::{FileSplit, InputSplit, SplitBounds};
pub use write_task::{TaskFile, WriteTask};
