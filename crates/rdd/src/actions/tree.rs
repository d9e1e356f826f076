//! `tree_reduce` and `tree_aggregate`: partitions' results are combined on the executors, level by level, before the
//! driver gets the last few. For results so large, or partitions so many, that the driver would be the bottleneck.

use std::{marker::PhantomData, sync::Arc};

use firesteel_common::{Data, Env};
use firesteel_task::{TaskContext, TaskError, chunk::Stream};

use crate::{Rdd, Result, elements::FromIter, error::Error, pipe::PipeOp};

/// Turns a partition into at most one element.
struct ToOne<T, U, E, F>(F, PhantomData<fn(T, E) -> U>);

copy_as_functions!(ToOne<T, U, E; F>);

impl<T: Data, U: Data, E: Env, F> PipeOp for ToOne<T, U, E, F>
where
    F: Fn(&E, Stream<T>) -> Result<Option<U>, TaskError> + Copy + Send + Sync + 'static,
{
    type In = T;
    type Out = U;
    type Env = E;

    fn run(self, env: &Arc<E>, _: u32, input: Stream<T>, ctx: &Arc<TaskContext>) -> Result<Stream<U>, TaskError> {
        Ok(FromIter::stream((self.0)(env, input)?.into_iter(), ctx))
    }
}

/// Combines the elements of `parts`, one a partition, over about `depth` levels; `None` when there is none.
#[track_caller]
fn combine<U: Data, E: Env>(
    mut parts: Rdd<U>,
    depth: u32,
    env: &Arc<E>,
    comb: impl Fn(&E, U, U) -> U + Copy + Send + Sync + 'static,
) -> Result<Option<U>> {
    let mut n = parts.num_partitions();
    let scale = (f64::from(n).powf(1.0 / f64::from(depth.max(1))).ceil() as u32).max(2);
    // A level that leaves the driver hardly less to combine is not worth its shuffle.
    while n > scale + n.div_ceil(scale) {
        n /= scale;
        let spread = parts.with(n).map_partitions_with_index(|n, i, elements| {
            let key = i % *n;
            elements.map(move |x| (key, x))
        });
        parts = spread.with_env(env).partitioned(n).reduce_by_key(comb).values();
    }
    match parts.with_env(env).reduce(comb) {
        Err(Error::Empty(_)) => Ok(None),
        result => result.map(Some),
    }
}

operators! {
    impl[T: Data] T;

    /// As `reduce`, combining the partitions' results on the executors in about `depth` levels; Spark's default is 2.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let sizes = sc.partitioned(64).range(0..1000u64);
    /// assert_eq!(sizes.tree_reduce(2, |a, b| a + b)?, 499_500);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Empty`] when there is no element.
    #[doc(alias = "treeReduce")]
    fn tree_reduce[](depth: u32) { f: F(a: T, b: T) -> T } -> Result<T> = |rdd, env| {
        let part = move |env: &E, mut input: Stream<T>| {
            let mut sum: Option<T> = None;
            while let Some(chunk) = input.next_chunk()? {
                sum = chunk.reduce(sum, |a, b| f(env, a, b));
            }
            Ok(sum)
        };
        let parts = rdd.pipe("tree_reduce", false, env, ToOne(part, PhantomData));
        combine(parts, depth, env, f)?.ok_or(Error::Empty("tree_reduce"))
    };

    /// As `aggregate`, combining the partitions' results on the executors in about `depth` levels; Spark's default is 2.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let gradients = sc.partitioned(16).range(0..100u32).map(|n| vec![1.0, f64::from(n)]);
    /// let sum = gradients.tree_aggregate(
    ///     vec![0.0; 2],
    ///     2,
    ///     |sum, x| sum.iter().zip(x).map(|(a, b)| a + b).collect(),
    ///     |a, b| a.iter().zip(b).map(|(a, b)| a + b).collect(),
    /// )?;
    /// assert_eq!(sum, [100.0, 4950.0]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "treeAggregate")]
    fn tree_aggregate[U: Data,](zero: U, depth: u32) { seq: F(acc: U, x: &T) -> U, comb: G(a: U, b: U) -> U }
        -> Result<U> = |rdd, env| {
            let part = move |(env, zero): &(Arc<E>, U), mut input: Stream<T>| {
                let mut sum = zero.clone();
                while let Some(chunk) = input.next_chunk()? {
                    sum = chunk.as_slice().iter().fold(sum, |a, x| seq(env, a, x));
                }
                Ok(Some(sum))
            };
            let with_zero = Arc::new((env.clone(), zero.clone()));
            let parts = rdd.pipe("tree_aggregate", false, &with_zero, ToOne(part, PhantomData));
            Ok(combine(parts, depth, env, comb)?.unwrap_or(zero))
        };
}
