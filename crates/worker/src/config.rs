//! What a worker works by.

use std::{fs::File, net::TcpListener, path::PathBuf, sync::Arc, time::Duration};

use firesteel_common::conf::{Conf, ConfError, keys};
use firesteel_rpc::{MasterUrl, Transport, master_client::MasterClientConfig};
use firesteel_shuffle::ReadBounds;
use tokio::sync::watch;

/// What an executor's process is started from.
#[derive(Clone, Debug)]
pub enum Launcher {
    /// The path of `firesteel-executor`, which gets the application's binary and becomes it.
    Bootstrap(PathBuf),
    /// The application's own executable, held open: for a cluster within the driver's process.
    Executable(Arc<File>),
}

/// How a worker serves the map outputs of its executors.
#[derive(Clone, Copy, Debug)]
pub struct ShuffleServiceConfig {
    /// Its port, 0 for a free one.
    pub port: u16,
    /// What it keeps of the outputs that are being read.
    pub bounds: ReadBounds,
}

impl ShuffleServiceConfig {
    /// What the configuration says; `None` when there shall be no service.
    fn from_conf(conf: &Conf) -> Result<Option<ShuffleServiceConfig>, ConfError> {
        if !conf.get(&keys::SHUFFLE_SERVICE_ENABLED)? {
            return Ok(None);
        }
        let (port, bounds) = (conf.get(&keys::SHUFFLE_SERVICE_PORT)?, ReadBounds::from_conf(conf)?);
        Ok(Some(ShuffleServiceConfig { port, bounds }))
    }
}

/// What a worker removes when.
#[derive(Clone, Copy, Debug)]
pub struct Cleanup {
    /// The block files of an executor go with it, but for map outputs that are served; else with its application.
    pub after_executor_exit: bool,
    /// Output of applications that are over goes at some time, see below; else never.
    pub enabled: bool,
    /// How often is looked for it.
    pub interval: Duration,
    /// How long it stays.
    pub app_data_ttl: Duration,
    /// Of so many executors, the latest, it stays at most.
    pub retained_executors: usize,
}

impl Cleanup {
    fn from_conf(conf: &Conf) -> Result<Cleanup, ConfError> {
        Ok(Cleanup {
            after_executor_exit: conf.get(&keys::STORAGE_CLEANUP_FILES_AFTER_EXECUTOR_EXIT)?,
            enabled: conf.get(&keys::WORKER_CLEANUP_ENABLED)?,
            interval: conf.get(&keys::WORKER_CLEANUP_INTERVAL)?,
            app_data_ttl: conf.get(&keys::WORKER_CLEANUP_APP_DATA_TTL)?,
            retained_executors: conf.get(&keys::WORKER_RETAINED_EXECUTORS)? as usize,
        })
    }
}

impl Default for Cleanup {
    fn default() -> Cleanup {
        Cleanup {
            after_executor_exit: true,
            enabled: true,
            interval: Duration::from_secs(1800),
            app_data_ttl: Duration::from_secs(7 * 86_400),
            retained_executors: 1000,
        }
    }
}

/// How a worker stands with its master.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Standing {
    /// No attempt has ended yet.
    #[default]
    Untried,
    /// It goes on looking; why the last attempts failed, or how the master was lost.
    Looking(String),
    /// The URL of the master that has registered it.
    Registered(String),
}

impl Standing {
    /// Whether a master has registered the worker.
    pub fn is_registered(&self) -> bool {
        matches!(self, Standing::Registered(_))
    }
}

/// What the configuration says of a worker.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// How patiently masters are tried.
    pub patience: MasterClientConfig,
    /// The shuffle service; none: map outputs end with their executor.
    pub shuffle_service: Option<ShuffleServiceConfig>,
    /// What is removed when.
    pub cleanup: Cleanup,
    /// Bound on the application binaries that are kept here, bytes.
    pub binary_cache_bytes: u64,
}

impl WorkerSettings {
    /// Reads `spark.worker.*` and the keys of the shuffle service and of what is kept on the worker's disks.
    ///
    /// # Errors
    /// When a value cannot be read.
    pub fn from_conf(conf: &Conf) -> Result<WorkerSettings, ConfError> {
        // The first round is no retry.
        let rounds = conf.get(&keys::WORKER_MAX_REGISTRATION_RETRIES)?.saturating_add(1);
        Ok(WorkerSettings {
            patience: MasterClientConfig { rounds, ..MasterClientConfig::default() },
            shuffle_service: ShuffleServiceConfig::from_conf(conf)?,
            cleanup: Cleanup::from_conf(conf)?,
            binary_cache_bytes: conf.get(&keys::BINARY_CACHE_SIZE)?.bytes(),
        })
    }
}

impl Default for WorkerSettings {
    /// Without a shuffle service; 4 GiB of binaries.
    fn default() -> WorkerSettings {
        WorkerSettings {
            patience: MasterClientConfig::default(),
            shuffle_service: None,
            cleanup: Cleanup::default(),
            binary_cache_bytes: 4 << 30,
        }
    }
}

/// Where a worker listens.
#[derive(Debug)]
pub struct WorkerListeners {
    /// Its place in the cluster: no two workers have the same, and executors' servers bind to the same address.
    pub place: TcpListener,
    /// For those who look at its state; `None`: nobody can.
    pub web: Option<TcpListener>,
}

impl WorkerListeners {
    /// Its place alone.
    pub fn place_alone(place: TcpListener) -> WorkerListeners {
        WorkerListeners { place, web: None }
    }
}

/// What [`run`](crate::run) needs beside its listeners.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// The masters to try.
    pub master: MasterUrl,
    /// The name under which others reach this host.
    pub host: String,
    /// Cores that it offers.
    pub cores: u32,
    /// Memory that it offers, MiB.
    pub memory_mb: u64,
    /// Where `<application>/<executor>/stdout` and `stderr` go; only one worker may have it.
    pub work_dir: PathBuf,
    /// Where executors keep shuffle and spill files, each in a directory of its own; none: within `work_dir`.
    pub local_dirs: Vec<PathBuf>,
    /// How it connects and lets others in, and what they must prove.
    pub transport: Transport,
    /// How executors are started.
    pub launcher: Launcher,
    /// What the configuration says.
    pub settings: WorkerSettings,
    /// Is told how this worker stands with its master.
    pub standing: Option<watch::Sender<Standing>>,
    /// Turns true when the worker shall be decommissioned: it then ends by itself, when it has no executor left. None:
    /// that never happens.
    pub decommission: Option<watch::Receiver<bool>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_looks_for_its_master_as_often_as_it_is_told() {
        let mut conf = Conf::new();
        assert_eq!(WorkerSettings::from_conf(&conf).unwrap().patience.rounds, 17);
        conf.set("spark.worker.maxRegistrationRetries", "3");
        assert_eq!(WorkerSettings::from_conf(&conf).unwrap().patience.rounds, 4);
        conf.set("spark.worker.maxRegistrationRetries", "0");
        let error = WorkerSettings::from_conf(&conf).unwrap_err().to_string();
        assert!(error.contains("spark.worker.maxRegistrationRetries"), "{error}");
    }
}
