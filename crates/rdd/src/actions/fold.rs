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
