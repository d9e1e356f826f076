//! What operators do that is easily forgotten: links to scripts, files from Windows, workers before their master, a second
//! start, programs behind wrappers.

#![allow(clippy::unwrap_used, reason = "a helper of a test fails as the test does")]

mod support;

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    process::Command,
};

use firesteel_testing::{alive, wait_for};
use support::{FREE_WEB_PORTS, Install, text};

fn script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).unwrap();
}

/// Runs `command` as the scripts of the installation are run, with nothing of this test's own environment.
fn run(install: &Install, command: &Path, arguments: &[&str]) -> (bool, String) {
    let mut plain = Command::new(command);
    for (name, value) in install.command("sbin/stop-all.sh").get_envs() {
        match value {
            Some(value) => plain.env(name, value),
            None => plain.env_remove(name),
        };
    }
    text(&plain.args(arguments).output().unwrap())
}

#[test]
fn scripts_work_through_links_and_as_copies_with_spark_home() {
    let install = Install::home();
    install.conf(
        "spark-env.sh",
        &format!("{FREE_WEB_PORTS}SPARK_MASTER_PORT={}\nSPARK_WORKER_MEMORY=256m\n", install.port),
    );
    script(&install.path("app"), "#!/bin/sh\necho \"home $SPARK_HOME\"\n");
    let app = install.path("app");
    let home = install.dir.path().canonicalize().unwrap();
    let links = tempfile::tempdir().unwrap();
    // A link, a link to a link, a link to the directory, and a link to the whole installation.
    let (single, double) = (links.path().join("single"), links.path().join("double"));
    fs::create_dir(&single).unwrap();
    fs::create_dir(&double).unwrap();
    fs::create_dir(links.path().join("sbin")).unwrap();
    for dir in ["sbin", "bin"] {
        for entry in fs::read_dir(install.path(dir)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap();
            symlink(&path, single.join(name)).unwrap();
            symlink(Path::new("../single").join(name), double.join(name)).unwrap();
        }
        symlink(install.path(dir), links.path().join(format!("all-{dir}"))).unwrap();
    }
    symlink(install.dir.path(), links.path().join("whole")).unwrap();
    let ways = [("single", "single"), ("double", "double"), ("all-sbin", "all-bin"), ("whole/sbin", "whole/bin")];
    for (sbin, bin) in ways.map(|(sbin, bin)| (links.path().join(sbin), links.path().join(bin))) {
        let (ok, output) = run(&install, &sbin.join("start-all.sh"), &[]);
        assert!(ok && output.contains("registered with"), "{}: {output}", sbin.display());
        assert!(run(&install, &sbin.join("decommission-worker.sh"), &[]).0);
        let (ok, output) = run(&install, &sbin.join("stop-all.sh"), &[]);
        assert!(ok && output.contains("stopping firesteel-master-1"), "{}: {output}", sbin.display());
        for name in ["stop-worker.sh", "stop-workers.sh", "stop-master.sh"] {
            let (ok, output) = run(&install, &sbin.join(name), &[]);
            assert!(ok && output.contains("to stop"), "{name}: {output}");
        }
        let (ok, output) = run(&install, &bin.join("firesteel-submit"), &[app.to_str().unwrap()]);
        let shown = output.trim().strip_prefix("home ").map(|home| Path::new(home).canonicalize().unwrap());
        assert!(ok && shown.as_deref() == Some(&home), "{}: {output}", bin.display());
        let (ok, output) = run(&install, &bin.join("run-example"), &["none"]);
        assert!(!ok && output.contains("--example none"), "{}: {output}", bin.display());
    }
    // In the directory that is a link, by a path from there.
    let mut command = install.command("sbin/stop-all.sh");
    let bash = Command::new("bash")
        .args(["-c", "cd \"$0\" && ./firesteel-submit \"$1\""])
        .arg(links.path().join("all-bin"))
        .arg(&app)
        .envs(command.env("CDPATH", links.path()).get_envs().filter_map(|(name, value)| Some((name, value?))))
        .output();
    let (ok, output) = text(&bash.unwrap());
    assert!(ok && output.contains("home "), "{output}");

    let copy = links.path().join("start-master.sh");
    fs::copy(install.path("sbin/start-master.sh"), &copy).unwrap();
    let (ok, output) = run(&install, &copy, &["--help"]);
    assert!(!ok && output.contains("SPARK_HOME"), "{output}");
    let output = Command::new(&copy).arg("--help").env("SPARK_HOME", install.dir.path()).output().unwrap();
    let (ok, output) = text(&output);
    assert!(ok && output.contains("usage"), "{output}");
}

