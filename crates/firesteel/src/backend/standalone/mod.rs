//! A standalone cluster, `spark://host:port[,..]`: a master that has executors started by workers.
//!
//! ```text
//!  coarse::start ──▶ MasterLink (a Manager) ◀──stream── master
//! ```

mod local_cluster;
mod master_link;
mod settings;

use firesteel_common::conf::{Conf, keys};
use firesteel_rpc::{MasterUrl, master_client::MasterClientConfig};

pub(super) use self::local_cluster::LocalClusterManager;
use self::{master_link::MasterLink, settings::Settings};
use super::{Backend, Capabilities, ClusterManager, Start, coarse};
use crate::{Result, driver::Driver, setting::get};

/// Rounds over the masters before a start is given up: five to ten seconds where nobody listens.
const ROUNDS_AT_START: u32 = 5;

/// Executors are counted as so many cores while none is there.
const FLOOR: u32 = 2;

/// A cluster, by its masters.
#[derive(Debug)]
pub(super) struct Standalone(pub MasterUrl);

impl ClusterManager for Standalone {
    fn capabilities(&self, conf: &Conf) -> Result<Capabilities> {
        let executor_cores = get(conf, &keys::EXECUTOR_CORES)?;
        Ok(Capabilities { executor_cores, max_task_failures: None, elastic: true })
    }

    fn start(self: Box<Self>, start: Start<'_>) -> Result<(Driver, Box<dyn Backend>)> {
        let Standalone(url) = *self;
        let settings = Settings::from_conf(start.conf, &url)?;
        let driver = settings.driver.clone();
        coarse::start(driver, FLOOR, move |application| link(url, &settings, &application), start)
    }
}

/// Begins to look for a master, impatiently at first.
fn link(url: MasterUrl, settings: &Settings, application: &coarse::Application) -> MasterLink {
    let patience = MasterClientConfig { rounds: ROUNDS_AT_START, ..MasterClientConfig::default() };
    let described = settings.describe(application);
    let transport = settings.driver.transport.clone();
    MasterLink::start(url, patience, transport, described, settings.beat, application.executors)
}
