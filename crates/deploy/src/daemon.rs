//! What a daemon's process does around the library's `run`: threads, signals, and the word that it is ready.

use std::{
    convert::Infallible,
    fs::File,
    future::Future,
    io::Write,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::signal::Signal;
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
    sync::watch,
};
use tracing::{info, warn};

use crate::DeployError;

/// Time that a daemon has to end after a signal.
const SHUTDOWN: Duration = Duration::from_secs(10);

/// A daemon waits for messages and does little with each.
const THREADS: usize = 2;

/// The threads of a daemon.
pub fn runtime() -> Result<Runtime, DeployError> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .map_err(DeployError::system("start the daemon's threads"))
}

/// Runs what `start` makes of a shutdown future, which completes at the first SIGTERM or SIGINT. A daemon that does not
/// end then is given up after 10 seconds.
pub fn run<F, R>(start: impl FnOnce(watch::Receiver<bool>) -> F) -> Result<R, DeployError>
where
    F: Future<Output = Result<R, DeployError>>,
{
    firesteel_os::process::outlive_file_size_limit().map_err(DeployError::system("set how SIGXFSZ is handled"))?;
    if let Err(error) = firesteel_os::descriptors::raise_limit() {
        warn!(%error, "cannot raise the limit of open files");
    }
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(DeployError::system("wait for SIGTERM"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(DeployError::system("wait for SIGINT"))?;
        let (asked, shutdown) = watch::channel(false);
        let daemon = start(shutdown);
        tokio::pin!(daemon);
        let name = tokio::select! {
            result = &mut daemon => return result,
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        info!(signal = name, "shutting down");
        asked.send_replace(true);
        tokio::time::timeout(SHUTDOWN, daemon)
            .await
            .unwrap_or(Err(DeployError::SlowShutdown { seconds: SHUTDOWN.as_secs() }))
    });
    runtime.shutdown_background();
    result
}

/// Completes when the daemon shall end.
pub async fn asked(mut shutdown: watch::Receiver<bool>) {
    // An error means that the sender is gone, with the daemon's process.
    let _ = shutdown.wait_for(|asked| *asked).await;
}

/// SIGPWR, by which a worker is told to leave the cluster.
pub struct PowerSignal(tokio::signal::unix::Signal);

impl PowerSignal {
    /// From now on the signal does not end the process. Called within a runtime.
    pub fn listen() -> Result<PowerSignal, DeployError> {
        let kind = SignalKind::from_raw(Signal::SIGPWR as i32);
        signal(kind).map(PowerSignal).map_err(DeployError::system("wait for SIGPWR"))
    }

    /// Turns `decommission` true at the signal; without `enabled` only says so, as often as it comes. Never ends.
    pub async fn pass_on(mut self, enabled: bool, decommission: watch::Sender<bool>) -> Infallible {
        while self.0.recv().await.is_some() {
            if enabled {
                info!(signal = "SIGPWR", "decommissioning this worker");
                decommission.send_replace(true);
            } else {
                warn!(
                    signal = "SIGPWR",
                    "decommissioning is not enabled, nothing changes; set spark.decommission.enabled=true for workers"
                );
            }
        }
        std::future::pending().await
    }
}

/// The file through which a start script learns that the daemon is ready.
pub struct ReadyFile(Option<PathBuf>);

impl ReadyFile {
    /// Writes nothing when there is no path.
    pub fn new(path: Option<PathBuf>) -> ReadyFile {
        ReadyFile(path)
    }

    /// Says what the daemon is ready for. The file appears whole.
    pub fn write(&self, text: &str) -> Result<(), DeployError> {
        let Some(path) = &self.0 else { return Ok(()) };
        let part = path.with_extension("part");
        write(&part, text)
            .and_then(|()| std::fs::rename(&part, path))
            .map_err(DeployError::system(format!("write {}", path.display())))
    }
}

/// A file for this user alone. Nothing that lies there is written to, be it by a link.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    writeln!(File::options().write(true).create_new(true).mode(0o600).open(path)?, "{text}")
}
