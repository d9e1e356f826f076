//! `zip` and `zip_partitions`: the elements, or the partitions, of two RDDs side by side.

use std::{convert::Infallible, fmt::Display, marker::PhantomData, sync::Arc, vec::IntoIter};

use firesteel_common::{Data, Env};
use firesteel_task::{
    PartitionIter, TaskContext, TaskError,
    chunk::{Chunk, ChunkStream, Stream},
};

use crate::{Rdd, Result, elements::FromIter, zipped::ZipOp};

struct Zip<T, U>(PhantomData<fn(T, U)>);

impl<T, U> Clone for Zip<T, U> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, U> Copy for Zip<T, U> {}

impl<T: Data, U: Data> ZipOp for Zip<T, U> {
    type Left = T;
    type Right = U;
    type Out = (T, U);
    type Env = ();

    fn run(
        self,
        _: &Arc<()>,
        partition: u32,
        left: Stream<T>,
        right: Stream<U>,
        ctx: &Arc<TaskContext>,
    ) -> Result<Stream<(T, U)>, TaskError> {
        let (left, right) = (Side::new(left), Side::new(right));
        Ok(Box::new(Pairs { left, right, partition, ctx: ctx.clone() }))
    }
}

/// A partition of which a part of a chunk was taken.
struct Side<T> {
    rest: IntoIter<T>,
    input: Stream<T>,
}

impl<T: Clone> Side<T> {
    fn new(input: Stream<T>) -> Self {
        Side { rest: Vec::new().into_iter(), input }
    }

    /// How many elements can be taken now; 0 at the end.
    fn ready(&mut self) -> Result<usize, TaskError> {
        if self.rest.len() == 0
            && let Some(chunk) = self.input.next_chunk()?
        {
            self.rest = chunk.into_vec().into_iter();
        }
        Ok(self.rest.len())
    }

    /// How many elements there are from here to the end.
    fn count(&mut self) -> Result<u64, TaskError> {
        Ok(self.rest.len() as u64 + self.input.count()?)
    }
}

/// The pairs of two partitions. A chunk of them takes no more memory than the two that it is made of.
struct Pairs<T, U> {
    left: Side<T>,
    right: Side<U>,
    partition: u32,
    ctx: Arc<TaskContext>,
}

impl<T, U> Pairs<T, U> {
    fn unequal(&self, longer: &str) -> TaskError {
        TaskError::failed(format!(
            "can only zip RDDs with same number of elements in each partition: of partition {} the {longer} one has more",
            self.partition
        ))
    }
}

impl<T: Data, U: Data> ChunkStream<(T, U)> for Pairs<T, U> {
    fn next_chunk(&mut self) -> Result<Option<Chunk<(T, U)>>, TaskError> {
        self.ctx.kill().check()?;
        match (self.left.ready()?, self.right.ready()?) {
            (0, 0) => Ok(None),
            (_, 0) => Err(self.unequal("left")),
            (0, _) => Err(self.unequal("right")),
            (left, right) => {
                let n = left.min(right);
                let (left, right) = (self.left.rest.by_ref().take(n), self.right.rest.by_ref().take(n));
                Ok(Some(Chunk::Owned(left.zip(right).collect())))
            }
        }
    }

    fn count(&mut self) -> Result<u64, TaskError> {
        match (self.left.count()?, self.right.count()?) {
            (left, right) if left > right => Err(self.unequal("left")),
            (left, right) if left < right => Err(self.unequal("right")),
            (n, _) => Ok(n),
        }
    }
}

struct ZipPartitions<T, U, V, I, X, E, F>(F, PhantomData<fn(T, U, V, I, X, E)>);

copy_as_functions!(ZipPartitions<T, U, V, I, X, E; F>);

