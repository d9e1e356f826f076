//! Child processes, each the leader of a process group of its own, so that it ends with all that it has started.

use std::{
    fmt, io,
    os::{
        fd::{AsRawFd, BorrowedFd, RawFd},
        unix::process::{CommandExt, ExitStatusExt},
    },
    process::ExitStatus,
};

use nix::{
    errno::Errno,
    sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, killpg, sigaction},
    unistd::Pid,
};

use crate::orphans;

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProcessEnd {
    /// By exit, with this code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
}

impl ProcessEnd {
    /// Whether it exited with code 0.
    pub fn is_success(self) -> bool {
        self == ProcessEnd::Exited(0)
    }

    /// The exit code, of a process that exited.
    pub fn exit_code(self) -> Option<i32> {
        match self {
            ProcessEnd::Exited(code) => Some(code),
            ProcessEnd::Signalled(_) => None,
        }
    }

    /// The signal, of a process that one ended.
    pub fn signal(self) -> Option<i32> {
        match self {
            ProcessEnd::Exited(_) => None,
            ProcessEnd::Signalled(signal) => Some(signal),
        }
    }
}

impl From<ExitStatus> for ProcessEnd {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => ProcessEnd::Exited(code),
            (None, Some(signal)) => ProcessEnd::Signalled(signal),
            // Stopped or continued, which waiting without WUNTRACED never reports.
            (None, None) => ProcessEnd::Exited(status.into_raw()),
        }
    }
}

impl fmt::Display for ProcessEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProcessEnd::Exited(code) => write!(f, "exit code {code}"),
            ProcessEnd::Signalled(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "signal {number} ({signal})"),
                Err(_) => write!(f, "signal {number}"),
            },
        }
    }
}

/// From now on a write beyond the process's largest file size (`ulimit -f`) fails, as on a full disk; by itself the system
/// ends the process with SIGXFSZ. What it starts has the default again.
pub fn outlive_file_size_limit() -> io::Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handler does nothing, so it may run anywhere.
    unsafe { sigaction(Signal::SIGXFSZ, &action) }?;
    Ok(())
}

/// A child and its process group. Dropping it before [`Child::wait`] has returned kills the group.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    inner: tokio::process::Child,
    ended: Option<ProcessEnd>,
}

impl Child {
    /// Its process id, which is its group's too.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for its end; then kills what is left of its group. May be dropped and called again.
    pub async fn wait(&mut self) -> io::Result<ProcessEnd> {
        if let Some(end) = self.ended {
            return Ok(end);
        }
        let end = ProcessEnd::from(self.inner.wait().await?);
        self.ended = Some(end);
        orphans::forget(self.pid);
        // The id stays taken while a member of the group lives, so this reaches its children or nobody.
        kill_group(self.pid)?;
        Ok(end)
    }

    /// Kills its group with SIGKILL; the end is still to be waited for.
    pub fn kill_group(&self) -> io::Result<()> {
        if self.ended.is_some() { Ok(()) } else { kill_group(self.pid) }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if self.ended.is_none() {
            if let Err(e) = kill_group(self.pid) {
                tracing::warn!(pid = self.pid, error = %e, "could not kill a child");
            }
            orphans::forget(self.pid);
        }
    }
}

/// Starts `command` as the leader of a new process group. Of this process's descriptors it gets, besides the three
/// standard ones that `command` names, those in `inherit` and no other, under the same numbers.
///
/// Must be called within a tokio runtime with its I/O driver, which waits for the child.
pub fn spawn(mut command: std::process::Command, inherit: &[BorrowedFd<'_>]) -> io::Result<Child> {
    let inherit: Vec<RawFd> = inherit.iter().map(AsRawFd::as_raw_fd).collect();
    command.process_group(0);
    // SAFETY: the closure runs between fork and exec and makes two kinds of system call, close_range and fcntl, both
    // async-signal-safe; it allocates nothing, and the descriptors are open because the caller lends them until
    // `spawn` below returns, by when the child has exec'd.
    unsafe {
        command.pre_exec(move || {
            // Whatever a library has opened without close-on-exec. An older kernel (before 5.11) does not know it;
            // then what Rust has opened is closed all the same.
            libc::syscall(libc::SYS_close_range, 3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
            for fd in &inherit {
                if libc::fcntl(*fd, libc::F_SETFD, 0) == -1 {
                    return Err(io::Error::last_os_error());
                }
            }
            Ok(())
        });
    }
    let mut command = tokio::process::Command::from(command);
    let mut inner = orphans::starting(|| command.spawn(), tokio::process::Child::id)?;
    match inner.id() {
        Some(pid) => Ok(Child { pid, inner, ended: None }),
        None => {
            inner.start_kill()?;
            Err(io::Error::other("the child has no process id"))
        }
    }
}

/// Sends SIGKILL to a process group; one that is gone is no error.
pub fn kill_group(pid: u32) -> io::Result<()> {
    signal_group(pid, Signal::SIGKILL)
}

/// Sends SIGTERM to a process group; one that is gone is no error.
pub fn terminate_group(pid: u32) -> io::Result<()> {
    signal_group(pid, Signal::SIGTERM)
}

fn signal_group(pid: u32, signal: Signal) -> io::Result<()> {
    // 0 is the caller's own group, 1 init's.
    let group = i32::try_from(pid).ok().filter(|pid| *pid > 1);
    let group = group.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("no process group {pid}")))?;
    match killpg(Pid::from_raw(group), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(e) => Err(e.into()),
    }
}
