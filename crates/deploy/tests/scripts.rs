//! The scripts in `sbin/` and `bin/` with the real programs: what they start, what they say, what they leave.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A place for configuration, logs and pid files; what was started from it is stopped when it goes.
struct Install {
    dir: tempfile::TempDir,
    port: u16,
}

impl Install {
    fn new(env: &str) -> Install {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("conf")).unwrap();
        fs::write(dir.path().join("conf/spark-env.sh"), env).unwrap();
        // The port is free now; that nobody takes it before the master does cannot be had, only made likely.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Install { dir, port }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn command(&self, script: &str) -> Command {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let programs = Path::new(env!("CARGO_BIN_EXE_firesteel-master")).parent().unwrap();
        let mut command = Command::new(root.join(script));
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("SPARK_") || name.starts_with("FIRESTEEL_")) {
                command.env_remove(name);
            }
        }
        command
            .env("FIRESTEEL_BIN_DIR", programs)
            .env("SPARK_CONF_DIR", self.path("conf"))
            .env("SPARK_LOG_DIR", self.path("logs"))
            .env("SPARK_PID_DIR", self.path("pids"))
            .env("SPARK_WORKER_DIR", self.path("work"))
            .env("SPARK_MASTER_PORT", self.port.to_string());
        command
    }

    fn run(&self, script: &str, arguments: &[&str]) -> (bool, String) {
        text(&self.command(script).args(arguments).output().unwrap())
    }

    /// Process ids of the daemons that run, by the pid files.
    fn pids(&self) -> Vec<u32> {
        let Ok(files) = fs::read_dir(self.path("pids")) else { return Vec::new() };
        let files =
            files.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|e| e == "pid"));
        files.map(|path| fs::read_to_string(path).unwrap().split(' ').next().unwrap().parse().unwrap()).collect()
    }
}

impl Drop for Install {
    fn drop(&mut self) {
        let (stopped, output) = self.run("sbin/stop-all.sh", &[]);
        if !stopped {
            eprintln!("{output}");
        }
    }
}

fn text(output: &Output) -> (bool, String) {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

/// A process that has ended but is not collected by its parent yet does not live.
fn alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn start_all_starts_a_registered_cluster_and_stop_all_leaves_no_process() {
    let install = Install::new("SPARK_WORKER_INSTANCES=2\nSPARK_WORKER_CORES=1\nSPARK_WORKER_MEMORY=256m\n");
    fs::write(install.path("conf/workers"), "# this host\nlocalhost\n").unwrap();
    let (ok, output) = install.run("sbin/start-all.sh", &[]);
    assert!(ok, "{output}");
    let url = format!("spark://127.0.0.1:{}", install.port);
    assert_eq!(output.matches(&format!("registered with {url}")).count(), 2, "{output}");
    let pids = install.pids();
    assert_eq!(pids.len(), 3);
    assert!(pids.iter().copied().all(alive));

    let (ok, output) = install.run("sbin/start-master.sh", &[]);
    assert!(!ok && output.contains("already running"), "{output}");
    assert!(install.run("sbin/spark-daemon.sh", &["status", "firesteel-worker", "2"]).0);

    let (ok, output) = install.run("sbin/stop-all.sh", &[]);
    assert!(ok, "{output}");
    assert!(!pids.iter().copied().any(alive), "{output}");
    assert!(install.pids().is_empty());
    let (ok, output) = install.run("sbin/stop-all.sh", &[]);
    assert!(ok && output.contains("no firesteel-master-1 to stop"), "{output}");
}

#[test]
fn a_daemon_that_cannot_start_fails_the_script_with_the_end_of_its_log() {
    let install = Install::new("");
    let (ok, output) = install.run("sbin/start-master.sh", &["-h", "0.0.0.0"]);
    assert!(!ok && output.contains("spark.authenticate"), "{output}");
    let _taken = TcpListener::bind(("127.0.0.1", install.port)).unwrap();
    let (ok, output) = install.run("sbin/start-master.sh", &[]);
    assert!(!ok && output.contains(&format!("127.0.0.1:{}", install.port)), "{output}");
    let (ok, output) = install.run("sbin/start-worker.sh", &["127.0.0.1:7077"]);
    assert!(!ok && output.contains("spark://"), "{output}");
    let (ok, output) = install.run("sbin/start-worker.sh", &["spark://127.0.0.1:7077", "-c", "0"]);
    assert!(!ok && output.contains("--cores"), "{output}");
    assert!(install.pids().is_empty());
}

#[test]
fn a_worker_whose_master_is_not_there_is_stopped_when_its_time_is_up() {
    let install = Install::new("FIRESTEEL_START_TIMEOUT=1\n");
    let (ok, output) = install.run("sbin/start-worker.sh", &[&format!("spark://127.0.0.1:{}", install.port)]);
    assert!(!ok && output.contains("not ready within 1 s"), "{output}");
    assert!(output.contains(&format!("127.0.0.1:{}", install.port)), "{output}");
    assert!(install.pids().is_empty());
}

#[test]
fn a_stale_pid_file_is_not_taken_for_a_daemon() {
    let install = Install::new("");
    fs::create_dir(install.path("pids")).unwrap();
    let ident = "SPARK_IDENT_STRING";
    let pid_file = install.path("pids/firesteel-me-firesteel-master-1.pid");
    // This test's own process, but not its start time.
    fs::write(&pid_file, format!("{} 1\n", std::process::id())).unwrap();
    let output = install.command("sbin/stop-master.sh").env(ident, "me").output().unwrap();
    let (ok, output) = text(&output);
    assert!(ok && output.contains("no firesteel-master-1 to stop"), "{output}");
    assert!(!pid_file.exists());
}

#[test]
fn another_host_among_the_workers_needs_two_lines_that_are_told() {
    let install = Install::new("");
    fs::write(install.path("conf/slaves"), "localhost\nanother-host\n").unwrap();
    let (ok, output) = install.run("sbin/start-workers.sh", &[]);
    assert!(!ok, "{output}");
    for part in ["another-host", "SPARK_MASTER_HOST=", "spark.authenticate.secret.file"] {
        assert!(output.contains(part), "{output}");
    }
}

#[test]
fn submit_becomes_the_application_and_hands_its_configuration_over() {
    let install = Install::new("");
    fs::write(install.path("conf/spark-defaults.conf"), "spark.executor.memory 2g\nspark.mine a=b\n").unwrap();
    let app = install.path("app.sh");
    let script = "#!/bin/sh\necho \"arguments: $*\"\ncat /proc/self/fd/$FIRESTEEL_SUBMIT_CONF\nexit 7\n";
    fs::write(&app, script).unwrap();
    fs::set_permissions(&app, fs::Permissions::from_mode(0o700)).unwrap();
    let mut submit = install.command("bin/firesteel-submit");
    let output =
        submit.args(["--executor-cores", "3", "--name", "n"]).arg(&app).args(["a b", "--master"]).output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.starts_with("arguments: a b --master\n"), "{stdout}");
    for line in [
        "spark.app.name=n",
        "spark.executor.cores=3",
        "spark.executor.memory=2g",
        "spark.master=local[*]",
        "spark.mine=a=b",
    ] {
        assert!(stdout.lines().any(|l| l == line), "{line}: {stdout}");
    }
    let (ok, output) = install.run("bin/firesteel-submit", &["--executor-cores", "0", app.to_str().unwrap()]);
    assert!(!ok && output.contains("spark.executor.cores (argument --executor-cores)"), "{output}");
    let (ok, output) = install.run("bin/firesteel-submit", &["/no/such/app"]);
    assert!(!ok && output.contains("/no/such/app"), "{output}");
    let (ok, output) = install.run("bin/run-example", &["no-such-example"]);
    assert!(!ok && output.contains("cargo build --release --example no-such-example"), "{output}");
}

