//! The settings that the driver's schedulers work by.

use std::{collections::BTreeMap, time::Duration};

use firesteel_common::conf::{Conf, ConfError, Key, keys};

use crate::AllocationConfig;

/// The pool of jobs that name none.
pub const DEFAULT_POOL: &str = "default";

/// In which order those of one pool get slots. Spark: `SchedulingMode`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SchedulingMode {
    /// Lower job and stage numbers first.
    #[default]
    Fifo,
    /// Who runs least for its weight and minimum share first.
    Fair,
}

/// A pool of `fairscheduler.xml`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PoolConfig {
    /// What `spark.scheduler.pool` calls it.
    pub name: String,
    /// The order of the jobs in it.
    pub mode: SchedulingMode,
    /// Its part of the slots in relation to other pools', at least 1.
    pub weight: u32,
    /// Slots that it gets before others get by weight.
    pub min_share: u32,
}

impl PoolConfig {
    /// A pool with Spark's defaults: FIFO, weight 1, no minimum share.
    pub fn named(name: &str) -> Self {
        PoolConfig { name: name.to_owned(), mode: SchedulingMode::Fifo, weight: 1, min_share: 0 }
    }
}

/// When and of what a second copy of a running task is launched; the defaults are Spark's.
#[derive(Clone, PartialEq, Debug)]
pub struct SpeculationConfig {
    /// `spark.speculation.interval`: how often it is looked for slow tasks.
    pub interval: Duration,
    /// `spark.speculation.multiplier`: so many times the median counts as slow.
    pub multiplier: f64,
    /// `spark.speculation.quantile`: the part of a stage's tasks that must have ended before.
    pub quantile: f64,
    /// `spark.speculation.minTaskRuntime`: no task that has run for less is slow.
    pub min_task_runtime: Duration,
    /// `spark.speculation.task.duration.threshold`: a task of a stage that fits one executor's slots is slow after this
    /// time, however few have ended.
    pub duration_threshold: Option<Duration>,
}

impl SpeculationConfig {
    /// Reads `spark.speculation.*`; `None` where it is off.
    ///
    /// # Errors
    /// When a value cannot be read.
    pub fn from_conf(conf: &Conf) -> Result<Option<Self>, ConfError> {
        if !conf.get(&keys::SPECULATION)? {
            return Ok(None);
        }
        Ok(Some(SpeculationConfig {
            interval: conf.get(&keys::SPECULATION_INTERVAL)?,
            multiplier: conf.get(&keys::SPECULATION_MULTIPLIER)?,
            quantile: conf.get(&keys::SPECULATION_QUANTILE)?,
            min_task_runtime: conf.get(&keys::SPECULATION_MIN_TASK_RUNTIME)?,
            duration_threshold: conf.get(&keys::SPECULATION_DURATION_THRESHOLD)?,
        }))
    }
}

impl Default for SpeculationConfig {
    fn default() -> Self {
        SpeculationConfig {
            interval: Duration::from_millis(100),
            multiplier: 3.0,
            quantile: 0.9,
            min_task_runtime: Duration::from_millis(100),
            duration_threshold: None,
        }
    }
}

/// When executors and hosts on which tasks fail get no more; the defaults are Spark's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExclusionConfig {
    /// `spark.excludeOnFailure.task.maxTaskAttemptsPerExecutor`: failures of a task there, then no more of it there.
    pub task_attempts_per_executor: u32,
    /// `spark.excludeOnFailure.task.maxTaskAttemptsPerNode`: failures of a task on all executors of a host, then no more
    /// of it on that host.
    pub task_attempts_per_node: u32,
    /// `spark.excludeOnFailure.stage.maxFailedTasksPerExecutor`: tasks of a stage that failed there, then no more of it.
    pub stage_tasks_per_executor: u32,
    /// `spark.excludeOnFailure.stage.maxFailedExecutorsPerNode`: executors of a host that the stage avoids, then all.
    pub stage_executors_per_node: u32,
    /// `spark.excludeOnFailure.application.maxFailedTasksPerExecutor`: tasks that failed there in stages that succeeded
    /// all the same, then nothing there for a time.
    pub application_tasks_per_executor: u32,
    /// `spark.excludeOnFailure.application.maxFailedExecutorsPerNode`: executors of a host that are avoided, then all.
    pub application_executors_per_node: u32,
    /// `spark.excludeOnFailure.timeout`: how long the application avoids them.
    pub timeout: Duration,
    /// `spark.excludeOnFailure.killExcludedExecutors`: they are ended, so that others take their place.
    pub kill: bool,
    /// `spark.excludeOnFailure.application.fetchFailure.enabled`: a failed fetch excludes the executor at once.
    pub fetch_failure: bool,
    /// `spark.scheduler.excludeOnFailure.unschedulableTaskSetTimeout`: how long tasks that are excluded everywhere wait
    /// for other executors, where such may come.
    pub unschedulable_timeout: Duration,
}

