//! `firesteel-worker`: from arguments, environment and files to `worker::run`.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use clap::{Parser, value_parser};
use firesteel_common::conf::{ByteSize, Conf, ConfError, Environment, environment, keys};
use firesteel_os::host;
use firesteel_rpc::{MasterUrl, Transport};
use firesteel_worker::{Launcher, Standing, WorkerConfig, WorkerListeners, WorkerSettings};

use crate::{
    DeployError,
    arguments::DaemonArguments,
    daemon::{self, PowerSignal, ReadyFile},
};

/// Left for the rest of the host when a worker is not told its memory.
const LEFT_TO_HOST: u64 = 1 << 30;
const LEAST_MEMORY: u64 = 512 << 20;

/// How long a start script is kept waiting for a host that does not answer at all.
const ANSWER: Duration = Duration::from_secs(10);

/// Runs executors on this host for the applications of a master.
#[derive(Parser, Debug)]
#[command(name = "firesteel-worker", version, disable_help_flag = true, args_override_self = true)]
pub struct WorkerCommand {
    /// The master, or several of which one leads: spark://host:port[,host:port]
    master: MasterUrl,
    /// Cores to offer [default: SPARK_WORKER_CORES, all of the host]
    #[arg(short, long, value_parser = value_parser!(u32).range(1..))]
    cores: Option<u32>,
    /// Memory to offer, such as 1000m or 2g [default: SPARK_WORKER_MEMORY, the host's less 1 GiB]
    #[arg(short, long, value_parser = environment::memory)]
    memory: Option<ByteSize>,
    /// Where the directories of applications go [default: SPARK_WORKER_DIR, work]
    #[arg(short = 'd', long)]
    work_dir: Option<PathBuf>,
    /// Host name or address to listen on and to be known by [default: SPARK_LOCAL_IP, 127.0.0.1 for a master on this host,
    /// else the address of the network]
    #[arg(short = 'h', long, short_alias = 'i', alias = "ip")]
    host: Option<String>,
    /// Port to listen on [default: SPARK_WORKER_PORT, a free one]
    #[arg(short, long)]
    port: Option<u16>,
    #[command(flatten)]
    daemon: DaemonArguments,
}

impl WorkerCommand {
    /// Runs the worker until SIGTERM or SIGINT, until it has been decommissioned by SIGPWR and has no executor left, or
    /// until it gives up on its master.
    pub fn run(self, environment: &Environment) -> Result<(), DeployError> {
        let conf = self.daemon.conf("SPARK_WORKER_OPTS", environment)?;
        firesteel_os::orphans::adopt()
            .map_err(DeployError::system("have orphans of executors given to this process"))?;
        let port = match self.port {
            Some(port) => port,
            None => environment.parsed("SPARK_WORKER_PORT")?.unwrap_or(0),
        };
        let transport = Transport::from_conf(&conf)?;
        let host = self.host(environment, transport.security().admits_other_hosts());
        let listener = transport.bind(&host, port)?;
        let (variable, key) = ("SPARK_WORKER_WEBUI_PORT", &keys::WORKER_UI_PORT);
        let web = self.daemon.web_listener(&host, variable, key, &conf, environment, &transport)?;
        let listeners = WorkerListeners { place: listener, web: Some(web) };
        let (told, standing) = tokio::sync::watch::channel(Standing::default());
        let (decommission, decommissioned) = tokio::sync::watch::channel(false);
        let may_leave = conf.get(&keys::DECOMMISSION_ENABLED)?;
        let config = WorkerConfig {
            cores: self.cores(environment)?,
            memory_mb: self.memory(environment)?.mib(),
            work_dir: self.work_dir(environment)?,
            local_dirs: local_dirs(&conf, environment)?,
            launcher: Launcher::Bootstrap(executor_program()?),
            settings: WorkerSettings::from_conf(&conf)?,
            master: self.master,
            host,
            transport,
            standing: Some(told),
            decommission: Some(decommissioned),
        };
        let ready_file = ReadyFile::new(self.daemon.ready_file);
        daemon::run(|shutdown| async move {
            let power = PowerSignal::listen()?;
            let announced = async {
                announce(&ready_file, standing).await?;
                std::future::pending().await
            };
            tokio::select! {
                result = firesteel_worker::run(listeners, config, daemon::asked(shutdown)) => Ok(result?),
                result = announced => result,
                never = power.pass_on(may_leave, decommission) => match never {},
            }
        })
    }

    fn host(&self, environment: &Environment, may_be_reached: bool) -> String {
        if let Some(host) = self.host.as_deref().or_else(|| environment.get("SPARK_LOCAL_IP")) {
            return host.to_owned();
        }
        let loopback = |address: &String| {
            let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
            let host = host.trim_matches(['[', ']']);
            host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
        };
        // A worker of a master that only this host can reach serves drivers on this host.
        if !may_be_reached || self.master.addresses().iter().all(loopback) {
            return "127.0.0.1".to_owned();
        }
        host::local_address().to_string()
    }

    fn cores(&self, environment: &Environment) -> Result<u32, DeployError> {
        if let Some(cores) = self.cores {
            return Ok(cores);
        }
        if let Some(cores) = environment.cores("SPARK_WORKER_CORES")? {
            return Ok(cores);
        }
        let cores =
            host::cores().map_err(DeployError::system("count the cores of this host; set SPARK_WORKER_CORES"))?;
        Ok(u32::try_from(cores).unwrap_or(u32::MAX))
    }

