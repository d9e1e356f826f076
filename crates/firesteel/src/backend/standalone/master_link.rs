//! The application's connection to its master: found, kept, found again after a loss.
//!
//! ```text
//!  a task a connection ──inbox──▶ MasterLink::next ──Event──▶ MasterClient ──Effect──▶ connect, register, close
//!  deadlines, heartbeats ───────▶        └──────────────▶ News, for the session
//! ```
//!
//! Owned by the session, which polls [`Manager::next`] and drops that future at will: all state is in the struct.

use std::{collections::VecDeque, time::Duration};

use firesteel_backend::standalone;
use firesteel_common::{ExecutorId, Tick, hash::fixed_hash};
use firesteel_machine::Machine;
use firesteel_rpc::{
    Duplex, MasterClient, MasterUrl, PROTOCOL_VERSION, Role, RpcError, Sender, Transport,
    master_client::{Attempt, Effect, Event, MasterClientConfig},
    proto::deploy::{
        ApplicationDescription, ApplicationHeartbeat, FromMaster, KillExecutors, RegisterApplication, RequestExecutors,
        ToMaster, UnregisterApplication, from_master, to_master,
    },
};
use tokio::{sync::mpsc, time::Instant};

use crate::backend::coarse::{Manager, News};

/// Reports of this link's own tasks that may wait.
const INBOX: usize = 256;

/// More executors than a master grants before its news arrive or the connection is seen to break.
const UNHEARD_OF: u32 = 100;

/// How long the master's side may take to see the end.
const GOODBYE: Duration = Duration::from_secs(2);

/// Which connection: the search it belongs to, and the search's attempt.
type Tag = (u64, Attempt);

enum Input {
    Connected(Tag, Duplex<FromMaster, ToMaster>),
    ConnectFailed(Tag, RpcError),
    Received(Tag, from_master::Message),
    Closed(Tag, String),
}

/// The link; see the module.
pub(super) struct MasterLink {
    url: MasterUrl,
    transport: Transport,
    application: ApplicationDescription,
    /// By what masters know this driver when it comes back.
    incarnation: Vec<u8>,
    app_id: Option<String>,
    /// What proves to a master that one gave the application its id.
    token: Vec<u8>,
    next_executor_id: u32,
    executor_limit: Option<u32>,
    /// The limit that the last registration named.
    registered_limit: Option<u32>,
    search: MasterClient,
    /// Counts the searches: the first is impatient, later ones are not.
    searches: u64,
    stream: Option<(Tag, Sender<ToMaster>)>,
    inbox: mpsc::Sender<Input>,
    inputs: mpsc::Receiver<Input>,
    origin: Instant,
    beat: Duration,
    next_beat: Option<Instant>,
    news: VecDeque<News>,
}

impl MasterLink {
    /// Begins to look for a master, at first with `patience`, after a loss with that of a worker. `executor_limit` is what the
    /// application wants from its registration on; `None`: as many executors as it may have.
    pub fn start(
        url: MasterUrl,
        patience: MasterClientConfig,
        transport: Transport,
        application: ApplicationDescription,
        beat: Duration,
        executor_limit: Option<u32>,
    ) -> Self {
        let (inbox, inputs) = mpsc::channel(INBOX);
        let mut link = MasterLink {
            search: MasterClient::new(&url, patience, seed(&application)),
            url,
            transport,
            application,
            incarnation: Vec::new(),
            app_id: None,
            token: Vec::new(),
            next_executor_id: 0,
            executor_limit,
            registered_limit: None,
            searches: 0,
            stream: None,
            inbox,
            inputs,
            origin: Instant::now(),
            beat,
            next_beat: None,
            news: VecDeque::new(),
        };
        match firesteel_rpc::incarnation::draw() {
            Ok(incarnation) => {
                link.incarnation = incarnation;
                link.handle(Event::Start);
            }
            Err(error) => link.fail(error.to_string()),
        }
        link
    }

