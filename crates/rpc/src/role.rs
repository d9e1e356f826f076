//! Who speaks on a connection.

use std::{fmt, str::FromStr};

/// The part that a process plays on one connection; both handshake proofs cover it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Role {
    /// Schedules applications onto workers.
    Master,
    /// Starts executors on its host.
    Worker,
    /// The user's program.
    Driver,
    /// Runs one application's tasks.
    Executor,
    /// A submitting or asking command.
    Client,
}

impl Role {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Master => "master",
            Role::Worker => "worker",
            Role::Driver => "driver",
            Role::Executor => "executor",
            Role::Client => "client",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not the name of a [`Role`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is not a role")]
pub struct UnknownRole(pub String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(s: &str) -> Result<Self, UnknownRole> {
        [Role::Master, Role::Worker, Role::Driver, Role::Executor, Role::Client]
            .into_iter()
            .find(|role| role.as_str() == s)
            .ok_or_else(|| UnknownRole(s.chars().take(32).collect()))
    }
}
