//! [`RenameCommit`]: files that are written elsewhere and get their names when the job has succeeded.
//!
//! Each attempt writes files of its own under `_temporary`. The driver renames those of the attempts that count and writes
//! `_SUCCESS` last. A file of an attempt that failed, or that was superseded, never leaves `_temporary`.

use std::io::{self, Write};

use crate::{
    AttemptFile, CommitProtocol, FilePath, FileSystem, ManifestEntry, OutputFile, OutputJob, TaskAttempt,
    error::{Error, Result},
};

/// The protocol of file systems that rename in one step, such as the local disk. Spark: `FileOutputCommitter` with
/// algorithm 1, in which the driver renames.
#[derive(Clone, Copy, Debug, Default)]
pub struct RenameCommit;

/// Where attempts write.
fn staging(job: &OutputJob) -> FilePath {
    job.dir.join(TEMPORARY).join(&job.id)
}

const TEMPORARY: &str = "_temporary";
const SUCCESS: &str = "_SUCCESS";

impl CommitProtocol for RenameCommit {
    fn setup_job(&self, system: &dyn FileSystem, job: &OutputJob) -> Result<()> {
        let dir = &job.dir;
        if let Some(parent) = dir.parent() {
            system.create_dirs(&parent).map_err(|e| Error::io(&parent, e))?;
        }
        system.create_dir(dir).map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists(dir.clone()),
            _ => Error::io(dir, e),
        })?;
        let staging = staging(job);
        system.create_dirs(&staging).map_err(|e| {
            // It is ours and empty; what has kept its content from being made may keep it from being removed.
            let _ = system.delete(dir);
            Error::io(&staging, e)
        })
    }

    fn create(
        &self,
        system: &dyn FileSystem,
        job: &OutputJob,
        attempt: TaskAttempt,
        name: &str,
    ) -> Result<Box<dyn AttemptFile>> {
        let name = format!("{name}-{}", attempt.id);
        let path = staging(job).join(&name);
        let file = system.create(&path).map_err(|e| Error::io(&path, e))?;
        Ok(Box::new(StagedFile { file, path, name }))
    }

    fn commit_job(&self, system: &dyn FileSystem, job: &OutputJob, manifest: &[ManifestEntry]) -> Result<()> {
        let staging = staging(job);
        for entry in manifest {
            let name = str::from_utf8(&entry.token).map_err(|e| Error::Invalid(format!("{}: {e}", entry.name)))?;
            let staged = staging.join(name);
            system.rename(&staged, &job.dir.join(&entry.name)).map_err(|e| Error::io(&staged, e))?;
        }
        let temporary = job.dir.join(TEMPORARY);
        system.delete(&temporary).map_err(|e| Error::io(&temporary, e))?;
        let success = job.dir.join(SUCCESS);
        system.create(&success).and_then(OutputFile::close).map_err(|e| Error::io(&success, e))
    }

    fn abort_job(&self, system: &dyn FileSystem, job: &OutputJob) -> Result<()> {
        system.delete(&job.dir).map_err(|e| Error::io(&job.dir, e))
    }
}

/// A file under `_temporary`.
struct StagedFile {
    file: Box<dyn OutputFile>,
    path: FilePath,
    name: String,
}

impl Write for StagedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl AttemptFile for StagedFile {
    fn finish(self: Box<Self>) -> io::Result<Vec<u8>> {
        self.file.close()?;
        Ok(self.name.into_bytes())
    }

    fn abort(self: Box<Self>, system: &dyn FileSystem) {
        drop(self.file);
        // The job's own clean-up removes what this cannot.
        let _ = system.delete(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::LocalDisk;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn write(job: &OutputJob, id: u64, text: &str) -> ManifestEntry {
        let attempt = TaskAttempt { partition: 0, id };
        let mut file = RenameCommit.create(&LocalDisk, job, attempt, "part-00000").unwrap();
        file.write_all(text.as_bytes()).unwrap();
        ManifestEntry { name: "part-00000".to_owned(), bytes: text.len() as u64, token: file.finish().unwrap() }
    }

    #[test]
    fn the_attempt_that_counts_is_what_is_there_in_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("a/b/out");
        let job = OutputJob::new(FilePath::local(&out));
        RenameCommit.setup_job(&LocalDisk, &job).unwrap();
        let (_, second) = (write(&job, 1, "first"), write(&job, 2, "second"));
        let third = TaskAttempt { partition: 0, id: 3 };
        let unfinished = RenameCommit.create(&LocalDisk, &job, third, "part-00000").unwrap();
        assert_eq!(names(&out), ["_temporary"], "nothing is visible before the commit");
        assert_eq!(fs::read_dir(staging(&job).path()).unwrap().count(), 3);
        unfinished.abort(&LocalDisk);
        assert_eq!(fs::read_dir(staging(&job).path()).unwrap().count(), 2);
        RenameCommit.commit_job(&LocalDisk, &job, &[second]).unwrap();
        assert_eq!(names(&out), ["_SUCCESS", "part-00000"]);
        assert_eq!(fs::read_to_string(out.join("part-00000")).unwrap(), "second");
        let late = RenameCommit.create(&LocalDisk, &job, TaskAttempt { partition: 0, id: 4 }, "part-00000");
        assert!(matches!(late.err().unwrap(), Error::Io { .. }), "an attempt that comes late finds no directory");
    }

    #[test]
    fn an_aborted_job_leaves_nothing_and_one_that_cannot_begin_leaves_what_was_there() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let job = OutputJob::new(FilePath::local(&out));
        RenameCommit.setup_job(&LocalDisk, &job).unwrap();
        write(&job, 1, "first");
        let other = OutputJob::new(job.dir.clone());
        assert!(matches!(RenameCommit.setup_job(&LocalDisk, &other), Err(Error::Exists(found)) if found == job.dir));
        RenameCommit.abort_job(&LocalDisk, &job).unwrap();
        assert!(!out.exists());
        assert!(RenameCommit.abort_job(&LocalDisk, &job).is_err(), "nothing is there that could be removed");
    }
}
