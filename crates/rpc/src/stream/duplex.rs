//! A connection as its users see it.

use std::{fmt, sync::Arc};

use tokio::sync::mpsc;

use super::{
    QUEUE_BYTES, QUEUE_MESSAGES, WireMessage,
    link::{Link, Phase},
    outbound::Queued,
};
use crate::{MAX_MESSAGE_BYTES, Role, SendError};

/// Who is on the other side.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// What it is, proved when there is a secret.
    pub role: Role,
    /// The application that the opener spoke for; empty outside one.
    pub app_id: String,
    /// host:port of its end of the connection.
    pub addr: String,
}

/// An established connection that has passed the handshake.
#[derive(Debug)]
pub struct Duplex<In, Out> {
    /// Sends to the peer. When the last clone is dropped, what is queued is sent and the connection closed.
    pub tx: Sender<Out>,
    /// Receives from the peer; ends when the connection does. Dropping it closes the connection.
    pub rx: mpsc::Receiver<In>,
    /// Who is on the other side.
    pub peer: Peer,
}

/// Sends messages of one connection, from any thread, without ever waiting.
pub struct Sender<M> {
    queue: mpsc::Sender<Queued<M>>,
    link: Arc<Link>,
}

impl<M> Clone for Sender<M> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone(), link: self.link.clone() }
    }
}

impl<M> fmt::Debug for Sender<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("addr", &self.link.addr).field("phase", &self.link.phase()).finish()
    }
}

impl<M: WireMessage> Sender<M> {
    pub(super) fn new(queue: mpsc::Sender<Queued<M>>, link: Arc<Link>) -> Self {
        Self { queue, link }
    }

    /// Queues a message.
    ///
    /// # Errors
    /// `TooLarge` leaves the connection as it is. `Full` closes it: a peer that does not keep up is as good as gone.
    /// `Closed` says why it had been closed.
    pub fn send(&self, message: M) -> Result<(), SendError> {
        let bytes = message.encoded_len();
        if bytes > MAX_MESSAGE_BYTES {
            return Err(SendError::TooLarge { addr: self.link.addr.clone(), bytes, limit: MAX_MESSAGE_BYTES });
        }
        if self.link.phase() != Phase::Open {
            return Err(self.closed_error());
        }
        if !self.link.reserve(bytes, QUEUE_BYTES) {
            return Err(self.overflow());
        }
        self.queue.try_send(Queued { message, bytes }).map_err(|e| {
            self.link.release(bytes);
            match e {
                mpsc::error::TrySendError::Full(_) => self.overflow(),
                mpsc::error::TrySendError::Closed(_) => self.closed_error(),
            }
        })
    }

    /// Ends the connection after what is queued has been sent. `reason` is what later sends fail with.
    pub fn close(&self, reason: &str) {
        self.link.end(Phase::Draining, reason);
    }

    /// Says whether the peer of an accepted connection has registered with whom it serves. Without a secret everybody passes
    /// the handshake: who does not register is closed after a minute, or when too many others come, and may send little.
    pub fn set_known(&self, known: bool) {
        if let Some(badge) = &self.link.badge {
            badge.set_known(known);
        }
    }

    /// Whether the connection is over, or about to be.
    pub fn is_closed(&self) -> bool {
        self.link.phase() != Phase::Open
    }

    /// Why the connection is over; absent while it is not.
    pub fn close_reason(&self) -> Option<String> {
        self.is_closed().then(|| self.link.reason())
    }

    /// Completes when the connection is over, or about to be.
    pub async fn closed(&self) {
        self.link.reached(Phase::Draining).await;
    }

    fn closed_error(&self) -> SendError {
        SendError::Closed { addr: self.link.addr.clone(), reason: self.link.reason() }
    }

    fn overflow(&self) -> SendError {
        self.link.end(Phase::Closed, "the other side does not keep up");
        let messages = QUEUE_MESSAGES - self.queue.capacity().min(QUEUE_MESSAGES);
        SendError::Full { addr: self.link.addr.clone(), messages }
    }
}