#[test]
fn files_with_the_line_ends_of_windows_work_and_variables_with_them_are_named() {
    let install = Install::home();
    let windows = |text: String| format!("\u{feff}{}", text.replace('\n', "\r\n"));
    let port = install.port;
    let env =
        format!("# here\n{FREE_WEB_PORTS}SPARK_MASTER_PORT={port}\nSPARK_WORKER_CORES=2\n\nSPARK_WORKER_MEMORY=256m\n");
    install.conf("spark-env.sh", &windows(env));
    install.conf("spark-defaults.conf", &windows("# c\n\nspark.my.key\ta b\t\nspark.cores.max 1\n".to_owned()));
    install.conf("workers", &windows("localhost # this\n\n  # none\n".to_owned()));
    let (ok, output) = install.run("sbin/start-all.sh", &[]);
    assert!(ok && output.contains(&format!("registered with spark://127.0.0.1:{port}")), "{output}");
    let app = install.path("app");
    script(&app, "#!/bin/sh\ncat /proc/self/fd/$FIRESTEEL_SUBMIT_CONF\n");
    let (ok, output) = install.run("bin/firesteel-submit", &[app.to_str().unwrap()]);
    assert!(ok, "{output}");
    for line in ["spark.my.key=a b", "spark.cores.max=1"] {
        assert!(output.lines().any(|l| l == line), "{line}: {output}");
    }
    assert!(install.run("sbin/stop-all.sh", &[]).0);

    let output = install.command("sbin/start-master.sh").env("SPARK_MASTER_HOST", "127.0.0.1\r").output().unwrap();
    let (ok, output) = text(&output);
    assert!(!ok && output.contains("SPARK_MASTER_HOST ends in a carriage return"), "{output}");
    script(&app, "#!/bin/sh\r\necho\r\n");
    let (ok, output) = install.run("bin/firesteel-submit", &[app.to_str().unwrap()]);
    assert!(!ok && output.contains("carriage return"), "{output}");
}

#[test]
fn what_spark_env_does_to_the_shell_stays_there() {
    let install = Install::home();
    let app = install.path("app");
    script(&app, "#!/bin/sh\necho \"$HERE in $PWD\"\n");
    let submit = |env: &str| {
        install.conf("spark-env.sh", env);
        let output = install.command("bin/firesteel-submit").arg(&app).current_dir("/usr").output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (ok, stdout, stderr) = submit("set -e\nset -u\necho welcome\ncd /\nexport HERE=\"x${NOT_SET:-}\"\n");
    assert!(ok, "{stderr}");
    assert_eq!((stdout.as_str(), stderr.trim()), ("x in /usr\n", "welcome"));
    // Spark's scripts do not ask for every variable to be set.
    let (ok, stdout, stderr) = submit("HERE=$NOWHERE_SET:y\nfalse\n");
    assert!(ok && stdout == ":y in /usr\n", "{stdout}{stderr}");
    for env in ["set -e\nfalse\n", "exit 3\n", "set -u\necho $NOWHERE_SET\n"] {
        let (ok, _, stderr) = submit(env);
        assert!(!ok && stderr.contains("spark-env.sh has ended this script"), "{env:?}: {stderr}");
    }
}

#[test]
fn a_worker_that_is_started_before_its_master_finds_it_later() {
    let install = Install::new("SPARK_WORKER_CORES=1\nSPARK_WORKER_MEMORY=256m\n");
    let url = format!("spark://127.0.0.1:{}", install.port);
    let (ok, output) = install.run("sbin/start-worker.sh", &[&url]);
    assert!(ok && output.contains("goes on looking"), "{output}");
    assert!(output.contains(&format!("127.0.0.1:{}", install.port)), "the reason names the place: {output}");
    let pids = install.pids();
    assert!(matches!(pids[..], [pid] if alive(pid)), "{pids:?}");
    let (ok, output) = install.run("sbin/start-master.sh", &[]);
    assert!(ok, "{output}");
    wait_for("the worker's registration", || {
        let logs =
            fs::read_dir(install.path("logs")).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
        logs.filter(|log| log.contains("worker started")).find(|log| log.contains("registered"))
    });
    assert_eq!(install.pids().len(), 2);
    assert!(install.run("sbin/stop-all.sh", &[]).0);
    // What can never become right still fails the start.
    let (ok, output) = install.run("sbin/start-worker.sh", &[&url, "-c", "0"]);
    assert!(!ok && output.contains("--cores"), "{output}");
}

#[test]
fn start_all_beside_a_running_master_starts_the_workers() {
    let install = Install::new("SPARK_WORKER_CORES=1\nSPARK_WORKER_MEMORY=256m\n");
    assert!(install.run("sbin/start-master.sh", &[]).0);
    let master = install.pids()[0];
    let (ok, output) = install.run("sbin/start-all.sh", &[]);
    assert!(ok && output.contains(&format!("firesteel-master-1 runs as process {master} already")), "{output}");
    assert!(output.contains(&format!("registered with spark://127.0.0.1:{}", install.port)), "{output}");
    assert!(install.pids().contains(&master) && install.pids().len() == 2);
    assert!(install.run("sbin/stop-all.sh", &[]).0);
    // A master that cannot be started still ends it.
    let _taken = TcpListener::bind(("127.0.0.1", install.port)).unwrap();
    let (ok, output) = install.run("sbin/start-all.sh", &[]);
    assert!(!ok && install.pids().is_empty(), "{output}");
}

#[test]
fn a_line_of_sparks_defaults_that_names_a_codec_by_its_class_stops_nobody() {
    let install = Install::new("");
    let defaults = "spark.io.compression.codec org.apache.spark.io.LZ4CompressionCodec\n\
                    spark.serializer org.apache.spark.serializer.KryoSerializer\n\
                    spark.shuffle.manager sort\nspark.scheduler.mode FAIR\nspark.submit.deployMode Client\n";
    install.conf("spark-defaults.conf", defaults);
    let (ok, output) = install.run("sbin/start-master.sh", &[]);
    assert!(ok, "{output}");
    let app = install.path("app");
    script(&app, "#!/bin/sh\necho ran\n");
    let (ok, output) = install.run("bin/firesteel-submit", &[app.to_str().unwrap()]);
    assert!(ok && output.starts_with("ran\n"), "{output}");
}

#[test]
fn a_wrapper_that_closes_descriptors_starts_the_program_with_its_settings() {
    let install = Install::new("");
    let text = install.path("words");
    fs::write(&text, "a b a\n").unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_firesteel-master")).parent().unwrap().join("examples/wordcount");
    let wrapper = install.path("wrapper.sh");
    // Left open; closed; another file, and a pipe that gives nothing, under the same number.
    let ways = ["", "exec {FIRESTEEL_SUBMIT_CONF}>&-", "exec 9</dev/null", "mkfifo \"$0.fifo\" && exec 9<>\"$0.fifo\""];
    let moved = "eval \"exec $FIRESTEEL_SUBMIT_CONF<&9\"";
    for (number, close) in ways.into_iter().enumerate() {
        let close = if close.contains("exec 9") { format!("{close}\n{moved}") } else { close.to_owned() };
        script(&wrapper, &format!("#!/usr/bin/env bash\n{close}\n\"$@\"\n"));
        let out = install.path(&format!("out-{number}"));
        let mut submit = install.command("bin/firesteel-submit");
        submit.args(["--master", "local[1]", "--conf", "spark.authenticate.secret=hidden"]);
        let ran = submit.arg(&wrapper).args([&program, &text, &out]).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert!(ran.status.success(), "{close}: {said}");
        assert!(out.join("_SUCCESS").exists());
        assert_eq!(said.contains("goes on without spark.authenticate.secret:"), number > 0, "{close}: {said}");
        assert!(!said.contains("hidden"), "{said}");
    }
}

/// One program's end: its status, and what it said.
fn ended(program: &str, conf: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    // One that does not refuse would serve until somebody ends it.
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "60", program]).args(arguments).env("SPARK_CONF_DIR", conf);
    for name in ["SPARK_DAEMON_JAVA_OPTS", "SPARK_MASTER_OPTS", "SPARK_WORKER_OPTS", "_SPARK_AUTH_SECRET"] {
        command.env_remove(name);
    }
    let ran = command.output().unwrap();
    (ran.status.code(), String::from_utf8_lossy(&ran.stderr).into_owned())
}