    /// An executor id that must never be used again, should the application have to register anew.
    fn saw_executor(&mut self, executor_id: u32) {
        self.next_executor_id = self.next_executor_id.max(executor_id.saturating_add(1));
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Connected(tag, duplex) if self.is_current(tag) => {
                self.stream = Some((tag, duplex.tx.clone()));
                tokio::spawn(listen(tag, duplex, self.inbox.clone()));
                self.handle(Event::Connected { attempt: tag.1 });
            }
            Input::ConnectFailed(tag, error) if self.is_current(tag) => {
                tracing::warn!(%error, "no connection to a master");
                let permanent = error.is_permanent();
                self.handle(Event::ConnectFailed { attempt: tag.1, error: error.to_string(), permanent });
            }
            Input::Received(tag, message) if self.is_current(tag) => self.received(tag.1, message),
            Input::Closed(tag, reason) if self.is_current(tag) => {
                self.stream = None;
                self.handle(Event::StreamClosed { attempt: tag.1, reason });
            }
            // Of a connection that was given up; one that stands is closed by dropping it.
            Input::Connected(..) | Input::ConnectFailed(..) | Input::Received(..) | Input::Closed(..) => {}
        }
    }

    fn is_current(&self, tag: Tag) -> bool {
        tag == (self.searches, self.search.attempt())
    }

    fn received(&mut self, attempt: Attempt, message: from_master::Message) {
        use from_master::Message;
        match message {
            Message::RegisteredApplication(m) => {
                self.handle(Event::Registered { attempt });
                if self.search.registered_with().is_none() {
                    return;
                }
                if self.app_id.as_ref().is_some_and(|id| *id != m.app_id) {
                    return self.fail(format!("the master at {} took the application for a new one", m.master_url));
                }
                tracing::info!(app_id = m.app_id, master = m.master_url, "application registered");
                self.app_id = Some(m.app_id.clone());
                self.token = m.token;
                self.next_beat = Some(Instant::now() + self.beat);
                self.news.push_back(News::Registered { app_id: m.app_id, attempt_id: None });
                // It was asked for others while the registration was on its way.
                if let Some(total) = self.executor_limit.filter(|_| self.executor_limit != self.registered_limit) {
                    self.request_total(total);
                }
            }
            Message::RegisterApplicationFailed(m) => self.handle(Event::Rejected { attempt, reason: m.reason }),
            Message::MasterInStandby(_) => self.handle(Event::Standby { attempt }),
            Message::ExecutorAdded(m) => {
                self.saw_executor(m.executor_id);
                self.news.push_back(News::Executors(standalone::added(m)));
            }
            Message::ExecutorUpdated(m) => self.news.extend(standalone::updated(m).map(News::Executors)),
            Message::WorkerRemoved(m) => self.news.push_back(News::Executors(standalone::removed(m))),
            Message::ApplicationRemoved(m) => self.fail(format!("the master removed the application: {}", m.reason)),
            other => tracing::debug!(?other, "not for a driver"),
        }
    }

    fn fail(&mut self, reason: String) {
        self.handle(Event::Stop);
        self.news.push_back(News::Failed(reason));
    }

    fn handle(&mut self, event: Event) {
        let now = Tick::ZERO + self.origin.elapsed();
        let mut effects = Vec::new();
        self.search.handle(now, event, &mut effects);
        let mut lost = false;
        for effect in effects {
            match effect {
                Effect::Connect { attempt, address } => self.connect((self.searches, attempt), address),
                Effect::Register { .. } => self.register(),
                Effect::Disconnect { .. } => {
                    if let Some((_, stream)) = self.stream.take() {
                        stream.close("the driver left this master");
                    }
                }
                Effect::Lost { address, reason } => {
                    tracing::warn!(address, reason, "lost the master; executors run on while another is looked for");
                    lost = true;
                }
                Effect::GiveUp { error } => self.news.push_back(News::Failed(error.to_string())),
            }
        }
        if self.search.registered_with().is_none() {
            self.next_beat = None;
        }
        if lost {
            self.search_anew();
        }
    }

    /// A master may be restarted, so that this search is a patient one.
    fn search_anew(&mut self) {
        self.searches += 1;
        self.stream = None;
        let seed = seed(&self.application).wrapping_add(self.searches);
        self.search = MasterClient::new(&self.url, MasterClientConfig::default(), seed);
        self.handle(Event::Start);
    }

    fn connect(&self, tag: Tag, address: String) {
        let inbox = self.inbox.clone();
        let app_id = self.app_id.clone().unwrap_or_default();
        let transport = self.transport.clone().connecting_within(MasterClientConfig::default().connect_timeout);
        tokio::spawn(async move {
            let input = match transport.connect_master(&address, Role::Driver, &app_id).await {
                Ok(stream) => Input::Connected(tag, stream),
                Err(error) => Input::ConnectFailed(tag, error),
            };
            // Fails only when the link is gone; the stream is then dropped and so closed.
            let _ = inbox.send(input).await;
        });
    }

    fn register(&mut self) {
        // A master that is gone may have granted executors that this driver never heard of.
        if self.app_id.is_some() {
            self.next_executor_id = self.next_executor_id.saturating_add(UNHEARD_OF);
        }
        let message = to_master::Message::RegisterApplication(RegisterApplication {
            protocol_version: PROTOCOL_VERSION,
            application: Some(self.application.clone()),
            app_id: self.app_id.clone().unwrap_or_default(),
            next_executor_id: self.next_executor_id,
            executor_limit: self.executor_limit,
            incarnation: self.incarnation.clone(),
            token: self.token.clone(),
        });
        self.registered_limit = self.executor_limit;
        self.send(message);
    }

    fn send_heartbeat(&mut self) {
        self.next_beat = Some(Instant::now() + self.beat);
        if let Some(app_id) = self.app_id.clone() {
            self.send(to_master::Message::ApplicationHeartbeat(ApplicationHeartbeat { app_id }));
        }
    }

    fn send(&mut self, message: to_master::Message) {
        let Some((_, stream)) = &self.stream else { return };
        if let Err(error) = stream.send(ToMaster { message: Some(message) }) {
            // Its task reports the end, and the search goes on from there.
            tracing::warn!(%error, "a message to the master was lost");
            stream.close(&error.to_string());
        }
    }
}

