//! A master and a worker as daemons in this process, a raw peer as the driver, and shell scripts that stand for
//! `firesteel-executor`: real processes, their ends, and what is left of them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what is wrong by panicking")]

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use firesteel_master::{MasterConfig, MasterListeners, MasterRules};
use firesteel_rpc::{
    Duplex, PROTOCOL_VERSION, Role, Secret, Transport,
    proto::deploy::{
        ApplicationDescription, ExecutorLaunch, ExecutorState, ExecutorUpdated, FromMaster, KillExecutors,
        RegisterApplication, ToMaster, UnregisterApplication, from_master::Message as From, to_master::Message as To,
    },
};
use firesteel_testing::{alive, until_async};
use firesteel_worker::{Launcher, Standing, WorkerConfig, WorkerError, WorkerListeners, WorkerSettings};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};

const LONG: Duration = Duration::from_secs(20);

/// Says "registered" as an executor does; the FIFO is the one of its own name.
const REGISTER: &str = r#"app=$(basename "$(dirname "$PWD")"); printf r > "../../.run/$app.$(basename "$PWD")""#;

/// Ends its group when the worker is gone, as an executor's lifeline does.
const LIFELINE: &str = r#"lifeline=${FIRESTEEL_EXECUTOR#*,}; (cat "/proc/self/fd/$lifeline" > /dev/null; kill -9 0) &"#;

struct Cluster {
    dir: TempDir,
    master: String,
    /// Where the worker shows its state.
    web: String,
    stop_master: Option<oneshot::Sender<()>>,
    stop_worker: Option<oneshot::Sender<()>>,
    worker: Option<JoinHandle<Result<(), WorkerError>>>,
    secret: Option<Secret>,
}

impl Cluster {
    /// A master and a worker of one core whose executors run `script`.
    async fn start(script: &str) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let bootstrap = write_script(dir.path(), script);
        Cluster::with(dir, Launcher::Bootstrap(bootstrap), None).await
    }

    async fn with(dir: TempDir, launcher: Launcher, secret: Option<Secret>) -> Cluster {
        let (master, stop_master) = start_master(secret.clone());
        let mut config = config(dir.path(), &master, launcher);
        config.transport = Transport::new(secret.clone());
        let (stop_worker, stopped) = oneshot::channel::<()>();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let web_listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let web = web_listener.local_addr().unwrap().to_string();
        let listeners = WorkerListeners { place: listener, web: Some(web_listener) };
        let worker = tokio::spawn(firesteel_worker::run(listeners, config, async move {
            let _ = stopped.await;
        }));
        Cluster {
            dir,
            master,
            web,
            stop_master: Some(stop_master),
            stop_worker: Some(stop_worker),
            worker: Some(worker),
            secret,
        }
    }

    async fn driver(&self) -> Driver {
        let stream = Transport::new(self.secret.clone()).connect_master(&self.master, Role::Driver, "").await.unwrap();
        let mut driver = Driver { stream, app_id: String::new() };
        driver.say(To::RegisterApplication(RegisterApplication {
            protocol_version: PROTOCOL_VERSION,
            application: Some(ApplicationDescription {
                name: "test".to_owned(),
                memory_per_executor_mb: 64,
                driver_address: "127.0.0.1:9".to_owned(),
                ..ApplicationDescription::default()
            }),
            app_id: String::new(),
            next_executor_id: 0,
            executor_limit: None,
            incarnation: Vec::new(),
            token: Vec::new(),
        }));
        let Some(From::RegisteredApplication(m)) = driver.hear().await else { panic!("not registered") };
        driver.app_id = m.app_id;
        driver
    }

    /// The worker's state as its web port shows it.
    async fn state(&self) -> Value {
        let mut stream = TcpStream::connect(&self.web).await.unwrap();
        stream.write_all(b"GET /json HTTP/1.1\r\nHost: w\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(LONG, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        serde_json::from_str(body).unwrap()
    }

    fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    async fn stop(mut self) -> (TempDir, Result<(), WorkerError>) {
        drop(self.stop_worker.take());
        let result = tokio::time::timeout(LONG, self.worker.take().unwrap()).await.unwrap().unwrap();
        drop(self.stop_master.take());
        (self.dir, result)
    }
}

