//! Where an application gets its executors: the cluster managers that `spark.master` names.
//!
//! ```text
//!  spark.master (rpc::Master) ──of──▶ ClusterManager ──start──▶ Driver, Backend
//!                                       ├─ local        threads of this process
//!                                       └─ coarse       executors that are processes and connect to the driver, for a Manager of
//!                                            ├─ standalone                  a master
//!                                            └─ standalone::local_cluster   a master and workers in this process
//! ```
//!
//! Another cluster manager is a folder here, a line in [`of`] and one in the grammar of `spark.master`. One that starts processes implements
//! `coarse::Manager`: the rest of it is the same for all.

mod coarse;
mod local;
mod standalone;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU32},
};

use firesteel_common::conf::Conf;
use firesteel_events::Bus;
use firesteel_rpc::Master;
use firesteel_scheduler::SchedulerConfig;

use crate::{Error, Result, driver::Driver};

/// The cluster manager that `spark.master` names.
pub(crate) fn of(master: Master) -> Box<dyn ClusterManager> {
    match master {
        Master::Local { threads, max_failures } => Box::new(local::Local { threads, max_failures }),
        Master::LocalCluster { workers, cores, memory_mb } => {
            Box::new(standalone::LocalClusterManager { workers, cores, memory_mb })
        }
        Master::Standalone(url) => Box::new(standalone::Standalone(url)),
    }
}

/// What gives an application its executors. Spark: `ExternalClusterManager`.
pub(crate) trait ClusterManager: fmt::Debug + Send {
    /// What the schedulers have to know of it.
    fn capabilities(&self, conf: &Conf) -> Result<Capabilities>;

    /// Starts the driver of an application and has executors come.
    ///
    /// # Errors
    /// A port or directory that cannot be had, a setting that makes no sense there, a cluster that does not answer or does
    /// not want the application.
    fn start(self: Box<Self>, start: Start<'_>) -> Result<(Driver, Box<dyn Backend>)>;
}

/// What the schedulers have to know of a cluster manager.
pub(crate) struct Capabilities {
    /// Cores of an executor, where they are known before one is there.
    pub executor_cores: Option<u32>,
    /// Failures of a task that fail its job, where the master's form says so and not `spark.task.maxFailures`.
    pub max_task_failures: Option<u32>,
    /// Executors may be asked for, given back and decommissioned.
    pub elastic: bool,
}

/// What an application starts with.
pub(crate) struct Start<'a> {
    /// Its configuration.
    pub conf: &'a Conf,
    /// How its schedulers work.
    pub config: SchedulerConfig,
    /// To be kept at the cores that it has.
    pub cores: &'a Arc<AtomicU32>,
    /// Who hears of what happens.
    pub bus: &'a Bus,
}

/// A running application's hold on its executors. Spark: `SchedulerBackend`.
pub(crate) trait Backend: Send {
    /// The application's id.
    fn app_id(&self) -> String;

    /// Which attempt of the application this is, where the cluster manager tries one several times.
    fn attempt_id(&self) -> Option<String> {
        None
    }

    /// Gives up the executors and everything else; called once, after the driver's event loop has ended.
    fn stop(&mut self);
}

fn failed(error: impl fmt::Display) -> Error {
    Error::Start(error.to_string())
}