impl ExclusionConfig {
    /// Reads `spark.excludeOnFailure.*`; `None` where it is off.
    ///
    /// # Errors
    /// When a value cannot be read.
    pub fn from_conf(conf: &Conf) -> Result<Option<Self>, ConfError> {
        if !conf.get(&keys::EXCLUDE_ON_FAILURE)? {
            return Ok(None);
        }
        Ok(Some(ExclusionConfig {
            task_attempts_per_executor: conf.get(&keys::EXCLUDE_TASK_ATTEMPTS_EXECUTOR)?,
            task_attempts_per_node: conf.get(&keys::EXCLUDE_TASK_ATTEMPTS_NODE)?,
            stage_tasks_per_executor: conf.get(&keys::EXCLUDE_STAGE_TASKS_EXECUTOR)?,
            stage_executors_per_node: conf.get(&keys::EXCLUDE_STAGE_EXECUTORS_NODE)?,
            application_tasks_per_executor: conf.get(&keys::EXCLUDE_APPLICATION_TASKS_EXECUTOR)?,
            application_executors_per_node: conf.get(&keys::EXCLUDE_APPLICATION_EXECUTORS_NODE)?,
            timeout: conf.get(&keys::EXCLUDE_TIMEOUT)?,
            kill: conf.get(&keys::EXCLUDE_KILL)?,
            fetch_failure: conf.get(&keys::EXCLUDE_FETCH_FAILURE)?,
            unschedulable_timeout: conf.get(&keys::EXCLUDE_UNSCHEDULABLE_TIMEOUT)?,
        }))
    }
}

impl Default for ExclusionConfig {
    fn default() -> Self {
        ExclusionConfig {
            task_attempts_per_executor: 1,
            task_attempts_per_node: 2,
            stage_tasks_per_executor: 2,
            stage_executors_per_node: 2,
            application_tasks_per_executor: 2,
            application_executors_per_node: 2,
            timeout: Duration::from_secs(3600),
            kill: false,
            fetch_failure: false,
            unschedulable_timeout: Duration::from_secs(120),
        }
    }
}

/// Settings of [`crate::DriverCore`]; the defaults are Spark's.
#[derive(Clone, Debug)]
pub struct SchedulerConfig {
    /// `spark.task.maxFailures`: a job fails when one of its tasks failed this often; at least 1.
    pub max_task_failures: u32,
    /// `spark.stage.maxConsecutiveAttempts`: a job fails when a stage could not fetch in this many attempts in a row.
    pub max_stage_attempts: u32,
    /// `spark.scheduler.mode`: whether jobs get slots one after the other, or from pools.
    pub mode: SchedulingMode,
    /// The pools that `fairscheduler.xml` declares; others come with the first job that names them.
    pub pools: Vec<PoolConfig>,
    /// `spark.speculation`: None for never.
    pub speculation: Option<SpeculationConfig>,
    /// `spark.excludeOnFailure.enabled`: None for never.
    pub exclusion: Option<ExclusionConfig>,
    /// `spark.task.cpus`: cores of an executor that one task takes, at least 1.
    pub task_cpus: u32,
    /// `spark.locality.wait.process`: how long a slot stays free for an executor that holds the cached partition.
    pub locality_wait_process: Duration,
    /// `spark.locality.wait.node`: how long it then stays free for a preferred host.
    pub locality_wait_node: Duration,
    /// `spark.locality.wait.rack`: how long it then stays free for a host in the rack of a preferred one.
    pub locality_wait_rack: Duration,
    /// The rack of each host of which it is known.
    pub racks: BTreeMap<String, String>,
    /// `spark.driver.maxResultSize` in bytes; 0 is no limit.
    pub max_result_size: u64,
    /// `spark.files.fetchFailure.unRegisterOutputOnHost`: a failed fetch costs all outputs that the same shuffle service
    /// serves, not only those of the executor that wrote what was asked for.
    pub unregister_output_on_host: bool,
    /// `spark.barrier.sync.timeout`: how long tasks of a barrier stage wait for one another at a call.
    pub barrier_sync_timeout: Duration,
    /// `spark.scheduler.barrier.maxConcurrentTasksCheck.interval`: how often it is looked whether there are enough slots
    /// for a barrier stage of a new job.
    pub barrier_check_interval: Duration,
    /// `spark.scheduler.barrier.maxConcurrentTasksCheck.maxFailures`: after so many such looks the job fails.
    pub barrier_check_failures: u32,
    /// How long fetch failures are gathered before the lost outputs are computed again.
    pub resubmit_delay: Duration,
    /// How long the reason for the loss of a disconnected executor is awaited.
    pub loss_reason_wait: Duration,
    /// `spark.starvation.timeout`: tasks that wait this long without any launch cause a warning.
    pub starvation_timeout: Duration,
    /// `spark.storage.replication.proactive`: lost copies of cached partitions are made again.
    pub proactive_replication: bool,
    /// Dynamic allocation, where it is on.
    pub allocation: Option<AllocationConfig>,
    /// `spark.decommission.enabled`: executors that dynamic allocation gives back move what they hold to others first.
    pub decommission_idle: bool,
    /// `spark.executor.decommission.forceKillTimeout`: a decommissioned executor that is still there then is killed.
    pub decommission_kill_timeout: Option<Duration>,
}

