//! What the driver of an application whose executors are processes works by.

use std::{collections::BTreeMap, time::Duration};

use firesteel_common::conf::{Conf, keys, redact};
use firesteel_rpc::Transport;

use crate::{Error, Result, setting::get};

/// The driver's own part of an application's settings.
#[derive(Clone)]
pub(in crate::backend) struct DriverSettings {
    pub transport: Transport,
    /// Under which executors reach the driver.
    pub host: String,
    pub bind_address: String,
    pub port: u16,
    pub block_port: u16,
    /// How many ports after a taken one are tried.
    pub port_retries: u32,
    pub network_timeout: Duration,
    /// What executors are told of the configuration.
    pub executor_conf: BTreeMap<String, String>,
}

impl DriverSettings {
    /// Of a driver that executors reach under `host`.
    pub fn from_conf(conf: &Conf, host: String, transport: Transport) -> Result<DriverSettings> {
        let network_timeout = get(conf, &keys::NETWORK_TIMEOUT)?;
        let heartbeat = get(conf, &keys::EXECUTOR_HEARTBEAT_INTERVAL)?;
        if heartbeat >= network_timeout {
            return Err(Error::Start(format!(
                "spark.executor.heartbeatInterval ({heartbeat:?}) must be well below spark.network.timeout \
                 ({network_timeout:?}): lower the one or raise the other"
            )));
        }
        let block_port = get(conf, &keys::DRIVER_BLOCK_MANAGER_PORT)?;
        Ok(DriverSettings {
            transport,
            bind_address: get(conf, &keys::DRIVER_BIND_ADDRESS)?.unwrap_or_else(|| host.clone()),
            host,
            port: get(conf, &keys::DRIVER_PORT)?,
            block_port: block_port.unwrap_or(get(conf, &keys::BLOCK_MANAGER_PORT)?),
            port_retries: get(conf, &keys::PORT_MAX_RETRIES)?,
            network_timeout,
            executor_conf: executor_conf(conf),
        })
    }
}

/// Everything of `spark.*` that is no secret.
fn executor_conf(conf: &Conf) -> BTreeMap<String, String> {
    let secret =
        |name: &str, value: &str| redact(name, value) != value || name == keys::AUTHENTICATE_SECRET_FILE.name();
    conf.iter()
        .filter(|(name, value)| name.starts_with("spark.") && !secret(name, value))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executors_are_told_everything_but_secrets() {
        let mut conf = Conf::new();
        conf.set("spark.authenticate.secret", "s").set("spark.my.password", "p").set("spark.mine", 1).set("other", 2);
        conf.set("spark.authenticate.secret.file", "/secret");
        assert_eq!(executor_conf(&conf), BTreeMap::from([("spark.mine".to_owned(), "1".to_owned())]));
    }

    #[test]
    fn a_heartbeat_that_cannot_come_in_time_is_refused() {
        let mut conf = Conf::new();
        conf.set("spark.executor.heartbeatInterval", "20s").set("spark.network.timeout", "10s");
        let e = DriverSettings::from_conf(&conf, "h".to_owned(), Transport::default()).err().unwrap().to_string();
        assert!(e.contains("heartbeatInterval"), "{e}");
    }
}
