//! What a master works by. [`MasterRules`] is all that the state machine sees; [`MasterConfig`] adds what only the
//! shell needs.

use std::{net::TcpListener, time::Duration};

use firesteel_common::conf::{Conf, ConfError, keys};
use firesteel_rpc::Transport;

/// The rules of the state machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MasterRules {
    /// `spark://host:port`, told to everybody who registers.
    pub url: String,
    /// A worker that was silent for this long is removed (`spark.worker.timeout`).
    pub worker_timeout: Duration,
    /// Cores of an application that does not say `spark.cores.max` (`spark.deploy.defaultCores`); `None`: all of them.
    pub default_cores: Option<u32>,
    /// Deal an application's executors over as many workers as possible instead of filling one after the other
    /// (`spark.deploy.spreadOutApps`).
    pub spread_out: bool,
    /// An application without a running executor fails after this many executors in a row that ended badly
    /// (`spark.deploy.maxExecutorRetries`); negative: never.
    pub max_executor_retries: i32,
    /// So many applications that are over are shown (`spark.deploy.retainedApplications`).
    pub retained_applications: usize,
    /// How long a worker whose stream closed may take to come back before its executors count as lost.
    pub worker_grace: Duration,
    /// How long an application whose stream closed may take to come back before it is removed.
    pub application_grace: Duration,
}

impl MasterRules {
    /// What the configuration says, for a master that is reached under `url`.
    ///
    /// # Errors
    /// When a value cannot be read.
    pub fn from_conf(conf: &Conf, url: String) -> Result<MasterRules, ConfError> {
        Ok(MasterRules {
            url,
            worker_timeout: conf.get(&keys::WORKER_TIMEOUT)?,
            default_cores: conf.get(&keys::DEPLOY_DEFAULT_CORES)?,
            spread_out: conf.get(&keys::DEPLOY_SPREAD_OUT_APPS)?,
            max_executor_retries: conf.get(&keys::DEPLOY_MAX_EXECUTOR_RETRIES)?,
            retained_applications: conf.get(&keys::DEPLOY_RETAINED_APPLICATIONS)? as usize,
            ..MasterRules::default()
        })
    }
}

impl Default for MasterRules {
    fn default() -> MasterRules {
        MasterRules {
            url: String::new(),
            worker_timeout: Duration::from_secs(60),
            default_cores: None,
            spread_out: true,
            max_executor_retries: 10,
            retained_applications: 200,
            worker_grace: Duration::from_secs(1),
            application_grace: Duration::from_secs(3),
        }
    }
}

/// Where a master listens.
#[derive(Debug)]
pub struct MasterListeners {
    /// For workers and drivers.
    pub rpc: TcpListener,
    /// For those who look at its state; `None`: nobody can.
    pub web: Option<TcpListener>,
}

impl MasterListeners {
    /// For workers and drivers alone.
    pub fn rpc_alone(rpc: TcpListener) -> MasterListeners {
        MasterListeners { rpc, web: None }
    }
}

/// What [`run`](crate::run) needs beside its listeners.
#[derive(Clone, Default)]
pub struct MasterConfig {
    /// The rules of the state machine.
    pub rules: MasterRules,
    /// How peers are let in, and what they must prove.
    pub transport: Transport,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_keys_a_master_goes_by_its_defaults() {
        assert_eq!(MasterRules::from_conf(&Conf::new(), String::new()).unwrap(), MasterRules::default());
        let mut conf = Conf::new();
        conf.set("spark.deploy.defaultCores", 2).set("spark.deploy.spreadOutApps", false);
        let rules = MasterRules::from_conf(&conf, String::new()).unwrap();
        assert_eq!((rules.default_cores, rules.spread_out), (Some(2), false));
    }
}
