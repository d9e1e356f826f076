//! What goes into the [`Master`](crate::Master) and what comes out of it.

use std::fmt;

use firesteel_rpc::{
    Role,
    proto::deploy::{from_master, to_master},
};

use crate::records::{Record, RecordId, Records};

/// One stream of a worker or an application; the shell never uses a number twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}", self.0)
    }
}

/// What happened.
#[derive(Clone, PartialEq, Debug)]
#[expect(clippy::large_enum_variant, reason = "messages are what nearly every event carries; a box would cost more")]
pub enum MasterEvent {
    /// A peer said something.
    Received {
        /// On which stream.
        from: ConnectionId,
        /// What the peer has shown to be.
        role: Role,
        /// The message.
        message: to_master::Message,
    },
    /// A stream is gone.
    Closed {
        /// The connection's number.
        connection: ConnectionId,
    },
    /// This master leads from now on. Of one that leads already it changes nothing.
    Elected {
        /// What the leader before it left behind; nothing when there was none, or nothing was kept.
        records: Records,
    },
    /// This master does not lead any more.
    Deposed,
    /// A deadline of [`Master::next_deadline`](crate::Master::next_deadline) has come.
    Wake,
}

/// What the shell is to do, in this order.
#[derive(Clone, PartialEq, Debug)]
pub enum MasterEffect {
    /// Say this on that stream; when it cannot be said, close the stream and report [`MasterEvent::Closed`].
    Send {
        /// On which stream.
        to: ConnectionId,
        /// The message.
        message: from_master::Message,
    },
    /// Keep this record for the master that is elected after this one, before what follows is done.
    Persist {
        /// It takes the place of one with the same id.
        record: Record,
    },
    /// Keep this record no longer.
    Forget {
        /// The record's key.
        id: RecordId,
    },
    /// Close the stream after what was sent on it. The master has forgotten it: `Closed` may follow or not.
    Close {
        /// The connection's number.
        connection: ConnectionId,
    },
}
