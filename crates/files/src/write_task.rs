//! [`WriteTask`]: through what a task attempt writes files, so that they belong to its job, are counted and are named when they
//! fail.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    AttemptFile, FilePath, FileSystem, FileSystems, ManifestEntry, OutputJob, TaskAttempt,
    error::{Error, Result},
};

/// A task attempt that writes its partition.
#[derive(Clone, Debug)]
pub struct WriteTask {
    systems: FileSystems,
    job: OutputJob,
    attempt: TaskAttempt,
    written: Arc<AtomicU64>,
}

impl WriteTask {
    /// `attempt` of `job`.
    pub fn new(systems: FileSystems, job: OutputJob, attempt: TaskAttempt) -> WriteTask {
        WriteTask { systems, job, attempt, written: Arc::default() }
    }

    /// The partition.
    pub fn partition(&self) -> u32 {
        self.attempt.partition
    }

    /// Bytes that were written into its files.
    pub fn bytes_written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// A file that will be called `part-00000` with the partition's number, and `suffix` after it, once the job has succeeded.
    ///
    /// # Errors
    /// When it cannot be made, as when the attempt has made one with that suffix already.
    pub fn create(&self, suffix: &str) -> Result<TaskFile> {
        let name = format!("part-{:05}{suffix}", self.attempt.partition);
        let path = self.job.dir.join(&name);
        let system = self.systems.of(&path)?;
        let file = system.commit_protocol().create(system, &self.job, self.attempt, &name)?;
        let (systems, written) = (self.systems.clone(), self.written.clone());
        Ok(TaskFile { file: Some(file), name, path, bytes: 0, written, systems })
    }
}

/// A file that a task attempt writes. Each write goes to the file system: put many bytes into one. Its errors name it.
///
/// When it is dropped unfinished it is given up.
pub struct TaskFile {
    /// Until it is finished.
    file: Option<Box<dyn AttemptFile>>,
    name: String,
    path: FilePath,
    bytes: u64,
    written: Arc<AtomicU64>,
    systems: FileSystems,
}

impl TaskFile {
    /// Ends it.
    ///
    /// # Errors
    /// When not all is written.
    pub fn finish(mut self) -> Result<ManifestEntry> {
        let file = self.file.take().ok_or_else(|| Error::from(self.ended()))?;
        let token = file.finish().map_err(|e| Error::io(&self.path, e))?;
        Ok(ManifestEntry { name: std::mem::take(&mut self.name), bytes: self.bytes, token })
    }

    fn ended(&self) -> io::Error {
        io::Error::other(format!("{}: it is ended", self.path))
    }

    fn on_file<R>(&mut self, f: impl FnOnce(&mut dyn AttemptFile) -> io::Result<R>) -> io::Result<R> {
        let done = match &mut self.file {
            Some(file) => f(&mut **file),
            None => return Err(self.ended()),
        };
        done.map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", self.path)))
    }
}

impl Write for TaskFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.on_file(|file| file.write(bytes))?;
        self.bytes += n as u64;
        self.written.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.on_file(|file| file.flush())
    }
}

impl Drop for TaskFile {
    fn drop(&mut self) {
        if let Some(file) = self.file.take()
            && let Ok(system) = self.systems.of(&self.path)
        {
            let system: &dyn FileSystem = system;
            file.abort(system);
        }
    }
}
