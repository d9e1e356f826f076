//! Actions on numbers: `sum`, `stats` and what it tells, `histogram`. Spark: `DoubleRDDFunctions`.

use firesteel_common::{Data, Env};
use firesteel_task::chunk::Stream;

use super::over;
use crate::{Rdd, Result, error::Error, output::OutputOp, stats::Stats};

/// A number that can be summed up and described.
pub trait Number: Data + Copy {
    /// What a sum of them is: wide enough that no sum of whole numbers overflows.
    type Sum: Env + Copy + std::ops::AddAssign + Default;

    /// As a term of a sum.
    fn widened(self) -> Self::Sum;

    /// As a float; of whole numbers beyond 2^53 the nearest one.
    fn to_f64(self) -> f64;
}

macro_rules! numbers {
    ($($Sum:ty: $($T:ty)*;)*) => {$($(
        impl Number for $T {
            type Sum = $Sum;

            #[inline]
            fn widened(self) -> $Sum {
                self as $Sum
            }

            #[inline]
            fn to_f64(self) -> f64 {
                self as f64
            }
        }
    )*)*};
}

numbers! {
    i128: i8 i16 i32 i64 i128 isize;
    u128: u8 u16 u32 u64 u128 usize;
    f64: f32 f64;
}

impl<T: Number> Rdd<T> {
    /// The sum of all elements, 0 of none. Whole numbers are summed up exactly, as `i128` or `u128`, where Spark has
    /// floats; floats are added in partition order.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// assert_eq!(sc.range(1..101u64).sum()?, 5050);
    /// assert_eq!(sc.parallelize([0.5f64, 1.5]).sum()?, 2.0);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn sum(&self) -> Result<T::Sum> {
        let part = over(|_: &(), mut input: Stream<T>, _| {
            let mut sum = T::Sum::default();
            while let Some(chunk) = input.next_chunk()? {
                chunk.as_slice().iter().for_each(|x| sum += x.widened());
            }
            Ok(sum)
        });
        let mut sum = T::Sum::default();
        self.run_all("sum", &(), part)?.into_iter().for_each(|part: T::Sum| sum += part);
        Ok(sum)
    }

    /// Count, mean, variance, least and greatest element, in one pass that is numerically stable. Spark: `stats`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let stats = sc.parallelize([2.0f64, 4.0, 4.0, 6.0]).stats()?;
    /// assert_eq!((stats.count(), stats.mean(), stats.variance()), (4, 4.0, 2.0));
    /// assert_eq!((stats.min(), stats.max()), (2.0, 6.0));
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn stats(&self) -> Result<Stats> {
        self.described("stats")
    }

    #[track_caller]
    fn described(&self, action: &'static str) -> Result<Stats> {
        let mut stats = Stats::default();
        self.run_all(action, &(), described())?.iter().for_each(|part| stats.merge(part));
        Ok(stats)
    }

    /// The mean, 0 of no element, as in Spark.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// assert_eq!(sc.parallelize([1u32, 2, 6]).mean()?, 3.0);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn mean(&self) -> Result<f64> {
        Ok(self.described("mean")?.mean())
    }

    /// The variance of the elements themselves; NaN of none. Spark: `variance`, `popVariance`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// assert_eq!(sc.parallelize([1.0f64, 3.0]).variance()?, 1.0);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "popVariance")]
    #[track_caller]
    pub fn variance(&self) -> Result<f64> {
        Ok(self.described("variance")?.variance())
    }

    /// The standard deviation of the elements themselves; NaN of none. Spark: `stdev`, `popStdev`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// assert_eq!(sc.parallelize([1.0f64, 5.0]).stdev()?, 2.0);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "popStdev")]
    #[track_caller]
    pub fn stdev(&self) -> Result<f64> {
        Ok(self.described("stdev")?.stdev())
    }

    /// The variance of what the elements are a sample of, by Bessel's correction; NaN of fewer than two. Spark:
    /// `sampleVariance`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// assert_eq!(sc.parallelize([1.0f64, 3.0]).sample_variance()?, 2.0);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "sampleVariance")]
    #[track_caller]
    pub fn sample_variance(&self) -> Result<f64> {
        Ok(self.described("sample_variance")?.sample_variance())
    }

    /// The standard deviation of what the elements are a sample of; NaN of fewer than two. Spark: `sampleStdev`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// assert_eq!(sc.parallelize([1.0f64, 3.0, 5.0]).sample_stdev()?, 2.0);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "sampleStdev")]
    #[track_caller]
    pub fn sample_stdev(&self) -> Result<f64> {
        Ok(self.described("sample_stdev")?.sample_stdev())
    }

    /// How many elements lie in each of `buckets` buckets of equal width from the least to the greatest: the buckets' edges,
    /// one more than there are buckets, and the counts. A bucket has its lower edge, the last one its upper edge, too. Where all elements are equal there is one bucket, as in Spark.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let (edges, counts) = sc.parallelize([0.0f64, 1.0, 2.0, 9.0, 10.0]).histogram(2)?;
    /// assert_eq!((edges, counts), (vec![0.0, 5.0, 10.0], vec![3, 2]));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for no bucket, and where an element is infinite or NaN; [`Error::Empty`] when there is none.
    #[track_caller]
    pub fn histogram(&self, buckets: usize) -> Result<(Vec<f64>, Vec<u64>)> {
        if buckets == 0 {
            return Err(Error::InvalidArgument("a histogram has at least one bucket".to_owned()));
        }
        let stats = self.described("histogram")?;
        let (least, greatest) = (stats.min(), stats.max());
        if stats.count() == 0 {
            return Err(Error::Empty("histogram"));
        }
        if !least.is_finite() || !greatest.is_finite() {
            return Err(Error::InvalidArgument(
                "a histogram of elements that are infinite or NaN has no ends".to_owned(),
            ));
        }
        let edges = if least == greatest {
            vec![least, least]
        } else {
            let at = |i: usize| least + (greatest - least) * i as f64 / buckets as f64;
            (0..buckets).map(at).chain([greatest]).collect()
        };
        let counts = self.counted(&edges)?;
        Ok((edges, counts))
    }

    /// How many elements lie in each bucket between neighbouring `edges`. A bucket has its lower edge, the last one its
    /// upper edge, too; elements beyond the ends, and NaN, are in none. Spark: `histogram(buckets)`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let ages = sc.parallelize([3u32, 17, 18, 64, 65, 101]);
    /// assert_eq!(ages.histogram_of(&[0.0, 18.0, 65.0, 130.0])?, [2, 2, 2]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for fewer than two edges, and edges that do not ascend.
    #[track_caller]
    pub fn histogram_of(&self, edges: &[f64]) -> Result<Vec<u64>> {
        if edges.len() < 2 || !edges.is_sorted_by(|a, b| a < b) {
            return Err(Error::InvalidArgument(format!(
                "a histogram has two edges or more, which ascend, unlike {edges:?}"
            )));
        }
        self.counted(edges)
    }

    #[track_caller]
    fn counted(&self, edges: &[f64]) -> Result<Vec<u64>> {
        let part = over(|edges: &Vec<f64>, mut input: Stream<T>, _| {
            let mut counts = vec![0u64; edges.len() - 1];
            while let Some(chunk) = input.next_chunk()? {
                for x in chunk.as_slice().iter().map(|x| x.to_f64()) {
                    if let Some(count) = bucket(edges, x).and_then(|at| counts.get_mut(at)) {
                        *count += 1;
                    }
                }
            }
            Ok(counts)
        });
        let mut counts = vec![0; edges.len() - 1];
        for part in self.run_all::<_, Vec<u64>>("histogram", &edges, part)? {
            counts.iter_mut().zip(part).for_each(|(sum, n)| *sum += n);
        }
        Ok(counts)
    }
}

