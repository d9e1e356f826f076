//! What an application on a standalone cluster works by, read from its configuration once.

use std::{
    net::IpAddr,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use firesteel_common::conf::{ByteSize, Conf, Environment, keys};
use firesteel_os::host;
use firesteel_rpc::{
    MasterUrl, Transport,
    proto::deploy::{ApplicationBinary, ApplicationDescription},
};

use super::local_cluster::LocalCluster;
use crate::{
    Error, Result,
    backend::{
        coarse::{Application, DriverSettings},
        failed,
    },
    setting::get,
};

/// The longest time between two heartbeats to the master.
const BEAT: Duration = Duration::from_secs(5);

/// The settings of one application.
pub(super) struct Settings {
    /// Its driver's.
    pub driver: DriverSettings,
    /// Between two heartbeats to the master.
    pub beat: Duration,
    name: String,
    cores_max: Option<u32>,
    executor_cores: Option<u32>,
    executor_memory_mb: u64,
    /// Of executors.
    block_manager_port: u16,
    /// Map outputs outlive their executors.
    shuffle_service: bool,
}

impl Settings {
    /// Of an application on the cluster `url`.
    pub fn from_conf(conf: &Conf, url: &MasterUrl) -> Result<Settings> {
        let transport = Transport::from_conf(conf).map_err(failed)?;
        let host = match get(conf, &keys::DRIVER_HOST)? {
            Some(host) => host,
            None => default_host(&Environment::of_process(), url, transport.security().admits_other_hosts()),
        };
        let memory = get(conf, &keys::EXECUTOR_MEMORY)?;
        Settings::new(conf, DriverSettings::from_conf(conf, host, transport)?, memory)
    }

    /// Of an application that brings its cluster along.
    pub fn of_local_cluster(conf: &Conf, cluster: &LocalCluster) -> Result<Settings> {
        let memory = executor_memory(conf, cluster.memory_mb())?;
        check_cores(conf, cluster.worker_cores())?;
        let transport = cluster.transport().clone().configured(conf).map_err(failed)?;
        let driver = DriverSettings::from_conf(conf, "127.0.0.1".to_owned(), transport)?;
        Settings::new(conf, driver, memory)
    }

    fn new(conf: &Conf, driver: DriverSettings, memory: ByteSize) -> Result<Settings> {
        Ok(Settings {
            driver,
            beat: (get(conf, &keys::WORKER_TIMEOUT)? / 4).min(BEAT),
            name: get(conf, &keys::APP_NAME)?.unwrap_or_else(|| "application".to_owned()),
            cores_max: get(conf, &keys::CORES_MAX)?,
            executor_cores: get(conf, &keys::EXECUTOR_CORES)?,
            executor_memory_mb: memory.0 >> 20,
            block_manager_port: get(conf, &keys::BLOCK_MANAGER_PORT)?,
            shuffle_service: get(conf, &keys::SHUFFLE_SERVICE_ENABLED)?,
        })
    }

    /// What the master is told of the application.
    pub fn describe(&self, application: &Application) -> ApplicationDescription {
        let binary = application.binary;
        let boot_id = host::boot_id().unwrap_or_else(|error| {
            tracing::warn!(%error, "this host has no boot id; executors on it fetch the executable over the network");
            String::new()
        });
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        ApplicationDescription {
            name: self.name.clone(),
            cores_max: self.cores_max,
            memory_per_executor_mb: self.executor_memory_mb,
            cores_per_executor: self.executor_cores,
            driver_address: application.driver_address.clone(),
            binary: Some(ApplicationBinary {
                build_hash: binary.hash.0.to_vec(),
                size: binary.size,
                boot_id,
                driver_pid: std::process::id(),
                driver_fd: binary.file.as_raw_fd(),
                device: binary.device,
                inode: binary.inode,
                modified_ns: binary.modified_ns,
                block_address: application.block_address.clone(),
            }),
            user: user(),
            started_ms: started,
            block_manager_port: self.block_manager_port.into(),
            port_max_retries: self.driver.port_retries,
            shuffle_service: self.shuffle_service,
        }
    }
}

/// Memory of an executor of `local-cluster`: as configured, but without a word at most what a worker has.
fn executor_memory(conf: &Conf, worker_mb: u64) -> Result<ByteSize> {
    let (asked, worker) = (get(conf, &keys::EXECUTOR_MEMORY)?, ByteSize(worker_mb << 20));
    match conf.contains(keys::EXECUTOR_MEMORY.name()) {
        true if asked.0 > worker.0 => Err(Error::Start(format!(
            "spark.executor.memory is {} MiB, but each worker of this local-cluster has only {worker_mb} MiB: lower the \
             one or raise the other",
            asked.0 >> 20
        ))),
        true => Ok(asked),
        false => Ok(ByteSize(asked.0.min(worker.0))),
    }
}

/// An executor of `local-cluster` that asks for more cores than a worker has would never come: no worker can join.
fn check_cores(conf: &Conf, worker: u32) -> Result<()> {
    match get(conf, &keys::EXECUTOR_CORES)? {
        Some(asked) if asked > worker => Err(Error::Start(format!(
            "spark.executor.cores is {asked}, but each worker of this local-cluster has only {worker}: lower the one or \
             raise the other"
        ))),
        _ => Ok(()),
    }
}

/// The name under which this host is reached, when nothing says it.
fn default_host(environment: &Environment, url: &MasterUrl, open: bool) -> String {
    if let Some(address) = environment.get("SPARK_LOCAL_IP") {
        return address.to_owned();
    }
    let is_loopback =
        |host: &String| host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    // The workers of a master that only this host can reach are on this host.
    if !open || url.hosts.iter().all(|(host, _)| is_loopback(host)) {
        return "127.0.0.1".to_owned();
    }
    host::local_address().to_string()
}

fn user() -> String {
    let environment = Environment::of_process();
    match environment.get("USER").or_else(|| environment.get("LOGNAME")) {
        Some(user) => user.to_owned(),
        None => std::fs::metadata("/proc/self").map_or_else(|_| String::new(), |m| format!("uid {}", m.uid())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> MasterUrl {
        text.parse().unwrap()
    }

    #[test]
    fn a_driver_hides_on_loopback_unless_its_cluster_is_elsewhere_and_closed_to_strangers() {
        let none = Environment::default();
        assert_eq!(default_host(&none, &url("spark://10.0.0.1:7077"), false), "127.0.0.1");
        assert_eq!(default_host(&none, &url("spark://localhost:7077,127.0.0.1:7078"), true), "127.0.0.1");
        assert_eq!(default_host(&none, &url("spark://10.0.0.1:7077"), true), host::local_address().to_string());
        let said = [("SPARK_LOCAL_IP".to_owned(), "10.0.0.9".to_owned())].into_iter().collect();
        assert_eq!(default_host(&said, &url("spark://localhost:7077"), false), "10.0.0.9");
    }

    #[test]
    fn an_executor_of_a_local_cluster_fits_its_worker() {
        let mut conf = Conf::new();
        check_cores(&conf, 1).unwrap();
        conf.set("spark.executor.cores", 2);
        check_cores(&conf, 2).unwrap();
        let e = check_cores(&conf, 1).unwrap_err().to_string();
        assert!(e.contains("spark.executor.cores is 2") && e.contains("only 1"), "{e}");
        assert_eq!(executor_memory(&conf, 512).unwrap(), ByteSize(512 << 20));
        conf.set("spark.executor.memory", "256m");
        assert_eq!(executor_memory(&conf, 512).unwrap(), ByteSize(256 << 20));
        conf.set("spark.executor.memory", "1g");
        let e = executor_memory(&conf, 512).unwrap_err().to_string();
        assert!(e.contains("1024") && e.contains("512"), "{e}");
    }
}