#[test]
fn no_program_starts_under_a_key_that_asks_for_protection_which_is_not_there() {
    let master = (env!("CARGO_BIN_EXE_firesteel-master"), &["--host", "127.0.0.1", "--port", "0"][..]);
    let worker = (env!("CARGO_BIN_EXE_firesteel-worker"), &["--host", "127.0.0.1", "spark://127.0.0.1:1"][..]);
    let submit = (env!("CARGO_BIN_EXE_firesteel-submit"), &["--master", "local[1]", "/bin/true"][..]);
    for (key, value) in [
        ("spark.ssl.enabled", "true"),
        ("spark.network.crypto.enabled", "true"),
        ("spark.authenticate.enableSaslEncryption", "true"),
        ("spark.io.encryption.enabled", "true"),
        ("spark.acls.enable", "true"),
        ("spark.authenticate.secret.driver.file", "/etc/hostname"),
        ("spark.authenticate.secret.executor.file", "/etc/hostname"),
        ("spark.deploy.recoveryMode", "FILESYSTEM"),
        ("spark.redaction.regex", "(?i)salary"),
        ("spark.redaction.string.regex", "salary=[0-9]+"),
    ] {
        let conf = tempfile::tempdir().unwrap();
        fs::write(conf.path().join("spark-defaults.conf"), format!("{key} {value}\n")).unwrap();
        for (program, arguments) in [master, worker, submit] {
            let (status, said) = ended(program, conf.path(), arguments);
            assert_eq!(status, Some(1), "{program} with {key}: {said}");
            for part in [key, value, "spark-defaults.conf line 1", "Firesteel"] {
                assert!(said.contains(part), "{program} says nothing of {part}: {said}");
            }
        }
        // On the command line, too.
        let none = tempfile::tempdir().unwrap();
        let (program, arguments) = submit;
        let (status, said) = ended(program, none.path(), &[&["--conf", &format!("{key}={value}")], arguments].concat());
        assert!(status == Some(1) && said.contains(key), "{key}: {said}");
    }
}
