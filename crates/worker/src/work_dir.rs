//! The directories of a worker, and who removes what when. Called by the shell and by each `ExecutorRunner`.
//!
//! ```text
//!  <work>/.lock                       held while the worker lives: no two workers share a work directory
//!  <work>/.run/                       FIFOs over which executors say that their driver has accepted them, and
//!                                    files in which they note who holds their memory
//!  <work>/.binaries/                  application binaries that came from other hosts
//!  <work>/.applications/              which of the directories of applications are ours, see `outputs.rs`
//!  <work>/<application>/<executor>/   stdout and stderr; they stay for the operator, for a while
//!  <work>/.blocks/<application>/<executor>/, or the same below <local dir>/firesteel-worker-<id of the work dir>/
//!                                     shuffle and spill files; they go with the executor, but for map outputs that the
//!                                     shuffle service serves: these go with the application
//! ```
//!
//!  <work>/.trash/, <block directory>.trash/
//!                                     what nobody needs any more, until it is deleted in the background (`trash.rs`)
//!
//! What a worker that was killed has left in `.run` and in the block directories, the next start throws away: the lock says
//! that nobody uses it.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::{
        ffi::OsStrExt,
        fs::{DirBuilderExt, MetadataExt, OpenOptionsExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use firesteel_common::{AppId, ExecutorKey, hash::fixed_hash};
use firesteel_os::memory_record;
use nix::sys::stat::Mode;

use crate::{
    config::Cleanup,
    error::WorkerError,
    outputs::Outputs,
    trash::{Bin, warn_if_failed},
};

/// How long a worker that ends waits for what is being deleted.
const FAREWELL: Duration = Duration::from_secs(3);

/// The directories of one worker, locked as long as this value lives.
#[derive(Debug)]
pub(crate) struct WorkDir {
    root: PathBuf,
    /// Block directories, one on each local directory; this worker's alone. With each, where it is thrown away.
    blocks: Vec<(PathBuf, Bin)>,
    outputs: Outputs,
    cleanup: Cleanup,
    lock: Mutex<File>,
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
    /// Where it notes who holds its memory; none when that cannot be made.
    pub(crate) memory: Option<PathBuf>,
}

impl WorkDir {
    /// Makes and locks the work directory and clears what a previous worker has left.
    pub(crate) fn open(root: &Path, local_dirs: &[PathBuf], cleanup: Cleanup) -> Result<WorkDir, WorkerError> {
        private_dir(root).map_err(failed("create", root))?;
        let root = fs::canonicalize(root).map_err(failed("find", root))?;
        let lock_path = root.join(".lock");
        let lock = File::options().create(true).truncate(false).write(true).mode(0o600).open(&lock_path);
        let lock = lock.map_err(failed("open", &lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(WorkerError::WorkDirInUse { path: root }),
            Err(TryLockError::Error(e)) => return Err(failed("lock", &lock_path)(e)),
        }
        let uid = lock.metadata().map_err(failed("read", &lock_path))?.uid();
        let blocks: Vec<PathBuf> = if local_dirs.is_empty() {
            vec![root.join(".blocks")]
        } else {
            let name = format!("firesteel-worker-{}", identity(&root).map_err(failed("look at", &root))?);
            local_dirs.iter().map(|dir| dir.join(&name)).collect()
        };
        let trash = Bin::open(root.join(".trash"), uid)?;
        renew(&root.join(".run"), &trash, uid)?;
        let blocks = usable(blocks, |dir| -> Result<_, WorkerError> {
            let mut name = dir.as_os_str().to_owned();
            name.push(".trash");
            let bin = Bin::open(PathBuf::from(name), uid)?;
            renew(dir, &bin, uid)?;
            Ok((dir.to_owned(), bin))
        })?;
        let binaries = root.join(".binaries");
        private_dir(&binaries).map_err(failed("create", &binaries))?;
        let outputs = Outputs::new(root.clone(), cleanup, trash);
        Ok(WorkDir { root, blocks, outputs, cleanup, lock: Mutex::new(lock) })
    }

    /// Where application binaries are kept.
    pub(crate) fn binaries(&self) -> PathBuf {
        self.root.join(".binaries")
    }

    /// Makes the directories of an executor; the error is for a person.
    pub(crate) fn create_executor(&self, key: &ExecutorKey) -> Result<ExecutorDirs, String> {
        let mut dirs = self.executor_dirs(key);
        let make = |path: &Path, result: io::Result<()>| {
            result.map_err(|e| format!("cannot create {} for the executor: {e}", path.display()))
        };
        make(&self.root, self.restore())?;
        make(&dirs.work, self.outputs.begin(&key.app_id))?;
        make(&dirs.work, private_dir(&dirs.work))?;
        dirs.blocks = usable(dirs.blocks, |dir| make(dir, private_dir(dir)).map(|()| dir.to_owned()))?;
        let fifo = nix::unistd::mkfifo(&dirs.registered, Mode::S_IRUSR | Mode::S_IWUSR).map_err(io::Error::from);
        make(&dirs.registered, fifo)?;
        // What it would say of a lack of memory is not worth failing for, on a disk that is full.
        dirs.memory = dirs.memory.filter(|path| {
            let made = memory_record::create(path);
            made.inspect_err(|e| {
                tracing::warn!(path = %path.display(), error = %e, "nobody will know who held the memory of this executor");
                _ = fs::remove_file(path);
            })
            .is_ok()
        });
        Ok(dirs)
    }

    /// Makes what somebody has removed of the work directory again, with its lock.
    fn restore(&self) -> io::Result<()> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.root.join(".lock");
        if !fs::exists(&path)? {
            private_dir(&self.root)?;
            let made = File::options().create(true).write(true).truncate(true).mode(0o600).open(path)?;
            made.try_lock()?;
            *lock = made;
            tracing::warn!(dir = %self.root.display(), "somebody has removed the work directory; it is made again");
        }
        private_dir(&self.root.join(".run"))
    }

    fn executor_dirs(&self, key: &ExecutorKey) -> ExecutorDirs {
        let id = key.executor_id.to_string();
        ExecutorDirs {
            work: self.root.join(key.app_id.as_str()).join(&id),
            blocks: self.blocks.iter().map(|(dir, _)| dir.join(key.app_id.as_str()).join(&id)).collect(),
            registered: self.root.join(".run").join(format!("{}.{id}", key.app_id)),
            memory: Some(self.root.join(".run").join(format!("{}.{id}.memory", key.app_id))),
        }
    }

    /// Throws away what an executor leaves but its output and, if they are still served, its map outputs. Deletes nothing
    /// itself: it takes a moment, however much there is.
    pub(crate) fn remove_executor(&self, key: &ExecutorKey, map_outputs_stay: bool) {
        let dirs = self.executor_dirs(key);
        warn_if_failed(&dirs.registered, fs::remove_file(&dirs.registered));
        if let Some(memory) = &dirs.memory {
            warn_if_failed(memory, fs::remove_file(memory));
        }
        if !self.cleanup.after_executor_exit {
            return;
        }
        for (dir, (_, bin)) in dirs.blocks.iter().zip(&self.blocks) {
            match map_outputs_stay {
                true => bin.prune(dir.clone()),
                false => warn_if_failed(dir, bin.throw(dir)),
            }
        }
    }

    /// The directories below which each application has its blocks.
    pub(crate) fn block_roots(&self) -> Vec<PathBuf> {
        self.blocks.iter().map(|(dir, _)| dir.clone()).collect()
    }

    /// Throws away what the executors of an application have left but their output. Deletes nothing itself.
    pub(crate) fn remove_application(&self, app_id: &AppId) {
        for (dir, bin) in &self.blocks {
            let dir = dir.join(app_id.as_str());
            warn_if_failed(&dir, bin.throw(&dir));
        }
        self.outputs.over(app_id);
    }

    /// Removes output of applications that is too old, or too much. Blocks the thread.
    pub(crate) fn sweep(&self) {
        self.outputs.sweep(SystemTime::now());
    }

    /// Deletes nothing until it is told otherwise.
    #[cfg(test)]
    pub(crate) fn hold_trash(&self, held: bool) {
        self.blocks.iter().map(|(_, bin)| bin).chain([self.outputs.bin()]).for_each(|bin| bin.hold(held));
    }

    /// Waits until all is deleted.
    #[cfg(test)]
    pub(crate) fn settle_trash(&self) {
        self.blocks.iter().map(|(_, bin)| bin).chain([self.outputs.bin()]).for_each(Bin::settle);
    }

    /// Throws the block directories away, when the worker ends: nobody serves what is there any more. Waits a while for
    /// what is being deleted; the next start goes on with what is left. Blocks the thread.
    pub(crate) fn close(&self) {
        let give_up = Instant::now() + FAREWELL;
        for (dir, bin) in &self.blocks {
            warn_if_failed(dir, bin.throw(dir));
        }
        self.blocks.iter().map(|(_, bin)| bin).chain([self.outputs.bin()]).for_each(|bin| bin.close(give_up));
    }
}

/// Names the work directory `root` among those of all workers that may share a local directory. It stays the same when the
/// directory is removed and made again: what the last worker there has left is found.
fn identity(root: &Path) -> io::Result<String> {
    let parent = fs::metadata(root.parent().unwrap_or(root))?;
    let name = fixed_hash(root.file_name().unwrap_or_default().as_bytes());
    Ok(format!("{:x}-{:x}-{name:x}", parent.dev(), parent.ino()))
}

/// Those of the directories that `prepare` makes ready. An error only when it is none of them: a disk that failed must not
/// keep the others from being used.
fn usable<T, E: std::fmt::Display>(
    dirs: Vec<PathBuf>,
    mut prepare: impl FnMut(&Path) -> Result<T, E>,
) -> Result<Vec<T>, E> {
    let mut failure = None;
    let mut ready = Vec::new();
    for dir in dirs {
        match prepare(&dir) {
            Ok(prepared) => ready.push(prepared),
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

/// An empty directory for this user alone. One of that name that is another user's is not touched: local directories
/// may be shared, as /tmp is.
fn renew(dir: &Path, bin: &Bin, uid: u32) -> Result<(), WorkerError> {
    match fs::symlink_metadata(dir) {
        Ok(found) => {
            check_owner(dir, &found, uid)?;
            bin.throw(dir).map_err(failed("clear", dir))?;
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(failed("look at", dir)(e)),
    }
    own_dir(dir, uid)
}

/// Makes a directory whose name others may know before it is there, and looks at what lies there then: a directory of this
/// user, no link, for this user alone. What another has put there first is not used.
pub(crate) fn own_dir(dir: &Path, uid: u32) -> Result<(), WorkerError> {
    if let Some(parent) = dir.parent() {
        private_dir(parent).map_err(failed("create", parent))?;
    }
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(failed("create", dir)(e)),
        _ => {}
    }
    let found = fs::symlink_metadata(dir).map_err(failed("look at", dir))?;
    check_owner(dir, &found, uid)?;
    if !found.is_dir() {
        return Err(failed("use", dir)(io::Error::new(io::ErrorKind::NotADirectory, "it is no directory")));
    }
    if found.mode() & 0o077 != 0 {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(failed("close to others", dir))?;
    }
    Ok(())
}

fn check_owner(path: &Path, found: &fs::Metadata, uid: u32) -> Result<(), WorkerError> {
    match found.uid() {
        owner if owner == uid => Ok(()),
        owner => Err(WorkerError::NotOurs { path: path.to_owned(), owner }),
    }
}

pub(crate) fn private_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

fn failed<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> WorkerError + 'a {
    move |source| WorkerError::Io { action, path: path.to_owned(), source }
}

#[cfg(test)]
#[path = "work_dir_tests.rs"]
mod tests;
