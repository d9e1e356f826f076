//! Dynamic allocation: how many executors the application asks its master for, and which it gives back.
//!
//! ```text
//!  DriverCore ──Load: tasks that wait and run, what each executor does and holds──▶ ExecutorAllocation
//!             ◀──RequestExecutors { total }, executors to retire────────────────────┘
//! ```
//!
//! Called by [`crate::DriverCore`] after its events, at most every [`INTERVAL`]; calls nobody. The rules are those of
//! Spark's `ExecutorAllocationManager`: a backlog asks for 1, 2, 4, .. executors more, no request exceeds what the tasks
//! can use, and an executor that is idle for long goes, unless it holds what may be needed again.

mod config;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use firesteel_common::{ExecutorId, Tick};

pub use self::config::AllocationConfig;
use crate::invariants::hold;

/// Between two looks at the load.
pub(crate) const INTERVAL: Duration = Duration::from_millis(100);

/// What there is to do, and who is there to do it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Load {
    /// Tasks that wait for a slot.
    pub(crate) waiting: u64,
    /// Tasks that run.
    pub(crate) running: u64,
    /// Connected executors.
    pub(crate) executors: Vec<ExecutorLoad>,
}

/// What one executor does and holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExecutorLoad {
    pub(crate) id: ExecutorId,
    /// Tasks that it can run at a time.
    pub(crate) slots: u32,
    /// It has tasks now.
    pub(crate) busy: bool,
    /// Tasks ever launched there.
    pub(crate) launches: u64,
    /// It holds cached partitions.
    pub(crate) caches: bool,
    /// It holds shuffle files that nobody else serves.
    pub(crate) serves_shuffle: bool,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    /// Ask for this many executors in all.
    pub(crate) total: Option<u32>,
    /// Give these back, and why.
    pub(crate) retire: Vec<(ExecutorId, String)>,
}

/// An executor without tasks.
#[derive(Clone, Copy, Debug)]
struct Idle {
    since: Tick,
    launches: u64,
}

/// Decides how many executors there shall be. Spark: `ExecutorAllocationManager`.
#[derive(Debug)]
pub(crate) struct ExecutorAllocation {
    config: AllocationConfig,
    /// Executors asked for.
    target: u32,
    /// The initial number stays until there is something to do or an executor was idle for long.
    initial: bool,
    /// How many more are asked for next time.
    step: u32,
    /// When the next are asked for, while tasks wait.
    add_at: Option<Tick>,
    idle: BTreeMap<ExecutorId, Idle>,
    /// When the load is looked at next; `None`: at the next event.
    next_check: Option<Tick>,
    asked: bool,
}

impl ExecutorAllocation {
    pub(crate) fn new(config: AllocationConfig) -> Self {
        let target = config.initial.clamp(config.min, config.max.max(config.min));
        ExecutorAllocation {
            config,
            target,
            initial: true,
            step: 1,
            add_at: None,
            idle: BTreeMap::new(),
            next_check: None,
            asked: false,
        }
    }

    /// Whether the load shall be looked at.
    pub(crate) fn is_due(&self, now: Tick) -> bool {
        self.next_check.is_none_or(|at| at <= now)
    }

    /// When it shall be looked at next, although nothing happens.
    pub(crate) fn next_deadline(&self) -> Option<Tick> {
        self.next_check
    }

    /// Looks at the load.
    pub(crate) fn check(&mut self, now: Tick, load: &Load) -> Decision {
        self.next_check = Some(now + INTERVAL);
        if load.waiting + load.running > 0 {
            self.initial = false;
        }
        let expired = self.expired(now, load);
        if !expired.is_empty() {
            self.initial = false;
        }
        let before = self.target;
        self.set_target(now, load);
        let mut left = u32::try_from(load.executors.len()).unwrap_or(u32::MAX);
        let mut retire = Vec::new();
        for (id, why) in expired {
            if left > self.config.min && left > self.target {
                left -= 1;
                self.idle.remove(&id);
                retire.push((id, why));
            }
        }
        let first = !std::mem::replace(&mut self.asked, true);
        Decision { total: (first || self.target != before).then_some(self.target), retire }
    }

    /// No more is asked for than is allowed.
    pub(crate) fn check_bounds(&self) -> Result<(), String> {
        let AllocationConfig { min, max, .. } = self.config;
        hold!(self.target <= max.max(min), "{} executors are asked for, {max} may be", self.target);
        Ok(())
    }

    fn set_target(&mut self, now: Tick, load: &Load) {
        match load.waiting {
            0 => self.add_at = None,
            _ => _ = self.add_at.get_or_insert(now + self.config.backlog_timeout),
        }
        let needed = self.needed(load);
        if self.initial {
            return;
        }
        if needed < self.target {
            self.target = needed.max(self.config.min).min(self.target);
            self.step = 1;
        } else if self.add_at.is_some_and(|at| at <= now) {
            self.add(load, needed);
            self.add_at = Some(now + self.config.sustained_backlog_timeout);
        }
        if load.waiting == 0 {
            self.step = 1;
        }
    }

    fn add(&mut self, load: &Load, needed: u32) {
        let before = self.target;
        let there = u32::try_from(load.executors.len()).unwrap_or(u32::MAX);
        let wanted = before.max(there.min(needed)).saturating_add(self.step).min(needed);
        self.target = wanted.clamp(self.config.min, self.config.max.max(self.config.min));
        let added = self.target.saturating_sub(before);
        self.step = if added == self.step { self.step.saturating_mul(2) } else { 1 };
    }

    /// Executors that the tasks can use.
    fn needed(&self, load: &Load) -> u32 {
        let slots = load.executors.iter().map(|e| e.slots).max().unwrap_or(self.config.slots).max(1);
        let tasks = (load.waiting + load.running) as f64 * self.config.ratio;
        (tasks / f64::from(slots)).ceil() as u32
    }

    /// Executors that have been idle for too long, the longest first.
    fn expired(&mut self, now: Tick, load: &Load) -> Vec<(ExecutorId, String)> {
        let there: BTreeSet<ExecutorId> = load.executors.iter().map(|e| e.id).collect();
        self.idle.retain(|id, _| there.contains(id));
        let mut expired = Vec::new();
        for e in &load.executors {
            if e.busy {
                self.idle.remove(&e.id);
                continue;
            }
            let idle = self.idle.entry(e.id).or_insert(Idle { since: now, launches: e.launches });
            if idle.launches != e.launches {
                *idle = Idle { since: now, launches: e.launches };
            }
            let since = idle.since;
            let for_long = now.since(since);
            if let Some(limit) = self.limit(e)
                && for_long >= limit
            {
                expired.push((since, e.id, format!("it was idle for {for_long:.0?}")));
            }
        }
        expired.sort();
        expired.into_iter().map(|(_, id, why)| (id, why)).collect()
    }

    /// How long an executor may be idle; `None`: for ever.
    fn limit(&self, e: &ExecutorLoad) -> Option<Duration> {
        let mut limit = self.config.idle_timeout;
        if e.caches {
            limit = limit.max(self.config.cached_idle_timeout?);
        }
        if e.serves_shuffle && self.config.shuffle_tracking {
            limit = limit.max(self.config.shuffle_timeout?);
        }
        Some(limit)
    }
}

#[cfg(test)]
mod tests;
