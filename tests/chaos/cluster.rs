//! The daemons, and what can be done to them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    time::Instant,
};

use firesteel::{ContextBuilder, prelude::*};
use firesteel_testing::{Daemon, alive, comes_true, without_settings};

use crate::{disks::Disks, network::Network};

pub struct Cluster {
    pub master: Option<Daemon>,
    pub workers: Vec<Option<Daemon>>,
    cores: u32,
    port: u16,
    pub network: Option<Network>,
    /// Before the directory that they are in.
    pub disks: Option<Disks>,
    /// Processes started by somebody else that shall not be taken for executors.
    pub drivers: Vec<Child>,
    /// When each executor was first seen.
    seen: BTreeMap<u32, Instant>,
    pub dir: tempfile::TempDir,
}

impl Cluster {
    /// A master and so many workers, each in a network of its own if `networks` are wanted and can be had.
    pub fn start(workers: usize, cores: u32, networks: bool) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        for name in ["conf", "driver", "tmp", "out", "logs"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        for n in 0..workers {
            fs::create_dir(dir.path().join(format!("small-worker-{n}"))).unwrap();
        }
        let disks = Disks::mount(dir.path(), workers);
        let disks = disks.inspect_err(|missing| println!("NO DISK GETS FULL: {missing}")).ok();
        let secret = format!("spark.authenticate.secret chaos-{}\n", std::process::id());
        let defaults = format!("{secret}spark.decommission.enabled true\n");
        fs::write(dir.path().join("conf/spark-defaults.conf"), defaults).unwrap();
        let network = networks
            .then(|| Network::new(workers))
            .and_then(|network| network.inspect_err(|missing| println!("NO LINK IS CUT: {missing}")).ok());
        let mut cluster = Cluster {
            master: None,
            workers: (0..workers).map(|_| None).collect(),
            cores,
            port: 0,
            network,
            disks,
            drivers: Vec::new(),
            seen: BTreeMap::new(),
            dir,
        };
        cluster.start_master();
        let ready = cluster.dir.path().join("master.ready");
        assert!(comes_true(|| ready.exists()), "no master: {}", cluster.log("master"));
        let said = fs::read_to_string(ready).unwrap();
        let port = said.split_whitespace().find(|w| w.starts_with("spark://")).and_then(|url| url.rsplit(':').next());
        cluster.port = port.and_then(|p| p.trim_end_matches('/').parse().ok()).expect("the master's port");
        for n in 0..workers {
            cluster.start_worker(n);
        }
        for n in 0..workers {
            let ready = cluster.dir.path().join(format!("worker-{n}.ready"));
            assert!(comes_true(|| ready.exists()), "no worker: {}", cluster.log(&format!("worker-{n}")));
        }
        cluster
    }

    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(format!("logs/{name}.log"))).unwrap_or_default()
    }

    pub fn url(&self) -> String {
        format!("spark://{}:{}", self.host(), self.port)
    }

    fn host(&self) -> String {
        self.network.as_ref().map_or_else(|| "127.0.0.1".to_owned(), Network::host)
    }

    /// The master, on its old port if it had one.
    pub fn start_master(&mut self) {
        let (host, port) = (self.host(), self.port.to_string());
        let program = env!("CARGO_BIN_EXE_firesteel-master");
        let args = ["--host", &host, "--port", &port];
        self.master = Some(self.daemon(Command::new(program), "master", &args));
    }

    pub fn start_worker(&mut self, n: usize) {
        let program = env!("CARGO_BIN_EXE_firesteel-worker");
        let (command, host) = match &self.network {
            Some(network) => (network.command(n, program), network.address(n)),
            None => (Command::new(program), "127.0.0.1".to_owned()),
        };
        let (work, cores, url) = (self.path(&format!("work-{n}")), self.cores.to_string(), self.url());
        let args = ["--host", &host, "--port", "0", "--cores", &cores, "--memory", "4g", "--work-dir", &work, &url];
        self.workers[n] = Some(self.daemon(command, &format!("worker-{n}"), &args));
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    fn daemon(&self, mut command: Command, name: &str, args: &[&str]) -> Daemon {
        let out = fs::File::options().create(true).append(true).open(self.path(&format!("logs/{name}.log"))).unwrap();
        without_settings(&mut command).args(args).args(["--ready-file", &self.path(&format!("{name}.ready"))]);
        command.env("SPARK_CONF_DIR", self.path("conf")).env("TMPDIR", self.path("tmp"));
        command.env("SPARK_MASTER_WEBUI_PORT", "0").env("SPARK_WORKER_WEBUI_PORT", "0");
        let local = [format!("local-{name}"), format!("small-{name}")].map(|dir| self.path(&dir)).join(",");
        command.env("SPARK_LOCAL_DIRS", local);
        Daemon::spawn(command.stdout(out.try_clone().unwrap()).stderr(out))
    }

    /// A Context on this cluster, still to be built. What fails by the disturbance must not fail a job.
    pub fn context(&self) -> ContextBuilder {
        context(&self.url(), &self.host(), self.dir.path()).set("spark.cores.max", 6)
    }

    /// The processes of executors, and since when each has been seen.
    pub fn executors(&mut self) -> Vec<(u32, Instant)> {
        let drivers: Vec<u32> = self.drivers.iter().map(Child::id).collect();
        let pids: Vec<u32> = of_this_program().into_iter().filter(|pid| !drivers.contains(pid)).collect();
        self.seen.retain(|pid, _| pids.contains(pid));
        pids.into_iter().map(|pid| (pid, *self.seen.entry(pid).or_insert_with(Instant::now))).collect()
    }
}

/// What a driver on the cluster is told.
pub fn context(url: &str, host: &str, dir: &Path) -> ContextBuilder {
    Context::builder()
        .app_name("chaos")
        .master(url)
        .set("spark.driver.host", host)
        .set("spark.authenticate.secret", secret_of(dir))
        .set("spark.local.dir", dir.join("driver").to_str().unwrap())
        .set("spark.executor.cores", 1)
        .set("spark.executor.memory", "256m")
        .set("spark.task.maxFailures", 1000)
        .set("spark.stage.maxConsecutiveAttempts", 1000)
}

fn secret_of(dir: &Path) -> String {
    let conf = fs::read_to_string(dir.join("conf/spark-defaults.conf")).unwrap();
    conf.split_whitespace().nth(1).unwrap().to_owned()
}

/// Processes that run this program, but for this one.
pub fn of_this_program() -> Vec<u32> {
    let me = std::env::current_exe().unwrap();
    let is_it = |pid: &u32| {
        let exe: Option<PathBuf> = fs::read_link(format!("/proc/{pid}/exe")).ok();
        *pid != std::process::id() && exe.as_ref() == Some(&me) && alive(*pid)
    };
    let entries = fs::read_dir("/proc").unwrap().filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok());
    entries.filter(is_it).collect()
}
