//! The application's life on the cluster: one thread with a runtime of its own, from its registration to the
//! goodbye.
//!
//! ```text
//!  registration ─▶ the driver is told its application id, and gives its channel
//!    ─▶ executors are served, the manager's news passed on ─▶ stop: unregister, close, wait, all within bounds
//! ```

use std::{
    collections::BTreeMap,
    net::TcpListener,
    sync::{Arc, atomic::AtomicU32, mpsc},
    time::Duration,
};

use firesteel_machine::serve;
use firesteel_rpc::Transport;
use tokio::sync::{mpsc as async_mpsc, oneshot, watch};

use super::{
    endpoint::{Terms, attend},
    manager::{Application, Manager, News},
    reception::Reception,
    service::{Parts, Server, Service, server_failure, turned},
};
use crate::driver::{ExecutorRequest, Message};

/// Threads for streams besides the session's own.
const THREADS: usize = 2;

/// Executors have this long to close their streams.
const CLOSING: Duration = Duration::from_secs(5);

/// What the runtime's last tasks have to end.
const SHUTDOWN: Duration = Duration::from_millis(500);

/// Everything that the session needs.
pub(super) struct Session<C> {
    pub application: Application,
    /// Makes the way to the cluster manager.
    pub connect: C,
    pub transport: Transport,
    pub network_timeout: Duration,
    /// What executors are told.
    pub conf: BTreeMap<String, String>,
    pub listener: TcpListener,
    pub cores: Arc<AtomicU32>,
    pub floor: u32,
    /// What dynamic allocation asks for.
    pub requests: async_mpsc::UnboundedReceiver<ExecutorRequest>,
    /// Turns true when all shall end.
    pub stopping: watch::Receiver<bool>,
}

/// The application's id and which attempt it is.
type Ids = (String, Option<String>);

/// Gives the application's ids, or why there are none.
pub(super) type Started = mpsc::Sender<Result<Ids, String>>;

/// Brings the way to the event loop, once there is one.
pub(super) type Wired = oneshot::Receiver<mpsc::Sender<Message>>;

impl<M: Manager, C: FnOnce(Application) -> M> Session<C> {
    /// Runs to the end, on a thread of its own.
    pub fn run(self, started: Started, wired: Wired) {
        let _logging = crate::logging::on_this_thread();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("firesteel-rpc")
            // The guard stays for the life of the thread.
            .on_thread_start(|| std::mem::forget(crate::logging::on_this_thread()))
            .enable_all()
            .build();
        match runtime {
            Ok(runtime) => {
                runtime.block_on(self.live(started, wired));
                runtime.shutdown_timeout(SHUTDOWN);
            }
            // Fails only when nobody waits any more.
            Err(error) => _ = started.send(Err(format!("no threads to talk to the cluster with: {error}"))),
        }
    }

    async fn live(self, started: Started, wired: Wired) {
        let Session { application, connect, transport, network_timeout, conf, listener, cores, floor, .. } = self;
        let build = application.binary.hash;
        let mut manager = connect(application);
        let ids = registered(&mut manager).await;
        let told = started.send(ids.clone());
        let (Ok((app_id, _)), Ok(())) = (ids, told) else { return manager.leave().await };
        // Without a channel the start has failed after all.
        if let Ok(messages) = wired.await {
            let (reception, reports) = Reception::new(build, messages.clone());
            let (reception, terms) = (Arc::new(reception), Arc::new(Terms { conf, network_timeout }));
            let (close, mut closing) = watch::channel(false);
            let server = tokio::spawn({
                let (transport, app_id) = (transport.of_application(&app_id), app_id.clone());
                async move {
                    let on_peer = move |duplex| _ = tokio::spawn(attend(reception.clone(), terms.clone(), duplex));
                    transport.serve_driver(listener, &app_id, on_peer, async move { turned(&mut closing).await }).await
                }
            });
            let (requests, stopping) = (self.requests, self.stopping);
            let parts = Parts { app_id, reports, requests, messages, cores, floor, server, stopping };
            let mut service = Service::new(manager, parts);
            let Ok(()) = serve(&mut service).await;
            let (rest, server) = service.into_parts();
            close.send_replace(true);
            if let Some(server) = server {
                farewell(server).await;
            }
            manager = rest;
        }
        manager.leave().await;
    }
}

/// The application's ids, or why the cluster will not have it.
async fn registered(manager: &mut impl Manager) -> Result<Ids, String> {
    loop {
        match manager.next().await {
            News::Registered { app_id, attempt_id } => return Ok((app_id, attempt_id)),
            News::Failed(reason) => return Err(reason),
            // A manager says these after the registration only.
            News::Executors(_) => {}
        }
    }
}

/// Waits for every executor to close its stream.
async fn farewell(server: Server) {
    match tokio::time::timeout(CLOSING, server).await {
        Ok(Ok(Ok(()))) => {}
        Ok(ended) => tracing::warn!("{}", server_failure(ended)),
        Err(_) => tracing::warn!("some executors did not close their streams within {CLOSING:?}"),
    }
}
