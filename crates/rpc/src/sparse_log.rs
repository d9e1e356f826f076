//! Log lines that strangers cause, at a bounded rate: whoever can reach a port must not be able to fill a disk.

use std::{
    fmt::Display,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use firesteel_common::Tick;

/// So many lines are written within [`SPAN`]; the others are counted.
const LINES: u32 = 10;
const SPAN: Duration = Duration::from_secs(10);

/// Which lines are written: a machine without a clock.
#[derive(Debug, Default)]
struct Rate {
    began: Tick,
    written: u32,
    left_out: u64,
}

impl Rate {
    /// Whether a line may be written; if not, it is counted.
    fn admits(&mut self, now: Tick) -> bool {
        if self.left_out == 0 && now.since(self.began) >= SPAN {
            (self.began, self.written) = (now, 0);
        }
        let admitted = self.written < LINES;
        match admitted {
            true => self.written += 1,
            false => self.left_out += 1,
        }
        admitted
    }

    /// How many were left out, once their span is over.
    fn left_out(&mut self, now: Tick) -> Option<u64> {
        let due = self.next_deadline().is_some_and(|deadline| deadline <= now);
        due.then(|| {
            (self.began, self.written) = (now, 0);
            std::mem::take(&mut self.left_out)
        })
    }

    fn next_deadline(&self) -> Option<Tick> {
        (self.left_out > 0).then(|| self.began + SPAN)
    }
}

/// The lines of one listener.
#[derive(Debug)]
pub struct SparseLog {
    service: &'static str,
    started: Instant,
    rate: Mutex<Rate>,
}

impl SparseLog {
    /// For the listener of this service.
    pub fn new(service: &'static str) -> SparseLog {
        SparseLog { service, started: Instant::now(), rate: Mutex::default() }
    }

    /// A connection was refused, or closed before it had a right to stay.
    pub fn refused(&self, addr: impl Display, why: impl Display) {
        if self.admits() {
            tracing::warn!(%addr, service = self.service, error = %why, "refused a connection");
        }
    }

    /// A connection could not be accepted.
    pub fn not_accepted(&self, why: impl Display) {
        if self.admits() {
            tracing::warn!(service = self.service, error = %why, "cannot accept a connection");
        }
    }

    /// Says how many lines were left out, when it is time for it.
    pub fn catch_up(&self) {
        if let Some(lines) = self.rate().left_out(self.now()) {
            tracing::warn!(service = self.service, lines, "more connections were refused than are told of one by one");
        }
    }

    /// When [`SparseLog::catch_up`] has something to say.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.rate().next_deadline().map(|tick| self.started + tick.since(Tick::ZERO))
    }

    fn admits(&self) -> bool {
        self.catch_up();
        self.rate().admits(self.now())
    }

    fn now(&self) -> Tick {
        Tick::ZERO + self.started.elapsed()
    }

    fn rate(&self) -> MutexGuard<'_, Rate> {
        self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_told_of_in_a_few_lines_and_the_rest_is_counted() {
        let at = |millis| Tick::ZERO + Duration::from_millis(millis);
        let mut rate = Rate::default();
        let written = (0..1000).filter(|n| rate.admits(at(*n))).count();
        assert_eq!(written, LINES as usize);
        assert_eq!(rate.left_out(at(1000)), None);
        assert_eq!(rate.next_deadline(), Some(at(10_000)));
        assert_eq!(rate.left_out(at(10_000)), Some(990));
        assert_eq!(rate.next_deadline(), None);
        assert!(rate.admits(at(10_001)));
    }

    #[test]
    fn who_comes_now_and_then_is_always_told_of() {
        let mut rate = Rate::default();
        assert!((0..1000).all(|n| rate.admits(Tick::ZERO + Duration::from_secs(2 * n))));
    }
}
