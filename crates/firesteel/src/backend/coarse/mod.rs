//! Executors that are processes of their own and connect to the driver, whichever cluster manager starts them. Spark:
//! `CoarseGrainedSchedulerBackend`.
//!
//! ```text
//!  start ──▶ Session (a thread with a runtime of its own) ──▶ Manager (manager.rs) ◀──▶ the cluster manager
//!    │          ├─ a task an executor (endpoint) ◀──stream── executor
//!    │          └─ Service, with the Roster: who was granted, who is connected, who is gone ──Message──▶ Driver's event loop
//!    └──▶ BlockServer: stage data, partitions, the application's executable
//! ```
//!
//! Called by the cluster managers beside this module; what it gives back is the driver and the [`Backend`] that ends all of
//! this. Nothing blocks inside an async context of the user's: the threads here are plain ones, waited for through channels.

mod endpoint;
mod manager;
mod reception;
mod service;
mod session;
mod settings;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use firesteel_closure::binary::{RunningBinary, running_binary};
use firesteel_rpc::{Role, bind::host_port};
use firesteel_storage::{Abort, BlockClient, BlockId, BlockManager, BlockServer, Served};
use firesteel_task::BroadcastValues;
use tokio::sync::{mpsc as async_mpsc, oneshot, watch};

use self::session::Session;
pub(in crate::backend) use self::{
    manager::{Application, Manager, News},
    settings::DriverSettings,
};
use super::{Backend, Start, failed};
use crate::{
    Error, Result,
    driver::{Driver, DriverBlocks, FetchBlock, RemoveShuffle, RequestExecutors},
};

/// The session says goodbye to cluster manager and executors within this time, or is left behind.
const FAREWELL: Duration = Duration::from_secs(8);

/// Starts the driver of an application whose executors are granted by the manager that `connect` makes, on the session's
/// thread. Until executors are there it counts on `floor` cores.
pub(super) fn start<M: Manager>(
    settings: DriverSettings,
    floor: u32,
    connect: impl FnOnce(Application) -> M + Send + 'static,
    Start { config, cores, bus, .. }: Start<'_>,
) -> Result<(Driver, Box<dyn Backend>)> {
    let binary = running_binary().map_err(failed)?;
    let listen = |port| settings.transport.bind_one_of(&settings.bind_address, port, settings.port_retries);
    let listener = listen(settings.port).map_err(failed)?;
    let block_listener = listen(settings.block_port).map_err(failed)?;
    let address = |listener: &std::net::TcpListener| {
        listener.local_addr().map(|addr| host_port(&settings.host, addr.port())).map_err(failed)
    };
    let block_address = address(&block_listener)?;
    let application = Application {
        driver_address: address(&listener)?,
        block_address: block_address.clone(),
        binary,
        // The driver's first request follows; until then there shall not be more.
        executors: config.allocation.as_ref().map(|allocation| allocation.initial),
    };

    let (started, registered) = mpsc::channel();
    let (wiring, wired) = oneshot::channel();
    let (stop, stopping) = watch::channel(false);
    cores.store(floor, Ordering::Relaxed);
    let (request_executors, requests) = async_mpsc::unbounded_channel();
    let session = Session {
        application,
        connect,
        transport: settings.transport.clone(),
        network_timeout: settings.network_timeout,
        conf: settings.executor_conf.clone(),
        listener,
        cores: cores.clone(),
        floor,
        requests,
        stopping,
    };
    let (done, ended) = mpsc::channel();
    let thread = std::thread::Builder::new()
        .name("firesteel-session".into())
        .spawn(move || {
            session.run(started, wired);
            // Nobody waits any more when this fails.
            let _ = done.send(());
        })
        .map_err(failed)?;
    // From here on an early return ends what runs.
    let mut cluster = Cluster {
        app_id: String::new(),
        attempt_id: None,
        stop,
        fetching: Arc::new(AtomicBool::new(true)),
        session: Some((ended, thread)),
        blocks: None,
    };
    (cluster.app_id, cluster.attempt_id) = match registered.recv() {
        Ok(Ok(ids)) => ids,
        Ok(Err(reason)) => return Err(Error::Start(reason)),
        Err(_) => return Err(failed("the thread that talks to the cluster ended unexpectedly")),
    };
    let transport = settings.transport.of_application(&cluster.app_id);
    // The driver holds what the user put into RDDs anyhow: no limit.
    let manager = Arc::new(BlockManager::new(u64::MAX));
    serve_binary(&manager, binary)?;
    let server =
        BlockServer::start(block_listener, Served::by_driver(&manager), transport.clone(), cluster.app_id.as_str());
    cluster.blocks = Some(server.map_err(failed)?);
    let client = BlockClient::new(transport, cluster.app_id.as_str(), Role::Driver);
    let fetch = fetcher(client.clone(), cluster.fetching.clone());
    let remove_shuffle = remover(client, cluster.fetching.clone());
    let requests: RequestExecutors = Box::new(move |request| {
        // Fails only when the session has ended, and every executor with it.
        let _ = request_executors.send(request);
    });
    let broadcasts = BroadcastValues::in_process();
    let blocks = DriverBlocks { manager, address: Some(block_address), remove_shuffle, broadcasts };
    let driver = Driver::start(config, blocks, fetch, Some(requests), bus.clone()).map_err(failed)?;
    // The session waits for this; that it has ended meanwhile shows at the first job.
    let _ = wiring.send(driver.messages.clone());
    tracing::info!(app_id = cluster.app_id, "connected to the cluster");
    Ok((driver, Box::new(cluster)))
}

