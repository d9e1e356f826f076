//! How this process connects to others and lets them in: one value that everything which listens or connects has.
//!
//! ```text
//!  bind.rs     Transport::bind, bind_one_of                              a port
//!  stream.rs   Transport::connect_master, serve_master, …_driver         control streams
//!  dial.rs     Transport::dial, handshake                                block connections
//! ```

use std::time::Duration;

use firesteel_common::conf::{Conf, ConfError, keys};

use crate::Security;

/// What peers must prove, and how long they are waited for. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Transport {
    security: Security,
    connect_timeout: Duration,
    network_timeout: Duration,
}

impl Default for Transport {
    /// Within this host, without a secret.
    fn default() -> Transport {
        Transport::new(Security::none())
    }
}

impl Transport {
    /// Ten seconds to connect, and the two minutes that `spark.network.timeout` has by default.
    pub fn new(security: impl Into<Security>) -> Transport {
        let security = security.into();
        Transport { security, connect_timeout: Duration::from_secs(10), network_timeout: Duration::from_secs(120) }
    }

    /// What the configuration says: [`Security::from_conf`] and `spark.network.timeout`.
    ///
    /// # Errors
    /// When a value or the secret's file cannot be read, or authentication is asked for without a secret.
    pub fn from_conf(conf: &Conf) -> Result<Transport, ConfError> {
        Transport::new(Security::from_conf(conf)?).configured(conf)
    }

    /// The same security with the times of a configuration.
    ///
    /// # Errors
    /// When a value cannot be read.
    pub fn configured(self, conf: &Conf) -> Result<Transport, ConfError> {
        Ok(self.answered_within(conf.get(&keys::NETWORK_TIMEOUT)?))
    }

    /// With so long for a connection to be made and accepted.
    pub fn connecting_within(self, connect_timeout: Duration) -> Transport {
        Transport { connect_timeout, ..self }
    }

    /// With so long for which a peer that owes an answer to a request may send nothing (`spark.network.timeout`).
    pub fn answered_within(self, network_timeout: Duration) -> Transport {
        Transport { network_timeout, ..self }
    }

    /// The same among the processes of one application, which have its key only.
    pub fn of_application(&self, app_id: &str) -> Transport {
        Transport { security: self.security.of_application(app_id), ..self.clone() }
    }

    /// What peers must prove.
    pub fn security(&self) -> &Security {
        &self.security
    }

    /// For a connection to be made and accepted.
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// For which a peer that owes an answer may send nothing.
    pub fn network_timeout(&self) -> Duration {
        self.network_timeout
    }
}
