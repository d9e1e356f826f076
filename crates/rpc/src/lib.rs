//! How the processes of a cluster talk: the messages, the handshake and the long-lived streams.
//!
//! ```text
//!  proto       message types, generated from proto/*.proto
//!  convert     `ToDriver` and `ToExecutor` of `protocol`, to and from their messages (`failure`, `metrics`: parts of them)
//!  checked     where messages are decoded: a rule for each field of each of them
//!  security    what peers must prove               secret  the cluster's secret and the keys derived from it
//!  transport   how to bind, connect and accept     bind, dial, stream  its parts
//!  issuer      proof that an application's id was given by a master
//!  handshake   sans-I/O machines; the first messages of every connection, control and block alike
//!  strangers   how many connections may wait for their handshake, and how long      sparse_log  what is told of them
//!  stream      one generic client and server for all services: Duplex { tx, rx, peer }
//!  incarnation by what a process that comes back is known
//!  bind        which address a listener may have without a secret      dial  connections for blocks
//!  spark_master  where an application gets its executors
//!  master_url, master_client   how workers and drivers find, lose and find again the leading master
//! ```
//!
//! Callers: master, worker, executor and driver for control streams, `storage` for the handshake of block connections.
//! This crate calls tonic for HTTP/2 and knows the form of what the messages hold, not what it means.

pub mod bind;
pub mod checked;
pub mod convert;
pub mod dial;
pub mod error;
mod failure;
pub mod handshake;
pub mod incarnation;
pub mod issuer;
pub mod master_client;
pub mod master_url;
mod metrics;
pub mod proto;
pub mod role;
pub mod secret;
pub mod security;
pub mod spark_master;
pub mod sparse_log;
pub mod strangers;
pub mod stream;
pub mod transport;

pub use dial::DialError;
pub use error::{RpcError, SendError};
pub use issuer::{Issuer, Provenance};
pub use master_client::MasterClient;
pub use master_url::MasterUrl;
pub use role::Role;
pub use secret::Secret;
pub use security::Security;
pub use spark_master::Master;
pub use sparse_log::SparseLog;
pub use strangers::{StrangerLimits, Strangers};
pub use stream::{Duplex, Peer, Sender};
pub use transport::Transport;

/// The version of everything that goes over the wire; both sides of a connection must have the same.
pub const PROTOCOL_VERSION: u32 = 3;

/// No control message is larger, encoded; what may be larger travels as a block.
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;