impl<T: Data, U: Data, V: Data, I, X, E: Env, F> ZipOp for ZipPartitions<T, U, V, I, X, E, F>
where
    I: IntoIterator<Item = V> + 'static,
    I::IntoIter: 'static,
    X: Display + 'static,
    F: Fn(&E, PartitionIter<T>, PartitionIter<U>) -> Result<I, X> + Copy + Send + Sync + 'static,
{
    type Left = T;
    type Right = U;
    type Out = V;
    type Env = E;

    fn run(
        self,
        env: &Arc<E>,
        _: u32,
        left: Stream<T>,
        right: Stream<U>,
        ctx: &Arc<TaskContext>,
    ) -> Result<Stream<V>, TaskError> {
        let (left, right) = (PartitionIter::new(left, ctx), PartitionIter::new(right, ctx));
        let out = (self.0)(env, left, right).map_err(TaskError::failed)?;
        Ok(FromIter::stream(out.into_iter(), ctx))
    }
}

impl<T: Data> Rdd<T> {
    /// Each element with the one at its position in the partition of the same number of `other`. Both need equally many
    /// partitions with equally many elements each, as when one was made from the other by `map`; a partition of another
    /// length fails its task.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let words = sc.parallelize(["tea", "salt", "rice"].map(String::from));
    /// let lengths = words.map(|word| word.len());
    /// assert_eq!(lengths.zip(&words)?.first()?, (3, "tea".to_owned()));
    ///
    /// let three = sc.partitioned(3).range(0..3u64);
    /// let two = sc.partitioned(2).range(0..3u64);
    /// assert!(three.zip(&two).err().unwrap().to_string().contains("unequal numbers of partitions: 3 and 2"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) when the numbers of partitions differ.
    #[track_caller]
    pub fn zip<U: Data>(&self, other: &Rdd<U>) -> Result<Rdd<(T, U)>> {
        self.zipped(other, "zip", &Arc::new(()), Zip(PhantomData))
    }
}

operators! {
    impl[T: Data] T;

    /// Applies `f` to the partitions of the same number of this RDD and of `other`, which need equally many partitions, not
    /// equally many elements. Spark: `zipPartitions`.
    ///
    /// When the input of one of them fails or the task is killed, its iterator unwinds, as in `map_partitions`. As `f` may
    /// put elements together for their positions, the result counts as indeterminate where the order of one of them is not
    /// certain.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let asked = sc.partitioned(2).range(0..6u32);
    /// let answered = sc.partitioned(2).parallelize(["yes", "no"].map(String::from));
    /// let open = asked.zip_partitions(&answered, |asked, answered| [asked.count() - answered.count()])?;
    /// assert_eq!(open.collect()?, [2, 2]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) when the numbers of partitions differ.
    #[doc(alias = "zipPartitions")]
    fn zip_partitions[U: Data, V: Data, I: IntoIterator<Item = V, IntoIter: 'static> + 'static,](other: &Rdd<U>)
        { f: F(left: PartitionIter<T>, right: PartitionIter<U>) -> I } -> Result<Rdd<V>> = |rdd, env| {
            let f = move |env: &E, left: PartitionIter<T>, right: PartitionIter<U>| {
                Ok::<I, Infallible>(f(env, left, right))
            };
            rdd.zipped(other, "zip_partitions", env, ZipPartitions(f, PhantomData))
        };

    /// As `zip_partitions`; an `Err` fails the task with its text.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let goods = sc.partitioned(2).parallelize(["tea", "salt"].map(String::from));
    /// let prices = sc.partitioned(2).parallelize(["9", "x"].map(String::from));
    /// let priced = goods.try_zip_partitions(&prices, |goods, prices| {
    ///     let prices: Vec<u32> = prices.map(|price| price.parse()).collect::<Result<_, _>>()?;
    ///     Ok::<_, std::num::ParseIntError>(goods.zip(prices))
    /// })?;
    /// assert_eq!(priced.take(1)?, [("tea".to_owned(), 9)]);
    /// assert!(priced.collect().unwrap_err().to_string().contains("invalid digit"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) when the numbers of partitions differ.
    fn try_zip_partitions[
        U: Data, V: Data, I: IntoIterator<Item = V, IntoIter: 'static> + 'static, X: Display + 'static,
    ](other: &Rdd<U>) {
        f: F(left: PartitionIter<T>, right: PartitionIter<U>) -> Result<I, X>
    } -> Result<Rdd<V>> = |rdd, env| {
        let f = move |env: &E, left: PartitionIter<T>, right: PartitionIter<U>| f(env, left, right);
        rdd.zipped(other, "try_zip_partitions", env, ZipPartitions(f, PhantomData))
    };
}
