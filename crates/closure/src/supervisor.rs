//! A small process above each executor, so that the executor ends with everything that it has started, whatever that has
//! done to get away: a session or group of its own, a double fork, an environment of its own.
//!
//! ```text
//!  worker ──spawn──▶ supervisor (subreaper) ──fork──▶ executor (group of its own) ──▶ what tasks start
//!                       │ waits for: the executor's end, SIGTERM, the end of the lifeline (the worker is gone)
//!                       └ then kills its children until it has none, and ends as the executor did
//! ```
//!
//! Orphans below a subreaper become its children. So it need not look for descendants, and kills nobody else's process: the
//! id of a child is not given out again before its parent has waited for it. It also waits for those that end while the
//! executor lives, and reads what it prints (`printed.rs`). Called by [`entry`](crate::entry), before the executor has a second thread.

use std::{
    ffi::c_int,
    io,
    mem::MaybeUninit,
    os::fd::RawFd,
    time::{Duration, Instant},
};

use libc::pid_t;

use crate::printed::{Pipes, Printed};

/// What is asked for by its children's end, or by somebody who wants the executor's.
const SIGNALS: [c_int; 5] = [libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT];

/// A process that a dead disk holds does not end by any signal; it is left behind after this time.
const PATIENCE: Duration = Duration::from_secs(20);

/// How the supervisor ends: as the executor did.
#[derive(Clone, Copy)]
enum End {
    Exited(c_int),
    Signalled(c_int),
}

/// Puts a supervisor above this process: returns in the new process below it, which is to become the executor. The caller
/// must be the only thread.
///
/// # Errors
/// What the system refuses; nothing has been started then.
pub(crate) fn supervise(lifeline: RawFd) -> io::Result<()> {
    let set = signal_set(&SIGNALS);
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: both point to sets of this frame; the second is filled before it is read. The disposition of SIGCHLD may have
    // been inherited as "ignore", which would make the kernel forget children before they are waited for.
    let before = unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        if libc::pthread_sigmask(libc::SIG_BLOCK, &set, before.as_mut_ptr()) != 0 {
            return Err(io::Error::last_os_error());
        }
        before.assume_init()
    };
    // SAFETY: no memory is involved. Not inherited by the fork below: the executor is no subreaper.
    if unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let pipes = Pipes::new()?;
    // SAFETY: getpid touches no memory.
    let me = unsafe { libc::getpid() };
    // SAFETY: there is one thread (the caller's promise), so the child is a whole process and may go on as it likes.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: system calls on the process itself and on a set of this frame. The parent may have ended before the
            // death signal was asked for.
            unsafe {
                libc::setpgid(0, 0);
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
                if libc::getppid() != me {
                    libc::_exit(1);
                }
                libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
            }
            pipes.become_standard();
            Ok(())
        }
        executor => {
            let printed = pipes.into_printed();
            let end = Supervisor { executor, lifeline, end: None, printed }.run(&set);
            finish(end)
        }
    }
}

struct Supervisor {
    executor: pid_t,
    lifeline: RawFd,
    end: Option<End>,
    printed: Printed,
}

impl Supervisor {
    fn run(mut self, set: &libc::sigset_t) -> End {
        // SAFETY: the name ends in a zero byte.
        unsafe { libc::prctl(libc::PR_SET_NAME, c"fs-supervisor".as_ptr(), 0, 0, 0) };
        // SAFETY: `set` is a valid set.
        let signals = unsafe { libc::signalfd(-1, set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        // Without it nothing tells of the executor's end.
        let milliseconds = if signals < 0 { 20 } else { -1 };
        let mut wanted = true;
        while wanted && self.end.is_none() {
            self.wait(signals, milliseconds);
            wanted = !asked_to_end(signals) && !self.owner_is_gone();
            self.reap();
        }
        let give_up = Instant::now() + PATIENCE;
        while self.reap() && Instant::now() < give_up {
            for child in children() {
                // SAFETY: no memory is involved; the process is a child that was not waited for.
                unsafe { libc::kill(child, libc::SIGKILL) };
            }
            self.wait(signals, 20);
            asked_to_end(signals);
        }
        self.printed.end();
        // It was killed here, or it could not be.
        self.end.unwrap_or(End::Signalled(libc::SIGKILL))
    }

    /// Waits for a signal, the end of the lifeline, something printed, or so many milliseconds; passes on what is printed.
    fn wait(&mut self, signals: RawFd, milliseconds: c_int) {
        let watch = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let [out, err] = self.printed.descriptors();
        let mut fds = [signals, self.lifeline, out, err].map(watch);
        // SAFETY: the array is of this frame and of the given length. Descriptors below 0 are passed over.
        unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, milliseconds) };
        self.printed.carry();
    }

