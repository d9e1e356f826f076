//! The master as a daemon on a port of its own, with raw peers that speak its protocol.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what is wrong by panicking")]

use std::net::TcpListener;
use std::time::Duration;

use firesteel_master::{MasterConfig, MasterRules, run};
use firesteel_rpc::proto::deploy::{
    ApplicationDescription, FromMaster, RegisterApplication, RegisterWorker, ToMaster, UnregisterApplication,
    from_master::Message as From, to_master::Message as To,
};
use firesteel_rpc::{Duplex, PROTOCOL_VERSION, Role, RpcError, Secret, Transport};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

const LONG: Duration = Duration::from_secs(20);

struct Daemon {
    addr: String,
    stop: Option<oneshot::Sender<()>>,
    done: JoinHandle<Result<(), RpcError>>,
}

impl Daemon {
    fn start(rules: MasterRules, secret: Option<Secret>) -> Daemon {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let (stop, stopped) = oneshot::channel();
        let config = MasterConfig { rules, transport: Transport::new(secret) };
        let done = tokio::spawn(run(listener, config, async move {
            let _ = stopped.await;
        }));
        Daemon { addr, stop: Some(stop), done }
    }

    async fn peer(&self, role: Role, secret: Option<&Secret>) -> Peer {
        Peer(Transport::new(secret.cloned()).connect_master(&self.addr, role, "").await.unwrap())
    }
}

struct Peer(Duplex<FromMaster, ToMaster>);

impl Peer {
    fn say(&self, message: To) {
        self.0.tx.send(ToMaster { message: Some(message) }).unwrap();
    }

    async fn hear(&mut self) -> Option<From> {
        tokio::time::timeout(LONG, self.0.rx.recv()).await.expect("an answer in time").and_then(|m| m.message)
    }
}

fn worker(id: &str) -> To {
    To::RegisterWorker(RegisterWorker {
        protocol_version: PROTOCOL_VERSION,
        worker_id: id.to_owned(),
        host: "127.0.0.1".to_owned(),
        port: 1,
        cores: 2,
        memory_mb: 1024,
        executors: Vec::new(),
        decommissioning: false,
        incarnation: Vec::new(),
    })
}

fn application() -> To {
    To::RegisterApplication(RegisterApplication {
        protocol_version: PROTOCOL_VERSION,
        application: Some(ApplicationDescription {
            name: "test".to_owned(),
            memory_per_executor_mb: 512,
            ..ApplicationDescription::default()
        }),
        app_id: String::new(),
        next_executor_id: 0,
        executor_limit: None,
        incarnation: Vec::new(),
        token: Vec::new(),
    })
}

#[tokio::test]
async fn an_application_gets_an_executor_and_loses_it_when_it_unregisters() {
    let secret = Secret::from_bytes("s");
    let daemon = Daemon::start(MasterRules::default(), Some(secret.clone()));
    let mut w = daemon.peer(Role::Worker, Some(&secret)).await;
    w.say(worker("w1"));
    let Some(From::RegisteredWorker(registered)) = w.hear().await else { panic!("not registered") };
    assert_eq!(registered.master_url, format!("spark://{}", daemon.addr));

    let mut d = daemon.peer(Role::Driver, Some(&secret)).await;
    d.say(application());
    let Some(From::RegisteredApplication(registered)) = d.hear().await else { panic!("not registered") };
    assert!(matches!(d.hear().await, Some(From::ExecutorAdded(a)) if a.worker_id == "w1" && a.cores == 2));
    assert!(matches!(w.hear().await, Some(From::LaunchExecutor(l)) if l.app_id == registered.app_id));

    d.say(To::UnregisterApplication(UnregisterApplication { app_id: registered.app_id.clone() }));
    assert!(matches!(w.hear().await, Some(From::KillExecutor(k)) if k.app_id == registered.app_id));
    assert!(matches!(w.hear().await, Some(From::ApplicationFinished(_))));
}

#[tokio::test]
async fn a_driver_that_drops_its_stream_is_missed_after_the_grace() {
    let daemon =
        Daemon::start(MasterRules { application_grace: Duration::from_millis(20), ..MasterRules::default() }, None);
    let mut w = daemon.peer(Role::Worker, None).await;
    w.say(worker("w1"));
    w.hear().await;
    let mut d = daemon.peer(Role::Driver, None).await;
    d.say(application());
    d.hear().await;
    assert!(matches!(w.hear().await, Some(From::LaunchExecutor(_))));
    drop(d);
    assert!(matches!(w.hear().await, Some(From::KillExecutor(_))));
}

#[tokio::test]
async fn a_silent_worker_finds_its_stream_closed() {
    let rules = MasterRules { worker_timeout: Duration::from_millis(50), ..MasterRules::default() };
    let daemon = Daemon::start(rules, None);
    let mut w = daemon.peer(Role::Worker, None).await;
    w.say(worker("w1"));
    assert!(matches!(w.hear().await, Some(From::RegisteredWorker(r)) if r.worker_timeout_ms == 50));
    assert_eq!(w.hear().await, None);
}

#[tokio::test]
async fn shutdown_closes_every_stream_and_ends() {
    let mut daemon = Daemon::start(MasterRules::default(), None);
    let mut w = daemon.peer(Role::Worker, None).await;
    w.say(worker("w1"));
    w.hear().await;
    daemon.stop.take().unwrap().send(()).unwrap();
    assert_eq!(w.hear().await, None);
    tokio::time::timeout(LONG, daemon.done).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_peer_with_another_secret_does_not_come_in() {
    let daemon = Daemon::start(MasterRules::default(), Some(Secret::from_bytes("right")));
    let wrong = Secret::from_bytes("wrong");
    let refused = Transport::new(wrong).connect_master(&daemon.addr, Role::Worker, "").await;
    assert!(refused.unwrap_err().to_string().contains(&daemon.addr));
}
