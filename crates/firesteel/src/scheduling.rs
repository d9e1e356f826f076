//! What the driver's schedulers work by, from the configuration. Called when a Context is built.

use std::{collections::BTreeMap, time::Duration};

use firesteel_common::conf::{Conf, Key, keys};
use firesteel_scheduler::{AllocationConfig, ExclusionConfig, SchedulerConfig, SchedulingMode, SpeculationConfig};

use crate::{Error, Result, builder::get, fair_pools, master::Master};

/// The schedulers' settings.
pub(crate) fn scheduler_config(conf: &Conf, master: &Master) -> Result<SchedulerConfig> {
    let wait = |key: &Key<Option<Duration>>| -> Result<Duration> {
        Ok(get(conf, key)?.unwrap_or(get(conf, &keys::LOCALITY_WAIT)?))
    };
    let max_task_failures = match master {
        Master::Local { max_failures, .. } => *max_failures,
        _ => get(conf, &keys::TASK_MAX_FAILURES)?,
    };
    let mode = match get(conf, &keys::SCHEDULER_MODE)?.as_str() {
        "fair" => SchedulingMode::Fair,
        _ => SchedulingMode::Fifo,
    };
    let pools = if mode == SchedulingMode::Fair { fair_pools::read(conf)? } else { Vec::new() };
    Ok(SchedulerConfig {
        max_task_failures,
        mode,
        pools,
        speculation: speculation_config(conf)?,
        exclusion: exclusion_config(conf)?,
        task_cpus: task_cpus(conf, master)?,
        max_stage_attempts: get(conf, &keys::STAGE_MAX_CONSECUTIVE_ATTEMPTS)?,
        locality_wait_process: wait(&keys::LOCALITY_WAIT_PROCESS)?,
        locality_wait_node: wait(&keys::LOCALITY_WAIT_NODE)?,
        locality_wait_rack: wait(&keys::LOCALITY_WAIT_RACK)?,
        racks: racks(conf)?,
        barrier_sync_timeout: get(conf, &keys::BARRIER_SYNC_TIMEOUT)?,
        barrier_check_interval: get(conf, &keys::BARRIER_CHECK_INTERVAL)?,
        barrier_check_failures: get(conf, &keys::BARRIER_CHECK_FAILURES)?,
        resubmit_delay: get(conf, &keys::RESUBMIT_DELAY)?,
        loss_reason_wait: get(conf, &keys::LOSS_REASON_WAIT)?,
        starvation_timeout: get(conf, &keys::STARVATION_TIMEOUT)?,
        max_result_size: get(conf, &keys::DRIVER_MAX_RESULT_SIZE)?.0,
        proactive_replication: get(conf, &keys::STORAGE_REPLICATION_PROACTIVE)?,
        allocation: allocation_config(conf, master)?,
        unregister_output_on_host: get(conf, &keys::FETCH_FAILURE_UNREGISTER_OUTPUT_ON_HOST)?,
        decommission_idle: get(conf, &keys::DECOMMISSION_ENABLED)?,
        decommission_kill_timeout: get(conf, &keys::EXECUTOR_DECOMMISSION_FORCE_KILL_TIMEOUT)?,
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
    let shuffle_tracking = get(conf, &keys::DYNAMIC_ALLOCATION_SHUFFLE_TRACKING)?;
    let moved = get(conf, &keys::DECOMMISSION_ENABLED)?
        && get(conf, &keys::STORAGE_DECOMMISSION_ENABLED)?
        && get(conf, &keys::STORAGE_DECOMMISSION_SHUFFLE_BLOCKS)?;
    if !shuffle_tracking && !moved && !get(conf, &keys::SHUFFLE_SERVICE_ENABLED)? {
        return Err(Error::Start(
            "dynamic allocation (spark.dynamicAllocation.enabled) gives idle executors back, and their shuffle files with \
             them: set spark.dynamicAllocation.shuffleTracking.enabled, so that executors stay as long as those may be read, \
             or spark.shuffle.service.enabled, here and for the workers, or spark.decommission.enabled, so that executors \
             hand them on before they go"
                .to_owned(),
        ));
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
        shuffle_tracking,
        shuffle_timeout: get(conf, &keys::DYNAMIC_ALLOCATION_SHUFFLE_TIMEOUT)?,
        ratio: get(conf, &keys::DYNAMIC_ALLOCATION_RATIO)?,
        slots: (cores / get(conf, &keys::TASK_CPUS)?.max(1)).max(1),
    }))
}

