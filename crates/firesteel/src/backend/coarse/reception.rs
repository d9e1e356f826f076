//! Where executors' streams meet the session: what they report goes to its loop, what they say to the driver's event loop.
//!
//! ```text
//!  endpoint, a task a stream ──Report──▶ Service, with the Roster
//!            └──────Message──▶ driver's event loop
//! ```

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
    mpsc,
};

use firesteel_backend::{RosterEvent, StreamId};
use firesteel_closure::binary::BuildHash;
use firesteel_common::ExecutorId;
use firesteel_protocol::RegisterExecutor;
use firesteel_rpc::{Sender, proto::executor::ToExecutor};
use tokio::sync::{mpsc as async_mpsc, oneshot};

use crate::driver::Message;

/// What the tasks of streams report.
pub(super) enum Report {
    /// An executor asks to be let in.
    Registers {
        /// Who it says it is.
        executor: ExecutorId,
        /// Its stream.
        stream: StreamId,
        /// The way to it.
        tx: Sender<ToExecutor>,
        /// Whether it is let in, or why not.
        answer: oneshot::Sender<Result<(), String>>,
    },
    /// Something of a stream that was let in.
    Happened(RosterEvent),
}

/// What the tasks of streams share.
pub(super) struct Reception {
    build: BuildHash,
    messages: mpsc::Sender<Message>,
    reports: async_mpsc::UnboundedSender<Report>,
    /// Counts the streams.
    opened: AtomicU64,
}

impl Reception {
    /// Of a driver of this build, whose event loop takes `messages`. The reports are for the session's loop.
    pub fn new(
        build: BuildHash,
        messages: mpsc::Sender<Message>,
    ) -> (Reception, async_mpsc::UnboundedReceiver<Report>) {
        let (reports, inbox) = async_mpsc::unbounded_channel();
        (Reception { build, messages, reports, opened: AtomicU64::new(0) }, inbox)
    }

    /// Takes an executor's registration; the error says why it may not come in.
    pub async fn admit(&self, register: &RegisterExecutor, tx: &Sender<ToExecutor>) -> Result<Arc<Stream>, String> {
        self.build.check(&register.build_hash).map_err(|e| e.to_string())?;
        let ends = || "the driver ends".to_owned();
        let stream = StreamId(self.opened.fetch_add(1, Ordering::Relaxed));
        let (answer, answered) = oneshot::channel();
        let report = Report::Registers { executor: register.executor, stream, tx: tx.clone(), answer };
        self.reports.send(report).map_err(|_| ends())?;
        answered.await.map_err(|_| ends())??;
        Ok(Arc::new(Stream { id: stream, tx: tx.clone(), reports: self.reports.clone() }))
    }

    /// Passes something on to the event loop; false when that has ended.
    pub fn tell(&self, message: Message) -> bool {
        self.messages.send(message).is_ok()
    }
}

/// The stream of an executor that was let in.
pub(super) struct Stream {
    id: StreamId,
    pub tx: Sender<ToExecutor>,
    reports: async_mpsc::UnboundedSender<Report>,
}

impl Stream {
    /// Closes the stream by the driver's own wish: that the executor then ends is not its fault.
    pub fn close(&self, reason: &str) {
        // Before its end can be heard of.
        self.report(RosterEvent::Dropped { stream: self.id, reason: reason.to_owned() });
        self.tx.close(reason);
    }

    /// The executor does not work as it must.
    pub fn give_up(&self, reason: &str) {
        self.report(RosterEvent::GiveUp { stream: self.id, reason: reason.to_owned() });
    }

    /// All that came was handed on, and nothing will come.
    pub fn ended(&self) {
        self.report(RosterEvent::StreamEnded { stream: self.id });
    }

    fn report(&self, event: RosterEvent) {
        // Fails only when the session ends, and every executor with it.
        let _ = self.reports.send(Report::Happened(event));
    }
}
