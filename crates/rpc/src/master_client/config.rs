//! The patience of a `MasterClient`.

use std::time::Duration;

/// How patient a [`MasterClient`] is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MasterClientConfig {
    /// How often every master is tried before giving up, at the start and again after each loss; at least 1.
    pub rounds: u32,
    /// How long a connection may take to stand.
    pub connect_timeout: Duration,
    /// How long the answer to a registration may take.
    pub register_timeout: Duration,
    /// Wait after the first round; doubles with each further one. Half of it to one and a half times, at random.
    pub backoff: Duration,
    /// The wait does not grow beyond this, before its random part.
    pub backoff_max: Duration,
}

impl Default for MasterClientConfig {
    /// Spark's 16 attempts; about ten minutes in all.
    fn default() -> Self {
        Self {
            rounds: 16,
            connect_timeout: Duration::from_secs(10),
            register_timeout: Duration::from_secs(20),
            backoff: Duration::from_millis(500),
            backoff_max: Duration::from_secs(60),
        }
    }
}
