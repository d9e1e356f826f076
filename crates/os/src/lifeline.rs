//! A child that ends with its owner.
//!
//! The owner holds the write end of a pipe, the child inherits the read end and reads it on a thread of its own. The
//! kernel closes the write end when the owner ends, however it ends; the child then kills its whole process group.
//! (`PR_SET_PDEATHSIG` is no substitute: it follows the thread that forked, not the process.)

use std::{
    fs::File,
    io::{self, Read},
    os::fd::OwnedFd,
};

use nix::{
    fcntl::OFlag,
    sys::signal::{Signal, kill, killpg},
    unistd::{getpgrp, getpid, pipe2},
};

/// The owner's end: as long as it is held, the child lives. Dropping it ends the child.
#[derive(Debug)]
pub struct Lifeline {
    /// Never written to.
    _write: OwnedFd,
}

impl Lifeline {
    /// The holder and the descriptor that the child must inherit (see [`crate::spawn`]).
    pub fn new() -> io::Result<(Lifeline, OwnedFd)> {
        // Close-on-exec: another child that inherited the write end would keep this one alive.
        let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
        Ok((Lifeline { _write: write }, read))
    }
}

/// Watches the inherited end on a thread: when the owner is gone this process's group is killed with SIGKILL, children
/// included. A process that does not lead a group of its own ends alone, so that it never takes a stranger with it.
pub fn watch(read: OwnedFd) -> io::Result<()> {
    std::thread::Builder::new().name("lifeline".to_owned()).spawn(move || {
        let mut pipe = File::from(read);
        let mut byte = [0];
        loop {
            match pipe.read(&mut byte) {
                Ok(0) => break,
                Ok(_) => (),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => (),
                // A lifeline that cannot be read protects from nothing.
                Err(_) => break,
            }
        }
        end_own_group();
    })?;
    Ok(())
}

fn end_own_group() {
    let me = getpid();
    let killed = if getpgrp() == me { killpg(me, Signal::SIGKILL) } else { kill(me, Signal::SIGKILL) };
    if killed.is_err() {
        std::process::abort();
    }
}
