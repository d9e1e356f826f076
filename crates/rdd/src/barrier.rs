//! `rdd.barrier()` and the operators that can follow it: all tasks of a stage run at once and may wait for one another.

use std::{convert::Infallible, fmt::Display, marker::PhantomData, sync::Arc};

use firesteel_common::{Data, Env};
use firesteel_task::{PartitionIter, TaskContext, TaskError, barrier::BarrierTaskContext, chunk::Stream};

use crate::{Rdd, With, elements::FromIter, node::AnyRdd, pipe::PipeOp};

/// An RDD whose next operator runs in a barrier stage, from [`Rdd::barrier`]. Spark: `RDDBarrier`.
pub struct RddBarrier<T: Data> {
    rdd: Rdd<T>,
}

/// An [`RddBarrier`] with an environment for the closure of its operator.
pub struct BarrierWith<T: Data, E: Env> {
    rdd: Rdd<T>,
    env: Arc<E>,
}

impl<T: Data> Rdd<T> {
    /// Runs the next operator in a barrier stage: all of its tasks run at once, and may wait for one another and pass
    /// messages. When one fails, all are tried again.
    ///
    /// The stage needs as many free slots as it has tasks. Its RDDs must all have the same number of partitions, and
    /// actions on it must compute all of them.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// use firesteel::BarrierError;
    ///
    /// let numbers = sc.partitioned(2).range(0..10u64);
    /// let shares = numbers.barrier().try_map_partitions(|ctx, numbers| {
    ///     let mine: u64 = numbers.sum();
    ///     let all: Vec<u64> = ctx.all_gather(mine.to_string())?.iter().filter_map(|n| n.parse().ok()).collect();
    ///     Ok::<_, BarrierError>([(mine, all.iter().sum::<u64>())])
    /// });
    /// assert_eq!(shares.collect()?, [(10, 45), (35, 45)]);
    /// # Ok(()) }
    /// ```
    pub fn barrier(&self) -> RddBarrier<T> {
        RddBarrier { rdd: self.clone() }
    }
}

impl<T: Data> RddBarrier<T> {
    /// Passes `env` to the closure of the next operator, as [`Rdd::with`].
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let numbers = sc.partitioned(2).range(0..4u64);
    /// let scaled = numbers.barrier().with(10u64).map_partitions(|scale, _, numbers| {
    ///     let scale = *scale;
    ///     numbers.map(move |n| n * scale)
    /// });
    /// assert_eq!(scaled.collect()?, [0, 10, 20, 30]);
    /// # Ok(()) }
    /// ```
    pub fn with<E: Env>(&self, env: E) -> BarrierWith<T, E> {
        BarrierWith { rdd: self.rdd.clone(), env: Arc::new(env) }
    }
}

impl<T: Data, E: Env> With<T, E> {
    /// As [`Rdd::barrier`].
    pub fn barrier(&self) -> BarrierWith<T, E> {
        BarrierWith { rdd: self.rdd.clone(), env: self.env.clone() }
    }
}

struct BarrierPartitions<T, U, I, X, E, F>(F, PhantomData<fn(T, U, I, X, E)>);

copy_as_functions!(BarrierPartitions<T, U, I, X, E; F>);

impl<T: Data, U: Data, I, X, E: Env, F> PipeOp for BarrierPartitions<T, U, I, X, E, F>
where
    I: IntoIterator<Item = U> + 'static,
    I::IntoIter: 'static,
    X: Display + 'static,
    F: Fn(&E, u32, &BarrierTaskContext, PartitionIter<T>) -> Result<I, X> + Copy + Send + Sync + 'static,
{
    type In = T;
    type Out = U;
    type Env = E;

    fn run(self, env: &Arc<E>, p: u32, input: Stream<T>, ctx: &Arc<TaskContext>) -> Result<Stream<U>, TaskError> {
        let barrier = BarrierTaskContext::of(ctx)?;
        let elements = PartitionIter::new(input, ctx);
        let out = (self.0)(env, p, &barrier, elements).map_err(TaskError::failed)?;
        Ok(FromIter::stream(out.into_iter(), ctx))
    }
}

operators! {
    @ RddBarrier [T: Data,] [RddBarrier<T>] [BarrierWith<T, E>]

    /// Applies `f` to each partition as a whole, in a barrier stage.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let numbers = sc.partitioned(2).range(0..10u64);
    /// let of_how_many = numbers.barrier().map_partitions(|ctx, _| [(ctx.partition_id(), ctx.task_infos().len())]);
    /// assert_eq!(of_how_many.collect()?, [(0, 2), (1, 2)]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "mapPartitions")]
    fn map_partitions[U: Data, I: IntoIterator<Item = U, IntoIter: 'static> + 'static,]()
        { f: F(ctx: &BarrierTaskContext, elements: PartitionIter<T>) -> I } -> Rdd<U> = |rdd, env| {
            let f = move |env: &E, _: u32, ctx: &BarrierTaskContext, elements: PartitionIter<T>| {
                Ok::<I, Infallible>(f(env, ctx, elements))
            };
            in_barrier(rdd.pipe("barrier.map_partitions", false, env, BarrierPartitions(f, PhantomData)))
        };

    /// As `map_partitions`; an `Err` fails the task with its text, and with it the attempt of the stage.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// use firesteel::BarrierError;
    ///
    /// let numbers = sc.partitioned(2).range(0..10u64);
    /// let counts = numbers.barrier().try_map_partitions(|ctx, numbers| {
    ///     let n = numbers.count();
    ///     // No task goes on before all have read their numbers.
    ///     ctx.barrier()?;
    ///     Ok::<_, BarrierError>([n])
    /// });
    /// assert_eq!(counts.collect()?, [5, 5]);
    /// # Ok(()) }
    /// ```
    fn try_map_partitions[
        U: Data, I: IntoIterator<Item = U, IntoIter: 'static> + 'static, X: Display + 'static,
    ]() { f: F(ctx: &BarrierTaskContext, elements: PartitionIter<T>) -> Result<I, X> } -> Rdd<U> = |rdd, env| {
        let f = move |env: &E, _: u32, ctx: &BarrierTaskContext, elements: PartitionIter<T>| f(env, ctx, elements);
        in_barrier(rdd.pipe("barrier.try_map_partitions", false, env, BarrierPartitions(f, PhantomData)))
    };

    /// As `map_partitions`, with the partition's number, from 0.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let letters = sc.partitioned(2).parallelize(['a', 'b', 'c', 'd']);
    /// let numbered = letters.barrier().map_partitions_with_index(|index, _, letters| letters.map(move |c| (index, c)));
    /// assert_eq!(numbered.collect()?, [(0, 'a'), (0, 'b'), (1, 'c'), (1, 'd')]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "mapPartitionsWithIndex")]
    fn map_partitions_with_index[U: Data, I: IntoIterator<Item = U, IntoIter: 'static> + 'static,]()
        { f: F(index: u32, ctx: &BarrierTaskContext, elements: PartitionIter<T>) -> I } -> Rdd<U> = |rdd, env| {
            let f = move |env: &E, index: u32, ctx: &BarrierTaskContext, elements: PartitionIter<T>| {
                Ok::<I, Infallible>(f(env, index, ctx, elements))
            };
            let op = BarrierPartitions(f, PhantomData);
            in_barrier(rdd.pipe("barrier.map_partitions_with_index", false, env, op))
        };
}

fn in_barrier<U: Data>(rdd: Rdd<U>) -> Rdd<U> {
    rdd.node().meta().set_barrier();
    rdd
}
