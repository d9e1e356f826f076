//! Estimates that an aggregation goes by: the heap bytes of rows and entries, and what combining will leave.

use firesteel_common::size;
use serde::Serialize;

/// Heap bytes of a value, without its own size.
pub(crate) fn heap_bytes<T: Serialize>(value: &T) -> u64 {
    size::heap_estimate(value)
}

/// The mean of a sample.
#[derive(Default)]
pub(super) struct Mean {
    sum: u64,
    count: u64,
}

impl Mean {
    pub fn add(&mut self, x: u64) {
        // Old ones count less and less: data changes.
        if self.count >= 4096 {
            self.sum /= 2;
            self.count /= 2;
        }
        self.sum += x;
        self.count += 1;
    }

    pub fn times(&self, n: usize) -> u64 {
        (self.sum * n as u64).div_ceil(self.count.max(1))
    }
}

/// Heap bytes of the hot table: measured, and what has come since, at most.
#[derive(Default)]
pub(super) struct Growing {
    pub measured: u64,
    pub added: u64,
    pub measure_at: u64,
}

/// When `seen` rows had `distinct` keys, the part of `all` rows that their keys will be: as if all keys were equally
/// frequent, by how often they met.
pub(super) fn expected_rest(seen: f64, distinct: f64, all: f64) -> f64 {
    if distinct >= seen {
        return 1.0;
    }
    // n keys, of which `rows` rows have n (1 - e^(-rows / n)): rises with n.
    let met = |n: f64, rows: f64| n * -(-rows / n).exp_m1();
    let (mut low, mut high) = (distinct.max(1.0), 1e15);
    for _ in 0..100 {
        let middle = (low * high).sqrt();
        if met(middle, seen) < distinct { low = middle } else { high = middle }
    }
    (met(low, all) / all).min(1.0)
}
