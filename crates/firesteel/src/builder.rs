//! Starts a [`Context`]: gathers its configuration and the backend that `spark.master` names.

use std::{path::Path, time::Duration};

use firesteel_common::conf::{Conf, ConfValue, Environment, Key, Source, keys, submit};
use firesteel_scheduler::{AllocationConfig, SchedulerConfig};

use crate::{Context, Error, Result, master::Master};

/// Sets up a [`Context`]. What is set here goes before what `firesteel-submit` hands over.
///
/// ```
/// # fn main() -> firesteel::Result<()> {
/// use firesteel::prelude::*;
///
/// let sc = Context::builder().app_name("squares").master("local[2]").set("spark.default.parallelism", 4).build()?;
/// assert_eq!(sc.range(1..5u64).map(|x| x * x).collect()?, [1, 4, 9, 16]);
/// # Ok(()) }
/// ```
#[doc(alias = "SparkConf")]
#[derive(Default)]
pub struct ContextBuilder {
    conf: Conf,
}

impl ContextBuilder {
    /// The application's name, `spark.app.name`.
    #[doc(alias = "setAppName")]
    pub fn app_name(self, name: &str) -> Self {
        self.set(keys::APP_NAME.name(), name)
    }

    /// Where the application runs, `spark.master`: leave it to `firesteel-submit --master` in a program for clusters.
    #[doc(alias = "setMaster")]
    pub fn master(self, master: &str) -> Self {
        self.set(keys::MASTER.name(), master)
    }

    /// Sets a configuration key.
    pub fn set(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.conf.set(key, value);
        self
    }

    /// Starts the Context.
    ///
    /// # Errors
    /// A key with a bad value, a master that cannot be parsed or reached, a directory or port that cannot be had.
    pub fn build(mut self) -> Result<Context> {
        let environment = Environment::of_process();
        let handed = submit::handed_over(&environment).map_err(|e| Error::Start(e.to_string()))?;
        if let Some(handed) = handed {
            self.conf.inherit(&handed);
        }
        let warnings = self.conf.check().map_err(|e| Error::Start(e.to_string()))?;
        let logging = crate::logging::on_this_thread();
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        drop(logging);
        if !self.conf.contains(keys::APP_NAME.name()) {
            let program = std::env::current_exe().ok();
            let name =
                program.as_deref().and_then(Path::file_name).map_or("application".into(), |n| n.to_string_lossy());
            self.conf.set_from(keys::APP_NAME.name(), name.into_owned(), Source::Driver);
        }
        let master = get(&self.conf, &keys::MASTER)?.unwrap_or_else(|| "local[*]".to_owned());
        Context::start(self.conf, Master::parse(&master)?)
    }
}

/// The value of a key, its error in the Context's words.
pub(crate) fn get<T: ConfValue>(conf: &Conf, key: &Key<T>) -> Result<T> {
    conf.get(key).map_err(|e| Error::Start(e.to_string()))
}

/// The schedulers' settings.
pub(crate) fn scheduler_config(conf: &Conf, master: &Master) -> Result<SchedulerConfig> {
    let wait = |key: &Key<Option<Duration>>| -> Result<Duration> {
        Ok(get(conf, key)?.unwrap_or(get(conf, &keys::LOCALITY_WAIT)?))
    };
    let max_task_failures = match master {
        Master::Local { max_failures, .. } => *max_failures,
        _ => get(conf, &keys::TASK_MAX_FAILURES)?,
    };
    Ok(SchedulerConfig {
        max_task_failures,
        max_stage_attempts: get(conf, &keys::STAGE_MAX_CONSECUTIVE_ATTEMPTS)?,
        locality_wait_process: wait(&keys::LOCALITY_WAIT_PROCESS)?,
        locality_wait_node: wait(&keys::LOCALITY_WAIT_NODE)?,
        max_result_size: get(conf, &keys::DRIVER_MAX_RESULT_SIZE)?.0,
        allocation: allocation_config(conf, master)?,
        unregister_output_on_host: get(conf, &keys::FETCH_FAILURE_UNREGISTER_OUTPUT_ON_HOST)?,
        ..SchedulerConfig::default()
    })
}

/// How dynamic allocation works, where it is on and there is a master to ask.
fn allocation_config(conf: &Conf, master: &Master) -> Result<Option<AllocationConfig>> {
    if !get(conf, &keys::DYNAMIC_ALLOCATION)? || matches!(master, Master::Local { .. }) {
        return Ok(None);
    }
    let min = get(conf, &keys::DYNAMIC_ALLOCATION_MIN)?;
    let max = get(conf, &keys::DYNAMIC_ALLOCATION_MAX)?.unwrap_or(u32::MAX);
    let asked = get(conf, &keys::DYNAMIC_ALLOCATION_INITIAL)?.unwrap_or(min);
    let initial = asked.max(min).max(get(conf, &keys::EXECUTOR_INSTANCES)?.unwrap_or(0));
    if min > max || initial > max {
        return Err(Error::Start(format!(
            "spark.dynamicAllocation.maxExecutors is {max}, below minExecutors ({min}) or the initial number ({initial}): \
             raise the one or lower the others"
        )));
    }
    let backlog_timeout = get(conf, &keys::DYNAMIC_ALLOCATION_BACKLOG)?;
    let cores = get(conf, &keys::EXECUTOR_CORES)?.unwrap_or(1);
    Ok(Some(AllocationConfig {
        min,
        initial,
        max,
        backlog_timeout,
        sustained_backlog_timeout: get(conf, &keys::DYNAMIC_ALLOCATION_SUSTAINED)?.unwrap_or(backlog_timeout),
        idle_timeout: get(conf, &keys::DYNAMIC_ALLOCATION_IDLE)?,
        cached_idle_timeout: get(conf, &keys::DYNAMIC_ALLOCATION_CACHED_IDLE)?,
        shuffle_tracking: get(conf, &keys::DYNAMIC_ALLOCATION_SHUFFLE_TRACKING)?,
        shuffle_timeout: get(conf, &keys::DYNAMIC_ALLOCATION_SHUFFLE_TIMEOUT)?,
        ratio: get(conf, &keys::DYNAMIC_ALLOCATION_RATIO)?,
        slots: (cores / get(conf, &keys::TASK_CPUS)?.max(1)).max(1),
    }))
}
