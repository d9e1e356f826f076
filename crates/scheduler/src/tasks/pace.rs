//! How fast an executor ends its tasks, and thus how many may wait there for a slot, so that it has the next one at hand
//! while the driver hears of the last.
//!
//! Called by [`super::executors`] only.

use std::time::Duration;

use firesteel_common::Tick;

/// No executor has more tasks waiting than this.
pub(crate) const MOST_AHEAD: u32 = 64;
/// What waits should be done in this time.
const AHEAD: Duration = Duration::from_millis(2);
/// With more time than this between two ends, the way to the driver and back does not matter.
const SHORT: Duration = Duration::from_millis(1);
/// So long may the ends for one measurement take before what waits is called back.
const PATIENCE: Duration = Duration::from_millis(10);

/// The pace of one executor. Time without tasks does not count.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Up to when `busy` counts.
    since: Tick,
    busy: Duration,
    ends: u32,
    /// By the last measurement; 0 while nothing is known.
    ahead: u32,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Pace { since: Tick::ZERO, busy: Duration::ZERO, ends: 0, ahead: 0 }
    }

    /// How many tasks may wait.
    pub(crate) fn ahead(&self) -> u32 {
        self.ahead
    }

    /// Its first task was launched after a time without any.
    pub(crate) fn begins(&mut self, now: Tick) {
        self.since = now;
    }

    /// A task ended; the time is told by `measure`.
    pub(crate) fn ends(&mut self) {
        self.ends += 1;
    }

    /// Takes the ends since the last call into account. One slot's end says little: tasks that ran side by side may end
    /// together, so that each slot has to end two.
    pub(crate) fn measure(&mut self, now: Tick, cores: u32) {
        self.busy += now.since(self.since);
        self.since = now;
        if self.ends < cores.saturating_mul(2) {
            return;
        }
        let each = self.busy / self.ends;
        // Ends that took no time at all tell nothing.
        self.ahead = if each.is_zero() || each > SHORT {
            0
        } else {
            u32::try_from(AHEAD.as_nanos() / each.as_nanos()).unwrap_or(MOST_AHEAD).min(MOST_AHEAD)
        };
        (self.busy, self.ends) = (Duration::ZERO, 0);
    }

    /// When the ends have taken too long, if they have not come by then.
    pub(crate) fn overdue_at(&self) -> Tick {
        self.since + PATIENCE.saturating_sub(self.busy)
    }

    /// The ends take too long: nothing waits there until the next measurement, which also counts the time until now.
    pub(crate) fn is_overdue(&mut self, now: Tick) {
        self.busy += now.since(self.since);
        self.since = now;
        self.ahead = 0;
    }
}