/// Offers the running executable to hosts that lack it.
fn serve_binary(manager: &BlockManager, binary: &RunningBinary) -> Result<()> {
    let file = binary.file.try_clone().map_err(failed)?;
    let path = PathBuf::from("/proc/self/exe");
    manager.serve_file(BlockId::Binary(binary.hash.0), Arc::new(file), path, binary.size);
    Ok(())
}

/// Fetches results that were too large for a message, until the Context stops.
fn fetcher(client: BlockClient, fetching: Arc<AtomicBool>) -> FetchBlock {
    let stopped = move || (!fetching.load(Ordering::Relaxed)).then(|| "the Context was stopped".to_owned());
    let abort = Abort::new(stopped);
    Arc::new(move |address, block_id| {
        let id: BlockId = block_id.parse().map_err(|e| format!("{e}"))?;
        client.fetch_one(address, id, &abort).map_err(|e| e.to_string())
    })
}

/// Has shuffle services remove files, until the Context stops.
fn remover(client: BlockClient, running: Arc<AtomicBool>) -> RemoveShuffle {
    let stopped = move || (!running.load(Ordering::Relaxed)).then(|| "the Context was stopped".to_owned());
    let abort = Abort::new(stopped);
    Arc::new(move |address, shuffle| client.remove_shuffle(address, shuffle, &abort).map_err(|e| e.to_string()))
}

/// What an application on a cluster holds besides the driver.
struct Cluster {
    app_id: String,
    attempt_id: Option<String>,
    stop: watch::Sender<bool>,
    fetching: Arc<AtomicBool>,
    session: Option<(mpsc::Receiver<()>, JoinHandle<()>)>,
    blocks: Option<BlockServer>,
}

impl Backend for Cluster {
    fn app_id(&self) -> String {
        self.app_id.clone()
    }

    fn attempt_id(&self) -> Option<String> {
        self.attempt_id.clone()
    }

    fn stop(&mut self) {
        self.fetching.store(false, Ordering::Relaxed);
        self.stop.send_replace(true);
        if let Some((ended, thread)) = self.session.take() {
            join_within("the session with the cluster", &ended, thread, FAREWELL);
        }
        self.blocks = None;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Waits for a thread that sends, or drops, its last word when it is about to end.
pub(super) fn join_within(what: &str, ended: &mpsc::Receiver<()>, thread: JoinHandle<()>, limit: Duration) {
    if let Err(mpsc::RecvTimeoutError::Timeout) = ended.recv_timeout(limit) {
        return tracing::warn!(?limit, "{what} did not end in time and is left behind");
    }
    if thread.join().is_err() {
        tracing::error!("{what} panicked");
    }
}
