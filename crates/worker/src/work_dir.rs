//! The directories of a worker, and who removes what when. Called by the shell and by each `ExecutorRunner`.
//!
//! ```text
//!  <work>/.lock                       held while the worker lives: no two workers share a work directory
//!  <work>/.run/                       FIFOs over which executors say that their driver has accepted them
//!  <work>/.binaries/                  application binaries that came from other hosts
//!  <work>/<application>/<executor>/   stdout and stderr; they stay for the operator
//!  <work>/.blocks/<application>/<executor>/, or the same below <local dir>/firesteel-worker-<id of the work dir>/
//!                                     shuffle and spill files; they go with the executor, but for map outputs that the
//!                                     shuffle service serves: these go with the application
//! ```
//!
//! What a worker that was killed has left in `.run` and in the block directories, the next start removes: the lock says
//! that nobody uses it.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;

use crate::error::WorkerError;
use firesteel_common::ExecutorKey;
use firesteel_shuffle::service::keep_map_outputs;

/// The directories of one worker, locked as long as this value lives.
#[derive(Debug)]
pub(crate) struct WorkDir {
    root: PathBuf,
    /// Block directories, one on each local directory; this worker's alone.
    blocks: Vec<PathBuf>,
    _lock: File,
}

/// The directories of one executor.
#[derive(Debug)]
pub(crate) struct ExecutorDirs {
    /// Where stdout and stderr go; its working directory.
    pub(crate) work: PathBuf,
    /// For its shuffle and spill files.
    pub(crate) blocks: Vec<PathBuf>,
    /// The FIFO over which it says that its driver has accepted it.
    pub(crate) registered: PathBuf,
}

impl WorkDir {
    /// Makes and locks the work directory and clears what a previous worker has left.
    pub(crate) fn open(root: &Path, local_dirs: &[PathBuf]) -> Result<WorkDir, WorkerError> {
        fs::create_dir_all(root).map_err(failed("create", root))?;
        let root = fs::canonicalize(root).map_err(failed("find", root))?;
        let lock_path = root.join(".lock");
        let lock = File::options().create(true).truncate(false).write(true).open(&lock_path);
        let lock = lock.map_err(failed("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(WorkerError::WorkDirInUse { path: root }),
            Err(TryLockError::Error(e)) => return Err(failed("lock", &lock_path)(e)),
        }
        let identity = lock.metadata().map_err(failed("read", &lock_path))?;
        let blocks: Vec<PathBuf> = if local_dirs.is_empty() {
            vec![root.join(".blocks")]
        } else {
            let name = format!("firesteel-worker-{:x}-{:x}", identity.dev(), identity.ino());
            local_dirs.iter().map(|dir| dir.join(&name)).collect()
        };
        clear(&root.join(".run"), identity.uid())?;
        let blocks = usable(blocks, |dir| clear(dir, identity.uid()))?;
        let binaries = root.join(".binaries");
        private_dir(&binaries).map_err(failed("create", &binaries))?;
        Ok(WorkDir { root, blocks, _lock: lock })
    }

    /// Where application binaries are kept.
    pub(crate) fn binaries(&self) -> PathBuf {
        self.root.join(".binaries")
    }

    /// Makes the directories of an executor; the error is for a person.
    pub(crate) fn create_executor(&self, key: &ExecutorKey) -> Result<ExecutorDirs, String> {
        // The name came over the network and becomes a path.
        let app_id = key.app_id.as_str();
        if !is_plain(app_id) {
            return Err(format!("{app_id:?} is no name for an application's directory"));
        }
        let mut dirs = self.executor_dirs(key);
        let make = |path: &Path, result: io::Result<()>| {
            result.map_err(|e| format!("cannot create {} for the executor: {e}", path.display()))
        };
        make(&dirs.work, fs::create_dir_all(&dirs.work))?;
        dirs.blocks = usable(dirs.blocks, |dir| make(dir, private_dir(dir)))?;
        let fifo = nix::unistd::mkfifo(&dirs.registered, Mode::S_IRUSR | Mode::S_IWUSR).map_err(io::Error::from);
        make(&dirs.registered, fifo)?;
        Ok(dirs)
    }

    fn executor_dirs(&self, key: &ExecutorKey) -> ExecutorDirs {
        let id = key.executor_id.to_string();
        ExecutorDirs {
            work: self.root.join(&key.app_id).join(&id),
            blocks: self.blocks.iter().map(|dir| dir.join(&key.app_id).join(&id)).collect(),
            registered: self.root.join(".run").join(format!("{}.{id}", key.app_id)),
        }
    }

    /// Removes what an executor leaves but its output and, if they are still served, its map outputs. Blocks the thread.
    pub(crate) fn remove_executor(&self, key: &ExecutorKey, map_outputs_stay: bool) {
        let dirs = self.executor_dirs(key);
        warn_if_failed(&dirs.registered, fs::remove_file(&dirs.registered));
        for dir in &dirs.blocks {
            let removed = if map_outputs_stay { keep_map_outputs(dir) } else { fs::remove_dir_all(dir) };
            warn_if_failed(dir, removed);
        }
    }

    /// The directories below which each application has its blocks.
    pub(crate) fn block_roots(&self) -> Vec<PathBuf> {
        self.blocks.clone()
    }

    /// Removes what the executors of an application have left but their output. Blocks the thread.
    pub(crate) fn remove_application(&self, app_id: &str) {
        for dir in self.blocks.iter().map(|dir| dir.join(app_id)) {
            warn_if_failed(&dir, fs::remove_dir_all(&dir));
        }
    }

    /// Removes the block directories, when the worker ends: nobody serves what is there any more. Blocks the thread.
    pub(crate) fn close(&self) {
        for dir in &self.blocks {
            warn_if_failed(dir, fs::remove_dir_all(dir));
        }
    }
}

/// Those of the directories that `prepare` makes ready. An error only when it is none of them: a disk that failed must not
/// keep the others from being used.
fn usable<E: std::fmt::Display>(
    dirs: Vec<PathBuf>,
    mut prepare: impl FnMut(&Path) -> Result<(), E>,
) -> Result<Vec<PathBuf>, E> {
    let mut failure = None;
    let mut ready = Vec::new();
    for dir in dirs {
        match prepare(&dir) {
            Ok(()) => ready.push(dir),
            Err(error) => {
                tracing::warn!(%error, "going on without this local directory");
                failure = Some(error);
            }
        }
    }
    match failure {
        Some(error) if ready.is_empty() => Err(error),
        _ => Ok(ready),
    }
}

/// Whether a name of an application may be that of a directory.
pub(crate) fn is_plain(app_id: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !app_id.is_empty() && app_id.len() <= 200 && !app_id.starts_with('.') && app_id.chars().all(plain)
}

/// An empty directory for this user alone. One of that name that is another user's is not touched: local directories
/// may be shared, as /tmp is.
fn clear(dir: &Path, uid: u32) -> Result<(), WorkerError> {
    match fs::symlink_metadata(dir) {
        Ok(found) if found.uid() != uid => {
            return Err(WorkerError::NotOurs { path: dir.to_owned(), owner: found.uid() });
        }
        Ok(_) => fs::remove_dir_all(dir).map_err(failed("clear", dir))?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(failed("look at", dir)(e)),
    }
    private_dir(dir).map_err(failed("create", dir))
}

fn private_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> WorkerError + 'a {
    move |source| WorkerError::Io { action, path: path.to_owned(), source }
}

