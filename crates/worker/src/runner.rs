//! One executor's process, from its directories to its end. Spark: `ExecutorRunner`.
//!
//! ```text
//!  directories ─▶ launch message in a memfd, lifeline ─▶ process in a group of its own
//!     ─▶ bytes in the FIFO: registered, parting ─▶ exit, signal or kill ─▶ the whole group is gone ─▶ block files thrown away
//! ```
//!
//! Spawned by the shell, one task an executor; it reports to the machine through the shell's inbox.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use firesteel_os::memfd::memfd;
use firesteel_os::memory_record;
use firesteel_os::{Lifeline, ProcessEnd, STDERR_TAIL_BYTES, host, spawn, tail, terminate_group};
use firesteel_machine::sleep_until;
use firesteel_rpc::Security;
use firesteel_rpc::proto::deploy::{ExecutorLaunch, LaunchExecutor, Parting};
use prost::Message;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, watch};


use crate::config::Launcher;
use crate::event::{ExecutorEnd, WorkerEvent};
use crate::shell::Input;
use crate::shuffle_service::ShuffleService;
use crate::work_dir::{ExecutorDirs, WorkDir};
use firesteel_common::ExecutorKey;

/// The name of the variable that tells an executable to be an executor: `<configuration fd>,<lifeline fd>`.
const MARKER: &str = "FIRESTEEL_EXECUTOR";

/// Variables of the worker that may hold its secret.
const PRIVATE: [&str; 4] = ["SPARK_DAEMON_JAVA_OPTS", "SPARK_MASTER_OPTS", "SPARK_WORKER_OPTS", "_SPARK_AUTH_SECRET"];

/// Numbers of signals, the same on every Linux.
const SIGABRT: i32 = 6;
const SIGKILL: i32 = 9;

/// An executor that was asked to end has this long until its group is killed.
const GRACE: Duration = Duration::from_secs(5);

/// What all executors of a worker have in common.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) dirs: WorkDir,
    pub(crate) worker_id: String,
    pub(crate) host: String,
    pub(crate) bind_host: String,
    pub(crate) security: Security,
    pub(crate) launcher: Launcher,
    pub(crate) binary_cache_bytes: u64,
    /// Serves map outputs of executors, also after their end.
    pub(crate) shuffle_service: Option<ShuffleService>,
}

/// What an executor has said over its FIFO.
#[derive(Default)]
struct Said {
    /// Its driver has accepted it.
    registered: bool,
    parting: Parting,
    /// The FIFO cannot be read any more.
    unheard: bool,
}

/// Supervises one executor.
pub(crate) struct ExecutorRunner {
    pub(crate) site: Arc<Site>,
    pub(crate) key: ExecutorKey,
    pub(crate) launch: LaunchExecutor,
    /// Turns true when it shall be killed.
    pub(crate) kill: watch::Receiver<bool>,
    pub(crate) inbox: mpsc::Sender<Input>,
}

impl ExecutorRunner {
    /// Runs it to its end, cleans up and reports.
    pub(crate) async fn run(self) {
        let end = match self.site.dirs.create_executor(&self.key) {
            Ok(dirs) => self.supervise(&dirs).await,
            Err(message) => Err(message),
        };
        let end = end.unwrap_or_else(|message| ExecutorEnd { message, ..ExecutorEnd::default() });
        let stay = self.launch.application.as_ref().is_some_and(|application| application.shuffle_service);
        // Before the report, which may be followed by the end of the application: both only move things out of the way.
        self.site.dirs.remove_executor(&self.key, stay);
        report(&self.inbox, WorkerEvent::ExecutorEnded { key: self.key, end }).await;
    }

