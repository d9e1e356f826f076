//! Exclusion as the jobs see it: who is blamed for a failure, and what can run nowhere any more.

use firesteel_common::{ExecutorId, Tick};
use firesteel_events::AppEvent;

use super::handler::DagHandler;
use crate::{effect::DriverEffect, error::JobError, tasks::set_key::SetKey};

impl DagHandler<'_> {
    /// A set has nothing left to do: what failed in it on the way is held against executors for a time.
    pub(crate) fn set_succeeded(&mut self, now: Tick, key: SetKey, out: &mut Vec<DriverEffect>) {
        let news = self.tasks.set_succeeded(now, key);
        self.excluded(now, news, out);
    }

    /// Output of `executor` could not be fetched.
    pub(crate) fn blame_for_fetch(&mut self, now: Tick, executor: ExecutorId, out: &mut Vec<DriverEffect>) {
        if let Some(host) = self.tasks.executors().host_of(executor) {
            let news = self.tasks.fetch_failed(now, executor, host);
            self.excluded(now, news, out);
        }
    }

    /// Executors that get no tasks any more; where that is asked for they end, and others take their place.
    fn excluded(&mut self, now: Tick, executors: Vec<ExecutorId>, out: &mut Vec<DriverEffect>) {
        for &executor in &executors {
            self.news.say(|time| AppEvent::ExecutorExcluded { executor, time });
        }
        if executors.is_empty() || !self.config.exclusion.as_ref().is_some_and(|c| c.kill) {
            return;
        }
        let reason = "too many tasks failed there (spark.excludeOnFailure.killExcludedExecutors)";
        for executor in &executors {
            self.give_back(now, *executor, out);
        }
        let executors = executors.into_iter().map(|e| (e, reason.to_owned())).collect();
        out.push(DriverEffect::RetireExecutors { executors });
    }

    /// Gives executors a chance again that were avoided for long enough.
    pub(super) fn expire_exclusion(&mut self, now: Tick) {
        for executor in self.tasks.expire_exclusion(now) {
            self.news.say(|time| AppEvent::ExecutorUnexcluded { executor, time });
        }
    }

    /// Fails the jobs whose tasks are excluded from every executor that is there.
    pub(super) fn fail_unschedulable(&mut self, now: Tick, out: &mut Vec<DriverEffect>) {
        let patience = match (&self.config.exclusion, &self.config.allocation) {
            (None, _) => return,
            // With dynamic allocation other executors may come.
            (Some(config), Some(_)) => config.unschedulable_timeout,
            (Some(config), None) if config.kill => config.unschedulable_timeout,
            (Some(_), None) => std::time::Duration::ZERO,
        };
        for (key, partition) in self.tasks.unschedulable(now, patience) {
            let stage = key.1.stage;
            self.abort_stage(stage, &JobError::Excluded { stage, partition }, out);
        }
    }
}
