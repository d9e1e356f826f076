//! One executor's process, from its directories to its end. Spark: `ExecutorRunner`.
//!
//! ```text
//!  directories, launch message ─▶ ProcessRunner ─▶ block files thrown away ─▶ WorkerEvent::ExecutorEnded
//!                                   └─ bytes: registered, parting ─▶ WorkerEvent::ExecutorRegistered
//! ```
//!
//! Spawned by the shell, one task an executor; it reports to the machine through the shell's inbox.

use std::{
    os::{fd::AsRawFd, unix::process::CommandExt},
    process::Command,
    sync::Arc,
};

use firesteel_common::ExecutorKey;
use firesteel_rpc::{
    Security,
    proto::deploy::{ExecutorLaunch, LaunchExecutor, Parting},
};
use prost::Message;
use tokio::sync::{mpsc, watch};

use crate::{
    config::Launcher,
    event::{ExecutorEnd, WorkerEvent},
    process_runner::{Hears, ProcessReport, ProcessRunner},
    shell::Input,
    shuffle_service::ShuffleService,
    work_dir::{ExecutorDirs, WorkDir},
};

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
        let (command, program) = self.command();
        let process = ProcessRunner {
            name: self.key.to_string(),
            what: "the executor's process",
            command,
            program,
            launch: self.launch_message(dirs)?.encode_to_vec(),
            work: dirs.work.clone(),
            fifo: dirs.registered.clone(),
            memory: dirs.memory.clone(),
            kill: self.kill.clone(),
        };
        let mut said = Said { runner: self, registered: false, parting: Parting::Unsaid };
        let ProcessReport { message, exit_code, signal, stderr_tail } = process.run(&mut said).await?;
        Ok(ExecutorEnd { message, exit_code, signal, stderr_tail, parting: said.parting })
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
}

/// What an executor has said over its FIFO.
struct Said<'a> {
    runner: &'a ExecutorRunner,
    /// Its driver has accepted it.
    registered: bool,
    parting: Parting,
}

impl Hears for Said<'_> {
    async fn hear(&mut self, byte: u8) {
        match Parting::try_from(i32::from(byte)) {
            Ok(parting) if parting != Parting::Unsaid => self.parting = parting,
            _ if !std::mem::replace(&mut self.registered, true) => {
                report(&self.runner.inbox, WorkerEvent::ExecutorRegistered(self.runner.key.clone())).await;
            }
            _ => {}
        }
    }
}

async fn report(inbox: &mpsc::Sender<Input>, event: WorkerEvent) {
    // Fails only when the worker is gone, and with it everybody who could want to know.
    let _ = inbox.send(Input::Event(event)).await;
}

#[cfg(test)]
#[path = "runner_tests.rs"]
mod tests;
