//! The median of how long the tasks of a set took, for speculation.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

/// The median of the durations that it was given, at any time.
#[derive(Debug, Default)]
pub(crate) struct Median {
    /// The lower half, its largest on top; as many as the upper half, or one less.
    lower: BinaryHeap<Duration>,
    /// The upper half, its smallest on top: the median, the upper one of two.
    upper: BinaryHeap<Reverse<Duration>>,
}

impl Median {
    pub(crate) fn add(&mut self, took: Duration) {
        if self.get().is_none_or(|m| took >= m) {
            self.upper.push(Reverse(took));
        } else {
            self.lower.push(took);
        }
        if self.upper.len() > self.lower.len() + 1 {
            self.lower.extend(self.upper.pop().map(|Reverse(d)| d));
        } else if self.lower.len() > self.upper.len() {
            self.upper.extend(self.lower.pop().map(Reverse));
        }
    }

    pub(crate) fn get(&self) -> Option<Duration> {
        self.upper.peek().map(|Reverse(d)| *d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_that_of_the_sorted_durations() {
        let mut median = Median::default();
        let mut all = Vec::new();
        assert_eq!(median.get(), None);
        for i in 0..200u64 {
            let took = Duration::from_millis(i * 7919 % 101);
            median.add(took);
            all.push(took);
            all.sort_unstable();
            assert_eq!(median.get(), Some(all[all.len() / 2]), "of {}", all.len());
        }
    }
}
