//! What serves the application's executors: the shell of the [`Roster`], which decides who is let in and what is told of whom.
//!
//! ```text
//!  Manager ──News──▶ ┌─────────┐ ──Admit, Refuse, Close──▶ streams
//!  streams ──Report─▶│ Service │ ──Kill, request_total───▶ Manager
//!  event loop ──────▶└─────────┘ ──Tell──Message──────────▶ event loop
//! ```
//!
//! Owned and run by the session. It keeps the streams; what they say goes by it.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
};

use firesteel_backend::{Roster, RosterEffect, RosterEvent, StreamId};
use firesteel_machine::{Driven, Shell, step};
use firesteel_rpc::{RpcError, Sender, proto::executor::ToExecutor};
use firesteel_scheduler::DriverEvent;
use tokio::{
    sync::{mpsc as async_mpsc, oneshot, watch},
    task::JoinHandle,
};

use super::{
    manager::{Manager, News},
    reception::Report,
};
use crate::driver::{ExecutorRequest, Message};

/// Serves the listener for executors.
pub(super) type Server = JoinHandle<Result<(), RpcError>>;

/// An executor's stream.
struct Open {
    tx: Sender<ToExecutor>,
    /// Until it is answered.
    answer: Option<oneshot::Sender<Result<(), String>>>,
}

/// See the module.
pub(super) struct Service<M> {
    app_id: String,
    manager: M,
    roster: Driven<Roster>,
    streams: BTreeMap<StreamId, Open>,
    /// What the tasks of streams report.
    reports: async_mpsc::UnboundedReceiver<Report>,
    /// What dynamic allocation asks for.
    requests: async_mpsc::UnboundedReceiver<ExecutorRequest>,
    messages: mpsc::Sender<Message>,
    /// Kept at the granted cores, but never below `floor`.
    cores: Arc<AtomicU32>,
    floor: u32,
    /// `None` when it has ended.
    server: Option<Server>,
    /// The manager does nothing more for the application.
    failed: bool,
    /// Turns true when all shall end.
    stopping: watch::Receiver<bool>,
}

/// What happens to the service.
pub(super) enum Input {
    Report(Report),
    News(News),
    Request(ExecutorRequest),
    /// The server has ended.
    Unserved(String),
}

/// What a [`Service`] is made of, besides the manager.
pub(super) struct Parts {
    pub app_id: String,
    pub reports: async_mpsc::UnboundedReceiver<Report>,
    pub requests: async_mpsc::UnboundedReceiver<ExecutorRequest>,
    pub messages: mpsc::Sender<Message>,
    pub cores: Arc<AtomicU32>,
    pub floor: u32,
    pub server: Server,
    pub stopping: watch::Receiver<bool>,
}

impl<M: Manager> Service<M> {
    /// Knows of no executors yet.
    pub fn new(manager: M, parts: Parts) -> Service<M> {
        let Parts { app_id, reports, requests, messages, cores, floor, server, stopping } = parts;
        Service {
            app_id,
            manager,
            roster: Driven::new(Roster::default()),
            streams: BTreeMap::new(),
            reports,
            requests,
            messages,
            cores,
            floor,
            server: Some(server),
            failed: false,
            stopping,
        }
    }

    /// The end of the service: who asks to be let in now is refused. What is to be ended is returned.
    pub fn into_parts(self) -> (M, Option<Server>) {
        (self.manager, self.server)
    }

    fn fail(&mut self, reason: String) {
        self.failed = true;
        tracing::error!(app_id = self.app_id, reason, "the cluster has failed this application");
        self.tell(Message::Event(DriverEvent::ClusterFailed { message: reason }));
    }

    fn tell(&self, message: Message) {
        // A driver that has ended needs no executors.
        let _ = self.messages.send(message);
    }
}

impl<M: Manager> Shell for Service<M> {
    type Machine = Roster;
    type Input = Input;
    type Error = Infallible;

    fn driven(&mut self) -> &mut Driven<Roster> {
        &mut self.roster
    }

    async fn next_input(&mut self) -> Option<Input> {
        tokio::select! {
            // What streams report was before the manager could hear of what it led to.
            biased;
            () = turned(&mut self.stopping) => None,
            Some(report) = self.reports.recv() => Some(Input::Report(report)),
            news = self.manager.next(), if !self.failed => Some(Input::News(news)),
            Some(request) = self.requests.recv() => Some(Input::Request(request)),
            reason = ended(&mut self.server) => Some(Input::Unserved(reason)),
        }
    }

    fn take(&mut self, input: Input) -> Result<(), Infallible> {
        let event = match input {
            Input::Report(Report::Registers { executor, stream, tx, answer }) => {
                self.streams.insert(stream, Open { tx, answer: Some(answer) });
                RosterEvent::Registers { executor, stream }
            }
            Input::Report(Report::Happened(event)) => {
                if let RosterEvent::StreamEnded { stream } = &event {
                    self.streams.remove(stream);
                }
                event
            }
            // Again: after a loss.
            Input::News(News::Registered { .. }) => return Ok(()),
            Input::News(News::Executors(news)) => RosterEvent::Told(news),
            Input::News(News::Failed(reason)) | Input::Unserved(reason) => {
                self.fail(reason);
                return Ok(());
            }
            Input::Request(ExecutorRequest::Total(total)) => {
                self.manager.request_total(total);
                return Ok(());
            }
            Input::Request(ExecutorRequest::Leaving(executor)) => RosterEvent::Leaving { executor },
            Input::Request(ExecutorRequest::Retire { executor, reason }) => RosterEvent::Retire { executor, reason },
        };
        step(self, event)
    }

    fn carry_out(&mut self, effect: RosterEffect) -> Result<(), Infallible> {
        match effect {
            RosterEffect::Admit { stream } => {
                let answer = self.streams.get_mut(&stream).and_then(|open| open.answer.take());
                // Its task waits for this, or the runtime ends.
                answer.into_iter().for_each(|answer| _ = answer.send(Ok(())));
            }
            RosterEffect::Refuse { stream, reason } => {
                let answer = self.streams.remove(&stream).and_then(|open| open.answer);
                answer.into_iter().for_each(|answer| _ = answer.send(Err(reason.clone())));
            }
            RosterEffect::Close { stream, reason } => {
                self.streams.get(&stream).into_iter().for_each(|open| open.tx.close(&reason));
            }
            RosterEffect::Kill { executor } => self.manager.kill(executor),
            RosterEffect::Tell(event) => self.tell(Message::Event(event)),
            RosterEffect::NodeLeaves { executors, message } => self.tell(Message::WorkerLeaves { executors, message }),
            RosterEffect::Cores(cores) => self.cores.store(cores.max(self.floor), Ordering::Relaxed),
        }
        Ok(())
    }
}

/// Completes when the server ends; never again after that.
async fn ended(server: &mut Option<Server>) -> String {
    let Some(running) = server else { return std::future::pending().await };
    let reason = server_failure(running.await);
    *server = None;
    reason
}

/// Why a server has ended.
pub(super) fn server_failure(ended: Result<Result<(), RpcError>, tokio::task::JoinError>) -> String {
    match ended {
        Ok(Ok(())) => "the driver's listener for executors was closed".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(error) => format!("the driver's server for executors failed: {error}"),
    }
}

/// Completes when the flag is true.
pub(super) async fn turned(flag: &mut watch::Receiver<bool>) {
    // An error is "who would turn it is gone", which is an end as well.
    let _ = flag.wait_for(|on| *on).await;
}
