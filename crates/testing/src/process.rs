//! Other processes of this host, by their numbers.

use std::fs;

pub use nix::sys::signal::Signal;
use nix::{errno::Errno, sys::signal, unistd::Pid};

/// Whether the process runs or is stopped; one that has ended but is not collected by its parent does not.
pub fn alive(pid: u32) -> bool {
    // The name in parentheses may hold anything.
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// Whether nothing is left of the process: it has ended, and its parent has collected it.
pub fn gone(pid: u32) -> bool {
    !fs::exists(format!("/proc/{pid}")).unwrap()
}

/// Sends a signal to a process; one that is gone does not get it.
///
/// # Panics
///
/// When the signal may not be sent.
pub fn signal(pid: u32, signal: Signal) {
    match signal::kill(Pid::from_raw(i32::try_from(pid).unwrap()), signal) {
        Ok(()) | Err(Errno::ESRCH) => {}
        Err(error) => panic!("cannot send {signal} to {pid}: {error}"),
    }
}

/// `kill -9`.
///
/// # Panics
///
/// As [`signal`].
pub fn kill(pid: u32) {
    signal(pid, Signal::SIGKILL);
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_killed_process_is_not_alive_before_its_parent_has_collected_it() {
        assert!(alive(std::process::id()));
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        assert!(alive(child.id()));
        kill(child.id());
        crate::until("it has ended", || !alive(child.id()));
        assert!(!gone(child.id()), "it waits to be collected");
        assert!(!child.wait().unwrap().success());
        assert!(gone(child.id()));
        signal(child.id(), Signal::SIGTERM);
    }
}
