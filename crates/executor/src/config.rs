//! What an [`Executor`](crate::Executor) is made of and works by.

use std::{sync::Arc, time::Duration};

use firesteel_common::{
    ExecutorId,
    conf::{Conf, ConfError, keys},
};
use firesteel_storage::BlockClient;
use firesteel_task::{ResultBounds, TaskServices};

use crate::core::Reaper;

/// No result larger than this goes into a message, whatever the key says: several share one.
const LARGEST_DIRECT_RESULT: u64 = 1 << 20;

/// What a decommissioned executor has others take (`spark.storage.decommission.*`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DecommissionSettings {
    /// Kept partitions.
    pub cached: bool,
    /// Map outputs, where nobody else serves them.
    pub map_outputs: bool,
    /// After so many failures a block is given up.
    pub max_failures: u32,
    /// So many are moved at a time.
    pub threads: u32,
}

impl DecommissionSettings {
    fn from_conf(conf: &Conf) -> Result<DecommissionSettings, ConfError> {
        let on = conf.get(&keys::STORAGE_DECOMMISSION_ENABLED)?;
        Ok(DecommissionSettings {
            cached: on && conf.get(&keys::STORAGE_DECOMMISSION_RDD_BLOCKS)?,
            map_outputs: on && conf.get(&keys::STORAGE_DECOMMISSION_SHUFFLE_BLOCKS)?,
            max_failures: conf.get(&keys::STORAGE_DECOMMISSION_MAX_FAILURES)?,
            threads: conf.get(&keys::STORAGE_DECOMMISSION_SHUFFLE_THREADS)?,
        })
    }
}

/// Settings that come from configuration keys.
#[derive(Clone, Debug)]
pub struct ExecutorSettings {
    /// Stack of each task thread, in bytes (`spark.firesteel.taskStackSize`).
    pub stack_bytes: usize,
    /// How large results may be.
    pub results: ResultBounds,
    /// How tasks are watched that were asked to end (`spark.task.reaper.*`); None for not at all.
    pub reaper: Option<Reaper>,
    /// What others take when the executor is decommissioned.
    pub decommission: DecommissionSettings,
    /// How often the executor beats; None for one in the driver's own process.
    pub heartbeat: Option<Duration>,
}

impl ExecutorSettings {
    /// The settings that the keys say.
    pub fn from_conf(conf: &Conf) -> Result<ExecutorSettings, ConfError> {
        Ok(ExecutorSettings {
            stack_bytes: usize::try_from(conf.get(&keys::TASK_STACK_SIZE)?.0).unwrap_or(usize::MAX),
            results: ResultBounds {
                direct: conf.get(&keys::TASK_MAX_DIRECT_RESULT_SIZE)?.0.min(LARGEST_DIRECT_RESULT),
                total: conf.get(&keys::DRIVER_MAX_RESULT_SIZE)?.0,
            },
            reaper: match conf.get(&keys::REAPER)? {
                false => None,
                true => Some(Reaper {
                    interval: conf.get(&keys::REAPER_POLLING_INTERVAL)?,
                    kill_timeout: conf.get(&keys::REAPER_KILL_TIMEOUT)?,
                }),
            },
            decommission: DecommissionSettings::from_conf(conf)?,
            heartbeat: Some(conf.get(&keys::EXECUTOR_HEARTBEAT_INTERVAL)?),
        })
    }
}

/// All that an executor needs.
#[derive(Clone)]
pub struct ExecutorConfig {
    /// Which executor this is.
    pub executor: ExecutorId,
    /// Tasks that run at a time.
    pub cores: u32,
    /// Settings from configuration keys.
    pub settings: ExecutorSettings,
    /// `host:port` of the block server that serves `services.blocks` to others.
    pub block_address: String,
    /// Asks other executors to take what this one keeps.
    pub client: BlockClient,
    /// What tasks use.
    pub services: Arc<TaskServices>,
}
