//! Processes that cannot write what they have to say: they go on, and say how much was lost when they can.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    process::{Command, Stdio},
};

use firesteel::prelude::*;
use firesteel_testing::{Daemon, Signal, wait_for};

use crate::{
    cluster::start_saying,
    examples::{example, text},
    faults::SmallDisk,
};

const MASTER: &str = env!("CARGO_BIN_EXE_firesteel-master");
const WORKER: &str = env!("CARGO_BIN_EXE_firesteel-worker");
const SUBMIT: &str = env!("CARGO_BIN_EXE_firesteel-submit");

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// A pipe that nobody reads any more.
fn unread() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

/// `program` with its standard error closed.
fn without_stderr(program: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" 2>&-", program]);
    command
}

/// A master and a worker, whose executors have their output below `work`.
fn start(daemon: impl Fn(&str, &str, &[&str]) -> (Daemon, String), work: &Path) -> (Daemon, Daemon, String) {
    let (master, said) = daemon(MASTER, "master", &["--host", "127.0.0.1", "--port", "0"]);
    let url = said.split_whitespace().find(|word| word.starts_with("spark://")).unwrap().to_owned();
    let work = work.to_str().unwrap();
    let args = ["--host", "127.0.0.1", "--port", "0", "--cores", "2", "--memory", "1g", "--work-dir", work, &url];
    let (worker, _) = daemon(WORKER, "worker", &args);
    (master, worker, url)
}

fn context(url: &str) -> Context {
    Context::builder()
        .app_name("logs")
        .master(url)
        .set("spark.executor.memory", "256m")
        .set("spark.cores.max", 1)
        .build()
        .unwrap()
}

/// A shuffle; the number of its keys.
fn keys(sc: &Context) -> u64 {
    sc.partitioned(4).range(0..1000u64).map(|x| (x % 10, x)).partitioned(2).reduce_by_key(|a, b| a + b).count().unwrap()
}

#[test]
fn daemons_that_cannot_log_live_serve_and_end_in_order() {
    type Make = fn(&str) -> (Command, Stdio);
    let ways: [(&str, Make); 3] = [
        ("a full device", |program| (Command::new(program), full())),
        ("a reader that has left", |program| (Command::new(program), unread())),
        ("a closed descriptor", |program| (without_stderr(program), Stdio::null())),
    ];
    for (name, make) in ways {
        let dir = tempfile::tempdir().unwrap();
        let daemon = |program: &str, name: &str, args: &[&str]| {
            let (command, stderr) = make(program);
            start_saying(stderr, command, name, dir.path(), args)
        };
        let (mut master, mut worker, url) = start(daemon, &dir.path().join("work"));
        for _ in 0..2 {
            let sc = context(&url);
            assert_eq!(keys(&sc), 10, "{name}");
            sc.stop();
        }
        assert!(master.lives() && worker.lives(), "{name}");
        for daemon in [&mut worker, &mut master] {
            daemon.signal(Signal::SIGTERM);
            assert!(daemon.ended().success(), "{name}");
        }
    }
}

#[test]
fn the_log_says_how_many_lines_a_full_disk_has_refused_once_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SmallDisk::mount(dir.path(), 1);
    let log = |name: &str| disk.0.join(format!("{name}.log"));
    let daemon = |program: &str, name: &str, args: &[&str]| {
        let file = File::options().create(true).append(true).open(log(name)).unwrap();
        start_saying(file.into(), Command::new(program), name, dir.path(), args)
    };
    // Executors log on the disk that is full, too, and keep their blocks elsewhere.
    let work = disk.0.join("work");
    fs::write(dir.path().join("spark-defaults.conf"), format!("spark.local.dir {}\n", dir.path().display())).unwrap();
    let (mut master, mut worker, url) = start(daemon, &work);
    let running = context(&url);
    assert_eq!(keys(&running), 10);

    let fill = disk.0.join("fill");
    let mut filler = File::create(&fill).unwrap();
    while filler.write_all(&[0; 512]).is_ok() {}
    // What is left of the last page of each log.
    for name in ["master", "worker"] {
        let mut log = File::options().append(true).open(log(name)).unwrap();
        while log.write_all(b"\n").is_ok() {}
    }
    for _ in 0..3 {
        let sc = context(&url);
        assert_eq!(keys(&sc), 10);
        sc.stop();
    }
    assert_eq!(keys(&running), 10);
    assert!(master.lives() && worker.lives());
    drop(filler);
    fs::remove_file(fill).unwrap();

    let after = context(&url);
    assert_eq!(keys(&after), 10);
    after.stop();
    for name in ["master", "worker"] {
        wait_for(&format!("the count in the log of the {name}"), || {
            let text = String::from_utf8_lossy(&fs::read(log(name)).unwrap()).into_owned();
            let line = text.lines().find(|line| line.contains("could not be written: No space left on device"))?;
            let count: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
            assert!(line.starts_with("firesteel: ") && count > 0, "{line:?}");
            Some(())
        });
    }
    running.stop();
    for daemon in [&mut worker, &mut master] {
        daemon.signal(Signal::SIGTERM);
        assert!(daemon.ended().success());
    }
}