fn start_master(secret: Option<Secret>) -> (String, oneshot::Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let (stop, stopped) = oneshot::channel::<()>();
    let config = MasterConfig { rules: MasterRules::default(), transport: Transport::new(secret) };
    tokio::spawn(firesteel_master::run(MasterListeners::rpc_alone(listener), config, async move {
        let _ = stopped.await;
    }));
    (addr, stop)
}

fn config(dir: &Path, master: &str, launcher: Launcher) -> WorkerConfig {
    WorkerConfig {
        master: format!("spark://{master}").parse().unwrap(),
        host: "127.0.0.1".to_owned(),
        cores: 1,
        memory_mb: 64,
        work_dir: dir.join("work"),
        local_dirs: vec![dir.join("local")],
        transport: Transport::default(),
        launcher,
        settings: WorkerSettings::default(),
        standing: None,
        decommission: None,
    }
}

fn write_script(dir: &Path, script: &str) -> PathBuf {
    let path = dir.join("executor.sh");
    // Written by another process: a descriptor of ours that is open for writing might be inherited by a child that
    // another thread is just forking, and the script could not be executed then.
    let status = std::process::Command::new("/bin/sh")
        .args(["-c", r#"printf '%s\n' '#!/bin/sh' "$1" > "$2""#, "sh", script])
        .arg(&path)
        .status()
        .unwrap();
    assert!(status.success());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

struct Driver {
    stream: Duplex<FromMaster, ToMaster>,
    app_id: String,
}

impl Driver {
    fn say(&self, message: To) {
        self.stream.tx.send(ToMaster { message: Some(message) }).unwrap();
    }

    async fn hear(&mut self) -> Option<From> {
        tokio::time::timeout(LONG, self.stream.rx.recv()).await.expect("a message in time").and_then(|m| m.message)
    }

    /// The next state of an executor that is told.
    async fn updated(&mut self) -> ExecutorUpdated {
        loop {
            match self.hear().await {
                Some(From::ExecutorUpdated(m)) => return m,
                Some(From::ExecutorAdded(_)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// The worker's own directory below a local directory, beside which is what it has thrown away.
fn block_dir(local: &Path) -> PathBuf {
    let mut dirs = fs::read_dir(local).unwrap().map(|entry| entry.unwrap().path());
    dirs.find(|dir| dir.extension().is_none()).unwrap()
}

fn read_pid(path: &Path) -> Option<u32> {
    fs::read_to_string(path).ok().filter(|text| text.ends_with('\n'))?.trim().parse().ok()
}

#[tokio::test]
async fn exit_code_and_the_end_of_stderr_reach_the_driver_and_the_output_stays() {
    let cluster = Cluster::start("echo out; echo 'no such thing' >&2; exit 3").await;
    let mut driver = cluster.driver().await;
    let m = driver.updated().await;
    assert_eq!((m.state(), m.exit_code, m.signal), (ExecutorState::Exited, Some(3), None));
    assert_eq!(m.stderr_tail, "no such thing\n");
    let dir = cluster.work().join(&driver.app_id).join("0");
    assert_eq!(fs::read_to_string(dir.join("stdout")).unwrap(), "out\n");
    // The second executor ends the same way before it registers: that is enough.
    driver.updated().await;
    let Some(From::ApplicationRemoved(removed)) = driver.hear().await else { panic!("not removed") };
    assert!(removed.reason.contains("exit code 3") && removed.reason.contains("no such thing"), "{}", removed.reason);
    cluster.stop().await.1.unwrap();
}

#[tokio::test]
async fn an_executor_without_memory_fails_with_who_held_it() {
    let note = "for record in ../../.run/*.memory; do printf 'task 7: sort 9.0 MiB' > $record; done";
    let cluster =
        Cluster::start(&format!("{note}; echo 'memory allocation of 99 bytes failed' >&2; kill -ABRT $$")).await;
    let mut driver = cluster.driver().await;
    let m = driver.updated().await;
    let said = "an allocation failed";
    assert!(m.message.contains(said) && m.message.ends_with("it looked last, task 7: sort 9.0 MiB"), "{}", m.message);
    cluster.stop().await.1.unwrap();
}

#[tokio::test]
async fn an_executor_that_registered_is_running_and_a_signal_that_ends_it_is_named() {
    let cluster = Cluster::start(&format!("{REGISTER}; kill -SEGV $$")).await;
    let mut driver = cluster.driver().await;
    for _ in 0..4 {
        assert_eq!(driver.updated().await.state(), ExecutorState::Running);
        let m = driver.updated().await;
        assert_eq!((m.state(), m.exit_code, m.signal), (ExecutorState::Exited, None, Some(11)));
        assert!(m.message.contains("SIGSEGV"), "{}", m.message);
    }
    cluster.stop().await.1.unwrap();
}

#[tokio::test]
async fn the_web_port_shows_executors_that_run_and_that_have_ended() {
    let cluster = Cluster::start(&format!("{LIFELINE} {REGISTER}; sleep 1000")).await;
    let mut driver = cluster.driver().await;
    assert_eq!(driver.updated().await.state(), ExecutorState::Running);
    let state = cluster.state().await;
    assert_eq!(state["masterurl"], format!("spark://{}", cluster.master));
    assert!(state["id"].as_str().unwrap().starts_with("worker-") && state["state"] == "ALIVE", "{state}");
    let sums = ["cores", "coresused", "memory", "memoryused"].map(|name| state[name].as_u64().unwrap());
    assert_eq!(sums, [1, 1, 64, 64]);
    let executor = &state["executors"][0];
    let names = ["id", "appid", "cores", "memory", "state"];
    assert_eq!(
        names.map(|name| executor[name].clone()),
        [json!(0), json!(driver.app_id), json!(1), json!(64), json!("RUNNING"),]
    );
    assert_eq!((&executor["appdesc"]["name"], &executor["appdesc"]["memoryperexecutor"]), (&json!("test"), &json!(64)));
    assert_eq!(state["finishedexecutors"], json!([]));

    let app_id = driver.app_id.clone();
    driver.say(To::UnregisterApplication(UnregisterApplication { app_id: app_id.clone() }));
    let deadline = Instant::now() + LONG;
    let state = loop {
        let state = cluster.state().await;
        if state["executors"] == json!([]) {
            break state;
        }
        assert!(Instant::now() < deadline, "{state}");
    };
    let ended = &state["finishedexecutors"][0];
    assert_eq!((&ended["appid"], &ended["state"]), (&json!(app_id), &json!("KILLED")));
    assert_eq!(state["coresused"], 0);
    cluster.stop().await.1.unwrap();
}

#[tokio::test]
async fn a_kill_takes_the_whole_group_and_the_end_of_the_application_its_files() {
    let cluster = Cluster::start(&format!("sleep 1000 & echo $! > grandchild; {REGISTER}; wait")).await;
    let mut driver = cluster.driver().await;
    assert_eq!(driver.updated().await.state(), ExecutorState::Running);
    let app = cluster.work().join(&driver.app_id);
    let first = read_pid(&app.join("0/grandchild")).unwrap();
    assert!(alive(first));
    driver.say(To::KillExecutors(KillExecutors { app_id: driver.app_id.clone(), executor_ids: vec![0] }));
    assert_eq!(driver.updated().await.state(), ExecutorState::Killed);
    until_async("the grandchild is gone", || !alive(first)).await;

    assert_eq!(driver.updated().await.state(), ExecutorState::Running);
    let second = read_pid(&app.join("1/grandchild")).unwrap();
    driver.say(To::UnregisterApplication(UnregisterApplication { app_id: driver.app_id.clone() }));
    until_async("the second grandchild is gone", || !alive(second)).await;
    let locals = block_dir(&cluster.dir.path().join("local"));
    until_async("the block directories are gone", || fs::read_dir(&locals).unwrap().next().is_none()).await;
    assert!(app.join("1/stderr").exists());
    let (dir, result) = cluster.stop().await;
    result.unwrap();
    assert_eq!(fs::read_dir(dir.path().join("local")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(dir.path().join("work/.run")).unwrap().count(), 0);
}

#[tokio::test]
async fn what_an_executor_leaves_running_when_it_ends_by_itself_is_killed() {
    let cluster = Cluster::start(&format!("{REGISTER}; sleep 1000 & echo $! > grandchild; exit 0")).await;
    let mut driver = cluster.driver().await;
    assert_eq!(driver.updated().await.state(), ExecutorState::Running);
    assert_eq!(driver.updated().await.exit_code, Some(0));
    let left = read_pid(&cluster.work().join(&driver.app_id).join("0/grandchild")).unwrap();
    until_async("the grandchild is gone", || !alive(left)).await;
    cluster.stop().await.1.unwrap();
}

#[tokio::test]
async fn a_worker_that_is_stopped_leaves_no_process_and_no_blocks() {
    let cluster = Cluster::start(&format!("echo $$ > me; sleep 1000 & echo $! > grandchild; {REGISTER}; wait")).await;
    let mut driver = cluster.driver().await;
    assert_eq!(driver.updated().await.state(), ExecutorState::Running);
    let app = cluster.work().join(&driver.app_id).join("0");
    let pids = [read_pid(&app.join("me")).unwrap(), read_pid(&app.join("grandchild")).unwrap()];
    let (dir, result) = cluster.stop().await;
    result.unwrap();
    assert!(!pids.iter().any(|pid| alive(*pid)));
    assert_eq!(fs::read_dir(dir.path().join("local")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_bootstrap_that_is_missing_fails_the_application_with_its_path() {
    let dir = tempfile::tempdir().unwrap();
    let cluster = Cluster::with(dir, Launcher::Bootstrap("/no/such/firesteel-executor".into()), None).await;
    let mut driver = cluster.driver().await;
    let m = driver.updated().await;
    assert_eq!(m.state(), ExecutorState::Failed);
    assert!(m.message.contains("/no/such/firesteel-executor"), "{}", m.message);
    driver.updated().await;
    assert!(matches!(driver.hear().await, Some(From::ApplicationRemoved(_))));
    cluster.stop().await.1.unwrap();
}

#[tokio::test]
async fn an_open_executable_is_started_and_the_launch_message_carries_only_the_applications_key() {
    // `cat` stands for an application: what it reads from the descriptor is what an executor would.
    let dir = tempfile::tempdir().unwrap();
    let secret = Secret::from_bytes("cluster");
    let script = r#"cat "/proc/self/fd/${FIRESTEEL_EXECUTOR%,*}" > launch"#;
    let bootstrap = write_script(dir.path(), script);
    let cluster = Cluster::with(dir, Launcher::Bootstrap(bootstrap), Some(secret.clone())).await;
    let mut driver = cluster.driver().await;
    assert_eq!(driver.updated().await.exit_code, Some(0));
    let bytes = fs::read(cluster.work().join(&driver.app_id).join("0/launch")).unwrap();
    let launch: ExecutorLaunch = firesteel_rpc::checked::decode(&bytes[..]).unwrap();
    assert_eq!((launch.app_id.as_str(), launch.executor_id, launch.cores), (driver.app_id.as_str(), 0, 1));
    assert_eq!(launch.app_key, secret.app_key(&driver.app_id).as_bytes());
    assert_eq!((launch.driver_address.as_str(), launch.bind_host.as_str()), ("127.0.0.1:9", "127.0.0.1"));
    assert_eq!(launch.local_dirs.len(), 1);
    cluster.stop().await.1.unwrap();

    let dir = tempfile::tempdir().unwrap();
    let file = Arc::new(fs::File::open("/bin/false").unwrap());
    let cluster = Cluster::with(dir, Launcher::Executable(file), None).await;
    assert_eq!(cluster.driver().await.updated().await.exit_code, Some(1));
    cluster.stop().await.1.unwrap();
}

#[tokio::test]
async fn no_master_is_an_error_that_names_the_address_after_bounded_attempts() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = taken.local_addr().unwrap().to_string();
    drop(taken);
    let mut config = config(dir.path(), &nobody, Launcher::Bootstrap("/bin/false".into()));
    config.settings.patience.rounds = 2;
    config.settings.patience.backoff = Duration::from_millis(1);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = firesteel_worker::run(WorkerListeners::place_alone(listener), config, std::future::pending())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains(&nobody) && error.contains("2 attempt"), "{error}");
}

#[tokio::test]
async fn it_is_told_when_a_master_has_registered_the_worker() {
    let dir = tempfile::tempdir().unwrap();
    let (master, _stop) = start_master(None);
    let mut config = config(dir.path(), &master, Launcher::Bootstrap("/bin/false".into()));
    let (told, mut registered) = tokio::sync::watch::channel(Standing::default());
    config.standing = Some(told);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let shutdown = async move {
        let standing = registered.wait_for(Standing::is_registered).await.unwrap().clone();
        assert_eq!(standing, Standing::Registered(format!("spark://{master}")));
    };
    tokio::time::timeout(LONG, firesteel_worker::run(WorkerListeners::place_alone(listener), config, shutdown))
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn zero_cores_are_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path(), "127.0.0.1:1", Launcher::Bootstrap("/bin/false".into()));
    config.cores = 0;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let error = firesteel_worker::run(WorkerListeners::place_alone(listener), config, std::future::pending())
        .await
        .unwrap_err();
    assert!(matches!(error, WorkerError::NothingToOffer { cores: 0, .. }));
}

/// Not a test by itself: the worker that the next test kills, in a process of its own.
#[tokio::test]
async fn worker_process() {
    let Ok(arguments) = std::env::var("TEST_WORKER") else { return };
    let (dir, master) = arguments.split_once('|').unwrap();
    let bootstrap = Path::new(dir).join("executor.sh");
    let config = config(Path::new(dir), master, Launcher::Bootstrap(bootstrap));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    firesteel_worker::run(WorkerListeners::place_alone(listener), config, std::future::pending()).await.unwrap();
}

#[tokio::test]
async fn a_worker_killed_with_kill_9_leaves_no_process_and_the_next_cleans_up() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!("{LIFELINE} echo $$ > me; sleep 1000 & echo $! > grandchild; {REGISTER}; wait");
    write_script(dir.path(), &script);
    let (master, _stop) = start_master(None);
    let mut worker = tokio::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "worker_process"])
        .env("TEST_WORKER", format!("{}|{master}", dir.path().display()))
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let cluster = Cluster {
        master: master.clone(),
        web: String::new(),
        stop_master: None,
        stop_worker: None,
        worker: None,
        secret: None,
        dir,
    };
    let mut driver = cluster.driver().await;
    assert_eq!(driver.updated().await.state(), ExecutorState::Running);
    let app = cluster.work().join(&driver.app_id).join("0");
    let pids = [read_pid(&app.join("me")).unwrap(), read_pid(&app.join("grandchild")).unwrap()];
    worker.start_kill().unwrap();
    worker.wait().await.unwrap();
    until_async("executor and grandchild are gone", || !pids.iter().any(|pid| alive(*pid))).await;
    let m = driver.updated().await;
    assert!(m.state() == ExecutorState::Lost && m.worker_lost, "{m:?}");

    let locals = block_dir(&cluster.dir.path().join("local"));
    assert!(fs::read_dir(&locals).unwrap().next().is_some(), "kill -9 leaves block directories behind");
    let config = config(cluster.dir.path(), &master, Launcher::Bootstrap("/bin/false".into()));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    firesteel_worker::run(WorkerListeners::place_alone(listener), config, std::future::ready(())).await.unwrap();
    assert_eq!(fs::read_dir(cluster.dir.path().join("local")).unwrap().count(), 0);
}
