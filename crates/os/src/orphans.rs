//! Processes that children of this one have started and that outlive these, whatever session or group they are in.
//!
//! ```text
//!  adopt() ─ the kernel gives orphans below this process to it
//!  spawn   ─ its own children are known                 end_all() ─ kills every child that is none of these
//! ```
//!
//! An executor's supervisor sees to its orphans. This is for when it has been killed itself, and the executor, by its death
//! signal, with it: the worker is the next above. Not for a process that may have children of another making, such as a
//! driver.

use std::{
    collections::BTreeSet,
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};

/// A process that a dead disk holds does not end by any signal; it is left behind after this time.
const PATIENCE: Duration = Duration::from_secs(20);

/// Those of this process's children that it has started itself; none before [`adopt`].
static OWN: Mutex<Option<BTreeSet<u32>>> = Mutex::new(None);

/// The kernel gives orphans below this process to it from now on; [`end_all`] ends them. To be called before the first
/// child is started, in a process whose children are all started by [`spawn`](crate::spawn).
pub fn adopt() -> io::Result<()> {
    // SAFETY: no memory is involved.
    if unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut own = own();
    if own.is_none() {
        // Whoever became this program by exec may have had some.
        *own = Some(children()?.into_iter().collect());
    }
    Ok(())
}

fn own() -> MutexGuard<'static, Option<BTreeSet<u32>>> {
    OWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts a child, whose id `id` tells: it is not taken for an orphan, not even while it is being started.
pub(crate) fn starting<C>(start: impl FnOnce() -> io::Result<C>, id: impl Fn(&C) -> Option<u32>) -> io::Result<C> {
    let mut own = own();
    let child = start()?;
    if let (Some(own), Some(id)) = (&mut *own, id(&child)) {
        own.insert(id);
    }
    Ok(child)
}

/// A child of that id is gone, or is nobody's any more.
pub(crate) fn forget(child: u32) {
    if let Some(own) = &mut *own() {
        own.remove(&child);
    }
}

/// Kills the orphans that this process has got, waits for their end, and goes on with those that they leave, until there
/// are none: how many there were. Nothing without [`adopt`]. Blocks the thread.
pub fn end_all() -> io::Result<usize> {
    let give_up = Instant::now() + PATIENCE;
    let mut ended = 0;
    loop {
        let killed: Vec<Pid> = {
            let own = own();
            let Some(own) = &*own else { return Ok(ended) };
            let orphans = children()?.into_iter().filter(|child| !own.contains(child));
            let orphans: Vec<Pid> = orphans.map(|child| Pid::from_raw(child.cast_signed())).collect();
            for orphan in &orphans {
                match kill(*orphan, Signal::SIGKILL) {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            orphans
        };
        if killed.is_empty() {
            return Ok(ended);
        }
        for orphan in killed {
            if !wait(orphan, give_up)? {
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("process {orphan} does not end")));
            }
            ended += 1;
        }
    }
}

/// Waits for the end of a child; false when it has not come in time.
fn wait(child: Pid, give_up: Instant) -> io::Result<bool> {
    loop {
        match waitpid(child, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) => {}
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(Errno::ECHILD) => return Ok(true),
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(e) => return Err(e.into()),
        }
        let left = give_up.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        // SAFETY: the call takes two numbers and touches no memory.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, child.as_raw(), 0) };
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0).ok_or_else(io::Error::last_os_error)?;
        // SAFETY: the descriptor was opened just now, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let milliseconds = i32::try_from(left.as_millis()).unwrap_or(i32::MAX).max(1);
        // SAFETY: one entry, of this frame.
        unsafe { libc::poll(&mut poll, 1, milliseconds) };
    }
}

/// The children of this process, by what `/proc` says of every process's parent.
fn children() -> io::Result<Vec<u32>> {
    let me = std::process::id().to_string();
    let parent_is_me = |pid: &u32| {
        // One that is gone meanwhile has no parent.
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name, which may hold anything: the state, then the parent.
        stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)) == Some(me.as_str())
    };
    let entries = std::fs::read_dir("/proc")?.flatten();
    Ok(entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(parent_is_me).collect())
}
