//! What goes wrong between processes. Every error names the address.

use std::{io, time::Duration};

use crate::handshake::HandshakeError;

/// A connection or listener could not be had.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// The address is not `host:port`.
    #[error("{addr:?} is not an address of the form host:port: {reason}")]
    BadAddress {
        /// As given.
        addr: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No connection to the other side.
    #[error("cannot connect to {addr}: {reason}")]
    Connect {
        /// The other side.
        addr: String,
        /// What the transport said.
        reason: String,
    },
    /// The other side did not answer in time.
    #[error("{addr} did not answer within {after:?}")]
    Timeout {
        /// The other side.
        addr: String,
        /// How long was waited.
        after: Duration,
    },
    /// The connection stood, but the two sides did not accept each other.
    #[error("the handshake with {addr} failed: {source}")]
    Handshake {
        /// The other side.
        addr: String,
        /// What went wrong in the handshake.
        source: HandshakeError,
    },
    /// A listener without a secret would be reachable from other hosts.
    #[error(
        "will not listen on {host} without authentication: set spark.authenticate.secret (or \
         spark.authenticate.secret.file) on every process of the cluster, or say spark.authenticate=false to let everyone in, or listen on localhost"
    )]
    InsecureBind {
        /// The host that was to be bound.
        host: String,
    },
    /// The operating system refused the listener.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// host:port.
        addr: String,
        /// What the system said.
        source: io::Error,
    },
    /// This host has no random numbers to give.
    #[error("no random numbers for the keys of this process: {reason}")]
    Random {
        /// What the operating system said.
        reason: String,
    },
    /// The server ended by itself.
    #[error("the server on {addr} failed: {reason}")]
    Serve {
        /// host:port.
        addr: String,
        /// What the transport said.
        reason: String,
    },
}

impl RpcError {
    /// Whether trying again cannot help: the two sides are configured differently, or the address is no address.
    pub fn is_permanent(&self) -> bool {
        match self {
            RpcError::BadAddress { .. } | RpcError::InsecureBind { .. } => true,
            RpcError::Handshake { source, .. } => source.is_permanent(),
            RpcError::Connect { .. }
            | RpcError::Timeout { .. }
            | RpcError::Listen { .. }
            | RpcError::Random { .. }
            | RpcError::Serve { .. } => false,
        }
    }
}

/// A message was not queued.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SendError {
    /// The connection is over.
    #[error("the connection with {addr} is closed: {reason}")]
    Closed {
        /// The other side.
        addr: String,
        /// Why it is over.
        reason: String,
    },
    /// The other side does not keep up; the connection was closed because of it.
    #[error("{addr} does not keep up: {messages} messages wait to be sent; closed the connection")]
    Full {
        /// The other side.
        addr: String,
        /// How many wait.
        messages: usize,
    },
    /// The message was not queued; the connection stays open.
    #[error("a message of {bytes} bytes to {addr} is larger than the {limit} that one may have")]
    TooLarge {
        /// The other side.
        addr: String,
        /// Encoded size of the message.
        bytes: usize,
        /// [`crate::MAX_MESSAGE_BYTES`].
        limit: usize,
    },
}

/// An error and its sources as one line; tonic's own text is only "transport error".
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if parts.last().is_none_or(|last| !last.contains(&text)) {
            parts.push(text);
        }
        next = error.source();
    }
    parts.join(": ")
}