    /// The error says why there was no process.
    async fn supervise(&self, dirs: &ExecutorDirs) -> Result<ExecutorEnd, String> {
        let said = |what: &str, e: std::io::Error| format!("{what}: {e}");
        let fifo = &dirs.registered;
        // Opened for both so that it never reads as ended because nobody writes yet.
        let mut registered = pipe::OpenOptions::new()
            .read_write(true)
            .open_receiver(fifo)
            .map_err(|e| said(&format!("cannot open {}", fifo.display()), e))?;
        let launch = self.launch_message(dirs)?.encode_to_vec();
        let config = memfd("firesteel-executor", &launch).map_err(|e| said("cannot hand over the configuration", e))?;
        let (_held, lifeline) = Lifeline::new().map_err(|e| said("cannot make the lifeline", e))?;
        let (mut command, program) = self.command();
        command
            .env(MARKER, format!("{},{}", config.as_raw_fd(), lifeline.as_raw_fd()))
            .current_dir(&dirs.work)
            .stdin(Stdio::null());
        for name in PRIVATE {
            command.env_remove(name);
        }
        for (name, stream) in [("stdout", Command::stdout as fn(&mut _, Stdio) -> &mut _), ("stderr", Command::stderr)]
        {
            let path = dirs.work.join(name);
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
        tracing::info!(key = %self.key, pid = child.pid(), "executor started");

        let mut kill = self.kill.clone();
        let (mut byte, mut heard, mut killed, mut harder) = ([0], Said::default(), false, None);
        let end = loop {
            tokio::select! {
                end = child.wait() => break end.map_err(|e| said("lost sight of the executor's process", e))?,
                read = registered.read(&mut byte), if !heard.unheard => match read {
                    Ok(_) => self.take(byte[0], &mut heard).await,
                    Err(e) => {
                        heard.unheard = true;
                        tracing::warn!(key = %self.key, error = %e, "cannot hear what the executor says");
                    }
                },
                () = asked_for(&mut kill), if !killed => {
                    killed = true;
                    // Its supervisor kills it with all that it has started.
                    terminate_group(child.pid()).map_err(|e| said("cannot end the executor", e))?;
                    harder = Some(Instant::now() + GRACE);
                }
                () = sleep_until(harder), if harder.is_some() => {
                    harder = None;
                    tracing::warn!(key = %self.key, "the executor did not end in {GRACE:?}: its process group is killed");
                    child.kill_group().map_err(|e| said("cannot kill the executor", e))?;
                }
            }
        };
        // It may have said so in its last moment.
        while registered.try_read(&mut byte).is_ok_and(|n| n > 0) {
            self.take(byte[0], &mut heard).await;
        }
        end_orphans(&self.key).await;
        let stderr = dirs.work.join("stderr");
        let stderr_tail = if end.is_success() || killed {
            String::new()
        } else {
            tail(&stderr, STDERR_TAIL_BYTES).unwrap_or_else(|e| format!("cannot read {}: {e}", stderr.display()))
        };
        let mut message = format!("the executor's process ended with {end}");
        let record = dirs.memory.as_deref().and_then(memory_record::read);
        // Where it says why, a backtrace may follow that is longer than the part which is passed on.
        let last_words = tail(&stderr, 16 * STDERR_TAIL_BYTES).unwrap_or_default();
        if !killed && let Some(why) = lack_of_memory(end, &last_words, starved_before, starved()) {
            message.push_str(why);
            if let Some(record) = record {
                message.push_str(&format!("; when it looked last, {record}"));
            }
        }
        let (exit_code, signal) = (end.exit_code(), end.signal());
        Ok(ExecutorEnd { message, exit_code, signal, stderr_tail, parting: heard.parting })
    }

    fn launch_message(&self, dirs: &ExecutorDirs) -> Result<ExecutorLaunch, String> {
        let application = self.launch.application.as_ref().ok_or("the launch says nothing about its application")?;
        let text = |path: &std::path::Path| {
            path.to_str().map(str::to_owned).ok_or_else(|| format!("{} is no UTF-8", path.display()))
        };
        let app_id = self.key.app_id.to_string();
        let service = match &self.site.shuffle_service {
            _ if !application.shuffle_service => String::new(),
            Some(service) => service.address().to_owned(),
            None => {
                return Err("the application asks for a shuffle service, and this worker has none: set \
                            spark.shuffle.service.enabled=true for the workers too (conf/spark-defaults.conf), or \
                            false for the application"
                    .to_owned());
            }
        };
        Ok(ExecutorLaunch {
            executor_id: self.key.executor_id,
            worker_id: self.site.worker_id.clone(),
            host: self.site.host.clone(),
            cores: self.launch.cores,
            memory_mb: self.launch.memory_mb,
            driver_address: application.driver_address.clone(),
            app_key: self.site.security.application_key(&app_id),
            local_dirs: dirs.blocks.iter().map(|dir| text(dir)).collect::<Result<_, _>>()?,
            binary: application.binary.clone(),
            binary_cache_dir: text(&self.site.dirs.binaries())?,
            bind_host: self.site.bind_host.clone(),
            binary_cache_bytes: self.site.binary_cache_bytes,
            registered_path: text(&dirs.registered)?,
            memory_record_path: dirs.memory.as_deref().map(text).transpose()?.unwrap_or_default(),
            block_manager_port: application.block_manager_port,
            port_max_retries: application.port_max_retries,
            shuffle_service_address: service,
            app_id,
        })
    }

    /// The command and what to call it in an error.
    fn command(&self) -> (Command, String) {
        match &self.site.launcher {
            Launcher::Bootstrap(path) => (Command::new(path), path.display().to_string()),
            Launcher::Executable(file) => {
                // Looked up in the child, which has the descriptor until the very exec.
                let mut command = Command::new(format!("/proc/self/fd/{}", file.as_raw_fd()));
                command.arg0("firesteel-executor");
                (command, "the application's executable".to_owned())
            }
        }
    }

    /// Takes a byte that the executor has written.
    async fn take(&self, byte: u8, said: &mut Said) {
        match Parting::try_from(i32::from(byte)) {
            Ok(parting) if parting != Parting::Unsaid => said.parting = parting,
            _ if !std::mem::replace(&mut said.registered, true) => {
                report(&self.inbox, WorkerEvent::ExecutorRegistered(self.key.clone())).await;
            }
            _ => {}
        }
    }
}

/// What an executor has started and its supervisor, killed itself, did not come to end.
async fn end_orphans(key: &ExecutorKey) {
    match tokio::task::spawn_blocking(firesteel_os::orphans::end_all).await {
        Ok(Ok(0)) => {}
        Ok(Ok(ended)) => tracing::warn!(%key, ended, "processes that an executor left behind were killed"),
        Ok(Err(error)) => tracing::warn!(%key, %error, "cannot end what executors left behind"),
        Err(error) => tracing::warn!(%key, %error, "did not come to end what executors left behind"),
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

async fn report(inbox: &mpsc::Sender<Input>, event: WorkerEvent) {
    // Fails only when the worker is gone, and with it everybody who could want to know.
    let _ = inbox.send(Input::Event(event)).await;
}

/// Completes when the flag turns true, or when nobody is left who could turn it.
async fn asked_for(kill: &mut watch::Receiver<bool>) {
    let _ = kill.wait_for(|kill| *kill).await;
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
