//! The worker as a daemon: feeds the machine one event at a time and carries its effects out.
//!
//! ```text
//!  a task a stream to a master ──┐                          ┌─▶ connect, send, disconnect
//!  an ExecutorRunner an executor ┼─ inbox ─▶ handle ─effects┼─▶ ExecutorRunner: start, kill
//!  next_deadline, shutdown,      │                          └─▶ WorkDir: remove an application
//!  decommission, questions ──────┘
//! ```

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::Future,
    net::TcpListener,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use firesteel_common::{ExecutorKey, hash::fixed_hash, tick::utc_digits};
use firesteel_machine::{Asker, Driven, Question, Questions, Shell, serve, step};
use firesteel_rpc::{
    Duplex, Role, SendError, Sender,
    master_client::Attempt,
    proto::deploy::{FromMaster, LaunchExecutor, ToMaster},
};
use firesteel_web::Limits;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tracing::{debug, info, warn};

use crate::{
    config::{Standing, WorkerConfig, WorkerListeners},
    error::WorkerError,
    event::{WorkerEffect, WorkerEvent},
    machine::{Worker, WorkerIdentity},
    runner::{ExecutorRunner, Site},
    shuffle_service::ShuffleService,
    status::{StatusPages, WorkerStatus},
    work_dir::WorkDir,
};

/// Messages and reports that wait for the machine; who has more waits with them.
const INBOX: usize = 1024;

/// How long a worker that ends waits for its killed executors to be gone.
const FAREWELL: Duration = Duration::from_secs(10);

/// How long it waits for its master to hear what was said last.
const GOODBYE: Duration = Duration::from_secs(2);

/// What arrives from the shell's own tasks.
pub(crate) enum Input {
    /// For the machine.
    Event(WorkerEvent),
    /// A stream that stands.
    Stream(Attempt, Duplex<FromMaster, ToMaster>),
}

/// Runs a worker until `shutdown` completes, it is decommissioned and empty, or no master will have it.
///
/// When it returns, its executors and all that they started are gone, and so are their block files; their output stays.
pub async fn run(
    listeners: WorkerListeners,
    config: WorkerConfig,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), WorkerError> {
    let (cores, memory_mb) = (config.cores, config.memory_mb);
    if cores == 0 || memory_mb == 0 {
        return Err(WorkerError::NothingToOffer { cores, memory_mb });
    }
    let WorkerListeners { place: listener, web } = listeners;
    let place = listener.local_addr().map_err(|source| WorkerError::Listener { source })?;
    let dirs = WorkDir::open(&config.work_dir, &config.local_dirs, config.settings.cleanup)?;
    let ip = place.ip().to_string();
    let shuffle_service = config
        .settings
        .shuffle_service
        .map(|service| ShuffleService::start(&ip, &config.host, service, dirs.block_roots(), &config.transport));
    let shuffle_service = shuffle_service.transpose()?;
    let began = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let worker_id = format!("worker-{}-{}-{}", utc_digits(began), config.host, place.port());
    let identity = WorkerIdentity {
        worker_id: worker_id.clone(),
        host: config.host.clone(),
        port: place.port().into(),
        cores,
        memory_mb,
        incarnation: firesteel_rpc::incarnation::draw().map_err(|source| WorkerError::Incarnation { source })?,
    };
    info!(worker_id, cores, memory_mb, master = %config.master, "worker started");
    let (inbox, inputs) = mpsc::channel(INBOX);
    let worker = Worker::new(identity, &config.master, config.settings.patience.clone(), fixed_hash(&worker_id))
        .retaining(config.settings.cleanup.retained_executors);
    let (asker, questions) = firesteel_machine::questions();
    let mut shell = WorkerShell {
        worker: Driven::new(worker),
        site: Arc::new(Site {
            dirs,
            worker_id,
            host: config.host.clone(),
            bind_host: ip,
            security: config.transport.security().clone(),
            launcher: config.launcher.clone(),
            binary_cache_bytes: config.settings.binary_cache_bytes,
            shuffle_service,
        }),
        sweeps: tokio::time::interval(config.settings.cleanup.interval),
        config,
        inbox,
        inputs,
        questions,
        streams: BTreeMap::new(),
        kills: BTreeMap::new(),
        left: false,
        closing: None,
    };
    let result = tokio::select! {
        () = shutdown => Ok(()),
        result = shell.work() => result,
        result = serve_web(web, asker) => result.map(|never| match never {}),
    };
    shell.end().await;
    drop(listener);
    result
}