/// When slow tasks get a copy, where that is on.
fn speculation_config(conf: &Conf) -> Result<Option<SpeculationConfig>> {
    if !get(conf, &keys::SPECULATION)? {
        return Ok(None);
    }
    Ok(Some(SpeculationConfig {
        interval: get(conf, &keys::SPECULATION_INTERVAL)?,
        multiplier: get(conf, &keys::SPECULATION_MULTIPLIER)?,
        quantile: get(conf, &keys::SPECULATION_QUANTILE)?,
        min_task_runtime: get(conf, &keys::SPECULATION_MIN_TASK_RUNTIME)?,
        duration_threshold: get(conf, &keys::SPECULATION_DURATION_THRESHOLD)?,
    }))
}

/// When failures exclude executors, where that is on.
fn exclusion_config(conf: &Conf) -> Result<Option<ExclusionConfig>> {
    if !get(conf, &keys::EXCLUDE_ON_FAILURE)? {
        return Ok(None);
    }
    Ok(Some(ExclusionConfig {
        task_attempts_per_executor: get(conf, &keys::EXCLUDE_TASK_ATTEMPTS_EXECUTOR)?,
        task_attempts_per_node: get(conf, &keys::EXCLUDE_TASK_ATTEMPTS_NODE)?,
        stage_tasks_per_executor: get(conf, &keys::EXCLUDE_STAGE_TASKS_EXECUTOR)?,
        stage_executors_per_node: get(conf, &keys::EXCLUDE_STAGE_EXECUTORS_NODE)?,
        application_tasks_per_executor: get(conf, &keys::EXCLUDE_APPLICATION_TASKS_EXECUTOR)?,
        application_executors_per_node: get(conf, &keys::EXCLUDE_APPLICATION_EXECUTORS_NODE)?,
        timeout: get(conf, &keys::EXCLUDE_TIMEOUT)?,
        kill: get(conf, &keys::EXCLUDE_KILL)?,
        fetch_failure: get(conf, &keys::EXCLUDE_FETCH_FAILURE)?,
        unschedulable_timeout: get(conf, &keys::EXCLUDE_UNSCHEDULABLE_TIMEOUT)?,
    }))
}

/// `spark.task.cpus`, which no executor may lack.
fn task_cpus(conf: &Conf, master: &Master) -> Result<u32> {
    let cpus = get(conf, &keys::TASK_CPUS)?;
    let cores = match master {
        Master::Local { threads, .. } => Some(*threads),
        Master::LocalCluster { cores, .. } => Some(get(conf, &keys::EXECUTOR_CORES)?.unwrap_or(*cores)),
        Master::Standalone(_) => get(conf, &keys::EXECUTOR_CORES)?,
    };
    match cores {
        Some(cores) if cores < cpus => Err(Error::Start(format!(
            "a task takes {cpus} cores (spark.task.cpus), but an executor has {cores}: lower the one or raise the other"
        ))),
        _ => Ok(cpus),
    }
}

