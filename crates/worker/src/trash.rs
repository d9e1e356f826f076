//! What nobody needs any more, deleted in the background: who throws something away does not wait, however many files it
//! has. Called by `WorkDir`.
//!
//! ```text
//!  throw(dir) ─rename─▶ <bin>/<number> ─▶ a thread for each bin deletes what lies there
//! ```
//!
//! The bins are the queue: they are on disk, so nothing is forgotten. What a worker did not come to delete before it ended,
//! however it ended, the next one deletes, beside its other work.

use std::{
    collections::VecDeque,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use firesteel_shuffle::service::keep_map_outputs;

use crate::{error::WorkerError, work_dir::own_dir};

/// So many directories may wait for what is no map output to be taken out of them. Of more, all stays until the
/// application is over.
const MOST_PRUNED: usize = 1024;

/// Where things of one file system are thrown, and the thread that deletes them. Dropping it lets the thread end when it
/// has done what it is about.
#[derive(Debug)]
pub(crate) struct Bin {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The number of what is thrown away next.
    next: u64,
    /// Something was thrown away since the thread looked last.
    full: bool,
    /// Directories of executors that have ended, of which only map outputs stay.
    prune: VecDeque<PathBuf>,
    /// The thread has nothing to do.
    idle: bool,
    closed: bool,
    /// For tests: nothing is deleted meanwhile, as by a disk that hangs.
    #[cfg(test)]
    held: bool,
}

impl State {
    fn is_held(&self) -> bool {
        #[cfg(test)]
        return self.held;
        #[cfg(not(test))]
        false
    }
}

impl Bin {
    /// A bin at `dir`, for this user alone; what is there already is deleted.
    pub(crate) fn open(dir: PathBuf, uid: u32) -> Result<Bin, WorkerError> {
        let failed = |action, source| WorkerError::Io { action, path: dir.clone(), source };
        match fs::symlink_metadata(&dir) {
            Ok(found) if found.uid() != uid => {
                return Err(WorkerError::NotOurs { path: dir, owner: found.uid() });
            }
            Ok(found) if !found.is_dir() => fs::remove_file(&dir).map_err(|e| failed("remove", e))?,
            _ => {}
        }
        own_dir(&dir, uid)?;
        // Beside what an earlier worker has thrown away.
        let next = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64);
        let state = Mutex::new(State { next, full: true, ..State::default() });
        let shared = Arc::new(Shared { dir: dir.clone(), state, changed: Condvar::new() });
        let thread = shared.clone();
        std::thread::Builder::new()
            .name("trash".to_owned())
            .spawn(move || thread.work())
            .map_err(|e| failed("start the thread that empties", e))?;
        Ok(Bin { shared })
    }

    /// Throws a directory of the same file system away; one that is not there is gone already.
    pub(crate) fn throw(&self, path: &Path) -> io::Result<()> {
        let mut state = self.shared.lock();
        loop {
            state.next += 1;
            let to = self.shared.dir.join(state.next.to_string());
            if to.exists() {
                continue;
            }
            match fs::rename(path, &to) {
                Err(e) if e.kind() == io::ErrorKind::NotFound && !self.shared.dir.exists() && path.exists() => {
                    // Somebody cleans up here.
                    DirBuilder::new().recursive(true).mode(0o700).create(&self.shared.dir)?;
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(e) => return Err(e),
                Ok(()) => break,
            }
        }
        (state.full, state.idle) = (true, false);
        self.shared.changed.notify_all();
        Ok(())
    }

    /// Takes all but map outputs out of the directory of an executor that has ended.
    pub(crate) fn prune(&self, executor_dir: PathBuf) {
        let mut state = self.shared.lock();
        if state.prune.len() >= MOST_PRUNED {
            return tracing::info!(path = %executor_dir.display(), "much is to be deleted: this stays until its application is over");
        }
        state.prune.push_back(executor_dir);
        state.idle = false;
        self.shared.changed.notify_all();
    }

    /// Lets the thread end, waits for that until `give_up`, and removes the bin if it is empty.
    pub(crate) fn close(&self, give_up: Instant) {
        let mut state = self.shared.lock();
        state.closed = true;
        self.shared.changed.notify_all();
        while !state.idle {
            let left = give_up.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return tracing::info!(bin = %self.shared.dir.display(), "not all is deleted yet: the next start goes on");
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if let Err(e) = fs::remove_dir(&self.shared.dir)
            && e.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(bin = %self.shared.dir.display(), error = %e, "cannot remove");
        }
    }

    /// Deletes nothing until it is told otherwise.
    #[cfg(test)]
    pub(crate) fn hold(&self, held: bool) {
        self.shared.lock().held = held;
        self.shared.changed.notify_all();
    }

    /// Waits until all is deleted.
    #[cfg(test)]
    pub(crate) fn settle(&self) {
        let mut state = self.shared.lock();
        while !state.idle {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Bin {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        loop {
            let mut state = self.lock();
            while state.is_held() {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            while !state.full && state.prune.is_empty() {
                state.idle = true;
                self.changed.notify_all();
                if state.closed {
                    return;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.is_held() {
                continue;
            }
            state.idle = false;
            let pruned = state.prune.pop_front();
            let full = std::mem::take(&mut state.full);
            drop(state);
            if let Some(dir) = pruned {
                warn_if_failed(&dir, keep_map_outputs(&dir));
            }
            if full {
                self.empty();
            }
        }
    }

    fn empty(&self) {
        let entries = match fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(e) => return warn_if_failed(&self.dir, Err(e)),
        };
        let began = Instant::now();
        let mut deleted = 0;
        for entry in entries.flatten() {
            let path = entry.path();
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let removed = if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            warn_if_failed(&path, removed);
            deleted += 1;
        }
        if began.elapsed() > Duration::from_secs(1) {
            tracing::info!(bin = %self.dir.display(), deleted, took = ?began.elapsed(), "deleted in the background");
        }
    }
}

pub(crate) fn warn_if_failed(path: &Path, result: io::Result<()>) {
    if let Err(e) = result
        && e.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), error = %e, "could not remove; the next start will try again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(dir: &Path) -> u32 {
        fs::metadata(dir).unwrap().uid()
    }

    #[test]
    fn what_is_thrown_away_is_gone_at_once_and_deleted_later() {
        let dir = tempfile::tempdir().unwrap();
        let bin = Bin::open(dir.path().join("bin"), uid(dir.path())).unwrap();
        for round in 0..3 {
            let old = dir.path().join("old");
            fs::create_dir_all(old.join("a/b")).unwrap();
            fs::write(old.join("a/b/c"), round.to_string()).unwrap();
            bin.throw(&old).unwrap();
            assert!(!old.exists());
        }
        bin.throw(&dir.path().join("never was")).unwrap();
        bin.settle();
        assert_eq!(fs::read_dir(dir.path().join("bin")).unwrap().count(), 0);
        bin.close(Instant::now() + Duration::from_secs(60));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_next_one_deletes_what_was_left() {
        let dir = tempfile::tempdir().unwrap();
        let left = dir.path().join("bin/17/deep");
        fs::create_dir_all(&left).unwrap();
        fs::write(dir.path().join("bin/18"), "a file").unwrap();
        let bin = Bin::open(dir.path().join("bin"), uid(dir.path())).unwrap();
        bin.settle();
        assert_eq!(fs::read_dir(dir.path().join("bin")).unwrap().count(), 0);
    }

    #[test]
    fn the_bin_of_another_user_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("bin")).unwrap();
        let error = Bin::open(dir.path().join("bin"), uid(dir.path()) + 1).unwrap_err().to_string();
        assert!(error.contains("another user"), "{error}");
    }
}