/// Shows how things stand to those who come to the web port, if there is one; goes on for ever.
async fn serve_web(web: Option<TcpListener>, asker: Asker<WorkerStatus>) -> Result<Infallible, WorkerError> {
    let Some(listener) = web else {
        drop(asker);
        return std::future::pending().await;
    };
    let served = firesteel_web::serve(listener, StatusPages(asker), Limits::default()).await;
    served.map_err(|source| WorkerError::Web { source })
}

struct WorkerShell {
    worker: Driven<Worker>,
    site: Arc<Site>,
    config: WorkerConfig,
    /// When old output is looked for.
    sweeps: tokio::time::Interval,
    inbox: mpsc::Sender<Input>,
    inputs: mpsc::Receiver<Input>,
    questions: Questions<WorkerStatus>,
    streams: BTreeMap<Attempt, Sender<ToMaster>>,
    kills: BTreeMap<ExecutorKey, watch::Sender<bool>>,
    /// It is decommissioned and empty.
    left: bool,
    /// The stream that was given up last, until its end is seen.
    closing: Option<Attempt>,
}

/// What the shell hears of.
#[expect(clippy::large_enum_variant, reason = "events are what nearly every input carries; a box would cost more")]
enum News {
    /// From its own tasks.
    Input(Input),
    /// It is to be decommissioned.
    Decommission,
    /// Old output may be there.
    Sweep,
    /// Somebody asks how things stand.
    Question(Question<WorkerStatus>),
}

impl Shell for WorkerShell {
    type Machine = Worker;
    type Input = News;
    type Error = WorkerError;

    fn driven(&mut self) -> &mut Driven<Worker> {
        &mut self.worker
    }

    async fn next_input(&mut self) -> Option<News> {
        if self.left {
            return None;
        }
        tokio::select! {
            () = asked(&mut self.config.decommission) => Some(News::Decommission),
            input = self.inputs.recv() => input.map(News::Input),
            _ = self.sweeps.tick() => Some(News::Sweep),
            Some(question) = self.questions.next() => Some(News::Question(question)),
        }
    }

    fn take(&mut self, news: News) -> Result<(), WorkerError> {
        match news {
            News::Input(input) => self.take_input(input),
            News::Decommission => {
                self.config.decommission = None;
                step(self, WorkerEvent::Decommission)
            }
            News::Sweep => {
                self.sweep();
                Ok(())
            }
            News::Question(question) => {
                self.questions.answer(question, self.worker.machine().status());
                Ok(())
            }
        }
    }

    fn decided(&mut self) {
        let Some(standing) = &self.config.standing else { return };
        let worker = self.worker.machine();
        let registered = worker.master().map(|address| Standing::Registered(format!("spark://{address}")));
        // Between two rounds it has something to tell; while it tries, what was told last is still true.
        if let Some(news) = registered.or_else(|| worker.failed_search().map(Standing::Looking)) {
            standing.send_if_modified(|told| std::mem::replace(told, news.clone()) != news);
        }
    }

    fn carry_out(&mut self, effect: WorkerEffect) -> Result<(), WorkerError> {
        match effect {
            WorkerEffect::Connect { attempt, address } => self.connect(attempt, address),
            WorkerEffect::Disconnect { attempt } => {
                if let Some(stream) = self.streams.remove(&attempt) {
                    stream.close("the worker left this master");
                    self.closing = Some(attempt);
                }
            }
            WorkerEffect::Send { attempt, message } => {
                if let Some(stream) = self.streams.get(&attempt) {
                    match stream.send(ToMaster { message: Some(message) }) {
                        Ok(()) | Err(SendError::Closed { .. }) => {} // its task reports the end
                        Err(e) => {
                            warn!(error = %e, "closing the stream to the master");
                            stream.close(&e.to_string());
                        }
                    }
                }
            }
            WorkerEffect::StartExecutor { key, launch } => self.start_executor(key, launch),
            WorkerEffect::KillExecutor(key) => {
                if let Some(kill) = self.kills.get(&key) {
                    kill.send_replace(true);
                }
            }
            WorkerEffect::RemoveApplication { app_id } => {
                if let Some(service) = &self.site.shuffle_service {
                    service.forget(&app_id);
                }
                // At once: the application may come back under its name.
                self.site.dirs.remove_application(&app_id);
                self.sweep();
            }
            WorkerEffect::Leave => self.left = true,
            WorkerEffect::GiveUp { error } => return Err(error.into()),
        }
        Ok(())
    }
}

