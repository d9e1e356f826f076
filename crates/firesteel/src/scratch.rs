//! Directories for shuffle files that belong to one Context, and go with it.
//!
//! A directory holds a lock for as long as its owner lives. Whoever makes a new one removes those whose locks are free:
//! what a killed process left is gone with the next start.

use std::{
    fs::{self, DirBuilder, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
    time::{SystemTime, UNIX_EPOCH},
};

use firesteel_storage::LocalDirs;

use crate::{Error, Result};

const PREFIX: &str = "firesteel-local-";
const LOCK: &str = "lock";

/// A directory of one Context; dropping it removes it.
pub struct Scratch {
    path: PathBuf,
    lock: Mutex<File>,
}

impl Scratch {
    /// Makes a directory below `parent`.
    pub fn new(parent: &Path) -> Result<Scratch> {
        remove_abandoned(parent);
        let path = parent.join(format!("{PREFIX}{}", unique()));
        let lock = make(&path).map_err(|e| {
            Error::Start(format!(
                "cannot make a local directory in {}: {e}; name another with \
             spark.local.dir",
                parent.display()
            ))
        })?;
        Ok(Scratch { path, lock: Mutex::new(lock) })
    }

    /// Makes it again, if somebody has removed it.
    fn make_again(&self) -> io::Result<()> {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        if !fs::exists(&self.path)? {
            *lock = make(&self.path)?;
        }
        Ok(())
    }

    /// What is written to them. They are made again as long as they have their owner.
    pub fn local_dirs(all: &[Arc<Scratch>]) -> LocalDirs {
        let owned: Vec<Weak<Scratch>> = all.iter().map(Arc::downgrade).collect();
        let paths = all.iter().map(|scratch| scratch.path.clone()).collect();
        LocalDirs::made_by(paths, move |dir| {
            let found = owned.iter().filter_map(Weak::upgrade).find(|scratch| scratch.path == dir);
            found.ok_or(io::ErrorKind::NotFound)?.make_again()
        })
    }

    /// Makes one below each of `parents`. Those where it cannot be made are left out, unless there is no other.
    pub fn of_dirs(parents: &[PathBuf]) -> Result<Vec<Scratch>> {
        let mut failure = Error::Start("spark.local.dir names no directory".to_owned());
        let mut made = Vec::new();
        for parent in parents {
            match Scratch::new(parent) {
                Ok(scratch) => made.push(scratch),
                Err(error) => {
                    tracing::warn!(%error, "going on without this local directory");
                    failure = error;
                }
            }
        }
        if made.is_empty() { Err(failure) } else { Ok(made) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A name that no other process of this host, and no other Context of this one, takes.
fn unique() -> String {
    // The time, as processes of several containers may have one pid and one directory.
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
    format!("{}-{nanos:x}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Makes the directory, for this user alone. Others see it only when its lock is held.
fn make(path: &Path) -> io::Result<File> {
    let fresh = path.with_file_name(format!(".firesteel-new-{}", unique()));
    if let Some(parent) = fresh.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    // Fails where the name is taken, be it by a link: nothing that others have made is used.
    DirBuilder::new().mode(0o700).create(&fresh)?;
    let made = || {
        let lock = File::options().write(true).create_new(true).mode(0o600).open(fresh.join(LOCK))?;
        lock.lock()?;
        fs::rename(&fresh, path)?;
        Ok(lock)
    };
    made().inspect_err(|_| {
        // Without descriptors, say, there is a directory and no lock in it. That it cannot be made is what is told.
        let _ = fs::remove_file(fresh.join(LOCK));
        let _ = fs::remove_dir(&fresh);
    })
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A task that still runs finds no directory under the old name, and so puts nothing into what is being removed.
        let mut gone = self.path.clone().into_os_string();
        gone.push("-gone");
        let removed = fs::rename(&self.path, &gone).and_then(|()| remove_locked_dir(Path::new(&gone)));
        if let Err(e) = removed
            && e.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(dir = %self.path.display(), error = %e, "cannot remove a local directory");
        }
    }
}

/// Removes a directory, the lock last: by it the next start knows what could not be removed.
fn remove_locked_dir(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name() == LOCK {
            continue;
        }
        if entry.file_type()?.is_dir() { fs::remove_dir_all(entry.path())? } else { fs::remove_file(entry.path())? }
    }
    fs::remove_dir_all(dir)
}

/// The lock of a directory that is this user's, and no link; nothing that others have put there is followed or waited for.
fn lock_of(dir: &Path) -> io::Result<File> {
    let found = fs::symlink_metadata(dir)?;
    if !found.is_dir() || found.uid() != nix::unistd::geteuid().as_raw() {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let flags = (nix::fcntl::OFlag::O_NOFOLLOW | nix::fcntl::OFlag::O_NONBLOCK).bits();
    File::options().write(true).custom_flags(flags).open(dir.join(LOCK))
}

/// Removes what dead processes of this user left in `parent`. What cannot be looked at is somebody else's.
fn remove_abandoned(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for path in entries.flatten().map(|e| e.path()) {
        let ours = path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(PREFIX));
        let Some(Ok(lock)) = ours.then(|| lock_of(&path)) else { continue };
        match lock.try_lock() {
            Ok(()) => match remove_locked_dir(&path) {
                Ok(()) => {
                    tracing::info!(dir = %path.display(), "removed the local directory of a process that is gone")
                }
                Err(e) => tracing::warn!(dir = %path.display(), error = %e, "cannot remove an abandoned directory"),
            },
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(e)) => tracing::debug!(dir = %path.display(), error = %e, "cannot lock"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Not a test by itself: what the next one starts in a process that may open few files.
    #[test]
    fn without_descriptors() {
        let Some(parent) = std::env::var_os("TEST_SCRATCH") else { return };
        let parent = Path::new(&parent);
        let mut taken = Vec::new();
        while let Ok(file) = File::open("/dev/null") {
            taken.push(file);
        }
        assert!(Scratch::new(parent).is_err());
        drop(taken);
        assert_eq!(fs::read_dir(parent).unwrap().count(), 0);
    }

    #[test]
    fn what_cannot_be_made_for_lack_of_descriptors_leaves_nothing_behind() {
        let parent = tempfile::tempdir().unwrap();
        let run = r#"ulimit -n 64 && exec "$0" --exact scratch::tests::without_descriptors --nocapture"#;
        let status = std::process::Command::new("sh")
            .args(["-c", run])
            .arg(std::env::current_exe().unwrap())
            .env("TEST_SCRATCH", parent.path())
            .output()
            .unwrap();
        assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stdout));
    }

    #[test]
    fn a_directory_is_for_its_owner_alone_and_what_others_have_put_there_is_not_touched() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let parent = tempfile::tempdir().unwrap();
        let (elsewhere, planted) = (parent.path().join("elsewhere"), parent.path().join(format!("{PREFIX}link")));
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join(LOCK), "").unwrap();
        symlink(&elsewhere, &planted).unwrap();
        // A pipe as the lock would keep waiting who opens it.
        let trap = parent.path().join(format!("{PREFIX}trap"));
        fs::create_dir(&trap).unwrap();
        nix::unistd::mkfifo(&trap.join(LOCK), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let scratch = Scratch::new(parent.path()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(scratch.path()), mode(&scratch.path().join(LOCK))), (0o700, 0o600));
        assert!(elsewhere.join(LOCK).exists() && planted.exists());
    }

    #[test]
    fn a_directory_goes_with_its_owner_and_abandoned_ones_with_the_next() {
        let parent = tempfile::tempdir().unwrap();
        let abandoned = parent.path().join(format!("{PREFIX}1-0"));
        fs::create_dir(&abandoned).unwrap();
        fs::write(abandoned.join(LOCK), "").unwrap();
        fs::write(abandoned.join("shuffle"), "x").unwrap();
        let first = Scratch::new(parent.path()).unwrap();
        assert!(!abandoned.exists());
        let second = Scratch::new(parent.path()).unwrap();
        assert!(first.path().exists(), "one that is in use stays");
        let path = second.path().to_owned();
        drop(second);
        assert!(!path.exists());
    }
}
