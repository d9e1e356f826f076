//! Long-lived streams: one generic client and server over gRPC for every service.
//!
//! ```text
//!   Sender::send ─▶ queue (bounded) ─▶ Outbound ─▶ HTTP/2 ─▶ pump ─▶ handshake, then decode ─▶ Duplex::rx
//!                          Link: open ─▶ draining ─▶ closed, the same one for both directions
//! ```
//!
//! A connection is over for both sides as soon as one direction ends: when the peer or the network goes, when the
//! queue overflows, when all [`Sender`]s or the receiver of one side are dropped. `Duplex::rx` then ends and
//! `Sender::send` gives the reason. Frames arrive as bytes; until the handshake has finished nothing of them but the
//! handshake field is decoded.
//!
//! A connection that nobody has let in yet may send a few kilobytes, and is closed when its time is over or when too many
//! others wait (`door`, `arrivals`). The same is true, with more of each, of a peer that is through the handshake until whom
//! it came to says that it is known ([`Sender::set_known`]).
//!
//! The services differ only in what [`Service`] says, so there is one copy of everything.

mod arrivals;
mod client;
mod codec;
mod door;
mod duplex;
mod link;
mod outbound;
mod pump;
mod server;
mod service;
#[cfg(test)]
mod tests;

use std::{future::Future, net::TcpListener, time::Duration};

pub use client::connect;
pub use duplex::{Duplex, Peer, Sender};
pub use server::serve;
pub use service::{Deploy, Driver, Service, WireMessage};

use crate::{
    Role, RpcError, Transport,
    proto::{
        deploy::{FromMaster, ToMaster},
        executor::{ToDriver, ToExecutor},
    },
};

/// Messages that may wait to be sent. What is told at once must fit: the most is what a driver that comes back hears of its
/// executors, two messages each (`crates/master/src/limits.rs`); the bytes of what waits are bounded by themselves.
pub const QUEUE_MESSAGES: usize = 1 << 18;

/// Received messages that may wait to be taken; the peer waits with what would be more.
const INBOX_MESSAGES: usize = 1024;

/// Encoded bytes that may wait to be sent.
pub const QUEUE_BYTES: usize = 256 << 20;

/// A peer that is quiet is asked this often whether it still lives, and is given as long to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// What is still queued when one side ends a connection has this long to reach the other.
const DRAIN: Duration = Duration::from_secs(5);

/// A peer that connects has this long until its handshake has ended.
const HANDSHAKE: Duration = Duration::from_millis(if cfg!(test) { 500 } else { 10_000 });

/// HTTP/2 flow control: what may be under way on one stream. A large message must not wait for the round trip.
const WINDOW_BYTES: u32 = 2 << 20;

impl Transport {
    /// Connects to a master: `role` is worker, driver or client.
    pub async fn connect_master(
        &self,
        addr: &str,
        role: Role,
        app_id: &str,
    ) -> Result<Duplex<FromMaster, ToMaster>, RpcError> {
        connect::<Deploy>(self, addr, role, app_id).await
    }

    /// Serves a master's port until `shutdown` completes; then what is queued is sent and every connection closed.
    /// `on_peer` is called once for each peer that has passed the handshake and must not block.
    pub async fn serve_master(
        &self,
        listener: TcpListener,
        on_peer: impl Fn(Duplex<ToMaster, FromMaster>) + Send + Sync + 'static,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), RpcError> {
        serve::<Deploy>(self, listener, None, on_peer, shutdown).await
    }

    /// Connects an executor to its driver; this transport is the application's ([`Transport::of_application`]).
    pub async fn connect_driver(&self, addr: &str, app_id: &str) -> Result<Duplex<ToExecutor, ToDriver>, RpcError> {
        connect::<Driver>(self, addr, Role::Executor, app_id).await
    }

    /// Serves a driver's port to executors of the application `app_id` alone, whose transport this is, until `shutdown`
    /// completes; otherwise as [`Transport::serve_master`].
    pub async fn serve_driver(
        &self,
        listener: TcpListener,
        app_id: &str,
        on_peer: impl Fn(Duplex<ToDriver, ToExecutor>) + Send + Sync + 'static,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), RpcError> {
        serve::<Driver>(self, listener, Some(app_id.to_owned()), on_peer, shutdown).await
    }
}
