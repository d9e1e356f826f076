//! What a peer that has the cluster's secret says with names that lead elsewhere, or for another: over real sockets, each
//! is refused, nothing outside is made or removed, and no line of a log is forged.

use std::{
    fs,
    io::{Read, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use firesteel_rpc::{
    Duplex, PROTOCOL_VERSION, Role, Secret, Transport,
    handshake::blocking,
    proto::{
        deploy::{
            ApplicationDescription, ApplicationFinished, ExecutorDescription, ExecutorState, ExecutorStateChanged,
            FromMaster, KillExecutor, LaunchExecutor, RegisterApplication, RegisterWorker, RegisteredWorker, ToMaster,
            WorkerLatestState, from_master::Message as From, to_master::Message as To,
        },
        executor::{RegisterExecutor, StatusUpdates, ToDriver, to_driver, to_executor},
    },
};
use firesteel_testing::until;

use crate::{
    cluster::{Cluster, start},
    strangers::{BLOCKS, connect, job, ports, sockets},
};

const SECRET: &str = "e2e-51c07d9e2ab8436f";
const PATIENCE: Duration = Duration::from_secs(20);
/// Names that lead elsewhere, or that are lines of their own.
const BAD: [&str; 6] = ["../../evil", "app-1/../..", "/tmp/evil", "..", "a\nINFO all is well", "a\0b"];

fn transport() -> Transport {
    Transport::new(Secret::from_bytes(SECRET)).connecting_within(PATIENCE)
}

/// What a master answers first to one message on a new stream; `None` when it closes the stream instead.
async fn answer(master: &str, role: Role, message: To) -> Option<From> {
    answers(master, role, vec![message]).await.pop().flatten()
}

/// The same to several messages on one stream, to each its answer.
async fn answers(master: &str, role: Role, messages: Vec<To>) -> Vec<Option<From>> {
    let mut stream = transport().connect_master(master, role, "").await.unwrap();
    let mut answers = Vec::new();
    for message in messages {
        // Fails where the stream has been closed, as its answer says.
        let _ = stream.tx.send(ToMaster { message: Some(message) });
        let answer = tokio::time::timeout(PATIENCE, stream.rx.recv()).await.expect("an answer or the end");
        answers.push(answer.and_then(|answer| answer.message));
    }
    answers
}

fn worker(worker_id: &str, host: &str, port: u16) -> RegisterWorker {
    RegisterWorker {
        protocol_version: PROTOCOL_VERSION,
        worker_id: worker_id.to_owned(),
        host: host.to_owned(),
        port: port.into(),
        cores: 1,
        memory_mb: 1,
        incarnation: vec![7; 16],
        ..RegisterWorker::default()
    }
}

fn application(app_id: &str, driver_address: &str) -> To {
    let application = ApplicationDescription {
        name: "a\nINFO all is well".to_owned(),
        driver_address: driver_address.to_owned(),
        ..ApplicationDescription::default()
    };
    To::RegisterApplication(RegisterApplication {
        protocol_version: PROTOCOL_VERSION,
        application: Some(application),
        app_id: app_id.to_owned(),
        incarnation: vec![7; 16],
        ..RegisterApplication::default()
    })
}

fn executor(app_id: &str) -> ExecutorDescription {
    let state = ExecutorState::Running.into();
    ExecutorDescription { app_id: app_id.to_owned(), executor_id: 1, cores: 1, memory_mb: 1, state }
}

async fn names_at_the_master(master: &str) {
    let no_worker = |answer| assert!(matches!(answer, Some(From::RegisterWorkerFailed(_)) | None), "{answer:?}");
    for (n, bad) in BAD.into_iter().enumerate() {
        no_worker(answer(master, Role::Worker, To::RegisterWorker(worker(bad, "127.0.0.1", 1))).await);
        no_worker(answer(master, Role::Worker, To::RegisterWorker(worker("worker-x", bad, 1))).await);
        let with = RegisterWorker { executors: vec![executor(bad)], ..worker("worker-x", "127.0.0.1", 1) };
        no_worker(answer(master, Role::Worker, To::RegisterWorker(with)).await);
        let address = format!("{bad}:1");
        for message in [application(bad, "127.0.0.1:1"), application("", &address), application("", bad)] {
            let answer = answer(master, Role::Driver, message).await;
            assert!(matches!(answer, Some(From::RegisterApplicationFailed(_)) | None), "{answer:?}");
        }
        // A worker that the master knows names an executor of nobody: its stream ends.
        let id = format!("worker-known-{n}");
        let known = To::RegisterWorker(worker(&id, "127.0.0.1", 2 + n as u16));
        let changed = ExecutorStateChanged { message: bad.to_owned(), stderr_tail: bad.to_owned(), ..changed(bad) };
        let latest = WorkerLatestState { worker_id: id, executors: vec![executor(bad)], ..Default::default() };
        for said in [To::ExecutorStateChanged(changed), To::WorkerLatestState(latest)] {
            let answers = answers(master, Role::Worker, vec![known.clone(), said]).await;
            assert!(matches!(&answers[..], [Some(From::RegisteredWorker(_)), None]), "{bad:?}: {answers:?}");
        }
    }
}

fn changed(app_id: &str) -> ExecutorStateChanged {
    let state = ExecutorState::Failed.into();
    ExecutorStateChanged { app_id: app_id.to_owned(), executor_id: 1, state, ..ExecutorStateChanged::default() }
}

/// Nobody speaks for a role that it has not, or in the place of one that lives.
async fn roles_and_places_at_the_master(master: &str, place: u16, app_id: &str) {
    let register = || To::RegisterWorker(worker("worker-x", "127.0.0.1", 1));
    for role in [Role::Client, Role::Driver] {
        let answers = answers(master, role, vec![register(), register()]).await;
        assert!(matches!(&answers[..], [Some(From::RegisterWorkerFailed(_)), None]), "{role}: {answers:?}");
    }
    for role in [Role::Client, Role::Worker] {
        let answer = answer(master, role, application("", "127.0.0.1:1")).await;
        assert!(matches!(answer, Some(From::RegisterApplicationFailed(_))), "{role}: {answer:?}");
    }
    match answer(master, Role::Worker, To::RegisterWorker(worker("worker-x", "127.0.0.1", place))).await {
        Some(From::RegisterWorkerFailed(failed)) => {
            assert!(failed.held && failed.reason.contains("live"), "{failed:?}")
        }
        other => panic!("a live worker was displaced: {other:?}"),
    }
    let answer = answer(master, Role::Driver, application(app_id, "127.0.0.1:1")).await;
    assert!(matches!(answer, Some(From::RegisterApplicationFailed(_))), "an application was taken over: {answer:?}");
}

/// A process that has the application's key says at its driver's port what no executor of it would.
async fn names_at_the_driver(addr: &str, app_id: &str) {
    let transport = transport().of_application(app_id);
    let first = |message| async {
        let mut stream = transport.connect_driver(addr, app_id).await.unwrap();
        stream.tx.send(ToDriver { message: Some(message) }).unwrap();
        stream.rx.recv().await.and_then(|answer| answer.message)
    };
    let lost = first(to_driver::Message::StatusUpdates(StatusUpdates::default())).await;
    assert!(matches!(lost, Some(to_executor::Message::RegisterExecutorFailed(_)) | None), "{lost:?}");
    for bad in BAD {
        let register = RegisterExecutor {
            protocol_version: PROTOCOL_VERSION,
            executor_id: 1 << 20,
            host: bad.to_owned(),
            block_address: format!("{bad}:1"),
            local_dirs: vec![bad.to_owned()],
            shuffle_service_address: bad.to_owned(),
            ..RegisterExecutor::default()
        };
        let answer = first(to_driver::Message::RegisterExecutor(register)).await;
        assert!(matches!(answer, Some(to_executor::Message::RegisterExecutorFailed(_)) | None), "{answer:?}");
    }
}

/// Asks an executor to fetch a map output, and a kept partition, from an address that is none.
fn names_at_the_blocks(port: u16, app_id: &str) {
    let transport = transport().of_application(app_id);
    for bad in BAD {
        let from = [&(bad.len() as u16).to_le_bytes()[..], bad.as_bytes()].concat();
        let adopt = [&[130][..], &1u32.to_le_bytes(), &1u64.to_le_bytes(), &from].concat();
        let replicate =
            [&[129][..], &0u16.to_le_bytes(), &from, &[1], &1u32.to_le_bytes(), &1u32.to_le_bytes()].concat();
        for request in [adopt, replicate] {
            let mut stream = connect(port).unwrap();
            blocking::open(&mut stream, BLOCKS, Role::Executor, app_id, transport.security()).unwrap();
            stream.write_all(&request).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            let said = String::from_utf8_lossy(&answer);
            // A status that says done would be a few bytes.
            assert!(said.is_empty() || said.len() > 20, "an error in words, or the end of the connection: {said:?}");
        }
    }
}

#[test]
fn a_peer_with_the_secret_reaches_nothing_outside_and_displaces_nobody() {
    let cluster = Cluster::configured(1, 1, &format!("spark.authenticate.secret {SECRET}\n"));
    let sc = cluster.context().set("spark.authenticate.secret", SECRET).build().unwrap();
    let executor = crate::cluster::executor_pids(&sc, &cluster.board("pids"), 1)[0];
    job(&sc);
    let (master, app_id) = (cluster.url.strip_prefix("spark://").unwrap(), sc.application_id());
    let web = cluster.web("worker-0");
    let mut listens = ports(cluster.workers[0].pid());
    listens.retain(|port| !web.ends_with(&format!(":{port}")));
    let [place] = listens[..] else { panic!("a worker listens at its place and its web port alone") };
    let called = sockets(executor, "01").into_iter().map(|(_, remote)| remote);
    let own = ports(std::process::id());
    let driver: Vec<u16> = called.filter(|port| own.contains(port)).collect();
    let before = entries(&cluster);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        names_at_the_master(master).await;
        roles_and_places_at_the_master(master, place, app_id).await;
        for port in driver {
            // Its block port does not speak this protocol.
            if transport().of_application(app_id).connect_driver(&format!("127.0.0.1:{port}"), app_id).await.is_ok() {
                names_at_the_driver(&format!("127.0.0.1:{port}"), app_id).await;
            }
        }
    });
    ports(executor).into_iter().for_each(|port| names_at_the_blocks(port, app_id));
    job(&sc);
    assert_eq!(entries(&cluster), before);
    no_line_is_forged(&cluster, &["master", "worker-0"]);
    assert!(cluster.said_by_executors().lines().all(|line| !line.starts_with("INFO")));
}

