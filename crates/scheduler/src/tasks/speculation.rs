//! Speculation: a second copy of a task that takes much longer than the others of its set. The first of the two that
//! succeeds counts; the other is killed, and what it says is no news.
//!
//! Methods of the TaskScheduler, called at every offer; they look at the running tasks once an interval.

use std::time::Duration;

use firesteel_common::Tick;

use super::{place::Place, task_scheduler::TaskScheduler, task_set::TaskSetManager};
use crate::config::SpeculationConfig;

impl TaskScheduler {
    /// Marks the tasks that are slow at `now`, if it is time to look.
    pub(super) fn find_slow(&mut self, now: Tick) {
        let Some(config) = &self.speculation else { return };
        if self.running.is_empty() {
            self.look_at = None;
            return;
        }
        let at = *self.look_at.get_or_insert(now + config.interval);
        if now < at {
            return;
        }
        self.look_at = Some(now + config.interval);
        let mut slow = Vec::new();
        let mut threshold = None;
        let mut running: Vec<_> = self.running.iter().collect();
        running.sort_unstable_by_key(|(task, r)| (r.set, **task));
        for (task, r) in running {
            let Some(set) = self.sets.get(&r.set) else { continue };
            let known = threshold.filter(|(key, _)| *key == r.set);
            let (_, limit) = known.unwrap_or_else(|| {
                let slots = self.executors.known.get(&r.executor).map_or(0, |e| e.cores);
                (r.set, limit(config, set, slots))
            });
            threshold = Some((r.set, limit));
            let t = &set.tasks[r.position as usize];
            let single = t.wants(*task) && t.attempts.iter().flatten().count() == 1;
            if single && r.has_slot && limit.is_some_and(|limit| now.since(r.since) > limit) {
                slow.push((r.set, r.position));
            }
        }
        for (key, position) in slow {
            if let Some(set) = self.sets.get_mut(&key) {
                set.slow.insert(position);
            }
            self.note_waiting(key);
        }
    }

    /// A slow task of the set that may run once more on `place`: not beside its first attempt, nor on its host, unless
    /// there is no other.
    pub(super) fn take_slow(&self, set: &TaskSetManager, place: &Place) -> Option<u32> {
        let one_host = self.executors.hosts() == 1;
        let exclusion = set.exclusion.as_deref().filter(|e| !e.is_empty());
        if exclusion.is_some_and(|e| e.excludes(place)) {
            return None;
        }
        let may = |position: &&u32| {
            if exclusion.is_some_and(|e| e.excludes_task(**position, place)) {
                return false;
            }
            let mut attempts = set.tasks[**position as usize].attempts.iter().flatten();
            attempts.all(|task| {
                self.running.get(task).is_none_or(|r| {
                    let host = self.executors.known.get(&r.executor).map(|e| &e.host);
                    r.executor != place.executor && (one_host || host != Some(&place.host))
                })
            })
        };
        set.slow.iter().find(may).copied()
    }
}

/// How long a task of the set may run before it is slow; None while that cannot be said.
fn limit(config: &SpeculationConfig, set: &TaskSetManager, slots: u32) -> Option<Duration> {
    if set.zombie || set.barrier {
        return None;
    }
    let tasks = set.tasks.len();
    let enough = ((config.quantile * tasks as f64).floor() as u32).max(1);
    if tasks > 1
        && set.over >= enough
        && let Some(median) = set.took.get()
    {
        return Some(median.mul_f64(config.multiplier).max(config.min_task_runtime));
    }
    config.duration_threshold.filter(|_| tasks <= slots as usize)
}
