//! The master as a daemon on a port of its own, with raw peers that speak its protocol.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what is wrong by panicking")]

use std::{
    net::TcpListener,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use firesteel_master::{MasterConfig, MasterListeners, MasterRules, run};
use firesteel_rpc::{
    Duplex, PROTOCOL_VERSION, Role, RpcError, Secret, Transport,
    proto::deploy::{
        ApplicationDescription, FromMaster, RegisterApplication, RegisterWorker, ToMaster, UnregisterApplication,
        from_master::Message as From, to_master::Message as To,
    },
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};

const LONG: Duration = Duration::from_secs(20);

struct Daemon {
    addr: String,
    web: String,
    stop: Option<oneshot::Sender<()>>,
    done: JoinHandle<Result<(), RpcError>>,
}

impl Daemon {
    fn start(rules: MasterRules, secret: Option<Secret>) -> Daemon {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap().to_string();
        let web_listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let web = web_listener.local_addr().unwrap().to_string();
        let listeners = MasterListeners { rpc: listener, web: Some(web_listener) };
        let (stop, stopped) = oneshot::channel();
        let config = MasterConfig { rules, transport: Transport::new(secret) };
        let done = tokio::spawn(run(listeners, config, async move {
            let _ = stopped.await;
        }));
        Daemon { addr, web, stop: Some(stop), done }
    }

    /// What the web port answers to a request.
    async fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.web).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(LONG, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }

    /// The state as JSON, at one of its two paths.
    async fn state(&self, path: &str) -> Value {
        let answer = self.ask(&format!("GET {path} HTTP/1.1\r\nHost: m\r\n\r\n")).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
        serde_json::from_str(body).unwrap()
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
async fn the_web_port_shows_workers_and_applications_and_changes_nothing() {
    let secret = Secret::from_bytes("what only these know");
    let daemon = Daemon::start(MasterRules::default(), Some(secret.clone()));
    assert_eq!(daemon.state("/json").await["workers"], json!([]));
    let mut w = daemon.peer(Role::Worker, Some(&secret)).await;
    w.say(worker("w1"));
    w.hear().await;
    let mut d = daemon.peer(Role::Driver, Some(&secret)).await;
    d.say(application());
    let Some(From::RegisteredApplication(registered)) = d.hear().await else { panic!("not registered") };
    assert!(matches!(w.hear().await, Some(From::LaunchExecutor(_))));

    let state = daemon.state("/json/").await;
    assert_eq!(state["url"], format!("spark://{}", daemon.addr));
    assert_eq!(state["status"], "ALIVE");
    let sums = ["aliveworkers", "cores", "coresused", "memory", "memoryused"].map(|name| state[name].as_u64().unwrap());
    assert_eq!(sums, [1, 2, 2, 1024, 512]);
    let shown = &state["workers"][0];
    let names = ["id", "host", "port", "cores", "coresused", "memory", "memoryused", "state"];
    assert_eq!(
        names.map(|name| shown[name].clone()),
        [json!("w1"), json!("127.0.0.1"), json!(1), json!(2), json!(2), json!(1024), json!(512), json!("ALIVE"),]
    );
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
    let heard = shown["lastheartbeat"].as_u64().unwrap();
    assert!(heard <= now && heard + 60_000 > now, "{heard} and {now}");
    let app = &state["activeapps"][0];
    let names = ["id", "name", "cores", "memoryperexecutor", "memoryperslave", "state"];
    assert_eq!(
        names.map(|name| app[name].clone()),
        [json!(registered.app_id), json!("test"), json!(2), json!(512), json!(512), json!("WAITING"),]
    );
    assert_eq!(app["executors"], json!([{"id": 0, "worker": "w1", "cores": 2, "memory": 512, "state": "LAUNCHING"}]));
    assert_eq!(state["completedapps"], json!([]));
    for told in [hex(&registered.token), "what only these know".to_owned()] {
        assert!(!state.to_string().contains(&told), "{state}");
    }

    for request in ["POST /json", "POST /app/kill/?id=0", "DELETE /json"] {
        let answer = daemon.ask(&format!("{request} HTTP/1.1\r\nHost: m\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 405"), "{answer}");
    }
    assert_eq!(daemon.state("/json").await["activeapps"][0]["id"], registered.app_id);

    d.say(To::UnregisterApplication(UnregisterApplication { app_id: registered.app_id.clone() }));
    assert!(matches!(w.hear().await, Some(From::KillExecutor(_))));
    let state = daemon.state("/json").await;
    assert_eq!(state["activeapps"], json!([]));
    let over = &state["completedapps"][0];
    assert_eq!((&over["id"], &over["state"]), (&json!(registered.app_id), &json!("FINISHED")));
}

fn hex(bytes: &[u8]) -> String {
    assert!(!bytes.is_empty());
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
