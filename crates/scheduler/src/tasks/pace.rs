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
/// So long at least may the ends for one measurement take before what waits is called back.
const PATIENCE: Duration = Duration::from_millis(10);

/// What waits at one executor is not called back before this many times as long as the others take between two ends:
/// where all are late, as on a host with more executors than processors, the tasks would be late anywhere.
const LATE: u32 = 4;
/// But after this time it is.
const MOST_PATIENCE: Duration = Duration::from_secs(1);

/// The pace of one executor. Time without tasks does not count.
#[derive(Debug)]
pub(crate) struct Pace {
    /// Up to when `busy` counts.
    since: Tick,
    busy: Duration,
    ends: u32,
    /// Of how many of them it is known how long they ran, and how long that was.
    timed: u32,
    ran: Duration,
    /// By the last measurement; 0 while nothing is known, and when what waits there was called back since.
    ahead: u32,
    /// By the last measurement its tasks are short.
    quick: bool,
    /// When ends were heard of last, or the first task was launched.
    heard: Tick,
}

/// How long quick executors take between two messages about ends, all together: a moving average.
#[derive(Debug, Default)]
pub(crate) struct Pack(Duration);

impl Pack {
    fn note(&mut self, gap: Duration) {
        // One that stood still says nothing of the others; only many that are late move the average.
        let most = 2 * self.0.max(PATIENCE / LATE);
        self.0 = (self.0 * 15 + gap.min(most)) / 16;
    }

    /// So long may the ends for one measurement take before what waits is called back.
    fn patience(&self) -> Duration {
        (self.0 * LATE).clamp(PATIENCE, MOST_PATIENCE)
    }
}

impl Pace {
    pub(crate) fn new() -> Self {
        let none = Duration::ZERO;
        let (since, heard) = (Tick::ZERO, Tick::ZERO);
        Pace { since, busy: none, ends: 0, timed: 0, ran: none, ahead: 0, quick: false, heard }
    }

    /// How many tasks may wait.
    pub(crate) fn ahead(&self) -> u32 {
        self.ahead
    }

    /// Its first task was launched after a time without any.
    pub(crate) fn begins(&mut self, now: Tick) {
        self.heard = now;
        self.since = now;
    }

    /// A task ended; the time is told by `measure`.
    pub(crate) fn ends(&mut self) {
        self.ends += 1;
    }

    /// A task ran for so long.
    pub(crate) fn ran(&mut self, time: Duration) {
        self.timed += 1;
        self.ran += time;
    }

    /// Takes the ends since the last call into account. One slot's end says little: tasks that ran side by side may end
    /// together, so that each slot has to end two.
    ///
    /// What counts is how long the tasks ran. How long the executor takes from one to the next is more where many
    /// executors share a host's processors, and then launching ahead saves most.
    pub(crate) fn measure(&mut self, now: Tick, cores: u32, pack: &mut Pack) {
        if self.quick {
            pack.note(now.since(self.heard));
        }
        self.busy += now.since(self.since);
        (self.since, self.heard) = (now, now);
        if self.ends < cores.saturating_mul(2) {
            return;
        }
        let each = self.ran / self.timed.max(1) / cores.max(1);
        // Tasks that took no time at all tell nothing.
        self.ahead = if each.is_zero() || each > SHORT {
            0
        } else {
            u32::try_from(AHEAD.as_nanos() / each.as_nanos()).unwrap_or(MOST_AHEAD).min(MOST_AHEAD)
        };
        self.quick = self.ahead > 0;
        (self.busy, self.ends, self.timed, self.ran) = (Duration::ZERO, 0, 0, Duration::ZERO);
    }

    /// When the ends have taken too long, if they have not come by then.
    pub(crate) fn overdue_at(&self, pack: &Pack) -> Tick {
        self.since + pack.patience().saturating_sub(self.busy)
    }

    /// The ends take too long: nothing waits there until the next measurement, which also counts the time until now.
    pub(crate) fn is_overdue(&mut self, now: Tick) {
        self.busy += now.since(self.since);
        self.since = now;
        self.ahead = 0;
    }
}