    /// Whether the write end of the lifeline is closed. A lifeline that is none is not watched any more.
    fn owner_is_gone(&mut self) -> bool {
        let mut poll = libc::pollfd { fd: self.lifeline, events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, of this frame.
        if self.lifeline < 0 || unsafe { libc::poll(&mut poll, 1, 0) } <= 0 {
            return false;
        }
        let mut byte = 0u8;
        // SAFETY: one byte of this frame; it is readable, or read fails.
        match unsafe { libc::read(self.lifeline, (&raw mut byte).cast(), 1) } {
            0 => true,
            1 => false,
            _ => {
                self.lifeline = -1;
                false
            }
        }
    }

    /// Waits for all children that have ended; whether there are any that have not.
    fn reap(&mut self) -> bool {
        loop {
            match self.reap_one(libc::WNOHANG) {
                None => return false,
                Some(0) => return true,
                Some(_) => {}
            }
        }
    }

    /// Waits for one child: its id, 0 when none has ended, `None` when there is none.
    fn reap_one(&mut self, flags: c_int) -> Option<pid_t> {
        let mut status = 0;
        // SAFETY: the status is of this frame.
        let pid = unsafe { libc::waitpid(-1, &mut status, flags) };
        if pid == self.executor {
            self.end = Some(match libc::WIFSIGNALED(status) {
                true => End::Signalled(libc::WTERMSIG(status)),
                false => End::Exited(libc::WEXITSTATUS(status)),
            });
        }
        (pid >= 0 || io::Error::last_os_error().kind() == io::ErrorKind::Interrupted).then_some(pid)
    }
}

/// Takes the signals that have come; whether one of them asks for the end.
fn asked_to_end(signals: RawFd) -> bool {
    let mut asked = false;
    loop {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: room for one entry; it is read only when the kernel has filled it.
        let read = unsafe { libc::read(signals, info.as_mut_ptr().cast(), size) };
        if usize::try_from(read) != Ok(size) {
            return asked;
        }
        // SAFETY: see above.
        asked |= unsafe { info.assume_init() }.ssi_signo != libc::SIGCHLD as u32;
    }
}

/// The children of this process, by what `/proc` says of every process's parent.
fn children() -> Vec<pid_t> {
    let me = std::process::id().to_string();
    let parent_is_me = |pid: &pid_t| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the name, which may hold anything: the state, then the parent.
        stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)) == Some(me.as_str())
    };
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(parent_is_me).collect()
}

fn signal_set(signals: &[c_int]) -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises it; the numbers are those of signals.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        set.assume_init()
    }
}

/// Ends this process without what the program has registered for its exit: that is the executor's to do.
fn finish(end: End) -> ! {
    if let End::Signalled(signal) = end {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        let all = signal_set(&[signal]);
        // SAFETY: structures of this frame; there is one thread. A core file, if any, is the executor's.
        unsafe {
            libc::setrlimit(libc::RLIMIT_CORE, &none);
            libc::signal(signal, libc::SIG_DFL);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &all, std::ptr::null_mut());
            libc::kill(libc::getpid(), signal);
        }
    }
    let code = match end {
        End::Exited(code) => code,
        End::Signalled(signal) => 128 + signal,
    };
    // SAFETY: it does not return.
    unsafe { libc::_exit(code) }
}