/// The tasks of `stats` and what concludes from it.
pub(super) fn described<T: Number>() -> impl OutputOp<In = T, Env = ()> {
    over(|_: &(), mut input: Stream<T>, _| {
        let mut stats = Stats::default();
        while let Some(chunk) = input.next_chunk()? {
            chunk.as_slice().iter().for_each(|x| stats.add(x.to_f64()));
        }
        Ok(stats)
    })
}

/// The bucket of `x` between `edges`.
fn bucket(edges: &[f64], x: f64) -> Option<usize> {
    let (first, last) = (*edges.first()?, *edges.last()?);
    if !(first..=last).contains(&x) {
        return None;
    }
    let at = edges.partition_point(|edge| *edge <= x) - 1;
    Some(at.min(edges.len() - 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_belongs_to_the_bucket_above_it_and_the_last_to_the_last() {
        let edges = [0.0, 1.0, 2.5, 4.0];
        let cases = [
            (-0.1, None),
            (0.0, Some(0)),
            (-0.0, Some(0)),
            (0.9, Some(0)),
            (1.0, Some(1)),
            (2.5, Some(2)),
            (4.0, Some(2)),
            (4.1, None),
            (f64::NAN, None),
            (f64::INFINITY, None),
        ];
        for (x, at) in cases {
            assert_eq!(bucket(&edges, x), at, "{x}");
        }
        assert_eq!(bucket(&[7.0, 7.0], 7.0), Some(0), "all elements are equal");
    }
}
