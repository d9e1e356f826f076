//! Waiting times that double up to a bound, with a random part.

use std::time::Duration;

/// Gives one waiting time after the other.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    max: Duration,
    next: Duration,
    random: u64,
}

impl Backoff {
    pub fn new(first: Duration, max: Duration, seed: u64) -> Self {
        Self { first, max, next: first.min(max), random: seed }
    }

    /// Begins with the shortest again; the random numbers go on.
    pub fn reset(&mut self) {
        self.next = self.first.min(self.max);
    }

    /// Half to one and a half times of the current length, which then doubles.
    pub fn next(&mut self) -> Duration {
        let base = self.next;
        self.next = base.saturating_mul(2).min(self.max);
        // 53 bits: what a double holds.
        let part = (self.splitmix() >> 11) as f64 / (1u64 << 53) as f64;
        base.mul_f64(0.5 + part)
    }

    /// SplitMix64: all that is needed is that seeds differ in what they give.
    fn splitmix(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
