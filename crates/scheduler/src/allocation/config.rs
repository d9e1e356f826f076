//! The settings of dynamic allocation.

use std::time::Duration;

use firesteel_common::conf::{Conf, ConfError, keys};

/// Settings of dynamic allocation, `spark.dynamicAllocation.*`; the defaults are Spark's.
#[derive(Clone, Debug, PartialEq)]
pub struct AllocationConfig {
    /// `minExecutors`: never fewer are asked for.
    pub min: u32,
    /// What the application begins with: the largest of `initialExecutors`, `minExecutors` and
    /// `spark.executor.instances`.
    pub initial: u32,
    /// `maxExecutors`: never more are asked for.
    pub max: u32,
    /// `schedulerBacklogTimeout`: tasks wait this long before the first executors are asked for.
    pub backlog_timeout: Duration,
    /// `sustainedSchedulerBacklogTimeout`: and this long before each further request.
    pub sustained_backlog_timeout: Duration,
    /// `executorIdleTimeout`: an executor without tasks is given back after this time.
    pub idle_timeout: Duration,
    /// `cachedExecutorIdleTimeout`: the same for one that holds cached partitions; `None`: never.
    pub cached_idle_timeout: Option<Duration>,
    /// `shuffleTracking.enabled`: an executor whose shuffle files may be read again stays.
    pub shuffle_tracking: bool,
    /// `shuffleTracking.timeout`: so long; `None`: as long as the shuffle is referenced.
    pub shuffle_timeout: Option<Duration>,
    /// `executorAllocationRatio`: executors for this part of the tasks, above 0 and at most 1.
    pub ratio: f64,
    /// Tasks that an executor runs at a time, as long as none has registered.
    pub slots: u32,
}

impl AllocationConfig {
    /// Reads `spark.dynamicAllocation.*`; `None` where it is off. Whether the numbers fit together is for the caller to say.
    ///
    /// # Errors
    /// When a value cannot be read.
    pub fn from_conf(conf: &Conf) -> Result<Option<Self>, ConfError> {
        if !conf.get(&keys::DYNAMIC_ALLOCATION)? {
            return Ok(None);
        }
        let min = conf.get(&keys::DYNAMIC_ALLOCATION_MIN)?;
        let asked = conf.get(&keys::DYNAMIC_ALLOCATION_INITIAL)?.unwrap_or(min);
        let backlog_timeout = conf.get(&keys::DYNAMIC_ALLOCATION_BACKLOG)?;
        let cores = conf.get(&keys::EXECUTOR_CORES)?.unwrap_or(1);
        Ok(Some(AllocationConfig {
            min,
            initial: asked.max(min).max(conf.get(&keys::EXECUTOR_INSTANCES)?.unwrap_or(0)),
            max: conf.get(&keys::DYNAMIC_ALLOCATION_MAX)?.unwrap_or(u32::MAX),
            backlog_timeout,
            sustained_backlog_timeout: conf.get(&keys::DYNAMIC_ALLOCATION_SUSTAINED)?.unwrap_or(backlog_timeout),
            idle_timeout: conf.get(&keys::DYNAMIC_ALLOCATION_IDLE)?,
            cached_idle_timeout: conf.get(&keys::DYNAMIC_ALLOCATION_CACHED_IDLE)?,
            shuffle_tracking: conf.get(&keys::DYNAMIC_ALLOCATION_SHUFFLE_TRACKING)?,
            shuffle_timeout: conf.get(&keys::DYNAMIC_ALLOCATION_SHUFFLE_TIMEOUT)?,
            ratio: conf.get(&keys::DYNAMIC_ALLOCATION_RATIO)?,
            slots: (cores / conf.get(&keys::TASK_CPUS)?.max(1)).max(1),
        }))
    }
}

impl Default for AllocationConfig {
    fn default() -> Self {
        AllocationConfig {
            min: 0,
            initial: 0,
            max: u32::MAX,
            backlog_timeout: Duration::from_secs(1),
            sustained_backlog_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(60),
            cached_idle_timeout: None,
            shuffle_tracking: true,
            shuffle_timeout: None,
            ratio: 1.0,
            slots: 1,
        }
    }
}
