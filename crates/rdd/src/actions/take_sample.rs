//! `take_sample`: so many random elements on the driver.

use firesteel_common::{Data, hash::fixed_hash};
use rand::{SeedableRng, seq::SliceRandom};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::{Rdd, Result, error::Error};

/// Of an RDD that stays as it was counted so many samples are never too small.
const ROUNDS: u64 = 20;

/// The fraction at which a sample of `total` elements has fewer than `wanted` in one of 10,000 cases: by bounds of the
/// binomial and the Poisson distribution, as Spark's `SamplingUtils.computeFractionForSampleSize`.
fn fraction_for(wanted: u64, total: u64, with_replacement: bool) -> f64 {
    let (n, fraction) = (total as f64, wanted as f64 / total as f64);
    if with_replacement {
        let deviations = if wanted < 12 { 9.0 } else { 5.0 };
        return (fraction + deviations * (fraction / n).sqrt()).max(1e-10);
    }
    let gamma = -(1e-4f64).ln() / n;
    (fraction + gamma + (gamma * gamma + 2.0 * gamma * fraction).sqrt()).clamp(1e-10, 1.0)
}

impl<T: Data> Rdd<T> {
    /// So many random elements, in random order: all of them, shuffled, where there are no more and none is taken twice.
    /// Counts the elements first. They must fit into the driver's memory. Spark: `takeSample`, with other random numbers.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let tickets = sc.range(0..1000u64);
    /// let winners = tickets.take_sample(false, 3, 2026)?;
    /// assert_eq!(winners.len(), 3);
    /// assert_eq!(tickets.take_sample(false, 5000, 1)?.len(), 1000);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when the RDD has become smaller since it was counted.
    #[doc(alias = "takeSample")]
    #[track_caller]
    pub fn take_sample(&self, with_replacement: bool, n: usize, seed: u64) -> Result<Vec<T>> {
        if n == 0 {
            return Ok(Vec::new());
        }
        let total = self.count()?;
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut taken = if total == 0 {
            Vec::new()
        } else if !with_replacement && n as u64 >= total {
            self.collect_as("take_sample")?
        } else {
            let fraction = fraction_for(n as u64, total, with_replacement);
            let mut round = 0u64;
            loop {
                let sample = self.sample(with_replacement, fraction, fixed_hash(&(seed, round)))?;
                let sample = sample.collect_as("take_sample")?;
                // One in 10,000 is too small.
                if sample.len() >= n {
                    break sample;
                }
                round += 1;
                if round == ROUNDS {
                    return Err(Error::InvalidArgument(format!(
                        "{n} elements cannot be drawn: there were {total} when they were counted, and there are fewer now"
                    )));
                }
            }
        };
        taken.shuffle(&mut random);
        taken.truncate(n);
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fraction_is_above_the_share_and_no_more_than_all() {
        for (wanted, total) in [(1u64, 10u64), (5, 10), (9, 10), (100, 1_000_000), (1, u64::from(u32::MAX))] {
            let share = wanted as f64 / total as f64;
            let without = fraction_for(wanted, total, false);
            assert!(without > share && without <= 1.0, "{wanted} of {total}: {without}");
            assert!(fraction_for(wanted, total, true) > share);
        }
    }
}
