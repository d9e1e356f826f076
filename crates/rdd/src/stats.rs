//! What a look at all numbers tells of them.

use serde::{Deserialize, Serialize};

/// Count, mean, spread, least and greatest of numbers; two of them can be put together. Spark: `StatCounter`.
///
/// ```
/// use firesteel::Stats;
///
/// let mut all: Stats = [1.0, 2.0].into_iter().collect();
/// all.merge(&[3.0, 6.0].into_iter().collect());
/// assert_eq!((all.count(), all.sum(), all.mean()), (4, 12.0, 3.0));
/// assert_eq!((all.min(), all.max()), (1.0, 6.0));
/// assert_eq!((all.variance(), all.stdev()), (3.5, 3.5f64.sqrt()));
/// all.add(3.0);
/// assert_eq!((all.sample_variance(), all.sample_stdev()), (3.5, 3.5f64.sqrt()));
/// assert_eq!(all.to_string(), "(count: 5, mean: 3, stdev: 1.6733200530681511, max: 6, min: 1)");
/// ```
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub struct Stats {
    count: u64,
    mean: f64,
    /// Sum of the squares of the distances from the mean.
    squares: f64,
    min: f64,
    max: f64,
}

impl Default for Stats {
    fn default() -> Self {
        Stats { count: 0, mean: 0.0, squares: 0.0, min: f64::INFINITY, max: f64::NEG_INFINITY }
    }
}

/// The lesser one; NaN when one of them is, as Java's `Math.min`.
fn lesser(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

/// The greater one; NaN when one of them is, as Java's `Math.max`.
fn greater(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

impl Stats {
    /// Takes one more number in, by Welford's method.
    pub fn add(&mut self, x: f64) {
        let from_mean = x - self.mean;
        self.count += 1;
        self.mean += from_mean / self.count as f64;
        self.squares += from_mean * (x - self.mean);
        (self.min, self.max) = (lesser(self.min, x), greater(self.max, x));
    }

    /// Takes in the numbers that `other` has seen, by the method of Chan and others.
    pub fn merge(&mut self, other: &Stats) {
        if self.count == 0 || other.count == 0 {
            if self.count == 0 {
                *self = *other;
            }
            return;
        }
        let (mine, theirs) = (self.count as f64, other.count as f64);
        let apart = other.mean - self.mean;
        self.count += other.count;
        self.mean = if theirs * 10.0 < mine {
            self.mean + apart * theirs / (mine + theirs)
        } else if mine * 10.0 < theirs {
            other.mean - apart * mine / (mine + theirs)
        } else {
            (self.mean * mine + other.mean * theirs) / (mine + theirs)
        };
        self.squares += other.squares + apart * apart * mine * theirs / (mine + theirs);
        (self.min, self.max) = (lesser(self.min, other.min), greater(self.max, other.max));
    }

    /// How many numbers there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their mean; 0 of none, as in Spark.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Their sum.
    pub fn sum(&self) -> f64 {
        self.mean * self.count as f64
    }

    /// The least; infinity of none.
    pub fn min(&self) -> f64 {
        self.min
    }

    /// The greatest; minus infinity of none.
    pub fn max(&self) -> f64 {
        self.max
    }

    /// The variance of the numbers themselves; NaN of none. Spark: `variance`, `popVariance`.
    #[doc(alias = "popVariance")]
    pub fn variance(&self) -> f64 {
        if self.count == 0 { f64::NAN } else { self.squares / self.count as f64 }
    }

    /// The variance of what they are a sample of; NaN of fewer than two.
    #[doc(alias = "sampleVariance")]
    pub fn sample_variance(&self) -> f64 {
        if self.count < 2 { f64::NAN } else { self.squares / (self.count - 1) as f64 }
    }

    /// The standard deviation of the numbers themselves; NaN of none.
    #[doc(alias = "popStdev")]
    pub fn stdev(&self) -> f64 {
        self.variance().sqrt()
    }

    /// The standard deviation of what they are a sample of; NaN of fewer than two.
    #[doc(alias = "sampleStdev")]
    pub fn sample_stdev(&self) -> f64 {
        self.sample_variance().sqrt()
    }
}

impl FromIterator<f64> for Stats {
    fn from_iter<I: IntoIterator<Item = f64>>(numbers: I) -> Self {
        let mut stats = Stats::default();
        numbers.into_iter().for_each(|x| stats.add(x));
        stats
    }
}

impl std::fmt::Display for Stats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Stats { count, mean, min, max, .. } = self;
        write!(f, "(count: {count}, mean: {mean}, stdev: {}, max: {max}, min: {min})", self.stdev())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_put_together_say_the_same_as_a_whole(parts in prop::collection::vec(prop::collection::vec(-1e6f64..1e6, 0..40), 0..6)) {
            let whole: Stats = parts.iter().flatten().copied().collect();
            let mut merged = Stats::default();
            parts.iter().for_each(|part| merged.merge(&part.iter().copied().collect()));
            prop_assert_eq!(merged.count(), whole.count());
            prop_assert_eq!((merged.min(), merged.max()), (whole.min(), whole.max()));
            let close = |a: f64, b: f64| (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()));
            prop_assert!(close(merged.mean(), whole.mean()), "{merged} {whole}");
            prop_assert!(close(merged.variance(), whole.variance()), "{merged} {whole}");
            prop_assert!(close(merged.sample_variance(), whole.sample_variance()), "{merged} {whole}");
        }
    }

    #[test]
    fn the_variance_of_great_numbers_near_each_other_is_right() {
        let stats: Stats = (0..1000).map(|i| 1e9 + f64::from(i % 2)).collect();
        assert_eq!(stats.variance(), 0.25);
    }

    #[test]
    fn of_nothing_and_of_nan_it_says_what_spark_does() {
        let none = Stats::default();
        assert_eq!((none.mean(), none.sum(), none.min(), none.max()), (0.0, 0.0, f64::INFINITY, f64::NEG_INFINITY));
        assert!(none.variance().is_nan() && none.sample_variance().is_nan());
        let nan: Stats = [1.0, f64::NAN, 2.0].into_iter().collect();
        assert!(nan.max().is_nan() && nan.min().is_nan() && nan.mean().is_nan());
    }
}
