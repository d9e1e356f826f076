//! The local directories of a process: which one a file goes to, and what happens to those that fail. Used by all who
//! write there: map outputs, spills, kept partitions, fetched blocks. Spark: `DiskBlockManager`.
//!
//! ```text
//!  write(start, attempt) ─▶ attempt(dir) in one directory after another, those that are marked last
//!      no such directory ─▶ made again, once more       full, read-only, broken ─▶ marked for a minute, the next one
//!      any other error, or none left ─▶ an error that names each directory with its reason
//! ```
//!
//! A mark is forgotten after a while, since room comes back. Who owns the directories says when they go, and from then on
//! none is made again.

use std::{
    fmt,
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use firesteel_common::Tick;
use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, fallocate},
};

/// So long nothing new goes to a directory that has failed, while another one takes it.
pub const MARKED_FOR: Duration = Duration::from_secs(60);

/// An error of writing a file, from which [`LocalDirs`] sees whether another directory may do better.
pub trait FileError: fmt::Display + Sized {
    /// The file and what the system said of it; none when no file was to blame.
    fn file(&self) -> Option<(&Path, &io::Error)>;

    /// What to say when every directory has failed, each for its reason; no reasons when there is no directory.
    fn of_all(reasons: Vec<String>) -> Self;
}

/// The text of an error of all local directories, each with its reason.
pub fn all_failed(reasons: &[String]) -> String {
    if reasons.is_empty() {
        return "there is no local directory; set spark.local.dir".to_owned();
    }
    let reasons = reasons.join("; ");
    format!(
        "no local directory takes it: {reasons}; free some space there or name another directory with spark.local.dir"
    )
}

type Make = Box<dyn Fn(&Path) -> io::Result<()> + Send + Sync>;

/// Where a process writes what only it and its peers read.
pub struct LocalDirs {
    dirs: Vec<PathBuf>,
    make: Make,
    origin: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    marks: Marks,
    closed: bool,
}

impl LocalDirs {
    /// Over `dirs`, which are there or made when they are needed, for this user alone.
    pub fn new(dirs: Vec<PathBuf>) -> LocalDirs {
        LocalDirs::made_by(dirs, |dir| make_private(dir, 1))
    }

    /// Over `dirs`, which `make` makes.
    pub fn made_by(dirs: Vec<PathBuf>, make: impl Fn(&Path) -> io::Result<()> + Send + Sync + 'static) -> LocalDirs {
        let marks = Marks::new(dirs.len());
        LocalDirs {
            dirs,
            make: Box::new(make),
            origin: Instant::now(),
            state: Mutex::new(State { marks, closed: false }),
        }
    }

    /// Makes all of them and leaves out those that cannot be made.
    ///
    /// # Errors
    /// When it is all of them, each with its reason.
    pub fn open<E: FileError>(mut self) -> Result<Arc<LocalDirs>, E> {
        let mut reasons = Vec::new();
        self.dirs.retain(|dir| match (self.make)(dir) {
            Ok(()) => true,
            Err(e) => {
                let reason = format!("cannot create directory {}: {e}", dir.display());
                tracing::warn!(reason, "going on without this local directory");
                reasons.push(reason);
                false
            }
        });
        if self.dirs.is_empty() {
            return Err(E::of_all(reasons));
        }
        self.lock().marks = Marks::new(self.dirs.len());
        Ok(Arc::new(self))
    }

