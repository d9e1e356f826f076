//! The master as a daemon: accepts streams, feeds the machine one event at a time, carries its effects out.
//!
//! ```text
//!  serve_master ─on_peer─▶ newcomers ─┐
//!  a task a stream ─messages─▶ inbox ─┼─▶ MasterShell ─step─▶ Master ─effects─▶ Sender of each stream
//!  next_deadline ─────────────────────┤
//!  web port ─Asker─▶ questions ───────┘
//! ```

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::Future,
    net::TcpListener,
    time::{SystemTime, UNIX_EPOCH},
};

use firesteel_machine::{self as machine, Asker, Driven, Question, Questions, Shell, step};
use firesteel_rpc::{
    Duplex, Issuer, RpcError, SendError, Sender,
    proto::deploy::{FromMaster, ToMaster, from_master},
};
use firesteel_web::Limits;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::{
    config::{MasterConfig, MasterListeners},
    event::{ConnectionId, MasterEffect, MasterEvent},
    machine::Master,
    records::Records,
    status::{MasterStatus, StatusPages},
};

/// Messages of all streams together that wait for the machine; a stream that has more waits with it.
const INBOX: usize = 4096;

type Peer = Duplex<ToMaster, FromMaster>;

/// Runs a master on `listeners` until `shutdown` completes. An empty `rules.url` is filled with the address of that for workers
/// and drivers.
///
/// # Errors
/// When a listener cannot be served. What a single peer does wrong ends only its own stream.
pub async fn run(
    listeners: MasterListeners,
    mut config: MasterConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RpcError> {
    let MasterListeners { rpc: listener, web } = listeners;
    let addr = listener.local_addr().map_err(|source| RpcError::Listen { addr: "its own port".to_owned(), source })?;
    if config.rules.url.is_empty() {
        config.rules.url = format!("spark://{addr}");
    }
    let security = config.transport.security();
    info!(url = config.rules.url, %addr, authenticated = security.is_authenticated(), "master started");
    let (newcomer, newcomers) = mpsc::unbounded_channel();
    let on_peer = move |peer: Peer| {
        // Fails only while the master shuts down; dropping the peer then closes its stream.
        let _ = newcomer.send(peer);
    };
    let issuer = Issuer::random(security.clone()).map_err(|e| RpcError::Random { reason: e.to_string() })?;
    let served = config.transport.serve_master(listener, on_peer, shutdown);
    let epoch_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
    let (inbox, events) = mpsc::channel(INBOX);
    let (asker, questions) = machine::questions();
    let mut shell = MasterShell {
        master: Driven::new(Master::new(config.rules, epoch_ms, issuer)),
        newcomers,
        inbox,
        events,
        questions,
        senders: BTreeMap::new(),
        connections: 0,
        heard_on: None,
    };
    // What a master knows is not kept (`spark.deploy.recoveryMode` NONE): none led before it, none will after it.
    let Ok(()) = step(&mut shell, MasterEvent::Elected { records: Records::default() });
    // The shell goes when the server has sent what was queued and closed every stream.
    tokio::select! {
        result = served => result,
        Ok(()) = machine::serve(&mut shell) => Ok(()),
        result = serve_web(web, asker) => match result? {},
    }
}

/// Shows how things stand to those who come to the web port, if there is one; goes on for ever.
async fn serve_web(web: Option<TcpListener>, asker: Asker<MasterStatus>) -> Result<Infallible, RpcError> {
    let Some(listener) = web else {
        drop(asker);
        return std::future::pending().await;
    };
    let served = firesteel_web::serve(listener, StatusPages(asker), Limits::default()).await;
    served.map_err(|source| RpcError::Listen { addr: "the web port".to_owned(), source })
}

struct MasterShell {
    master: Driven<Master>,
    newcomers: mpsc::UnboundedReceiver<Peer>,
    inbox: mpsc::Sender<MasterEvent>,
    events: mpsc::Receiver<MasterEvent>,
    questions: Questions<MasterStatus>,
    senders: BTreeMap<ConnectionId, Sender<FromMaster>>,
    connections: u64,
    /// Where the event came from that the machine is given.
    heard_on: Option<ConnectionId>,
}

#[expect(clippy::large_enum_variant, reason = "events are what nearly every input carries; a box would cost more")]
enum Input {
    Newcomer(Peer),
    Event(MasterEvent),
    Question(Question<MasterStatus>),
}

impl Shell for MasterShell {
    type Machine = Master;
    type Input = Input;
    type Error = Infallible;

    fn driven(&mut self) -> &mut Driven<Master> {
        &mut self.master
    }

    async fn next_input(&mut self) -> Option<Input> {
        tokio::select! {
            // While the server ends nobody comes any more, and those who are there are still served.
            Some(peer) = self.newcomers.recv() => Some(Input::Newcomer(peer)),
            event = self.events.recv() => event.map(Input::Event),
            Some(question) = self.questions.next() => Some(Input::Question(question)),
        }
    }

    fn take(&mut self, input: Input) -> Result<(), Infallible> {
        let event = match input {
            Input::Newcomer(peer) => {
                self.welcome(peer);
                return Ok(());
            }
            Input::Question(question) => {
                let status = self.master.machine().status(self.master.now());
                self.questions.answer(question, status);
                return Ok(());
            }
            Input::Event(event) => event,
        };
        match &event {
            MasterEvent::Closed { connection } => _ = self.senders.remove(connection),
            MasterEvent::Received { from, .. } => self.heard_on = Some(*from),
            _ => {}
        }
        step(self, event)
    }

    fn decided(&mut self) {
        match self.heard_on.take() {
            Some(from) => self.tell_door(from),
            // Whoever was silent for too long is nobody's any more.
            None => self.senders.keys().for_each(|connection| self.tell_door(*connection)),
        }
    }

    fn carry_out(&mut self, effect: MasterEffect) -> Result<(), Infallible> {
        match effect {
            MasterEffect::Send { to, message } => self.send(to, message),
            // No other master comes that would want to know.
            MasterEffect::Persist { .. } | MasterEffect::Forget { .. } => {}
            MasterEffect::Close { connection } => {
                if let Some(sender) = self.senders.remove(&connection) {
                    sender.close("the master gave this stream up");
                }
            }
        }
        Ok(())
    }
}

impl MasterShell {
    fn welcome(&mut self, mut peer: Peer) {
        let inbox = self.inbox.clone();
        let connection = ConnectionId(self.connections);
        self.connections += 1;
        let role = peer.peer.role;
        info!(%connection, %role, addr = peer.peer.addr, "connected");
        self.senders.insert(connection, peer.tx);
        tokio::spawn(async move {
            while let Some(ToMaster { message }) = peer.rx.recv().await {
                let Some(message) = message else { continue };
                if inbox.send(MasterEvent::Received { from: connection, role, message }).await.is_err() {
                    return;
                }
            }
            // The shell is gone when this fails, and with it everything that could want to know.
            let _ = inbox.send(MasterEvent::Closed { connection }).await;
        });
    }

    fn send(&self, to: ConnectionId, message: from_master::Message) {
        let Some(sender) = self.senders.get(&to) else {
            return debug!(connection = %to, "nothing is sent on a stream that has closed");
        };
        match sender.send(FromMaster { message: Some(message) }) {
            Ok(()) => {}
            Err(SendError::Closed { .. }) => {} // its task will say so
            // What it missed leaves it in a state that the master does not know: better that it comes again.
            Err(e) => {
                warn!(connection = %to, error = %e, "closing a stream");
                sender.close(&e.to_string());
            }
        }
    }

    /// A stream may be idle while it is that of a worker or an application that the master knows.
    fn tell_door(&self, connection: ConnectionId) {
        if let Some(sender) = self.senders.get(&connection) {
            sender.set_known(self.master.machine().knows(connection));
        }
    }
}