impl WorkerShell {
    async fn work(&mut self) -> Result<(), WorkerError> {
        step(self, WorkerEvent::Start)?;
        serve(self).await
    }

    /// Leaves the master, kills the executors, waits for their end and cleans up.
    async fn end(&mut self) {
        let stopped = step(self, WorkerEvent::Stop);
        let give_up = Instant::now() + FAREWELL;
        while self.worker.machine().executors().next().is_some() {
            let Ok(Some(input)) = tokio::time::timeout_at(give_up, self.inputs.recv()).await else {
                let left = self.worker.machine().executors().count();
                warn!(left, "executors were killed but did not end; leaving them to the kernel");
                break;
            };
            if let Err(e) = self.take_input(input) {
                debug!(error = %e, "while ending");
            }
        }
        // Only then has the master heard of what ended here.
        let give_up = Instant::now() + GOODBYE;
        while self.closing.is_some() {
            let Ok(Some(input)) = tokio::time::timeout_at(give_up, self.inputs.recv()).await else {
                debug!("the master did not close its side of the stream");
                break;
            };
            if let Err(e) = self.take_input(input) {
                debug!(error = %e, "while ending");
            }
        }
        if let Err(e) = stopped {
            debug!(error = %e, "while ending");
        }
        let site = self.site.clone();
        if let Err(e) = tokio::task::spawn_blocking(move || site.dirs.close()).await {
            warn!(error = %e, "could not remove the block directories");
        }
        info!(worker_id = self.site.worker_id, "worker ended");
    }

    fn take_input(&mut self, input: Input) -> Result<(), WorkerError> {
        match input {
            Input::Stream(attempt, stream) => {
                self.streams.insert(attempt, stream.tx.clone());
                tokio::spawn(listen(attempt, stream, self.inbox.clone()));
                step(self, WorkerEvent::Connected { attempt })
            }
            Input::Event(event) => {
                match &event {
                    WorkerEvent::Closed { attempt, .. } => {
                        self.streams.remove(attempt);
                        self.closing.take_if(|closing| closing == attempt);
                    }
                    WorkerEvent::ExecutorEnded { key, .. } => _ = self.kills.remove(key),
                    _ => {}
                }
                step(self, event)
            }
        }
    }

    /// Removes old output of applications, on a thread of its own.
    fn sweep(&self) {
        let site = self.site.clone();
        tokio::task::spawn_blocking(move || site.dirs.sweep());
    }

    fn connect(&self, attempt: Attempt, address: String) {
        let transport = self.config.transport.clone().connecting_within(self.config.settings.patience.connect_timeout);
        let inbox = self.inbox.clone();
        tokio::spawn(async move {
            let input = match transport.connect_master(&address, Role::Worker, "").await {
                Ok(stream) => Input::Stream(attempt, stream),
                Err(e) => {
                    warn!(error = %e, "no connection to the master");
                    let (error, permanent) = (e.to_string(), e.is_permanent());
                    Input::Event(WorkerEvent::ConnectFailed { attempt, error, permanent })
                }
            };
            // Fails only when the worker has ended meanwhile; the stream is then dropped and so closed.
            let _ = inbox.send(input).await;
        });
    }

    fn start_executor(&mut self, key: ExecutorKey, launch: LaunchExecutor) {
        let (kill, killed) = watch::channel(false);
        self.kills.insert(key.clone(), kill);
        let (site, inbox) = (self.site.clone(), self.inbox.clone());
        tokio::spawn(ExecutorRunner { site, key, launch, kill: killed, inbox }.run());
    }
}

/// Takes messages from a stream to its end.
async fn listen(attempt: Attempt, mut stream: Duplex<FromMaster, ToMaster>, inbox: mpsc::Sender<Input>) {
    while let Some(FromMaster { message }) = stream.rx.recv().await {
        let Some(message) = message else { continue };
        if inbox.send(Input::Event(WorkerEvent::Received { attempt, message })).await.is_err() {
            return;
        }
    }
    let reason = stream.tx.close_reason().unwrap_or_else(|| "the stream ended".to_owned());
    // Fails only when the worker has ended meanwhile.
    let _ = inbox.send(Input::Event(WorkerEvent::Closed { attempt, reason })).await;
}

/// Completes when the flag is true; never when nobody can turn it any more.
async fn asked(flag: &mut Option<watch::Receiver<bool>>) {
    if let Some(flag) = flag
        && flag.wait_for(|on| *on).await.is_ok()
    {
        return;
    }
    std::future::pending().await
}
