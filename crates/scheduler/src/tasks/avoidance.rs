//! Exclusion as the TaskScheduler applies it: who is avoided from now on, who no longer, and what can run nowhere.

use std::{sync::Arc, time::Duration};

use firesteel_common::{ExecutorId, Tick};

use super::{executor::Executor, set_key::SetKey, task_scheduler::TaskScheduler};
use crate::deadline::min_some;

impl TaskScheduler {
    /// The set has nothing left to do. Returns the executors that the application avoids from now on.
    pub(crate) fn set_succeeded(&mut self, now: Tick, key: SetKey) -> Vec<ExecutorId> {
        let exclusion = self.sets.get(&key).and_then(|set| set.exclusion.as_deref()).filter(|e| !e.is_empty());
        let (Some(exclusion), Some(health)) = (exclusion, &mut self.health) else { return Vec::new() };
        let news = health.set_succeeded(now, key.1, exclusion);
        self.apply_health();
        news
    }

    /// Output of the executor could not be fetched. Returns the executors that the application avoids from now on.
    pub(crate) fn fetch_failed(&mut self, now: Tick, executor: ExecutorId, host: Arc<str>) -> Vec<ExecutorId> {
        let Some(health) = &mut self.health else { return Vec::new() };
        let news = health.fetch_failed(now, executor, host);
        self.apply_health();
        news
    }

    /// An executor has come, which may run on a host that is avoided, or one has gone.
    pub(crate) fn apply_health(&mut self) {
        if let Some(health) = &self.health {
            self.executors.set_excluded(|executor, host| health.excludes(executor, host));
        }
    }

    /// An executor is gone for good.
    pub(crate) fn forget_health(&mut self, executor: ExecutorId) {
        if let Some(health) = &mut self.health {
            health.forget(executor);
        }
    }

    /// Gives those a chance again that were avoided for long enough, and returns the executors among them.
    pub(crate) fn expire_exclusion(&mut self, now: Tick) -> Vec<ExecutorId> {
        let Some(health) = &mut self.health else { return Vec::new() };
        let (changed, back) = health.expire(now);
        if changed {
            self.apply_health();
        }
        back
    }

    /// Sets with a waiting task that has been excluded for `patience` from every executor that is there, and the task's
    /// partition. Without any executor nobody is to blame.
    pub(crate) fn unschedulable(&mut self, now: Tick, patience: Duration) -> Vec<(SetKey, u32)> {
        self.stuck_until = None;
        let any_there = self.executors.known.values().any(Executor::stays);
        let suspects = self.sets.iter().filter(|(_, set)| {
            any_there && set.exclusion.as_deref().is_some_and(|e| !e.is_empty() || self.executors.any_excluded())
        });
        let suspects: Vec<SetKey> = suspects.map(|(key, _)| *key).collect();
        self.stuck.retain(|key, _| suspects.contains(key));
        if suspects.is_empty() {
            return Vec::new();
        }
        let places = self.executors.places();
        let mut over = Vec::new();
        for key in suspects {
            let Some(set) = self.sets.get(&key) else { continue };
            let Some(position) = set.excluded_everywhere(&places) else {
                self.stuck.remove(&key);
                continue;
            };
            let until = *self.stuck.entry(key).or_insert(now) + patience;
            if until <= now {
                over.push((key, set.tasks[position as usize].partition));
            } else {
                self.stuck_until = min_some(self.stuck_until, Some(until));
            }
        }
        over
    }
}
