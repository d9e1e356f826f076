//! The scripts in `sbin/` and `bin/` with the real programs: what they start, what they say, what they leave.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod support;

use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt};

use firesteel_testing::{alive, until};
use support::{Install, count_words, root, text};

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
fn a_start_that_cannot_write_its_log_or_pid_file_says_so_and_leaves_no_process() {
    let install = Install::new("");
    let master = |action: &str| {
        let mut command = install.command(&format!("sbin/{action}-master.sh"));
        text(&command.env("SPARK_IDENT_STRING", "me").output().unwrap())
    };
    let (ok, output) = master("start");
    assert!(ok && master("stop").0, "{output}");
    let log = fs::read_dir(install.path("logs")).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(&log).unwrap();
    let pid_file = install.path("pids/firesteel-me-firesteel-master-1.pid");
    for (in_the_way, variable) in [(log, "SPARK_LOG_DIR"), (pid_file, "SPARK_PID_DIR")] {
        fs::create_dir(&in_the_way).unwrap();
        let (ok, output) = master("start");
        assert!(!ok && output.contains(variable) && output.contains("make room"), "{output}");
        assert!(output.contains(in_the_way.to_str().unwrap()), "{output}");
        assert!(install.processes().is_empty(), "{output}");
        fs::remove_dir(in_the_way).unwrap();
    }
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
fn a_daemon_that_has_ended_but_is_not_collected_does_not_run() {
    let install = Install::new("");
    fs::create_dir(install.path("pids")).unwrap();
    struct Ends(std::process::Child);
    impl Drop for Ends {
        fn drop(&mut self) {
            let ended = self.0.kill().and_then(|()| self.0.wait());
            assert!(ended.is_ok() || std::thread::panicking(), "{ended:?}");
        }
    }
    let mut child = Ends(std::process::Command::new("sleep").arg("1000").spawn().unwrap());
    let pid = child.0.id();
    let fields = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let started = fields.rsplit(") ").next().unwrap().split(' ').nth(19).unwrap().to_owned();
    fs::write(install.path("pids/firesteel-me-firesteel-master-1.pid"), format!("{pid} {started}\n")).unwrap();
    let ask = |action: &str| {
        let mut command = install.command("sbin/spark-daemon.sh");
        let output = command.args([action, "firesteel-master", "1"]).env("SPARK_IDENT_STRING", "me").output();
        text(&output.unwrap())
    };
    let while_it_runs = ask("status");
    child.0.kill().unwrap();
    until("it has ended", || !alive(pid));
    let (after, stopped) = (ask("status"), ask("stop"));
    assert!(while_it_runs.0 && while_it_runs.1.contains(&format!("runs as process {pid}")), "{while_it_runs:?}");
    assert!(!after.0 && after.1.contains("is not running"), "{after:?}");
    assert!(stopped.0 && stopped.1.contains("no firesteel-master-1 to stop"), "{stopped:?}");
}

#[test]
fn decommissioned_workers_leave_the_cluster_and_the_script_waits_for_them() {
    let install = Install::new("SPARK_WORKER_INSTANCES=2\nSPARK_WORKER_CORES=1\nSPARK_WORKER_MEMORY=256m\n");
    install.conf("spark-defaults.conf", "spark.decommission.enabled true\n");
    let (ok, output) = install.run("sbin/start-all.sh", &[]);
    assert!(ok, "{output}");
    let (ok, output) = install.run("sbin/decommission-worker.sh", &["--block-until-exit"]);
    assert!(ok && output.matches("has ended").count() == 2, "{output}");
    assert_eq!(install.pids().len(), 1, "the master's");
    assert_eq!(install.processes().len(), 1, "the master");
    let (ok, output) = install.run("sbin/decommission-worker.sh", &[]);
    assert!(ok && output.contains("no firesteel-worker to decommission"), "{output}");
    let (ok, output) = install.run("sbin/decommission-worker.sh", &["--wait"]);
    assert!(!ok && output.contains("--block-until-exit"), "{output}");
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

#[test]
fn the_words_of_a_text_are_counted_on_a_started_cluster_as_the_shell_counts_them() {
    let install = Install::new("SPARK_WORKER_INSTANCES=2\nSPARK_WORKER_CORES=1\nSPARK_WORKER_MEMORY=1g\n");
    fs::copy(root().join("conf/workers.template"), install.path("conf/workers")).unwrap();
    let (started, output) = install.run("sbin/start-all.sh", &[]);
    assert!(started, "{output}");

    let url = format!("spark://127.0.0.1:{}", install.port);
    count_words(&install, &url);

    assert!(install.processes().len() >= 3, "a master and two workers");
    let (stopped, output) = install.run("sbin/stop-all.sh", &[]);
    assert!(stopped, "{output}");
    assert_eq!(install.processes(), [0; 0]);
}
