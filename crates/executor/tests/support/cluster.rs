//! A driver of the test and an executor process that runs the test's own program.
#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::{
    io::Read as _,
    os::fd::{AsFd as _, AsRawFd as _},
    process::{Command, Stdio},
    time::Duration,
};

use firesteel_os::{Lifeline, ProcessEnd, memfd::memfd};
use firesteel_protocol::{RegisterExecutor, TaskUpdate, ToDriver, ToExecutor};
use firesteel_rpc::{
    Duplex, Secret, Transport,
    proto::{deploy::ExecutorLaunch, executor as proto},
};
use prost::Message as _;
use tokio::sync::mpsc;

use super::{End, end_of};

/// For what should take moments.
pub const WAIT: Duration = Duration::from_secs(60);

/// The stream of an executor.
pub type Peer = Duplex<proto::ToDriver, proto::ToExecutor>;

/// A driver with one executor process.
pub struct Cluster {
    pub child: firesteel_os::Child,
    pub lifeline: Option<Lifeline>,
    stderr: std::io::PipeReader,
    peers: mpsc::UnboundedReceiver<Peer>,
    registered: std::fs::File,
    pub memory_record: std::path::PathBuf,
    _dir: tempfile::TempDir,
}

impl Cluster {
    /// Starts the process. Driver and executor hold the keys that are given.
    pub fn start(driver_key: Option<Secret>, executor_key: Option<Secret>) -> Cluster {
        Cluster::printing_to(Stdio::null(), driver_key, executor_key)
    }

    /// The same, with a place for what tasks print.
    pub fn printing_to(stdout: Stdio, driver_key: Option<Secret>, executor_key: Option<Secret>) -> Cluster {
        let listener = Transport::default().bind("127.0.0.1", 0).unwrap();
        let driver_address = listener.local_addr().unwrap().to_string();
        let (tx, peers) = mpsc::unbounded_channel();
        let on_peer = move |peer| drop(tx.send(peer));
        let transport = Transport::new(driver_key);
        tokio::spawn(async move { transport.serve_driver(listener, "app-1", on_peer, std::future::pending()).await });
        let dir = tempfile::tempdir().unwrap();
        let registered_fifo = dir.path().join("registered");
        assert!(Command::new("mkfifo").arg(&registered_fifo).status().unwrap().success());
        // As the worker has it: for both, so that it never reads as ended.
        let registered = std::fs::File::options().read(true).write(true).open(&registered_fifo).unwrap();
        let memory_record = dir.path().join("memory");
        firesteel_os::memory_record::create(&memory_record).unwrap();
        let launch = ExecutorLaunch {
            worker_id: "worker-1".to_owned(),
            app_id: "app-1".to_owned(),
            executor_id: 4,
            host: "127.0.0.1".to_owned(),
            bind_host: "127.0.0.1".to_owned(),
            cores: 2,
            memory_mb: 64,
            driver_address,
            app_key: executor_key.map(|k| k.as_bytes().to_vec()).unwrap_or_default(),
            local_dirs: vec![dir.path().join("local").to_string_lossy().into_owned()],
            registered_path: registered_fifo.to_string_lossy().into_owned(),
            memory_record_path: memory_record.to_string_lossy().into_owned(),
            ..Default::default()
        };
        let config = memfd("launch", &launch.encode_to_vec()).unwrap();
        let (lifeline, read) = Lifeline::new().unwrap();
        let (stderr, stderr_write) = std::io::pipe().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        let marker = firesteel_closure::entry::marker_value(config.as_raw_fd(), read.as_raw_fd());
        command.env(firesteel_closure::entry::MARKER, marker);
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr_write);
        let child = firesteel_os::spawn(command, &[config.as_fd(), read.as_fd()]).unwrap();
        Cluster { child, lifeline: Some(lifeline), stderr, peers, registered, memory_record, _dir: dir }
    }

    /// Takes the executor's registration without answering it.
    pub async fn registration(&mut self) -> (Peer, RegisterExecutor) {
        let mut peer = tokio::time::timeout(WAIT, self.peers.recv()).await.unwrap().unwrap();
        match next(&mut peer).await.unwrap() {
            ToDriver::RegisterExecutor(registration) => (peer, *registration),
            other => panic!("{other:?}"),
        }
    }

    pub async fn registered(&mut self) -> Peer {
        let (peer, _) = self.registration().await;
        let conf = [("spark.executor.heartbeatInterval".to_owned(), "20ms".to_owned())].into();
        send(&peer, ToExecutor::RegisteredExecutor(conf));
        peer
    }

    /// What the executor has written to its worker, once it has written something.
    pub async fn told_worker(&self) -> Vec<u8> {
        let mut fifo = self.registered.try_clone().unwrap();
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; 64];
            let n = fifo.read(&mut bytes).unwrap();
            bytes.truncate(n);
            bytes
        });
        tokio::time::timeout(WAIT, read).await.unwrap().unwrap()
    }

    /// How it ended, and what it said on standard error.
    pub async fn end(&mut self) -> (ProcessEnd, String) {
        let end = tokio::time::timeout(WAIT, self.child.wait()).await.unwrap().unwrap();
        let mut text = String::new();
        self.stderr.read_to_string(&mut text).unwrap();
        (end, text)
    }
}

pub fn send(peer: &Peer, message: ToExecutor) {
    peer.tx.send(message.into()).unwrap();
}

/// The next message.
pub async fn next(peer: &mut Peer) -> Option<ToDriver> {
    Some(ToDriver::try_from(tokio::time::timeout(WAIT, peer.rx.recv()).await.unwrap()?).unwrap())
}

/// The next message that is no heartbeat.
pub async fn next_updates(peer: &mut Peer) -> Option<Vec<TaskUpdate>> {
    loop {
        match next(peer).await? {
            ToDriver::StatusUpdates(updates) => return Some(updates),
            ToDriver::Heartbeat => {}
            other => panic!("{other:?}"),
        }
    }
}

pub async fn next_end(peer: &mut Peer) -> (u64, End) {
    let updates = next_updates(peer).await.unwrap();
    (updates[0].task.0, end_of(&updates[0]).unwrap())
}
