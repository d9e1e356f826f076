//! Actions that make one value of all elements: `reduce`, `fold`, `aggregate`.

use std::sync::Arc;

use firesteel_common::Data;
use firesteel_task::chunk::Stream;

use crate::{Result, actions::over, error::Error};

operators! {
    impl[T: Data] T;

    /// Combines all elements with `f`, which must be associative and, as partitions may be combined in any grouping,
    /// commutative to be independent of the partitioning.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let lengths = sc.parallelize([12u64, 30, 7]);
    /// assert_eq!(lengths.reduce(|a, b| a.max(b))?, 30);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Empty`] when there is no element.
    fn reduce[]() { f: F(a: T, b: T) -> T } -> Result<T> = |rdd, env| {
        let part = over(move |env: &E, mut input: Stream<T>, _| {
            let mut sum: Option<T> = None;
            while let Some(chunk) = input.next_chunk()? {
                sum = chunk.reduce(sum, |a, b| f(env, a, b));
            }
            Ok(sum)
        });
        let parts: Vec<Option<T>> = rdd.run_all("reduce", &**env, part)?;
        parts.into_iter().flatten().reduce(|a, b| f(env, a, b)).ok_or(Error::Empty("reduce"))
    };

    /// As `reduce`, beginning with `zero` in each partition and once more on the driver, as Spark does.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let weights = sc.parallelize([12u64, 30, 7]);
    /// assert_eq!(weights.fold(0, |a, b| a + b)?, 49);
    /// assert_eq!(weights.filter(|w| *w > 50).fold(0, |a, b| a + b)?, 0);
    /// # Ok(()) }
    /// ```
    fn fold[](zero: T) { f: F(a: T, b: T) -> T } -> Result<T> = |rdd, env| {
        let part = over(move |(env, zero): &(Arc<E>, T), mut input: Stream<T>, _| {
            let mut sum = zero.clone();
            while let Some(chunk) = input.next_chunk()? {
                sum = chunk.fold(sum, |a, b| f(env, a, b));
            }
            Ok(sum)
        });
        let parts: Vec<T> = rdd.run_all("fold", &(env, &zero), part)?;
        Ok(parts.into_iter().fold(zero, |a, b| f(env, a, b)))
    };

    /// Folds the elements of each partition into `zero` with `seq`, and the partitions' results with `comb`. Elements
    /// are seen by reference: over a kept RDD this clones nothing.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let temperatures = sc.parallelize([4.0f64, 17.0, 6.0]);
    /// let (sum, n) = temperatures.aggregate((0.0, 0u32), |(s, n), t| (s + t, n + 1), |a, b| (a.0 + b.0, a.1 + b.1))?;
    /// assert_eq!(sum / f64::from(n), 9.0);
    /// # Ok(()) }
    /// ```
    fn aggregate[U: Data,](zero: U) { seq: F(acc: U, x: &T) -> U, comb: G(a: U, b: U) -> U } -> Result<U> =
        |rdd, env| {
            let part = over(move |(env, zero): &(Arc<E>, U), mut input: Stream<T>, _| {
                let mut sum = zero.clone();
                while let Some(chunk) = input.next_chunk()? {
                    sum = chunk.as_slice().iter().fold(sum, |a, x| seq(env, a, x));
                }
                Ok(sum)
            });
            let parts: Vec<U> = rdd.run_all("aggregate", &(env, &zero), part)?;
            Ok(parts.into_iter().fold(zero, |a, b| comb(env, a, b)))
        };

    /// As `aggregate`, for accumulators that are changed in place instead of being handed on: arrays, maps, vectors.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let ages = sc.parallelize([3usize, 12, 7, 15]);
    /// let decades = ages.aggregate_mut(
    ///     vec![0u32; 10],
    ///     |histogram, age| histogram[age / 10] += 1,
    ///     |histogram, other| histogram.iter_mut().zip(other).for_each(|(a, b)| *a += b),
    /// )?;
    /// assert_eq!(decades[..2], [2, 2]);
    /// # Ok(()) }
    /// ```
    fn aggregate_mut[U: Data,](zero: U) { seq: F(acc: &mut U, x: &T) -> (), comb: G(acc: &mut U, other: U) -> () }
        -> Result<U> = |rdd, env| {
            let part = over(move |(env, zero): &(Arc<E>, U), mut input: Stream<T>, _| {
                let mut sum = zero.clone();
                while let Some(chunk) = input.next_chunk()? {
                    chunk.as_slice().iter().for_each(|x| seq(env, &mut sum, x));
                }
                Ok(sum)
            });
            let parts: Vec<U> = rdd.run_all("aggregate_mut", &(env, &zero), part)?;
            let mut sum = zero;
            parts.into_iter().for_each(|other| comb(env, &mut sum, other));
            Ok(sum)
        };
}