    fn memory(&self, environment: &Environment) -> Result<ByteSize, DeployError> {
        if let Some(memory) = self.memory {
            return Ok(memory);
        }
        if let Some(memory) = environment.memory("SPARK_WORKER_MEMORY")? {
            return Ok(memory);
        }
        let total = host::total_memory();
        let total = total.map_err(DeployError::system("measure the memory of this host; set SPARK_WORKER_MEMORY"))?;
        Ok(ByteSize(total.saturating_sub(LEFT_TO_HOST).max(LEAST_MEMORY)))
    }

    fn work_dir(&self, environment: &Environment) -> Result<PathBuf, DeployError> {
        let dir = match (&self.work_dir, environment.get("SPARK_WORKER_DIR"), environment.get("SPARK_HOME")) {
            (Some(dir), _, _) => dir.clone(),
            (None, Some(dir), _) => PathBuf::from(dir),
            (None, None, Some(home)) => Path::new(home).join("work"),
            (None, None, None) => PathBuf::from("work"),
        };
        std::path::absolute(&dir).map_err(DeployError::system(format!("find the directory {}", dir.display())))
    }
}

/// Writes the ready file when it is known whether the master is there. A worker that was started before its master goes on
/// looking for it, so that is no reason for a start script to wait.
async fn announce(file: &ReadyFile, mut standing: tokio::sync::watch::Receiver<Standing>) -> Result<(), DeployError> {
    let known = standing.wait_for(|standing| *standing != Standing::Untried);
    let text = match tokio::time::timeout(ANSWER, known).await {
        Ok(Ok(standing)) => match &*standing {
            Standing::Registered(url) => format!("registered with {url}"),
            Standing::Looking(reason) => format!("no master yet, and it goes on looking for one ({reason})"),
            Standing::Untried => return Ok(()),
        },
        // The worker has ended, and says itself why.
        Ok(Err(_)) => return Ok(()),
        Err(_) => "no answer of a master yet, and it goes on looking for one".to_owned(),
    };
    file.write(&text)
}

/// SPARK_LOCAL_DIRS, else `spark.local.dir` when it is set, else none: then the worker uses its work directory.
fn local_dirs(conf: &Conf, environment: &Environment) -> Result<Vec<PathBuf>, ConfError> {
    let text = match environment.get("SPARK_LOCAL_DIRS") {
        Some(text) => text.to_owned(),
        None if conf.contains(keys::LOCAL_DIR.name()) => conf.get(&keys::LOCAL_DIR)?,
        None => return Ok(Vec::new()),
    };
    Ok(text.split(',').map(str::trim).filter(|dir| !dir.is_empty()).map(PathBuf::from).collect())
}

/// The bootstrap program, which lies beside this one.
fn executor_program() -> Result<PathBuf, DeployError> {
    let own = std::env::current_exe().map_err(DeployError::system("find out where this program is"))?;
    let path = own.with_file_name("firesteel-executor");
    if path.is_file() { Ok(path) } else { Err(DeployError::NoExecutorProgram { path }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(arguments: &[&str]) -> Result<WorkerCommand, clap::Error> {
        WorkerCommand::try_parse_from(["firesteel-worker"].iter().chain(arguments))
    }

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn arguments_go_before_the_environment() {
        let env =
            environment(&[("SPARK_WORKER_CORES", "3"), ("SPARK_WORKER_MEMORY", "3g"), ("SPARK_LOCAL_IP", "127.0.0.3")]);
        let worker = command(&["spark://h:7077", "-c", "2", "-m", "512m", "-h", "127.0.0.2"]).unwrap();
        assert_eq!(worker.cores(&env).unwrap(), 2);
        assert_eq!(worker.memory(&env).unwrap().mib(), 512);
        assert_eq!(worker.host(&env, true), "127.0.0.2");
        let worker = command(&["spark://h:7077"]).unwrap();
        assert_eq!(worker.cores(&env).unwrap(), 3);
        assert_eq!(worker.memory(&env).unwrap().mib(), 3 << 10);
        assert_eq!(worker.host(&env, true), "127.0.0.3");
    }

    #[test]
    fn bad_arguments_are_told() {
        for (arguments, part) in [
            (vec!["spark://h:7077", "-c", "0"], "0 is not in 1"),
            (vec!["spark://h:7077", "-m", "2000"], "below 1 MiB"),
            (vec!["h:7077"], "spark://"),
            (vec![], "<MASTER>"),
        ] {
            let error = command(&arguments).unwrap_err().to_string();
            assert!(error.contains(part), "{arguments:?}: {error}");
        }
    }

    #[test]
    fn a_worker_without_secret_or_of_a_loopback_master_stays_on_loopback() {
        let none = Environment::default();
        assert_eq!(command(&["spark://other:7077"]).unwrap().host(&none, false), "127.0.0.1");
        assert_eq!(command(&["spark://127.0.0.1:7077,[::1]:7077"]).unwrap().host(&none, true), "127.0.0.1");
    }

    #[test]
    fn local_directories_come_from_the_variable_then_the_key() {
        let mut conf = Conf::new();
        assert!(local_dirs(&conf, &Environment::default()).unwrap().is_empty());
        conf.set("spark.local.dir", "/a, /b");
        let dirs = |env| local_dirs(&conf, &env).unwrap();
        assert_eq!(dirs(Environment::default()), [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert_eq!(dirs(environment(&[("SPARK_LOCAL_DIRS", "/c")])), [PathBuf::from("/c")]);
    }
}
