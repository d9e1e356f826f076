//! The application's life on the cluster: one thread with a runtime of its own, from the search for a master to the
//! goodbye.
//!
//! ```text
//!  search and registration ─▶ the driver is told its application id, and gives its channel
//!    ─▶ executors are served, the master's news passed on ─▶ stop: unregister, close, wait, all within bounds
//! ```

use std::{
    collections::BTreeMap,
    net::TcpListener,
    sync::{Arc, atomic::AtomicU32, mpsc},
    time::Duration,
};

use firesteel_closure::binary::BuildHash;
use firesteel_rpc::{
    MasterUrl, RpcError, Transport, master_client::MasterClientConfig, proto::deploy::ApplicationDescription,
};
use firesteel_scheduler::DriverEvent;
use tokio::{
    sync::{mpsc as async_mpsc, oneshot, watch},
    task::JoinHandle,
};

use super::{
    endpoint::{Terms, attend},
    executors::Executors,
    master_link::{MasterLink, News},
};
use crate::driver::{ExecutorRequest, Message};

/// Threads for streams besides the session's own.
const THREADS: usize = 2;

/// Rounds over the masters before a start is given up: five to ten seconds where nobody listens.
const ROUNDS_AT_START: u32 = 5;

/// Executors have this long to close their streams.
const CLOSING: Duration = Duration::from_secs(5);

/// What the runtime's last tasks have to end.
const SHUTDOWN: Duration = Duration::from_millis(500);

/// Everything that the session needs.
pub(super) struct Session {
    pub url: MasterUrl,
    pub application: ApplicationDescription,
    pub transport: Transport,
    /// Between two heartbeats to the master.
    pub beat: Duration,
    pub network_timeout: Duration,
    /// What executors are told.
    pub conf: BTreeMap<String, String>,
    pub build: BuildHash,
    pub listener: TcpListener,
    pub cores: Arc<AtomicU32>,
    pub floor: u32,
    /// Why the cluster in this process has failed, if there is one and it has.
    pub cluster_failure: Option<watch::Receiver<Option<String>>>,
    /// What dynamic allocation asks for.
    pub requests: async_mpsc::UnboundedReceiver<ExecutorRequest>,
    /// Executors that the application begins with; `None`: as many as it may have.
    pub executor_limit: Option<u32>,
    /// Turns true when all shall end.
    pub stopping: watch::Receiver<bool>,
}

/// Gives the application id, or why there is none.
pub(super) type Started = mpsc::Sender<Result<String, String>>;

/// Brings the way to the event loop, once there is one.
pub(super) type Wired = oneshot::Receiver<mpsc::Sender<Message>>;

impl Session {
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

    async fn live(mut self, started: Started, wired: Wired) {
        let application = std::mem::take(&mut self.application);
        let patience = MasterClientConfig { rounds: ROUNDS_AT_START, ..MasterClientConfig::default() };
        let mut link = MasterLink::start(self.url.clone(), patience, self.transport.clone(), application, self.beat);
        link.limit_executors(self.executor_limit);
        let app_id = tokio::select! {
            app_id = registered(&mut link) => app_id,
            reason = failure(&mut self.cluster_failure) => Err(reason),
        };
        let told = started.send(app_id.clone());
        let (Ok(app_id), Ok(())) = (app_id, told) else { return link.leave().await };
        // Without a channel the start has failed after all.
        if let Ok(messages) = wired.await {
            self.serve(&app_id, &mut link, messages).await;
        }
        link.leave().await;
    }

    /// Until the Context stops.
    async fn serve(self, app_id: &str, link: &mut MasterLink, messages: mpsc::Sender<Message>) {
        let Session { mut stopping, mut cluster_failure, mut requests, .. } = self;
        let (kill, mut kills) = async_mpsc::unbounded_channel();
        let executors = Arc::new(Executors::new(messages.clone(), kill, self.build, self.cores, self.floor));
        let terms = Arc::new(Terms { conf: self.conf, network_timeout: self.network_timeout });
        let transport = self.transport.of_application(app_id);
        let (close, closing) = watch::channel(false);
        let mut server = tokio::spawn({
            let (app_id, executors) = (app_id.to_owned(), executors.clone());
            async move {
                let on_peer = move |duplex| _ = tokio::spawn(attend(executors.clone(), terms.clone(), duplex));
                transport.serve_driver(self.listener, &app_id, on_peer, turned(closing)).await
            }
        });
        let mut failed = false;
        let mut server_ended = false;
        loop {
            let reason = tokio::select! {
                // An error is "the Context is gone", which is an end as well.
                _ = stopping.wait_for(|stop| *stop) => break,
                news = link.next(), if !failed => match news {
                    // Again: after a loss.
                    News::Registered { .. } => continue,
                    News::Added(added) => {
                        executors.added(&added);
                        continue;
                    }
                    News::Updated(update) => {
                        executors.updated(&update);
                        continue;
                    }
                    News::WorkerRemoved(removed) => {
                        executors.worker_removed(&removed);
                        continue;
                    }
                    News::Failed(reason) => reason,
                },
                Some(executor_id) = kills.recv() => {
                    link.kill_executor(executor_id);
                    continue;
                }
                Some(request) = requests.recv() => {
                    match request {
                        ExecutorRequest::Total(total) => link.request_executors(total),
                        ExecutorRequest::Leaving(executor) => executors.leaving(executor),
                        ExecutorRequest::Retire { executor, reason } => executors.retire(executor, &reason),
                    }
                    continue;
                }
                ended = &mut server, if !server_ended => {
                    server_ended = true;
                    server_failure(ended)
                }
                reason = failure(&mut cluster_failure), if !failed => reason,
            };
            failed = true;
            tracing::error!(app_id, reason, "the cluster has failed this application");
            // A driver that has ended is about to stop this.
            let _ = messages.send(Message::Event(DriverEvent::ClusterFailed { message: reason }));
        }
        close.send_replace(true);
        if !server_ended {
            farewell(server).await;
        }
    }
}

/// The application's id, or why no master will have it.
async fn registered(link: &mut MasterLink) -> Result<String, String> {
    loop {
        match link.next().await {
            News::Registered { app_id } => return Ok(app_id),
            News::Failed(reason) => return Err(reason),
            // A master says these after the registration only.
            News::Added(_) | News::Updated(_) | News::WorkerRemoved(_) => {}
        }
    }
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

/// Completes with the reason when the cluster in this process fails; never without one.
async fn failure(failure: &mut Option<watch::Receiver<Option<String>>>) -> String {
    if let Some(failure) = failure
        && let Ok(reason) = failure.wait_for(Option::is_some).await
        && let Some(reason) = reason.clone()
    {
        return reason;
    }
    std::future::pending().await
}