impl Manager for MasterLink {
    async fn next(&mut self) -> News {
        loop {
            if let Some(news) = self.news.pop_front() {
                return news;
            }
            let deadline = self.search.next_deadline().map(|tick| self.origin + tick.since(Tick::ZERO));
            tokio::select! {
                // This link holds a sender, so the inbox never ends.
                Some(input) = self.inputs.recv() => self.take(input),
                () = sleep_until(deadline) => self.handle(Event::Wake),
                () = sleep_until(self.next_beat) => self.send_heartbeat(),
            }
        }
    }

    /// Now and should the application have to register anew.
    fn request_total(&mut self, total: u32) {
        self.executor_limit = Some(total);
        if let Some(app_id) = self.app_id.clone() {
            self.send(to_master::Message::RequestExecutors(RequestExecutors { app_id, total }));
        }
    }

    /// Without a master this is lost; the executor ends with its stream.
    fn kill(&mut self, executor: ExecutorId) {
        if let Some(app_id) = self.app_id.clone() {
            self.send(to_master::Message::KillExecutors(KillExecutors { app_id, executor_ids: vec![executor.0] }));
        }
    }

    /// Waits, for a bounded time, until the master has heard it.
    async fn leave(mut self) {
        if let Some(app_id) = self.app_id.clone()
            && self.search.registered_with().is_some()
        {
            self.send(to_master::Message::UnregisterApplication(UnregisterApplication { app_id }));
        }
        let stream = self.stream.take();
        self.handle(Event::Stop);
        let Some((tag, stream)) = stream else { return };
        stream.close("the application ends");
        let heard = async {
            while let Some(input) = self.inputs.recv().await {
                if matches!(input, Input::Closed(closed, _) if closed == tag) {
                    return;
                }
            }
        };
        if tokio::time::timeout(GOODBYE, heard).await.is_err() {
            tracing::debug!("the master did not close its side of the connection");
        }
    }
}

/// So that drivers which lose one master do not all come back at the same moment.
fn seed(application: &ApplicationDescription) -> u64 {
    fixed_hash(&(&application.driver_address, application.started_ms))
}

/// Takes messages from a connection to its end.
async fn listen(tag: Tag, mut stream: Duplex<FromMaster, ToMaster>, inbox: mpsc::Sender<Input>) {
    while let Some(FromMaster { message }) = stream.rx.recv().await {
        let Some(message) = message else { continue };
        if inbox.send(Input::Received(tag, message)).await.is_err() {
            return;
        }
    }
    let reason = stream.tx.close_reason().unwrap_or_else(|| "the stream ended".to_owned());
    // Fails only when the link is gone.
    let _ = inbox.send(Input::Closed(tag, reason)).await;
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
#[path = "master_link_tests.rs"]
mod tests;
