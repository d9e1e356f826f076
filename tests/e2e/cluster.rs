//! A cluster of daemons that a test starts, and stops when it ends, however it ends.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use firesteel::{ContextBuilder, prelude::*};
use firesteel_testing::{Daemon, until, wait_for, without_settings};

/// Starts a program with a log and waits until it says that it is ready; returns what it said.
pub fn start(program: &str, name: &str, dir: &Path, args: &[&str]) -> (Daemon, String) {
    let log = fs::File::create(dir.join(format!("{name}.log"))).unwrap();
    start_saying(log.into(), Command::new(program), name, dir, args)
}

/// The same with standard error elsewhere than in a log.
pub fn start_saying(stderr: Stdio, mut command: Command, name: &str, dir: &Path, args: &[&str]) -> (Daemon, String) {
    let ready = dir.join(format!("{name}.ready"));
    without_settings(&mut command).args(args).arg("--ready-file").arg(&ready).env("SPARK_CONF_DIR", dir);
    // Tests run side by side.
    command.env("SPARK_MASTER_WEBUI_PORT", "0").env("SPARK_WORKER_WEBUI_PORT", "0");
    let mut daemon = Daemon::spawn(command.stdout(Stdio::null()).stderr(stderr));
    let said = wait_for(name, || {
        if let Some(status) = daemon.status() {
            let log = fs::read_to_string(dir.join(format!("{name}.log"))).unwrap_or_default();
            panic!("{name} ended with {status}: {log}");
        }
        fs::read_to_string(&ready).ok()
    });
    (daemon, said.trim().to_owned())
}

/// A master and its workers.
pub struct Cluster {
    pub workers: Vec<Daemon>,
    pub master: Daemon,
    /// `spark://host:port`.
    pub url: String,
    pub dir: tempfile::TempDir,
}

impl Cluster {
    /// Starts a master and `workers` workers of `cores` cores each.
    pub fn start(workers: usize, cores: u32) -> Cluster {
        Cluster::configured(workers, cores, "")
    }

    /// As [`Cluster::start`], the daemons with a `spark-defaults.conf` of this content.
    pub fn configured(workers: usize, cores: u32, defaults: &str) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("spark-defaults.conf"), defaults).unwrap();
        let master = env!("CARGO_BIN_EXE_firesteel-master");
        let (master, said) = start(master, "master", dir.path(), &["--host", "127.0.0.1", "--port", "0"]);
        let url =
            said.split_whitespace().find(|word| word.starts_with("spark://")).expect("the master's URL").to_owned();
        let workers = (0..workers).map(|i| worker(i, cores, &url, dir.path())).collect();
        Cluster { workers, master, url, dir }
    }

    /// Starts a worker that was killed once more, with its old directories.
    pub fn restart_worker(&mut self, i: usize, cores: u32) {
        for name in [format!("worker-{i}.ready"), format!("worker-{i}.log")] {
            fs::remove_file(self.dir.path().join(name)).unwrap();
        }
        self.workers[i] = worker(i, cores, &self.url, self.dir.path());
    }

    /// Waits until the log of a daemon (`master`, `worker-0`, ..) says something.
    pub fn logged(&self, daemon: &str, text: &str) {
        let log = self.dir.path().join(format!("{daemon}.log"));
        wait_for(&format!("{text:?} in the log of {daemon}"), || {
            fs::read_to_string(&log).unwrap().contains(text).then_some(())
        });
    }

    /// What executors wrote to their standard errors.
    pub fn said_by_executors(&self) -> String {
        let out = Command::new("sh").args(["-c", "cat work-*/app-*/*/stderr"]).current_dir(self.dir.path()).output();
        String::from_utf8(out.unwrap().stdout).unwrap()
    }

    /// All files below the workers' block directories.
    pub fn block_files(&self) -> Vec<PathBuf> {
        let works = fs::read_dir(self.dir.path()).unwrap().map(|e| e.unwrap().path());
        let mut dirs: Vec<PathBuf> = works.map(|work| work.join(".blocks")).filter(|dir| dir.is_dir()).collect();
        let mut files = Vec::new();
        while let Some(dir) = dirs.pop() {
            // What is being removed may be gone by now.
            for path in fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()) {
                if path.is_dir() { dirs.push(path) } else { files.push(path) }
            }
        }
        files.sort();
        files
    }

    /// A Context on this cluster, still to be built.
    pub fn context(&self) -> ContextBuilder {
        Context::builder().app_name("e2e").master(&self.url).set("spark.executor.memory", "512m")
    }

    /// A new directory for the files by which tasks and tests tell each other things.
    pub fn board(&self, name: &str) -> Board {
        let path = self.dir.path().join(name);
        fs::create_dir(&path).unwrap();
        Board(path)
    }
}

fn worker(i: usize, cores: u32, url: &str, dir: &Path) -> Daemon {
    let (name, work) = (format!("worker-{i}"), dir.join(format!("work-{i}")));
    let (cores, work) = (cores.to_string(), work.to_str().unwrap().to_owned());
    let args = ["--host", "127.0.0.1", "--port", "0", "--cores", &cores, "--memory", "2g", "--work-dir", &work, url];
    start(env!("CARGO_BIN_EXE_firesteel-worker"), &name, dir, &args).0
}

/// Files by which tasks, which run in other processes, and tests tell each other things.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct Board(PathBuf);

impl Board {
    /// Puts a file up, whole; false when one of that name is there already.
    pub fn post(&self, name: &str, text: impl ToString) -> bool {
        let fresh = self.0.join(format!(".{name}-{}-{:?}", std::process::id(), std::thread::current().id()));
        fs::write(&fresh, text.to_string()).unwrap();
        let posted = fs::hard_link(&fresh, self.0.join(name)).is_ok();
        fs::remove_file(fresh).unwrap();
        posted
    }

    /// What a file says.
    pub fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.0.join(name)).ok()
    }

    /// Waits for a file of that name.
    pub fn wait(&self, name: &str) -> String {
        wait_for(name, || self.read(name))
    }

    /// The names of all files that begin so, in order.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name.starts_with(prefix));
        names.sort();
        names
    }
}

/// The process ids of `n` executors, each found by a task that waits for the others.
pub fn executor_pids(sc: &Context, board: &Board, n: usize) -> Vec<u32> {
    let pids = sc
        .partitioned(n as u32)
        .range(0..n as u64)
        .with((board.clone(), n))
        .map_partitions(|(board, n), _| {
            board.post(&format!("pid-{}", std::process::id()), "");
            until("the other executors", || board.names("pid-").len() >= *n);
            [std::process::id()]
        })
        .collect()
        .unwrap();
    assert_eq!(pids.len(), n);
    pids
}
