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

use firesteel_common::ExecutorId;
use firesteel_rpc::{RpcError, Transport};
use firesteel_scheduler::DriverEvent;
use tokio::{
    sync::{mpsc as async_mpsc, oneshot, watch},
    task::JoinHandle,
};

use super::{
    endpoint::{Terms, attend},
    executors::Executors,
    manager::{Application, Manager, News},
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
            let (kill, kills) = async_mpsc::unbounded_channel();
            let executors = Arc::new(Executors::new(messages.clone(), kill, build, cores, floor));
            let terms = Arc::new(Terms { conf, network_timeout });
            let (close, closing) = watch::channel(false);
            let server = tokio::spawn({
                let (transport, app_id, executors) =
                    (transport.of_application(&app_id), app_id.clone(), executors.clone());
                async move {
                    let on_peer = move |duplex| _ = tokio::spawn(attend(executors.clone(), terms.clone(), duplex));
                    transport.serve_driver(listener, &app_id, on_peer, turned(closing)).await
                }
            });
            let mut service = Service { app_id, executors, messages, kills, server: Some(server) };
            service.run(&mut manager, self.requests, self.stopping).await;
            close.send_replace(true);
            if let Some(server) = service.server.take() {
                farewell(server).await;
            }
        }
        manager.leave().await;
    }
}

/// What serves the application's executors.
struct Service {
    app_id: String,
    executors: Arc<Executors>,
    messages: mpsc::Sender<Message>,
    /// Executors whose end the manager shall see to.
    kills: async_mpsc::UnboundedReceiver<ExecutorId>,
    /// None when it has ended.
    server: Option<JoinHandle<Result<(), RpcError>>>,
}

impl Service {
    /// Until the Context stops.
    async fn run<M: Manager>(
        &mut self,
        manager: &mut M,
        mut requests: async_mpsc::UnboundedReceiver<ExecutorRequest>,
        mut stopping: watch::Receiver<bool>,
    ) {
        let mut failed = false;
        loop {
            let reason = tokio::select! {
                // An error is "the Context is gone", which is an end as well.
                _ = stopping.wait_for(|stop| *stop) => return,
                news = manager.next(), if !failed => match self.take(news) {
                    Some(reason) => reason,
                    None => continue,
                },
                Some(executor) = self.kills.recv() => {
                    manager.kill(executor);
                    continue;
                }
                Some(request) = requests.recv() => {
                    match request {
                        ExecutorRequest::Total(total) => manager.request_total(total),
                        ExecutorRequest::Leaving(executor) => self.executors.leaving(executor),
                        ExecutorRequest::Retire { executor, reason } => self.executors.retire(executor, &reason),
                    }
                    continue;
                }
                reason = ended(&mut self.server) => reason,
            };
            failed = true;
            tracing::error!(app_id = self.app_id, reason, "the cluster has failed this application");
            // A driver that has ended is about to stop this.
            let _ = self.messages.send(Message::Event(DriverEvent::ClusterFailed { message: reason }));
        }
    }

    /// Passes the manager's news on; a reason is the end of all that it does for the application.
    fn take(&self, news: News) -> Option<String> {
        match news {
            // Again: after a loss.
            News::Registered { .. } => {}
            News::Granted(grant) => self.executors.granted(&grant),
            News::NodeLeaves { executor, message } => self.executors.node_leaves(executor, message),
            News::Ended { executor, loss } => self.executors.ended(executor, loss),
            News::NodeLost { node, message } => self.executors.node_lost(&node, message),
            News::Failed(reason) => return Some(reason),
        }
        None
    }
}

/// The application's ids, or why the cluster will not have it.
async fn registered(manager: &mut impl Manager) -> Result<Ids, String> {
    loop {
        match manager.next().await {
            News::Registered { app_id, attempt_id } => return Ok((app_id, attempt_id)),
            News::Failed(reason) => return Err(reason),
            // A manager says these after the registration only.
            News::Granted(_) | News::NodeLeaves { .. } | News::Ended { .. } | News::NodeLost { .. } => {}
        }
    }
}

/// Completes when the server ends; never again after that.
async fn ended(server: &mut Option<JoinHandle<Result<(), RpcError>>>) -> String {
    let Some(running) = server else { return std::future::pending().await };
    let reason = server_failure(running.await);
    *server = None;
    reason
}

/// Waits for every executor to close its stream.
async fn farewell(server: JoinHandle<Result<(), RpcError>>) {
    match tokio::time::timeout(CLOSING, server).await {
        Ok(Ok(Ok(()))) => {}
        Ok(ended) => tracing::warn!("{}", server_failure(ended)),
        Err(_) => tracing::warn!("some executors did not close their streams within {CLOSING:?}"),
    }
}

fn server_failure(ended: Result<Result<(), RpcError>, tokio::task::JoinError>) -> String {
    match ended {
        Ok(Ok(())) => "the driver's listener for executors was closed".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => format!("the driver's server for executors failed: {error}"),
    }
}

async fn turned(mut flag: watch::Receiver<bool>) {
    // An error is "the session is gone": then it shall end too.
    let _ = flag.wait_for(|on| *on).await;
}