#[test]
fn a_log_that_has_reached_the_largest_file_size_ends_no_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("master.log");
    let mut command = Command::new("bash");
    // In KiB, which the ready file has to fit into.
    command.args(["-c", "ulimit -f 1; exec \"$0\" \"$@\"", MASTER]);
    fs::write(&log, [b'\n'; 1000]).unwrap();
    let file = File::options().append(true).open(&log).unwrap();
    let args = ["--host", "127.0.0.1", "--port", "0"];
    let (mut master, _) = start_saying(file.into(), command, "master", dir.path(), &args);
    assert!(master.lives());
    master.signal(Signal::SIGTERM);
    assert!(master.ended().success());
    assert_eq!(fs::metadata(&log).unwrap().len(), 1024, "the limit was met");
}

#[test]
fn a_driver_and_submit_that_cannot_say_anything_do_their_work() {
    let dir = tempfile::tempdir().unwrap();
    let submit = |stderr: Stdio, args: &[&str]| {
        let mut command = Command::new(SUBMIT);
        // The first local directory is one that the driver warns of.
        command.env("SPARK_LOCAL_DIRS", format!("/proc/no/such,{}", dir.path().join("local").display()));
        command.env("SPARK_CONF_DIR", dir.path()).args(args).stdin(Stdio::null()).stderr(stderr).output().unwrap()
    };
    let (program, input) = (example("wordcount"), text());
    let app = [program.to_str().unwrap(), input.to_str().unwrap()];
    // What submit has to remark, to warn of and to tell.
    let talkative = ["--verbose", "--class", "org.Main", "--conf", "spark.executor.memroy=1g", "--master", "local[2]"];
    for stderr in [full(), unread()] {
        let ran = submit(stderr, &[&talkative[..], &app].concat());
        assert!(ran.status.success(), "{:?}", ran.status);
        assert_eq!(String::from_utf8(ran.stdout).unwrap().lines().count(), 20);
    }
    for stderr in [full(), unread()] {
        let refused = submit(stderr, &[&["--master", "yarn"], &app[..]].concat());
        assert_eq!(refused.status.code(), Some(1));
    }
}

#[test]
fn a_version_or_a_result_that_nobody_gets_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    for program in [MASTER, WORKER, SUBMIT] {
        for (argument, stdout) in [("--version", full()), ("--version", unread()), ("--help", full())] {
            let ran = Command::new(program).arg(argument).stdout(stdout).output().unwrap();
            let said = String::from_utf8_lossy(&ran.stderr).into_owned();
            assert_eq!(ran.status.code(), Some(1), "{program}: {said}");
            assert!(said.contains("cannot write to standard output") && !said.contains("panicked"), "{said}");
        }
        let ran = Command::new(program).arg("--no-such-option").stderr(full()).output().unwrap();
        assert_eq!(ran.status.code(), Some(2));
        assert!(Command::new(program).arg("--version").output().unwrap().status.success());
    }
    let mut pi = Command::new(example("pi"));
    let ran = pi.env("SPARK_CONF_DIR", dir.path()).stdout(full()).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert!(said.contains("No space left") && !said.contains("panicked"), "{said}");
}
