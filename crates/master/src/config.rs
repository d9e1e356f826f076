//! What a master works by. [`MasterRules`] is all that the state machine sees; [`MasterConfig`] adds what only the
//! shell needs.

use std::time::Duration;

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
    /// How long a worker whose stream closed may take to come back before its executors count as lost.
    pub worker_grace: Duration,
    /// How long a driver whose stream closed may take to come back before its application is removed.
    pub driver_grace: Duration,
}

impl Default for MasterRules {
    fn default() -> MasterRules {
        MasterRules {
            url: String::new(),
            worker_timeout: Duration::from_secs(60),
            default_cores: None,
            spread_out: true,
            max_executor_retries: 10,
            worker_grace: Duration::from_secs(1),
            driver_grace: Duration::from_secs(3),
        }
    }
}

/// What [`run`](crate::run) needs beside its listener.
#[derive(Clone, Default)]
pub struct MasterConfig {
    /// The rules of the state machine.
    pub rules: MasterRules,
    /// How peers are let in, and what they must prove.
    pub transport: Transport,
}
