//! Operators that look at a whole partition: `map_partitions`, `map_partitions_with_index`.

use std::{convert::Infallible, fmt::Display, marker::PhantomData, sync::Arc};

use firesteel_common::{Data, Env};
use firesteel_task::{PartitionIter, TaskContext, TaskError, chunk::Stream};

use crate::{Rdd, elements::FromIter, pipe::PipeOp};

struct MapPartitions<T, U, I, X, E, F>(F, PhantomData<fn(T, U, I, X, E)>);

copy_as_functions!(MapPartitions<T, U, I, X, E; F>);

impl<T: Data, U: Data, I, X, E: Env, F> PipeOp for MapPartitions<T, U, I, X, E, F>
where
    I: IntoIterator<Item = U> + 'static,
    I::IntoIter: 'static,
    X: Display + 'static,
    F: Fn(&E, u32, PartitionIter<T>) -> Result<I, X> + Copy + Send + Sync + 'static,
{
    type In = T;
    type Out = U;
    type Env = E;

    fn run(self, env: &Arc<E>, p: u32, input: Stream<T>, ctx: &Arc<TaskContext>) -> Result<Stream<U>, TaskError> {
        let elements = PartitionIter::new(input, ctx);
        let out = (self.0)(env, p, elements).map_err(TaskError::failed)?;
        Ok(FromIter::stream(out.into_iter(), ctx))
    }
}

operators! {
    impl[T: Data] T;

    /// Applies `f` to each partition as a whole.
    ///
    /// When the partition's input fails or the task is killed, the iterator unwinds: the statement after a loop over it
    /// runs only when the partition was seen to its end.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let words = sc.partitioned(2).parallelize(["to", "be", "or", "not"].map(String::from));
    /// let longest_of_each = words.map_partitions(|words| words.max_by_key(|word| word.len()));
    /// assert_eq!(longest_of_each.collect()?, ["be", "not"]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "mapPartitions")]
    fn map_partitions[U: Data, I: IntoIterator<Item = U, IntoIter: 'static> + 'static,]()
        { f: F(elements: PartitionIter<T>) -> I } -> Rdd<U> = |rdd, env| {
            let f = move |env: &E, _: u32, elements: PartitionIter<T>| Ok::<I, Infallible>(f(env, elements));
            rdd.pipe("map_partitions", false, env, MapPartitions(f, PhantomData))
        };

    /// As `map_partitions`; an `Err` fails the task with its text.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let texts = sc.partitioned(2).parallelize(["1", "2", "3", "4"].map(String::from));
    /// let sums = texts.try_map_partitions(|texts| {
    ///     let sum: u32 = texts.map(|text| text.parse::<u32>()).sum::<Result<_, _>>()?;
    ///     Ok::<_, std::num::ParseIntError>([sum])
    /// });
    /// assert_eq!(sums.collect()?, [3, 7]);
    /// # Ok(()) }
    /// ```
    fn try_map_partitions[
        U: Data, I: IntoIterator<Item = U, IntoIter: 'static> + 'static, X: Display + 'static,
    ]() { f: F(elements: PartitionIter<T>) -> Result<I, X> } -> Rdd<U> = |rdd, env| {
        let f = move |env: &E, _: u32, elements: PartitionIter<T>| f(env, elements);
        rdd.pipe("try_map_partitions", false, env, MapPartitions(f, PhantomData))
    };

    /// As `map_partitions`, with the partition's number, from 0.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let letters = sc.partitioned(2).parallelize(['a', 'b', 'c', 'd']);
    /// let numbered = letters.map_partitions_with_index(|index, letters| letters.map(move |letter| (index, letter)));
    /// assert_eq!(numbered.collect()?, [(0, 'a'), (0, 'b'), (1, 'c'), (1, 'd')]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "mapPartitionsWithIndex")]
    fn map_partitions_with_index[U: Data, I: IntoIterator<Item = U, IntoIter: 'static> + 'static,]()
        { f: F(index: u32, elements: PartitionIter<T>) -> I } -> Rdd<U> = |rdd, env| {
            let f = move |env: &E, index: u32, elements: PartitionIter<T>| Ok::<I, Infallible>(f(env, index, elements));
            rdd.pipe("map_partitions_with_index", false, env, MapPartitions(f, PhantomData))
        };
}
