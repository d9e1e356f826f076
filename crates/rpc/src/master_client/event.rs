//! What a `MasterClient` is told and what it asks for.

use super::MasterError;

/// One attempt at one connection; news of an earlier one than the current is ignored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Attempt(pub u64);

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// Begin. Again after that it does nothing.
    Start,
    /// The connection stands and has passed the handshake.
    Connected {
        /// The attempt to connect that made it.
        attempt: Attempt,
    },
    /// It does not.
    ConnectFailed {
        /// The attempt to connect that made it.
        attempt: Attempt,
        /// Why, naming the address.
        error: String,
        /// Trying this master again cannot help, see [`crate::RpcError::is_permanent`].
        permanent: bool,
    },
    /// The connection has ended.
    StreamClosed {
        /// The attempt to connect that made it.
        attempt: Attempt,
        /// The reason, in words for people.
        reason: String,
    },
    /// `MasterInStandby` arrived.
    Standby {
        /// Over which connection.
        attempt: Attempt,
    },
    /// `RegisteredWorker` or `RegisteredApplication` arrived.
    Registered {
        /// Over which connection.
        attempt: Attempt,
    },
    /// `RegisterWorkerFailed` or `RegisterApplicationFailed` arrived: the leading master's last word.
    Rejected {
        /// Over which connection.
        attempt: Attempt,
        /// The reason, in words for people.
        reason: String,
    },
    /// `RegisterWorkerFailed` arrived because a live worker has our id or address.
    Held {
        /// Over which connection.
        attempt: Attempt,
        /// Who has it.
        reason: String,
    },
    /// `ReconnectWorker` arrived: the master does not know us (any more).
    Forgotten {
        /// Over which connection.
        attempt: Attempt,
    },
    /// The owner ends. No effect but `Disconnect` follows, ever.
    Stop,
    /// The time of [`MasterClient::next_deadline`] has come.
    Wake,
}

/// What to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Open a connection; answer with `Connected` or `ConnectFailed`.
    Connect {
        /// To name it by.
        attempt: Attempt,
        /// host:port of the master.
        address: String,
    },
    /// Send the registration over it; answer with `Registered`, `Standby` or `Rejected`.
    Register {
        /// Over which connection.
        attempt: Attempt,
    },
    /// Drop the connection, whether it stands or not. No more is wanted from it.
    Disconnect {
        /// The attempt to connect that made it.
        attempt: Attempt,
    },
    /// The master that we were registered with is gone; another is being looked for.
    Lost {
        /// host:port of the master.
        address: String,
        /// The reason, in words for people.
        reason: String,
    },
    /// Nothing more will be tried.
    GiveUp {
        /// What to tell the user.
        error: MasterError,
    },
}
