//! Numbers of different elements, estimated: HyperLogLog++.

use firesteel_common::{Key, hash::SketchHash};
use firesteel_task::{TaskError, chunk::Stream};
use hyperloglogplus::{HyperLogLog, HyperLogLogPlus};

use crate::{Rdd, Result, actions::over, error::Error};

/// What counts; it looks at the hashes of elements of any type.
type Sketch = HyperLogLogPlus<u8, SketchHash>;

/// Least and most bits of a hash that name a register.
const PRECISION: std::ops::RangeInclusive<u8> = 4..=18;

/// How many bits of a hash name a register where the standard deviation is to be at most so many of the true number.
fn precision(relative_sd: f64) -> Result<u8> {
    let precision = (2.0 * (1.054 / relative_sd).log2()).ceil();
    if !(f64::from(*PRECISION.start())..=f64::from(*PRECISION.end())).contains(&precision) {
        return Err(Error::InvalidArgument(format!(
            "the relative standard deviation of an estimate is from 0.0021 to 0.37, not {relative_sd}"
        )));
    }
    Ok(precision as u8)
}

fn sketch(precision: u8) -> Result<Sketch, TaskError> {
    Sketch::new(precision, SketchHash).map_err(TaskError::failed)
}

impl<T: Key> Rdd<T> {
    /// About how many different elements there are, without a shuffle: the standard deviation of the estimate is
    /// `relative_sd` of the true number. Spark: `countApproxDistinct`, with another hash.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let visitors = sc.range(0..100_000u64).map(|i| i % 20_000);
    /// assert!((19_000..21_000).contains(&visitors.count_approx_distinct(0.01)?));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a deviation below 0.0021 or above 0.37.
    #[doc(alias = "countApproxDistinct")]
    #[track_caller]
    pub fn count_approx_distinct(&self, relative_sd: f64) -> Result<u64> {
        let part = over(|precision: &u8, mut input: Stream<T>, _| {
            let mut counted = sketch(*precision)?;
            while let Some(chunk) = input.next_chunk()? {
                chunk.as_slice().iter().for_each(|x| counted.insert_any(x));
            }
            Ok(counted)
        });
        let parts: Vec<Sketch> = self.run_all("count_approx_distinct", &precision(relative_sd)?, part)?;
        let merged = parts.into_iter().reduce(|mut a, b| {
            merge(&mut a, &b);
            a
        });
        Ok(merged.map_or(0, |mut counted| counted.count().round() as u64))
    }
}

impl<K: Key, V: Key> Rdd<(K, V)> {
    /// About how many different values each key has; see [`Rdd::count_approx_distinct`]. Spark:
    /// `countApproxDistinctByKey`, with another hash.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let visits = sc.range(0..60_000u64).map(|i| (i % 2, i % 10_000));
    /// let visitors = visits.count_approx_distinct_by_key(0.02)?.collect_as_map()?;
    /// assert!((4_500..5_500).contains(&visitors[&0]));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a deviation below 0.0021 or above 0.37.
    #[doc(alias = "countApproxDistinctByKey")]
    #[track_caller]
    pub fn count_approx_distinct_by_key(&self, relative_sd: f64) -> Result<Rdd<(K, u64)>> {
        let empty = sketch(precision(relative_sd)?).map_err(|e| Error::InvalidArgument(e.to_string()))?;
        let counted = self.aggregate_by_key(
            empty,
            |mut counted, v| {
                counted.insert_any(&v);
                counted
            },
            |mut a, b| {
                merge(&mut a, &b);
                a
            },
        );
        Ok(counted.map_values(|mut counted| counted.count().round() as u64))
    }
}

/// Puts two of equal precision together.
fn merge(a: &mut Sketch, b: &Sketch) {
    // The only error is another precision, and all of one estimate have the same.
    let merged = a.merge(b);
    debug_assert!(merged.is_ok(), "{merged:?}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deviation_says_how_many_registers_there_are() {
        assert_eq!(precision(0.05).unwrap(), 9);
        assert_eq!(precision(0.01).unwrap(), 14);
        for wrong in [0.0, -1.0, 0.001, 1.0, f64::NAN, f64::INFINITY] {
            assert!(precision(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn estimates_are_as_near_as_they_say() {
        for n in [0u64, 1, 10, 1000, 100_000] {
            let mut counted = sketch(12).unwrap();
            (0..n).for_each(|i| counted.insert_any(&i));
            (0..n / 2).for_each(|i| counted.insert_any(&i));
            let estimate = counted.count();
            assert!((estimate - n as f64).abs() <= 0.05 * n as f64, "{n}: {estimate}");
        }
    }
}