impl SchedulerConfig {
    /// What the keys of the schedulers say. The pools and racks, whose keys name files, stay empty.
    ///
    /// # Errors
    /// When a value cannot be read.
    pub fn from_conf(conf: &Conf) -> Result<Self, ConfError> {
        let locality_wait = conf.get(&keys::LOCALITY_WAIT)?;
        let wait = |key: &Key<Option<Duration>>| Ok(conf.get(key)?.unwrap_or(locality_wait));
        Ok(SchedulerConfig {
            max_task_failures: conf.get(&keys::TASK_MAX_FAILURES)?,
            max_stage_attempts: conf.get(&keys::STAGE_MAX_CONSECUTIVE_ATTEMPTS)?,
            mode: match conf.get(&keys::SCHEDULER_MODE)?.as_str() {
                "fair" => SchedulingMode::Fair,
                _ => SchedulingMode::Fifo,
            },
            pools: Vec::new(),
            speculation: SpeculationConfig::from_conf(conf)?,
            exclusion: ExclusionConfig::from_conf(conf)?,
            task_cpus: conf.get(&keys::TASK_CPUS)?,
            locality_wait_process: wait(&keys::LOCALITY_WAIT_PROCESS)?,
            locality_wait_node: wait(&keys::LOCALITY_WAIT_NODE)?,
            locality_wait_rack: wait(&keys::LOCALITY_WAIT_RACK)?,
            racks: BTreeMap::new(),
            max_result_size: conf.get(&keys::DRIVER_MAX_RESULT_SIZE)?.0,
            unregister_output_on_host: conf.get(&keys::FETCH_FAILURE_UNREGISTER_OUTPUT_ON_HOST)?,
            barrier_sync_timeout: conf.get(&keys::BARRIER_SYNC_TIMEOUT)?,
            barrier_check_interval: conf.get(&keys::BARRIER_CHECK_INTERVAL)?,
            barrier_check_failures: conf.get(&keys::BARRIER_CHECK_FAILURES)?,
            resubmit_delay: conf.get(&keys::RESUBMIT_DELAY)?,
            loss_reason_wait: conf.get(&keys::LOSS_REASON_WAIT)?,
            starvation_timeout: conf.get(&keys::STARVATION_TIMEOUT)?,
            proactive_replication: conf.get(&keys::STORAGE_REPLICATION_PROACTIVE)?,
            allocation: AllocationConfig::from_conf(conf)?,
            decommission_idle: conf.get(&keys::DECOMMISSION_ENABLED)?,
            decommission_kill_timeout: conf.get(&keys::EXECUTOR_DECOMMISSION_FORCE_KILL_TIMEOUT)?,
        })
    }
}

impl Default for SchedulerConfig {
    fn default() -> Self {
        SchedulerConfig {
            max_task_failures: 4,
            max_stage_attempts: 4,
            mode: SchedulingMode::Fifo,
            pools: Vec::new(),
            speculation: None,
            exclusion: None,
            task_cpus: 1,
            locality_wait_process: Duration::from_secs(3),
            locality_wait_node: Duration::from_secs(3),
            locality_wait_rack: Duration::from_secs(3),
            racks: BTreeMap::new(),
            max_result_size: 1 << 30,
            unregister_output_on_host: false,
            barrier_sync_timeout: Duration::from_secs(365 * 24 * 3600),
            barrier_check_interval: Duration::from_secs(15),
            barrier_check_failures: 40,
            resubmit_delay: Duration::from_millis(100),
            loss_reason_wait: Duration::from_secs(2),
            starvation_timeout: Duration::from_secs(15),
            proactive_replication: true,
            allocation: None,
            decommission_idle: false,
            decommission_kill_timeout: None,
        }
    }
}
