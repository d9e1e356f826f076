//! The directories of a worker, and who removes what when. Called by the shell and by each `ExecutorRunner`.
//!
//! ```text
//!  <work>/.lock                       held while the worker lives: no two workers share a work directory
//!  <work>/.run/                       FIFOs over which executors say that their driver has accepted them
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

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::stat::Mode;

use crate::config::Cleanup;
use crate::error::WorkerError;
use crate::outputs::Outputs;
use crate::trash::{Bin, warn_if_failed};
use firesteel_common::ExecutorKey;

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
    pub(crate) fn open(root: &Path, local_dirs: &[PathBuf], cleanup: Cleanup) -> Result<WorkDir, WorkerError> {
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
        let uid = identity.uid();
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
        Ok(WorkDir { root, blocks, outputs, cleanup, _lock: lock })
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
        make(&dirs.work, self.outputs.begin(app_id))?;
        make(&dirs.work, fs::create_dir_all(&dirs.work))?;
        dirs.blocks = usable(dirs.blocks, |dir| make(dir, private_dir(dir)).map(|()| dir.to_owned()))?;
        let fifo = nix::unistd::mkfifo(&dirs.registered, Mode::S_IRUSR | Mode::S_IWUSR).map_err(io::Error::from);
        make(&dirs.registered, fifo)?;
        Ok(dirs)
    }

    fn executor_dirs(&self, key: &ExecutorKey) -> ExecutorDirs {
        let id = key.executor_id.to_string();
        ExecutorDirs {
            work: self.root.join(&key.app_id).join(&id),
            blocks: self.blocks.iter().map(|(dir, _)| dir.join(&key.app_id).join(&id)).collect(),
            registered: self.root.join(".run").join(format!("{}.{id}", key.app_id)),
        }
    }

    /// Throws away what an executor leaves but its output and, if they are still served, its map outputs. Deletes nothing
    /// itself: it takes a moment, however much there is.
    pub(crate) fn remove_executor(&self, key: &ExecutorKey, map_outputs_stay: bool) {
        if !is_plain(&key.app_id) {
            return;
        }
        let dirs = self.executor_dirs(key);
        warn_if_failed(&dirs.registered, fs::remove_file(&dirs.registered));
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
    pub(crate) fn remove_application(&self, app_id: &str) {
        // The name came over the network and becomes a path.
        if !is_plain(app_id) {
            return;
        }
        for (dir, bin) in &self.blocks {
            let dir = dir.join(app_id);
            warn_if_failed(&dir, bin.throw(&dir));
        }
        self.outputs.over(app_id);
    }

    /// Removes output of applications that is too old, or too much. Blocks the thread.
    pub(crate) fn sweep(&self) {
        self.outputs.sweep(SystemTime::now());
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

/// Whether a name of an application may be that of a directory.
pub(crate) fn is_plain(app_id: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    !app_id.is_empty() && app_id.len() <= 200 && !app_id.starts_with('.') && app_id.chars().all(plain)
}

/// An empty directory for this user alone. One of that name that is another user's is not touched: local directories
/// may be shared, as /tmp is.
fn renew(dir: &Path, bin: &Bin, uid: u32) -> Result<(), WorkerError> {
    match fs::symlink_metadata(dir) {
        Ok(found) if found.uid() != uid => {
            return Err(WorkerError::NotOurs { path: dir.to_owned(), owner: found.uid() });
        }
        Ok(_) => bin.throw(dir).map_err(failed("clear", dir))?,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn key(app_id: &str) -> ExecutorKey {
        ExecutorKey { app_id: app_id.to_owned(), executor_id: 3 }
    }

    #[test]
    fn two_workers_never_share_a_work_directory() {
        let dir = tempfile::tempdir().unwrap();
        let first = WorkDir::open(dir.path(), &[], Cleanup::default()).unwrap();
        let error = WorkDir::open(dir.path(), &[], Cleanup::default()).unwrap_err();
        assert!(error.to_string().contains("SPARK_WORKER_DIR"), "{error}");
        drop(first);
        WorkDir::open(dir.path(), &[], Cleanup::default()).unwrap();
    }

    #[test]
    fn the_next_start_removes_what_a_killed_worker_has_left_but_no_output() {
        let (work, local) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let locals = [local.path().to_owned()];
        let first = WorkDir::open(work.path(), &locals, Cleanup::default()).unwrap();
        let dirs = first.create_executor(&key("app-1")).unwrap();
        fs::write(dirs.work.join("stderr"), "it was so").unwrap();
        fs::write(dirs.blocks[0].join("shuffle_0_0"), "x").unwrap();
        drop(first); // without a word, as kill -9 does
        WorkDir::open(work.path(), &locals, Cleanup::default()).unwrap();
        assert!(!dirs.blocks[0].exists() && !dirs.registered.exists());
        assert!(dirs.work.join("stderr").exists());
    }

    #[test]
    fn an_executors_blocks_go_with_it_and_its_output_stays() {
        let (work, local) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let dir = WorkDir::open(work.path(), &[local.path().to_owned()], Cleanup::default()).unwrap();
        let dirs = dir.create_executor(&key("app-1")).unwrap();
        fs::write(dirs.blocks[0].join("shuffle_0_0"), "x").unwrap();
        dir.remove_executor(&key("app-1"), false);
        assert!(!dirs.blocks[0].exists() && !dirs.registered.exists() && dirs.work.exists());
        dir.remove_application("app-1");
        assert!(!dirs.blocks[0].parent().unwrap().exists());
        dir.close();
        assert_eq!(fs::read_dir(local.path()).unwrap().count(), 0);
    }

    /// Files so many that to delete them takes longer than the rest of the test.
    fn many_files(dir: &Path) {
        for n in 0..2000 {
            fs::write(dir.join(n.to_string()), "x").unwrap();
        }
    }

    #[test]
    fn nobody_waits_for_files_to_be_deleted_and_none_is_forgotten() {
        let (work, local) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let dir = WorkDir::open(work.path(), &[local.path().to_owned()], Cleanup::default()).unwrap();
        let dirs = dir.create_executor(&key("app-1")).unwrap();
        many_files(&dirs.blocks[0]);
        dir.remove_executor(&key("app-1"), false);
        assert!(!dirs.blocks[0].exists(), "it is out of the way");
        // As kill -9 leaves it: with files in use, and files in the trash.
        let next = dir.create_executor(&key("app-2")).unwrap();
        many_files(&next.blocks[0]);
        drop(dir);
        let dir = WorkDir::open(work.path(), &[local.path().to_owned()], Cleanup::default()).unwrap();
        assert!(!next.blocks[0].exists());
        dir.blocks[0].1.settle();
        dir.close();
        assert_eq!(fs::read_dir(local.path()).unwrap().count(), 0);
    }

    #[test]
    fn without_clean_up_after_executors_their_files_stay_until_the_application_ends() {
        let work = tempfile::tempdir().unwrap();
        let rules = Cleanup { after_executor_exit: false, ..Cleanup::default() };
        let dir = WorkDir::open(work.path(), &[], rules).unwrap();
        let dirs = dir.create_executor(&key("app-1")).unwrap();
        dir.remove_executor(&key("app-1"), false);
        assert!(dirs.blocks[0].exists());
        dir.remove_application("app-1");
        assert!(!dirs.blocks[0].exists());
    }

    /// The applications whose output is there.
    fn kept(work: &Path) -> Vec<String> {
        let names = fs::read_dir(work).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).collect();
        names.sort();
        names
    }

    #[test]
    fn output_goes_when_it_is_old_or_too_much_but_not_that_of_what_runs_nor_what_is_not_ours() {
        let work = tempfile::tempdir().unwrap();
        let day = Duration::from_secs(86_400);
        let rules = Cleanup { app_data_ttl: 7 * day, retained_executors: 2, ..Cleanup::default() };
        fs::create_dir(work.path().join("mine")).unwrap();
        let dir = WorkDir::open(work.path(), &[], rules).unwrap();
        for n in 0..4 {
            let app_id = format!("app-{n}");
            fs::write(dir.create_executor(&key(&app_id)).unwrap().work.join("stderr"), "it was so").unwrap();
            if n < 3 {
                dir.remove_application(&app_id);
                let entry = File::options().write(true).open(work.path().join(".applications").join(&app_id)).unwrap();
                entry.set_modified(SystemTime::now() - (3 - n) * day).unwrap();
            }
        }
        dir.sweep();
        assert_eq!(kept(work.path()), ["app-1", "app-2", "app-3", "mine"], "the oldest is one too many");
        dir.outputs.sweep(SystemTime::now() + 5 * day + Duration::from_secs(60));
        assert_eq!(kept(work.path()), ["app-2", "app-3", "mine"]);
        // Another worker in the same directory, after a kill -9.
        drop(dir);
        let dir = WorkDir::open(work.path(), &[], rules).unwrap();
        dir.outputs.sweep(SystemTime::now() + 100 * day);
        assert_eq!(kept(work.path()), ["mine"]);
        let rules = Cleanup { enabled: false, ..rules };
        drop(dir);
        let dir = WorkDir::open(work.path(), &[], rules).unwrap();
        dir.create_executor(&key("app-9")).unwrap();
        dir.remove_application("app-9");
        dir.outputs.sweep(SystemTime::now() + 100 * day);
        assert_eq!(kept(work.path()), ["app-9", "mine"]);
    }

    #[test]
    fn a_name_that_leads_elsewhere_makes_no_directory() {
        let work = tempfile::tempdir().unwrap();
        let dir = WorkDir::open(work.path(), &[], Cleanup::default()).unwrap();
        for name in ["", "..", "../x", "/etc", "a/b", ".lock", "a\0b"] {
            assert!(dir.create_executor(&key(name)).is_err(), "{name:?}");
        }
    }
}
