//! What the driver's schedulers work by, from the configuration. Called when a Context is built.

use std::collections::BTreeMap;

use firesteel_common::conf::{Conf, keys};
use firesteel_scheduler::{AllocationConfig, SchedulerConfig, SchedulingMode};

use crate::{Error, Result, backend::Capabilities, fair_pools, setting::get};

/// The schedulers' settings, which fit together and the cluster.
pub(crate) fn scheduler_config(conf: &Conf, cluster: &Capabilities) -> Result<SchedulerConfig> {
    let mut config = SchedulerConfig::from_conf(conf).map_err(|e| Error::Start(e.to_string()))?;
    if let Some(failures) = cluster.max_task_failures {
        config.max_task_failures = failures;
    }
    if !cluster.elastic {
        // There is nobody to ask for executors.
        config.allocation = None;
    }
    if config.mode == SchedulingMode::Fair {
        config.pools = fair_pools::read(conf)?;
    }
    config.racks = racks(conf)?;
    check_task_cpus(cluster, config.task_cpus)?;
    if let Some(allocation) = &config.allocation {
        check_allocation(conf, allocation)?;
    }
    Ok(config)
}

/// Dynamic allocation must have room, and lose no shuffle files.
fn check_allocation(
    conf: &Conf,
    AllocationConfig { min, initial, max, shuffle_tracking, .. }: &AllocationConfig,
) -> Result<()> {
    if min > max || initial > max {
        return Err(Error::Start(format!(
            "spark.dynamicAllocation.maxExecutors is {max}, below minExecutors ({min}) or the initial number ({initial}): \
             raise the one or lower the others"
        )));
    }
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
    Ok(())
}

/// `spark.task.cpus`, which no executor may lack.
fn check_task_cpus(cluster: &Capabilities, cpus: u32) -> Result<()> {
    match cluster.executor_cores {
        Some(cores) if cores < cpus => Err(Error::Start(format!(
            "a task takes {cpus} cores (spark.task.cpus), but an executor has {cores}: lower the one or raise the other"
        ))),
        _ => Ok(()),
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
    use firesteel_scheduler::{ExclusionConfig, SpeculationConfig};

    use super::*;

    fn config(pairs: &[(&str, &str)], master: &str) -> Result<SchedulerConfig> {
        let mut conf = Conf::new();
        pairs.iter().for_each(|(key, value)| _ = conf.set(*key, value));
        scheduler_config(&conf, &crate::backend::of(master.parse().unwrap()).capabilities(&conf)?)
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
