//! Exclusion: executors and hosts on which tasks have failed get no more of them. Spark: `HealthTracker`,
//! `TaskSetExcludelist`.
//!
//! ```text
//!  task failed ─▶ SetExclusion: this task not there again; many tasks: nothing of the stage there
//!  stage done  ─▶ Health: failures of successful sets add up; many: nothing of the application there, for a time
//! ```
//!
//! Called by the TaskScheduler (`avoidance`). Failures of the tasks themselves would exclude everything, so that what an
//! executor is blamed for in the long run are only failures in sets that succeeded in the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use firesteel_common::{ExecutorId, StageAttempt, Tick};

use super::place::Place;
use crate::config::ExclusionConfig;

/// What failed where in one task set.
#[derive(Debug)]
pub(crate) struct SetExclusion {
    config: Arc<ExclusionConfig>,
    /// Failures by executor and task.
    failures: BTreeMap<ExecutorId, BTreeMap<u32, u32>>,
    hosts: BTreeMap<ExecutorId, Arc<str>>,
    executors: BTreeSet<ExecutorId>,
    excluded_hosts: BTreeSet<Arc<str>>,
}

impl SetExclusion {
    pub(crate) fn new(config: Arc<ExclusionConfig>) -> Self {
        SetExclusion {
            config,
            failures: BTreeMap::new(),
            hosts: BTreeMap::new(),
            executors: BTreeSet::new(),
            excluded_hosts: BTreeSet::new(),
        }
    }

    pub(crate) fn failed(&mut self, position: u32, executor: ExecutorId, host: &Arc<str>) {
        self.hosts.insert(executor, host.clone());
        let tasks = self.failures.entry(executor).or_default();
        *tasks.entry(position).or_default() += 1;
        if tasks.len() as u32 >= self.config.stage_tasks_per_executor && self.executors.insert(executor) {
            let beside = self.executors.iter().filter(|e| self.hosts.get(e) == Some(host)).count();
            if beside as u32 >= self.config.stage_executors_per_node {
                self.excluded_hosts.insert(host.clone());
            }
        }
    }

    /// Nothing of the set runs there any more.
    pub(crate) fn excludes(&self, place: &Place) -> bool {
        self.executors.contains(&place.executor) || self.excluded_hosts.contains(&place.host)
    }

    /// This task does not run there any more.
    pub(crate) fn excludes_task(&self, position: u32, place: &Place) -> bool {
        let on = |executor: &ExecutorId| self.failures.get(executor).and_then(|t| t.get(&position)).copied();
        if on(&place.executor).unwrap_or(0) >= self.config.task_attempts_per_executor {
            return true;
        }
        let beside = self.hosts.iter().filter(|(_, host)| **host == place.host);
        beside.filter_map(|(e, _)| on(e)).sum::<u32>() >= self.config.task_attempts_per_node
    }

    /// Nothing has failed so far.
    pub(crate) fn is_empty(&self) -> bool {
        self.failures.is_empty()
    }

    /// Tasks that failed somewhere.
    pub(crate) fn tasks(&self) -> BTreeSet<u32> {
        self.failures.values().flat_map(|tasks| tasks.keys().copied()).collect()
    }
}

/// A task's failure, so that it counts once.
type Blame = (StageAttempt, u32);

/// What failed where in the whole application.
#[derive(Debug)]
pub(crate) struct Health {
    pub(crate) config: Arc<ExclusionConfig>,
    failures: BTreeMap<ExecutorId, BTreeMap<Blame, Tick>>,
    hosts: BTreeMap<ExecutorId, Arc<str>>,
    executors: BTreeMap<ExecutorId, Tick>,
    excluded_hosts: BTreeMap<Arc<str>, Tick>,
}

impl Health {
    pub(crate) fn new(config: ExclusionConfig) -> Self {
        Health {
            config: Arc::new(config),
            failures: BTreeMap::new(),
            hosts: BTreeMap::new(),
            executors: BTreeMap::new(),
            excluded_hosts: BTreeMap::new(),
        }
    }

    /// A set has succeeded: the failures on the way there were not its own fault. Returns executors that are excluded
    /// from now on.
    pub(crate) fn set_succeeded(&mut self, now: Tick, attempt: StageAttempt, set: &SetExclusion) -> Vec<ExecutorId> {
        let until = now + self.config.timeout;
        let mut news = Vec::new();
        for (executor, tasks) in &set.failures {
            let Some(host) = set.hosts.get(executor) else { continue };
            let known = self.failures.entry(*executor).or_default();
            known.retain(|_, at| *at > now);
            known.extend(tasks.keys().map(|position| ((attempt, *position), until)));
            if known.len() as u32 >= self.config.application_tasks_per_executor {
                self.exclude(until, *executor, host.clone(), &mut news);
            }
        }
        news
    }

    /// What the executor had written could not be fetched. Returns it, if that excludes it.
    pub(crate) fn fetch_failed(&mut self, now: Tick, executor: ExecutorId, host: Arc<str>) -> Vec<ExecutorId> {
        let mut news = Vec::new();
        if self.config.fetch_failure {
            self.exclude(now + self.config.timeout, executor, host, &mut news);
        }
        news
    }

    fn exclude(&mut self, until: Tick, executor: ExecutorId, host: Arc<str>, news: &mut Vec<ExecutorId>) {
        self.hosts.insert(executor, host.clone());
        if self.executors.insert(executor, until).is_none() {
            news.push(executor);
        }
        let beside = self.executors.keys().filter(|e| self.hosts.get(e) == Some(&host)).count();
        if beside as u32 >= self.config.application_executors_per_node {
            self.excluded_hosts.insert(host, until);
        }
    }

    pub(crate) fn excludes(&self, executor: ExecutorId, host: &str) -> bool {
        self.executors.contains_key(&executor) || self.excluded_hosts.contains_key(host)
    }

    /// Forgets what is long ago. Says whether somebody may come back, and which executors that were excluded themselves.
    pub(crate) fn expire(&mut self, now: Tick) -> (bool, Vec<ExecutorId>) {
        let hosts = self.excluded_hosts.len();
        let back: Vec<ExecutorId> = self.executors.extract_if(.., |_, until| *until <= now).map(|(id, _)| id).collect();
        self.excluded_hosts.retain(|_, until| *until > now);
        (!back.is_empty() || hosts != self.excluded_hosts.len(), back)
    }

    pub(crate) fn next_expiry(&self) -> Option<Tick> {
        self.executors.values().chain(self.excluded_hosts.values()).min().copied()
    }

    /// An executor that never comes back; its host keeps its blame.
    pub(crate) fn forget(&mut self, executor: ExecutorId) {
        self.failures.remove(&executor);
    }
}