    /// Where they are.
    pub fn dirs(&self) -> &[PathBuf] {
        &self.dirs
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Their owner removes them now: none is made again.
    pub fn close(&self) {
        self.lock().closed = true;
    }

    /// Calls `attempt` with a directory, the one with number `start` modulo their number when all is well, and with others
    /// as long as it fails for what is wrong with that directory. `attempt` leaves nothing behind when it fails.
    pub fn write<T, E: FileError>(&self, start: u64, mut attempt: impl FnMut(&Path) -> Result<T, E>) -> Result<T, E> {
        let order = self.lock().marks.order(self.origin_elapsed(), start);
        let mut reasons = Vec::new();
        for index in order {
            let dir = &self.dirs[index];
            let mut result = attempt(dir);
            if let Err(e) = &result
                && e.file().is_some_and(|(path, e)| path.starts_with(dir) && e.kind() == io::ErrorKind::NotFound)
            {
                match self.make_again(dir) {
                    Ok(()) => result = attempt(dir),
                    Err(e) => {
                        let reason = format!("cannot create directory {} again: {e}", dir.display());
                        self.mark(index, &reason);
                        reasons.push(reason);
                        continue;
                    }
                }
            }
            match result {
                Err(e) if self.is_to_blame(index, &e) => {
                    let reason = reason_of(&e);
                    self.mark(index, &reason);
                    if self.dirs.len() == 1 {
                        return Err(e);
                    }
                    reasons.push(reason);
                }
                result => return result,
            }
        }
        Err(E::of_all(reasons))
    }

    /// Marks the directory in which the file of this error lies, when that is what is wrong. Whether another one may do.
    pub fn has_failed<E: FileError>(&self, error: &E) -> bool {
        let found = (0..self.dirs.len()).find(|index| self.is_to_blame(*index, error));
        if let Some(index) = found {
            // One that was only removed is as good as before.
            let gone = error.file().is_some_and(|(_, e)| e.kind() == io::ErrorKind::NotFound);
            if gone && self.make_again(&self.dirs[index]).is_ok() {
                return true;
            }
            self.mark(index, &reason_of(error));
        }
        found.is_some()
    }

    fn origin_elapsed(&self) -> Tick {
        Tick::ZERO + self.origin.elapsed()
    }

    fn is_to_blame<E: FileError>(&self, index: usize, error: &E) -> bool {
        error.file().is_some_and(|(path, e)| path.starts_with(&self.dirs[index]) && is_of_directory(e))
    }

    fn mark(&self, index: usize, reason: &str) {
        let new = self.lock().marks.mark(self.origin_elapsed(), index);
        if new {
            let (dir, again) = (self.dirs[index].display(), MARKED_FOR);
            tracing::warn!(%dir, reason, "this local directory is not used for {again:?}, if another one does");
        }
    }

    /// With the lock, so that none is made after [`close`](LocalDirs::close).
    fn make_again(&self, dir: &Path) -> io::Result<()> {
        let state = self.lock();
        if state.closed {
            return Err(io::Error::new(io::ErrorKind::NotFound, "its owner has removed it and ends"));
        }
        if !fs::exists(dir)? {
            (self.make)(dir)?;
            tracing::warn!(dir = %dir.display(), "somebody has removed this local directory; it is made again");
        }
        Ok(())
    }
}

/// Without the advice that an error may end with, which is given once for all.
fn reason_of<E: FileError>(error: &E) -> String {
    match error.file() {
        Some((path, e)) => format!("{}: {e}", path.display()),
        None => error.to_string(),
    }
}

/// Which of some directories have failed lately.
#[derive(Debug)]
struct Marks {
    /// Until when each is avoided.
    until: Vec<Option<Tick>>,
}

impl Marks {
    fn new(dirs: usize) -> Marks {
        Marks { until: vec![None; dirs] }
    }

    /// All directories from `start` on, those that are marked at the end.
    fn order(&mut self, now: Tick, start: u64) -> Vec<usize> {
        let count = self.until.len();
        self.until.iter_mut().for_each(|until| *until = until.filter(|until| *until > now));
        let mut order: Vec<usize> = (0..count).map(|i| ((start % count as u64) as usize + i) % count).collect();
        // Stable.
        order.sort_by_key(|index| self.until[*index].is_some());
        order
    }

    /// Whether it was not marked before.
    fn mark(&mut self, now: Tick, index: usize) -> bool {
        let until = &mut self.until[index];
        let new = until.is_none_or(|until| until <= now);
        *until = Some(now + MARKED_FOR);
        new
    }
}

/// Whether it says that the place is bad, as against this process (out of descriptors) or its demand.
fn is_of_directory(e: &io::Error) -> bool {
    let by_number = |n| {
        matches!(
            Errno::from_raw(n),
            Errno::ENOSPC
                | Errno::EDQUOT
                | Errno::EROFS
                | Errno::EIO
                | Errno::ENXIO
                | Errno::ENODEV
                | Errno::ESTALE
                | Errno::EUCLEAN
                | Errno::ENOENT
                | Errno::ENOTDIR
                | Errno::EACCES
                | Errno::EPERM
        )
    };
    match e.raw_os_error() {
        Some(n) => by_number(n),
        None => matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::NotFound),
    }
}

/// Makes a directory with all above it, for this user alone. It and the `own - 1` above it must belong to this user: in a
/// place that everybody may write to, another could have taken the name.
pub fn make_private(dir: &Path, own: usize) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let user = nix::unistd::geteuid().as_raw();
    for dir in dir.ancestors().take(own) {
        let owner = fs::symlink_metadata(dir)?.uid();
        if owner != user {
            let text = format!("{} belongs to another user (uid {owner})", dir.display());
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
        }
    }
    Ok(())
}

/// A directory within one of these, for this user alone, unless it is there.
pub fn make_within(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}

/// Takes room on the disk for so many bytes, so that it is known at once whether there is some. Its length stays.
pub fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    let len = i64::try_from(bytes).map_err(|e| io::Error::new(io::ErrorKind::FileTooLarge, e))?;
    match fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, len) {
        // Not every file system can.
        Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS | Errno::EINTR) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

#[cfg(test)]
#[path = "local_dirs_tests.rs"]
mod tests;
