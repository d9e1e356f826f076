//! [`CommitProtocol`]: how the files of exactly one attempt of each task become the output.
//!
//! ```text
//!  driver                                   task attempts
//!  setup_job ──OutputJob──────────────────▶ create ─▶ AttemptFile ─ write ─▶ finish ─▶ ManifestEntry ─┐
//!  commit_job ◀── the entries that came with the results that count, one attempt a partition ─────────┘
//!  abort_job, when the job fails             AttemptFile::abort, when the attempt fails
//! ```
//!
//! Who decides is the driver: it takes one result for each partition, and with it that attempt's entries. What an attempt has
//! finished is therefore not visible yet, and what is visible does not depend on which attempts have run, or still run.

use std::{
    io::{self, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use crate::{FilePath, FileSystem, error::Result};

/// A job that writes into a directory. Travels to its tasks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct OutputJob {
    /// Where the output shall be.
    pub dir: FilePath,
    /// A name that no other job has: a late attempt of a failed job must not write into the files of one that is run in its
    /// place.
    pub id: String,
}

impl OutputJob {
    /// A new job that writes into `dir`.
    pub fn new(dir: FilePath) -> OutputJob {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        OutputJob { dir, id: format!("{}-{nanos}", std::process::id()) }
    }
}

/// One attempt of one task of an [`OutputJob`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TaskAttempt {
    /// The partition that it writes.
    pub partition: u32,
    /// The attempt's number, which no other attempt of the application has.
    pub id: u64,
}

/// A file that an attempt has finished, for whoever makes it part of the output. Travels to the driver with the result.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ManifestEntry {
    /// Its name in the output directory.
    pub name: String,
    /// Size of the file, bytes.
    pub bytes: u64,
    /// What the protocol needs to make it visible, such as where it lies until then, or the number of an upload and the tags of
    /// its parts.
    pub token: Vec<u8>,
}

/// How output is made visible in a file system: all of it when the job has succeeded, nothing before. Spark: `FileCommitProtocol`
/// and Hadoop's `OutputCommitter`.
///
/// [`RenameCommit`](crate::RenameCommit) writes under other names and renames. A store without renames begins an upload in
/// [`CommitProtocol::create`], completes its parts in [`AttemptFile::finish`], and the upload in
/// [`CommitProtocol::commit_job`].
pub trait CommitProtocol: Send + Sync {
    /// On the driver, before the job: claims the directory and prepares what attempts need.
    ///
    /// # Errors
    /// [`Error::Exists`](crate::Error::Exists) when something is there. Whatever the error, it leaves what it has found.
    fn setup_job(&self, system: &dyn FileSystem, job: &OutputJob) -> Result<()>;

    /// In a task: a file that nobody sees under `name` before the job is committed. Attempts of one partition ask for the same
    /// names at the same time.
    ///
    /// # Errors
    /// When it cannot be made, as when the job has ended meanwhile.
    fn create(
        &self,
        system: &dyn FileSystem,
        job: &OutputJob,
        attempt: TaskAttempt,
        name: &str,
    ) -> Result<Box<dyn AttemptFile>>;

    /// On the driver, when all tasks have succeeded: makes the files of `manifest` visible, and says that the output is whole.
    ///
    /// # Errors
    /// When that fails; the job is aborted then.
    fn commit_job(&self, system: &dyn FileSystem, job: &OutputJob, manifest: &[ManifestEntry]) -> Result<()>;

    /// On the driver, when the job has failed, some of whose attempts may still run: removes all that it has written.
    ///
    /// # Errors
    /// When something stays.
    fn abort_job(&self, system: &dyn FileSystem, job: &OutputJob) -> Result<()>;
}

/// A file that an attempt writes.
pub trait AttemptFile: Write + Send {
    /// Ends it, so that it is whole where it lies, and says what makes it visible.
    ///
    /// # Errors
    /// When not all is written.
    fn finish(self: Box<Self>) -> io::Result<Vec<u8>>;

    /// Gives it up. What cannot be removed now, the abort or the commit of the job removes.
    fn abort(self: Box<Self>, system: &dyn FileSystem);
}
