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

use std::future::Future;
use std::net::TcpListener;
use std::time::Duration;

pub use client::connect;
pub use duplex::{Duplex, Peer, Sender};
pub use server::serve;
pub use service::{Deploy, Driver, Service, WireMessage};

use crate::proto::deploy::{FromMaster, ToMaster};
use crate::proto::executor::{ToDriver, ToExecutor};
use crate::{Role, RpcError, Secret};

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

/// Connects to a master: `role` is worker, driver or client, `secret` the cluster's.
pub async fn connect_master(
    addr: &str,
    role: Role,
    app_id: &str,
    secret: Option<&Secret>,
    timeout: Duration,
) -> Result<Duplex<FromMaster, ToMaster>, RpcError> {
    connect::<Deploy>(addr, role, app_id, secret, timeout).await
}

/// Serves a master's port until `shutdown` completes; then what is queued is sent and every connection closed.
/// `on_peer` is called once for each peer that has passed the handshake and must not block.
pub async fn serve_master(
    listener: TcpListener,
    secret: Option<Secret>,
    on_peer: impl Fn(Duplex<ToMaster, FromMaster>) + Send + Sync + 'static,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RpcError> {
    serve::<Deploy>(listener, None, secret, on_peer, shutdown).await
}

/// Connects an executor to its driver: `key` is the application's, see [`Secret::app_key`].
pub async fn connect_driver(
    addr: &str,
    app_id: &str,
    key: Option<&Secret>,
    timeout: Duration,
) -> Result<Duplex<ToExecutor, ToDriver>, RpcError> {
    connect::<Driver>(addr, Role::Executor, app_id, key, timeout).await
}

/// Serves a driver's port to executors of the application `app_id` alone, until `shutdown` completes; otherwise as
/// [`serve_master`].
pub async fn serve_driver(
    listener: TcpListener,
    app_id: &str,
    key: Option<Secret>,
    on_peer: impl Fn(Duplex<ToDriver, ToExecutor>) + Send + Sync + 'static,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), RpcError> {
    serve::<Driver>(listener, Some(app_id.to_owned()), key, on_peer, shutdown).await
}
