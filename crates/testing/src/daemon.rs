//! A program that runs beside a test.

use std::{
    process::{Child, Command, ExitStatus, Stdio},
    time::Instant,
};

use crate::{
    process::{self, Signal},
    waiting::{comes_true, wait_for},
};

/// A child process that is stopped and collected when this is dropped: by SIGTERM first, so that it takes what it has
/// started along.
pub struct Daemon {
    child: Child,
    since: Instant,
}

impl Daemon {
    /// Starts it with nothing to read.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub fn spawn(command: &mut Command) -> Daemon {
        let child = command.stdin(Stdio::null()).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Daemon { child, since: Instant::now() }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// When it was started.
    pub fn since(&self) -> Instant {
        self.since
    }

    /// How it has ended, if it has.
    pub fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Whether it still runs.
    pub fn lives(&mut self) -> bool {
        self.status().is_none()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        process::signal(self.pid(), signal);
    }

    /// Waits until it has ended by itself.
    pub fn ended(&mut self) -> ExitStatus {
        wait_for("the end of a daemon", || self.status())
    }

    /// `kill -9`, and collected.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        self.signal(Signal::SIGTERM);
        // One that was stopped hears nothing.
        self.signal(Signal::SIGCONT);
        if !comes_true(|| matches!(self.child.try_wait(), Ok(Some(_)))) {
            // It is gone after this, or was before.
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The command without what the environment of the test says about a cluster.
pub fn without_settings(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        let ours = |name: &str| name.starts_with("SPARK_") || name.starts_with("FIRESTEEL_");
        if name.to_str().is_some_and(ours) {
            command.env_remove(name);
        }
    }
    command
}
