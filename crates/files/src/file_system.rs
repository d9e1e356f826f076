//! [`FileSystem`]: what the layer asks of a place where files lie.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    ops::Range,
};

use crate::{CommitProtocol, FilePath, RenameCommit};

/// What lies under a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// Bytes that can be read.
    File,
    /// What has files in it.
    Directory,
    /// Neither, such as a device.
    Other,
}

/// A file or directory, as a file system lists it. Spark: Hadoop's `FileStatus`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileStatus {
    /// Its whole path.
    pub path: FilePath,
    /// What it is.
    pub kind: FileKind,
    /// Bytes; of files only.
    pub len: u64,
}

/// Where some bytes of a file lie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockHosts {
    /// The bytes.
    pub range: Range<u64>,
    /// Hosts that have them, with the names under which their workers are known.
    pub hosts: Vec<String>,
}

/// A place where files lie: the local disk, an object store, HDFS. Spark: Hadoop's `FileSystem`.
///
/// The layer names the path in errors; an implementation says what went wrong, with these kinds where they fit:
/// `NotFound` and `NotADirectory` for what is not there, `AlreadyExists` for what is. One that is added under a scheme
/// travels to the executors as its serde encoding; a connection that cannot travel is made in each process by a
/// `Lazy`, or at each call.
pub trait FileSystem: Send + Sync + 'static {
    /// What lies at `path`; links are followed.
    fn status(&self, path: &FilePath) -> io::Result<FileStatus>;

    /// What lies in the directory `dir` under a name for which `wanted` is true, in any order. Links that lead nowhere are
    /// left out.
    fn list(&self, dir: &FilePath, wanted: &dyn Fn(&OsStr) -> bool) -> io::Result<Vec<FileStatus>>;

    /// The file at `path`, to be read from its start.
    fn open(&self, path: &FilePath) -> io::Result<Box<dyn InputFile>>;

    /// The bytes `range` of a file, fewer where it ends before. A store that is asked over a network says so in its request
    /// instead of seeking.
    fn open_range(&self, path: &FilePath, range: Range<u64>) -> io::Result<Box<dyn Read + Send>> {
        let mut file = self.open(path)?;
        file.seek(SeekFrom::Start(range.start))?;
        Ok(Box::new(file.take(range.end.saturating_sub(range.start))))
    }

    /// A new file. An error of kind `AlreadyExists` where there is one, and, where there are directories, one of kind
    /// `NotFound` where the one that it shall lie in is not there: an attempt that comes late must not bring it back.
    fn create(&self, path: &FilePath) -> io::Result<Box<dyn OutputFile>>;

    /// A new directory, in one that is there. An error of kind `AlreadyExists` where something is there.
    fn create_dir(&self, dir: &FilePath) -> io::Result<()>;

    /// A directory, with those above it, as far as they are not there.
    fn create_dirs(&self, dir: &FilePath) -> io::Result<()>;

    /// Gives a file another name, which no other has, in one step.
    fn rename(&self, from: &FilePath, to: &FilePath) -> io::Result<()>;

    /// Removes a file, or a directory with all that is in it.
    fn delete(&self, path: &FilePath) -> io::Result<()>;

    /// Which hosts have which bytes of a file, in their order; empty where it does not matter.
    fn block_hosts(&self, file: &FileStatus) -> io::Result<Vec<BlockHosts>> {
        let _ = file;
        Ok(Vec::new())
    }

    /// How a job's output becomes visible here. By renaming, unless the file system knows better.
    fn commit_protocol(&self) -> &dyn CommitProtocol {
        &RenameCommit
    }
}

/// An open file.
pub trait InputFile: Read + Seek + Send {}
impl<F: Read + Seek + Send> InputFile for F {}

/// A file that is written.
pub trait OutputFile: Write + Send {
    /// Ends it: when this returns, all that was written is there for who reads it.
    fn close(self: Box<Self>) -> io::Result<()>;
}

impl OutputFile for File {
    fn close(self: Box<Self>) -> io::Result<()> {
        // Each write has gone to the operating system, which has every reader see it.
        Ok(())
    }
}

/// Whether the error says that nothing is there, as for a link that leads nowhere.
pub(crate) fn is_missing(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) || e.raw_os_error() == Some(libc::ELOOP)
}