/// The rack of each host of spark.firesteel.topologyFile.
fn racks(conf: &Conf) -> Result<BTreeMap<String, String>> {
    let Some(path) = get(conf, &keys::TOPOLOGY_FILE)? else { return Ok(BTreeMap::new()) };
    let key = keys::TOPOLOGY_FILE.name();
    let text = std::fs::read_to_string(&path).map_err(|e| Error::Start(format!("cannot read {path} ({key}): {e}")))?;
    let mut racks = BTreeMap::new();
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    for (number, line) in (1..).zip(text.lines()).map(|(n, line)| (n, line.trim())) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match *line.split_whitespace().collect::<Vec<_>>() {
            [host, rack] => racks.insert(host.to_owned(), rack.to_owned()),
            _ => return Err(Error::Start(format!("{path} line {number} ({key}): write a host and its rack"))),
        };
    }
    Ok(racks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(pairs: &[(&str, &str)], master: &str) -> Result<SchedulerConfig> {
        let mut conf = Conf::new();
        pairs.iter().for_each(|(key, value)| _ = conf.set(*key, value));
        scheduler_config(&conf, &Master::parse(master)?)
    }

    #[test]
    fn without_keys_the_schedulers_work_by_their_defaults() {
        let (ours, defaults) = (config(&[], "spark://h:7077").unwrap(), SchedulerConfig::default());
        assert_eq!(format!("{ours:?}"), format!("{defaults:?}"));
        let speculating = config(&[("spark.speculation", "true")], "spark://h:7077").unwrap();
        assert_eq!(speculating.speculation, Some(SpeculationConfig::default()));
        let excluding = config(&[("spark.excludeOnFailure.enabled", "true")], "spark://h:7077").unwrap();
        assert_eq!(excluding.exclusion, Some(ExclusionConfig::default()));
    }

    #[test]
    fn a_task_that_fits_no_executor_is_refused() {
        let error = |pairs, master| config(pairs, master).unwrap_err().to_string();
        assert!(error(&[("spark.task.cpus", "3")], "local[2]").contains("spark.task.cpus"));
        assert!(error(&[("spark.task.cpus", "2")], "local-cluster[2,1,512]").contains("an executor has 1"));
        assert_eq!(config(&[("spark.task.cpus", "2")], "local[4]").unwrap().task_cpus, 2);
    }

    #[test]
    fn dynamic_allocation_that_would_lose_shuffle_files_is_refused() {
        let on = ("spark.dynamicAllocation.enabled", "true");
        let untracked = ("spark.dynamicAllocation.shuffleTracking.enabled", "false");
        let service = ("spark.shuffle.service.enabled", "true");
        let error = config(&[on, untracked], "spark://h:7077").unwrap_err().to_string();
        assert!(
            error.contains("shuffleTracking.enabled") && error.contains("spark.shuffle.service.enabled"),
            "{error}"
        );
        assert!(config(&[on], "spark://h:7077").unwrap().allocation.is_some_and(|a| a.shuffle_tracking));
        assert!(config(&[on, untracked, service], "spark://h:7077").unwrap().allocation.is_some());
        let leaves = ("spark.decommission.enabled", "true");
        let holds = ("spark.storage.decommission.shuffleBlocks.enabled", "false");
        assert!(config(&[on, untracked, leaves], "spark://h:7077").unwrap().allocation.is_some());
        assert!(config(&[on, untracked, leaves, holds], "spark://h:7077").is_err());
        assert!(config(&[untracked], "spark://h:7077").unwrap().allocation.is_none());
        assert!(
            config(&[on, untracked], "local[2]").unwrap().allocation.is_none(),
            "there is nobody to ask for executors"
        );
    }

    #[test]
    fn racks_are_read_from_their_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "\u{feff}# hosts\r\nh1 r1\r\n\n h2\tr1 \nh3 r2\n").unwrap();
        let path = file.path().to_str().unwrap();
        let racks = config(&[("spark.firesteel.topologyFile", path)], "local[1]").unwrap().racks;
        let pairs: Vec<(&str, &str)> = racks.iter().map(|(h, r)| (h.as_str(), r.as_str())).collect();
        assert_eq!(pairs, [("h1", "r1"), ("h2", "r1"), ("h3", "r2")]);
        std::fs::write(&file, "h1 r1\nh2\n").unwrap();
        let error = config(&[("spark.firesteel.topologyFile", path)], "local[1]").unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
    }
}