#[test]
fn programs_that_are_not_there_are_told() {
    let install = Install::new("");
    let nowhere = install.path("nowhere");
    let output = install.command("sbin/start-master.sh").env("FIRESTEEL_BIN_DIR", &nowhere).output().unwrap();
    let (ok, output) = text(&output);
    assert!(!ok && output.contains("FIRESTEEL_BIN_DIR"), "{output}");
}

/// The words of a text with their counts, as `save_as_text_file` wrote them.
fn counts_in(out: &Path) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for entry in fs::read_dir(out).unwrap() {
        let path = entry.unwrap().path();
        for line in fs::read_to_string(&path).unwrap().lines() {
            let (word, n) = line[1..line.len() - 1].rsplit_once(',').unwrap();
            assert_eq!(counts.insert(word.to_owned(), n.parse::<u64>().unwrap()), None, "{word} twice");
        }
    }
    counts
}

/// Process ids of everything that runs in one of the install's directories or was given one in its arguments.
fn processes_of(install: &Install) -> Vec<u32> {
    let dir = install.dir.path().to_str().unwrap();
    let concerns = |pid: &u32| {
        let proc = PathBuf::from(format!("/proc/{pid}"));
        let names = fs::read(proc.join("cmdline")).unwrap_or_default();
        let place = fs::read_link(proc.join("cwd")).unwrap_or_default();
        alive(*pid) && (String::from_utf8_lossy(&names).contains(dir) || place.starts_with(dir))
    };
    let entries = fs::read_dir("/proc").unwrap().filter_map(|e| e.unwrap().file_name().to_str()?.parse().ok());
    entries.filter(concerns).collect()
}

#[test]
fn the_words_of_a_text_are_counted_on_a_started_cluster_as_the_shell_counts_them() {
    let install = Install::new("SPARK_WORKER_INSTANCES=2\nSPARK_WORKER_CORES=1\nSPARK_WORKER_MEMORY=1g\n");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    fs::copy(root.join("conf/workers.template"), install.path("conf/workers")).unwrap();
    let (started, output) = install.run("sbin/start-all.sh", &[]);
    assert!(started, "{output}");

    let program = Path::new(env!("CARGO_BIN_EXE_firesteel-master")).with_file_name("examples").join("wordcount");
    let (text, out) = (root.join("LICENSE"), install.path("out"));
    let url = format!("spark://127.0.0.1:{}", install.port);
    let ran = install
        .command("bin/firesteel-submit")
        .args(["--master", &url, "--executor-memory", "512m"])
        .args([&program, &text, &out])
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert!(out.join("_SUCCESS").exists());

    let shell = "tr -s '[:space:]' '\\n' < \"$1\" | sed '/^$/d' | sort | uniq -c";
    let shell = Command::new("sh").args(["-c", shell, "sh"]).arg(&text).output().unwrap();
    let counted = |line: &str| {
        let (n, word) = line.trim_start().split_once(' ').unwrap();
        (word.to_owned(), n.parse().unwrap())
    };
    let expected: BTreeMap<String, u64> = String::from_utf8(shell.stdout).unwrap().lines().map(counted).collect();
    assert!(expected.len() > 100);
    assert_eq!(counts_in(&out), expected);

    assert!(processes_of(&install).len() >= 3, "a master and two workers");
    let (stopped, output) = install.run("sbin/stop-all.sh", &[]);
    assert!(stopped, "{output}");
    assert_eq!(processes_of(&install), [0; 0]);
}
