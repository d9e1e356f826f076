//! One process of the worker's, from its start to its end: an executor's. Spark: what `ExecutorRunner` and `DriverRunner` have
//! in common.
//!
//! ```text
//!  launch message in a memfd, lifeline ─▶ process in a group of its own ─▶ bytes in its FIFO
//!     ─▶ exit, signal or kill ─▶ the whole group is gone
//! ```

use std::{
    fs::File,
    future::Future,
    os::{
        fd::{AsFd, AsRawFd},
        unix::fs::OpenOptionsExt as _,
    },
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use firesteel_machine::sleep_until;
use firesteel_os::{
    Lifeline, ProcessEnd, STDERR_TAIL_BYTES, host, memfd::memfd, memory_record, spawn, tail, terminate_group,
};
use tokio::{io::AsyncReadExt, net::unix::pipe, sync::watch};

/// The name of the variable that tells an executable to be an executor: `<configuration fd>,<lifeline fd>`.
const MARKER: &str = "FIRESTEEL_EXECUTOR";

/// Variables of the worker that may hold its secret.
const PRIVATE: [&str; 4] = ["SPARK_DAEMON_JAVA_OPTS", "SPARK_MASTER_OPTS", "SPARK_WORKER_OPTS", "_SPARK_AUTH_SECRET"];

/// Numbers of signals, the same on every Linux.
const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

/// A process that was asked to end has this long until its group is killed.
const GRACE: Duration = Duration::from_secs(5);

/// Listens to what a process writes to its FIFO.
pub(crate) trait Hears: Send {
    fn hear(&mut self, byte: u8) -> impl Future<Output = ()> + Send;
}

/// Supervises one process.
pub(crate) struct ProcessRunner {
    /// What it is called in the log.
    pub(crate) name: String,
    /// What it is called in its report, such as "the executor's process".
    pub(crate) what: &'static str,
    pub(crate) command: Command,
    /// What to call the command in an error.
    pub(crate) program: String,
    /// It finds this on an inherited descriptor, as its environment says.
    pub(crate) launch: Vec<u8>,
    /// Where it works, and where its `stdout` and `stderr` go.
    pub(crate) work: PathBuf,
    /// Over which it talks to this worker, a byte at a time.
    pub(crate) fifo: PathBuf,
    /// Where it notes who holds its memory.
    pub(crate) memory: Option<PathBuf>,
    /// Turns true when it shall be killed.
    pub(crate) kill: watch::Receiver<bool>,
}

/// How a process ended.
pub(crate) struct ProcessReport {
    /// For a person.
    pub(crate) message: String,
    pub(crate) exit_code: Option<i32>,
    pub(crate) signal: Option<i32>,
    /// The end of its stderr, when it did not end well.
    pub(crate) stderr_tail: String,
}

impl ProcessRunner {
    /// From its start to its end; what it says meanwhile goes to `hears`. The error says why there was no process.
    pub(crate) async fn run(mut self, hears: &mut impl Hears) -> Result<ProcessReport, String> {
        let said = |what: &str, e: std::io::Error| format!("{what}: {e}");
        let fifo = &self.fifo;
        // Opened for both so that it never reads as ended because nobody writes yet.
        let mut registered = pipe::OpenOptions::new()
            .read_write(true)
            .open_receiver(fifo)
            .map_err(|e| said(&format!("cannot open {}", fifo.display()), e))?;
        let config =
            memfd("firesteel-executor", &self.launch).map_err(|e| said("cannot hand over the configuration", e))?;
        let (_held, lifeline) = Lifeline::new().map_err(|e| said("cannot make the lifeline", e))?;
        let (mut command, program) = (self.command, self.program);
        command
            .env(MARKER, format!("{},{}", config.as_raw_fd(), lifeline.as_raw_fd()))
            .current_dir(&self.work)
            .stdin(Stdio::null());
        for name in PRIVATE {
            command.env_remove(name);
        }
        for (name, stream) in [("stdout", Command::stdout as fn(&mut _, Stdio) -> &mut _), ("stderr", Command::stderr)]
        {
            let path = self.work.join(name);
            let file = File::options()
                .create(true)
                .write(true)
                .truncate(true)
                .mode(0o600)
                .open(&path)
                .map_err(|e| said(&format!("cannot create {}", path.display()), e))?;
            stream(&mut command, file.into());
        }
        if *self.kill.borrow() {
            return Err("it was killed before it started".to_owned());
        }
        let starved_before = starved();
        let inherit = [config.as_fd(), lifeline.as_fd()];
        let mut child = spawn(command, &inherit).map_err(|e| said(&format!("cannot start {program}"), e))?;
        // The child has them; were its lifeline's end held here as well, nothing would be wrong, but it is its own.
        drop((config, lifeline));
        tracing::info!(process = self.name, pid = child.pid(), "process started");

        let (mut byte, mut unheard, mut killed, mut harder) = ([0], false, false, None);
        let end = loop {
            tokio::select! {
                end = child.wait() => break end.map_err(|e| said("lost sight of the process", e))?,
                read = registered.read(&mut byte), if !unheard => match read {
                    Ok(_) => hears.hear(byte[0]).await,
                    Err(e) => {
                        unheard = true;
                        tracing::warn!(process = self.name, error = %e, "cannot hear what the process says");
                    }
                },
                () = asked_for(&mut self.kill), if !killed => {
                    killed = true;
                    // Its supervisor kills it with all that it has started.
                    terminate_group(child.pid()).map_err(|e| said("cannot end the process", e))?;
                    harder = Some(Instant::now() + GRACE);
                }
                () = sleep_until(harder), if harder.is_some() => {
                    harder = None;
                    tracing::warn!(process = self.name, "the process did not end in {GRACE:?}: its process group is killed");
                    child.kill_group().map_err(|e| said("cannot kill the process", e))?;
                }
            }
        };
        // It may have said so in its last moment.
        while registered.try_read(&mut byte).is_ok_and(|n| n > 0) {
            hears.hear(byte[0]).await;
        }
        end_orphans(&self.name).await;
        let stderr = self.work.join("stderr");
        let stderr_tail = if end.is_success() || killed {
            String::new()
        } else {
            tail(&stderr, STDERR_TAIL_BYTES).unwrap_or_else(|e| format!("cannot read {}: {e}", stderr.display()))
        };
        let mut message = format!("{} ended with {end}", self.what);
        let record = self.memory.as_deref().and_then(memory_record::read);
        // Where it says why, a backtrace may follow that is longer than the part which is passed on.
        let last_words = tail(&stderr, 16 * STDERR_TAIL_BYTES).unwrap_or_default();
        if !killed && let Some(why) = lack_of_memory(end, &last_words, starved_before, starved()) {
            message.push_str(why);
            if let Some(record) = record {
                message.push_str(&format!("; when it looked last, {record}"));
            }
        }
        let (exit_code, signal) = (end.exit_code(), end.signal());
        Ok(ProcessReport { message, exit_code, signal, stderr_tail })
    }
}

/// What a process has started and its supervisor, killed itself, did not come to end.
async fn end_orphans(process: &str) {
    match tokio::task::spawn_blocking(firesteel_os::orphans::end_all).await {
        Ok(Ok(0)) => {}
        Ok(Ok(ended)) => tracing::warn!(process, ended, "processes that it left behind were killed"),
        Ok(Err(error)) => tracing::warn!(process, %error, "cannot end what processes left behind"),
        Err(error) => tracing::warn!(process, %error, "did not come to end what processes left behind"),
    }
}

/// How often the kernel has killed for lack of memory; `None` where it does not say.
fn starved() -> Option<u64> {
    host::out_of_memory_kills().inspect_err(|e| tracing::debug!(error = %e, "no count of the kernel's kills")).ok()
}

/// Whether an executor ended because memory ran out: its own request for it failed, which ends a Rust process with
/// SIGABRT, or the kernel chose it, which shows in the counter only.
fn lack_of_memory(end: ProcessEnd, stderr: &str, before: Option<u64>, after: Option<u64>) -> Option<&'static str> {
    match end {
        ProcessEnd::Signalled(SIGABRT) if stderr.contains("memory allocation of ") => Some(
            ": it ran out of memory (an allocation failed); let its tasks hold less, or make more and smaller partitions",
        ),
        ProcessEnd::Signalled(SIGKILL) if before.zip(after).is_some_and(|(before, after)| after > before) => Some(
            ": the kernel killed a process of this host for lack of memory meanwhile, most likely this one; give the \
             worker less memory to hand out (SPARK_WORKER_MEMORY), or let tasks hold less",
        ),
        _ => None,
    }
}

/// Completes when the flag turns true, or when nobody is left who could turn it.
async fn asked_for(kill: &mut watch::Receiver<bool>) {
    let _ = kill.wait_for(|kill| *kill).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lack_of_memory_is_named_and_other_ends_are_not() {
        let failed = "memory allocation of 99 bytes failed";
        let named = |end, stderr, before, after| lack_of_memory(end, stderr, Some(before), Some(after)).is_some();
        assert!(named(ProcessEnd::Signalled(SIGABRT), failed, 0, 0));
        assert!(!named(ProcessEnd::Signalled(SIGABRT), "assertion failed", 0, 1));
        assert!(named(ProcessEnd::Signalled(SIGKILL), "", 3, 4));
        assert!(!named(ProcessEnd::Signalled(SIGKILL), "", 3, 3));
        assert!(!named(ProcessEnd::Exited(1), failed, 3, 4));
        assert_eq!(lack_of_memory(ProcessEnd::Signalled(SIGKILL), "", None, None), None);
    }
}