fn warn_if_failed(path: &Path, result: io::Result<()>) {
    if let Err(e) = result
        && e.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), error = %e, "could not remove; the next start will try again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(app_id: &str) -> ExecutorKey {
        ExecutorKey { app_id: app_id.to_owned(), executor_id: 3 }
    }

    #[test]
    fn two_workers_never_share_a_work_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = WorkDir::open(dir.path(), &[]).unwrap();
        let error = WorkDir::open(dir.path(), &[]).unwrap_err();
        assert!(error.to_string().contains("SPARK_WORKER_DIR"), "{error}");
        drop(first);
        WorkDir::open(dir.path(), &[]).unwrap();
    }

    #[test]
    fn the_next_start_removes_what_a_killed_worker_has_left_but_no_output() {
        let (work, local) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let locals = [local.path().to_owned()];
        let first = WorkDir::open(work.path(), &locals).unwrap();
        let dirs = first.create_executor(&key("app-1")).unwrap();
        fs::write(dirs.work.join("stderr"), "it was so").unwrap();
        fs::write(dirs.blocks[0].join("shuffle_0_0"), "x").unwrap();
        drop(first); // without a word, as kill -9 does
        WorkDir::open(work.path(), &locals).unwrap();
        assert!(!dirs.blocks[0].exists() && !dirs.registered.exists());
        assert!(dirs.work.join("stderr").exists());
    }

    #[test]
    fn an_executors_blocks_go_with_it_and_its_output_stays() {
        let (work, local) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let dir = WorkDir::open(work.path(), &[local.path().to_owned()]).unwrap();
        let dirs = dir.create_executor(&key("app-1")).unwrap();
        fs::write(dirs.blocks[0].join("shuffle_0_0"), "x").unwrap();
        dir.remove_executor(&key("app-1"), false);
        assert!(!dirs.blocks[0].exists() && !dirs.registered.exists() && dirs.work.exists());
        dir.remove_application("app-1");
        assert!(!dirs.blocks[0].parent().unwrap().exists());
        dir.close();
        assert_eq!(fs::read_dir(local.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_name_that_leads_elsewhere_makes_no_directory() {
        let work = tempfile::tempdir().unwrap();
        let dir = WorkDir::open(work.path(), &[]).unwrap();
        for name in ["", "..", "../x", "/etc", "a/b", ".lock", "a\0b"] {
            assert!(dir.create_executor(&key(name)).is_err(), "{name:?}");
        }
    }
}