/// What lies in the directory of the cluster, and in the work directory.
fn entries(cluster: &Cluster) -> Vec<String> {
    let dirs = [cluster.dir.path().to_owned(), cluster.dir.path().join("work-0")];
    let entries = dirs.iter().flat_map(|dir| fs::read_dir(dir).unwrap());
    let mut entries: Vec<String> = entries.map(|e| e.unwrap().path().to_string_lossy().into_owned()).collect();
    entries.sort();
    entries
}

fn no_line_is_forged(cluster: &Cluster, daemons: &[&str]) {
    for daemon in daemons {
        let log = fs::read_to_string(cluster.dir.path().join(format!("{daemon}.log"))).unwrap();
        assert!(log.lines().all(|line| !line.starts_with("INFO")), "a forged line in the log of {daemon}: {log}");
    }
}

/// What a master that has gone mad sends.
fn orders() -> Vec<From> {
    let mut orders = Vec::new();
    for bad in BAD.into_iter().chain(["../keep"]) {
        let app_id = bad.to_owned();
        let launch =
            LaunchExecutor { app_id: app_id.clone(), executor_id: 1, cores: 1, memory_mb: 1, application: None };
        orders.push(From::LaunchExecutor(launch));
        orders.push(From::KillExecutor(KillExecutor { app_id: app_id.clone(), executor_id: 1 }));
        orders.push(From::ApplicationFinished(ApplicationFinished { app_id }));
    }
    orders
}

