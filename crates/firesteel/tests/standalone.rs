//! `spark://`: a driver on a master and a worker that are not its own. They run in this process, executors do not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeSet,
    net::{SocketAddr, TcpListener},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use firesteel::prelude::*;
use firesteel_master::{MasterConfig, MasterListeners};
use firesteel_rpc::{Secret, Transport, master_client::MasterClientConfig};
use firesteel_testing::{gone, until};
use firesteel_worker::{Launcher, WorkerConfig, WorkerListeners, WorkerSettings};
use tokio::{runtime::Runtime, sync::oneshot, task::JoinHandle};

/// A daemon that ends when it is stopped or dropped.
struct Daemon {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Daemon {
    fn stop(self, runtime: &Runtime) {
        self.stop.send(()).unwrap();
        runtime.block_on(self.task).unwrap();
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn listen() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

fn master(runtime: &Runtime, listener: TcpListener, secret: Option<&str>) -> Daemon {
    let config = MasterConfig { transport: Transport::new(secret.map(Secret::from_bytes)), ..MasterConfig::default() };
    let (stop, stopped) = oneshot::channel::<()>();
    let work = async {
        firesteel_master::run(MasterListeners::rpc_alone(listener), config, async { _ = stopped.await }).await.unwrap()
    };
    Daemon { stop, task: runtime.spawn(work) }
}

fn worker(runtime: &Runtime, addr: SocketAddr, work_dir: &Path, secret: Option<&str>) -> Daemon {
    let executable = std::fs::File::open("/proc/self/exe").unwrap();
    let patience = MasterClientConfig { backoff: Duration::from_millis(50), ..MasterClientConfig::default() };
    let config = WorkerConfig {
        master: format!("spark://{addr}").parse().unwrap(),
        host: "127.0.0.1".to_owned(),
        cores: 2,
        memory_mb: 1024,
        work_dir: work_dir.to_owned(),
        local_dirs: Vec::new(),
        transport: Transport::new(secret.map(Secret::from_bytes)),
        launcher: Launcher::Executable(Arc::new(executable)),
        settings: WorkerSettings { patience, ..WorkerSettings::default() },
        standing: None,
        decommission: None,
    };
    let (stop, stopped) = oneshot::channel::<()>();
    let work = async {
        firesteel_worker::run(WorkerListeners::place_alone(listen()), config, async { _ = stopped.await })
            .await
            .unwrap()
    };
    Daemon { stop, task: runtime.spawn(work) }
}

fn pids(sc: &Context) -> BTreeSet<u32> {
    sc.partitioned(16).range(0..16u32).map(|_| std::process::id()).collect().unwrap().into_iter().collect()
}

#[test]
fn a_job_outlives_its_master_and_the_next_master_replaces_executors() {
    let (runtime, dir, listener) = (runtime(), tempfile::tempdir().unwrap(), listen());
    let addr = listener.local_addr().unwrap();
    let first = master(&runtime, listener, None);
    let worker = worker(&runtime, addr, dir.path(), None);
    let sc = Context::builder().app_name("t").master(&format!("spark://{addr}")).build().unwrap();
    let app_id = sc.application_id().to_owned();
    let before = pids(&sc);
    assert_eq!(before.len(), 1);

    first.stop(&runtime);
    assert_eq!(pids(&sc), before, "the executor runs on without a master");

    let second = master(&runtime, TcpListener::bind(addr).unwrap(), None);
    let old = *before.first().unwrap();
    let killed = std::process::Command::new("kill").args(["-9", &old.to_string()]).status().unwrap();
    assert!(killed.success());
    let after = pids(&sc);
    assert!(!after.is_empty() && !after.contains(&old));
    assert_eq!(sc.application_id(), app_id);

    sc.stop();
    until("the executor is gone", || !after.iter().any(|pid| !gone(*pid)));
    worker.stop(&runtime);
    second.stop(&runtime);
}

#[test]
fn an_application_with_the_clusters_secret_is_served_and_another_is_refused_at_once() {
    let (runtime, dir, listener) = (runtime(), tempfile::tempdir().unwrap(), listen());
    let addr = listener.local_addr().unwrap();
    let master = master(&runtime, listener, Some("s3cret"));
    let worker = worker(&runtime, addr, dir.path(), Some("s3cret"));
    let builder = |secret: &str| {
        let builder = Context::builder().app_name("t").master(&format!("spark://{addr}"));
        builder.set("spark.authenticate.secret", secret)
    };
    let began = Instant::now();
    let error = builder("other").build().err().unwrap().to_string();
    assert!(error.contains(&addr.to_string()), "{error}");
    assert!(began.elapsed() < Duration::from_secs(5), "what cannot get better is not tried again");

    let sc = builder("s3cret").build().unwrap();
    let seen =
        sc.partitioned(1).parallelize([0u8]).map(|_| std::env::vars().any(|(_, v)| v.contains("s3cret"))).collect();
    assert_eq!(seen.unwrap(), [false]);
    // Large enough for the block service, which has the same secret.
    assert_eq!(sc.partitioned(1).parallelize(vec![vec![1u8; 2 << 20]]).collect().unwrap()[0].len(), 2 << 20);
    sc.stop();
    worker.stop(&runtime);
    master.stop(&runtime);
}

#[test]
fn a_master_that_cannot_be_reached_is_an_error_with_its_address_after_bounded_attempts() {
    let listener = listen();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    let began = Instant::now();
    let error = Context::builder().app_name("t").master(&format!("spark://{addr}")).build().err().unwrap().to_string();
    assert!(error.contains(&addr.to_string()) && error.contains("attempt"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[test]
fn what_the_master_refuses_is_said_at_the_start() {
    let (runtime, listener) = (runtime(), listen());
    let addr = listener.local_addr().unwrap();
    let master = master(&runtime, listener, None);
    let builder = Context::builder().app_name("t").master(&format!("spark://{addr}"));
    let error = builder.set("spark.executor.cores", 4).set("spark.cores.max", 2).build().err().unwrap().to_string();
    assert!(error.contains("spark.executor.cores is 4"), "{error}");
    master.stop(&runtime);
}

#[test]
fn a_job_fails_when_the_master_removes_the_application() {
    let (runtime, dir, listener) = (runtime(), tempfile::tempdir().unwrap(), listen());
    let addr = listener.local_addr().unwrap();
    let master = master(&runtime, listener, None);
    let worker = worker(&runtime, addr, dir.path(), None);
    // Executors cannot reach a driver that says it is elsewhere.
    let builder = Context::builder().app_name("t").master(&format!("spark://{addr}"));
    let sc =
        builder.set("spark.driver.host", "127.0.0.2").set("spark.driver.bindAddress", "127.0.0.1").build().unwrap();
    let error = sc.partitioned(2).range(0..4u32).count().unwrap_err().to_string();
    assert!(error.contains("127.0.0.2"), "{error}");
    sc.stop();
    worker.stop(&runtime);
    master.stop(&runtime);
}