/// Registers a worker, gives it the next order, and waits until it has had enough.
async fn order(mut worker: Duplex<ToMaster, FromMaster>, orders: Arc<Mutex<Vec<From>>>) {
    let mut given = None;
    while let Some(ToMaster { message }) = worker.rx.recv().await {
        if let Some(To::RegisterWorker(_)) = message {
            let master_url = "spark://127.0.0.1:1".to_owned();
            let registered = RegisteredWorker { master_url, worker_timeout_ms: 600_000, duplicate: false };
            given = orders.lock().unwrap().first().cloned();
            for message in [Some(From::RegisteredWorker(registered)), given.clone()].into_iter().flatten() {
                worker.tx.send(FromMaster { message: Some(message) }).unwrap();
            }
        }
    }
    // Refused: this one is done.
    let mut orders = orders.lock().unwrap();
    if given.is_some() && orders.first() == given.as_ref() {
        orders.remove(0);
    }
}

#[test]
fn a_worker_takes_no_order_that_names_what_is_outside() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("spark-defaults.conf"), format!("spark.authenticate.secret {SECRET}\n")).unwrap();
    fs::create_dir(dir.path().join("keep")).unwrap();
    fs::write(dir.path().join("keep/file"), "kept").unwrap();
    let listener = transport().bind("127.0.0.1", 0).unwrap();
    let url = format!("spark://{}", listener.local_addr().unwrap());
    let left = Arc::new(Mutex::new(orders()));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let orders = left.clone();
    let on_peer = move |worker| _ = tokio::spawn(order(worker, orders.clone()));
    runtime.spawn(async move { transport().serve_master(listener, on_peer, std::future::pending()).await });
    let work = dir.path().join("work");
    let args = ["--host", "127.0.0.1", "--port", "0", "--cores", "1", "--memory", "1g"];
    let args: Vec<&str> = args.into_iter().chain(["--work-dir", work.to_str().unwrap(), &url]).collect();
    let (mut worker, _) = start(env!("CARGO_BIN_EXE_firesteel-worker"), "worker", dir.path(), &args);
    until("the worker to refuse every order", || left.lock().unwrap().is_empty());
    assert!(worker.lives());
    assert_eq!(fs::read_to_string(dir.path().join("keep/file")).unwrap(), "kept");
    let mut names: Vec<String> =
        fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["keep", "spark-defaults.conf", "work", "worker.log", "worker.ready"]);
    let mut made = fs::read_dir(&work).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    assert!(made.all(|name| name.starts_with('.')), "a directory for an application of nobody");
    let log = fs::read_to_string(dir.path().join("worker.log")).unwrap();
    assert!(log.lines().all(|line| !line.starts_with("INFO")), "{log}");
}
