//! Operators that number the elements, and `glom`, which makes one element of a partition.

use std::{marker::PhantomData, sync::Arc};

use firesteel_common::Data;
use firesteel_task::{
    PartitionIter, TaskContext, TaskError,
    chunk::{Chunk, ChunkStream, PerChunk, Stream},
};

use crate::{Rdd, Result, actions::over, pipe::PipeOp};

/// Puts a number beside each element: the first of a partition, and the step from one to the next.
struct Numbered<T, F>(F, PhantomData<fn() -> T>);

copy_as_functions!(Numbered<T; F>);

impl<T: Data, F> PipeOp for Numbered<T, F>
where
    F: Fn(&[u64], u32) -> (u64, u64) + Copy + Send + Sync + 'static,
{
    type In = T;
    type Out = (T, u64);
    type Env = Vec<u64>;

    const BY_POSITION: bool = true;

    fn run(
        self,
        env: &Arc<Vec<u64>>,
        p: u32,
        input: Stream<T>,
        _: &Arc<TaskContext>,
    ) -> Result<Stream<(T, u64)>, TaskError> {
        let (mut next, step) = (self.0)(env, p);
        Ok(PerChunk::stream(input, move |chunk| {
            Ok(chunk.map(|x| {
                let number = next;
                next += step;
                (x, number)
            }))
        }))
    }
}

struct Glom<T>(PhantomData<fn() -> T>);

copy_as_functions!(Glom<T;>);

impl<T: Data> PipeOp for Glom<T> {
    type In = T;
    type Out = Vec<T>;
    type Env = ();

    const BY_POSITION: bool = true;

    fn run(self, _: &Arc<()>, _: u32, input: Stream<T>, ctx: &Arc<TaskContext>) -> Result<Stream<Vec<T>>, TaskError> {
        Ok(Box::new(Once(Some(PartitionIter::new(input, ctx)))))
    }
}

/// The partition, once.
struct Once<T>(Option<PartitionIter<T>>);

impl<T: Data> ChunkStream<Vec<T>> for Once<T> {
    fn next_chunk(&mut self) -> Result<Option<Chunk<Vec<T>>>, TaskError> {
        Ok(self.0.take().map(|elements| Chunk::Owned(vec![elements.collect()])))
    }
}

impl<T: Data> Rdd<T> {
    /// Each element with its number, from 0, in partition order. Runs a job at once that counts the elements of all
    /// partitions but the last, unless there is only one, as Spark does. Spark: `zipWithIndex`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let finishers = sc.partitioned(2).parallelize(["Ada", "Max", "Eva"].map(String::from));
    /// let places = finishers.zip_with_index()?.map(|(who, i)| format!("{}. {who}", i + 1));
    /// assert_eq!(places.collect()?, ["1. Ada", "2. Max", "3. Eva"]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the counting job fails.
    #[doc(alias = "zipWithIndex")]
    #[track_caller]
    pub fn zip_with_index(&self) -> Result<Rdd<(T, u64)>> {
        let counted = self.num_partitions().saturating_sub(1);
        let mut sizes = vec![0u64; counted as usize];
        if counted > 0 {
            let count = over(|_: &(), mut input: Stream<T>, _| input.count());
            self.run("zip_with_index", (0..counted).collect(), &(), count, |partition, size| {
                if let Some(slot) = sizes.get_mut(partition) {
                    *slot = size;
                }
            })?;
        }
        let mut before = 0;
        let first = std::iter::once(0).chain(sizes.into_iter().map(|size| {
            before += size;
            before
        }));
        let from = |first: &[u64], p: u32| (first.get(p as usize).copied().unwrap_or_default(), 1);
        Ok(self.pipe("zip_with_index", false, &Arc::new(first.collect()), Numbered(from, PhantomData)))
    }

    /// Each element with a number that no other has, without a job: of `n` partitions, those of partition `k` get `k`,
    /// `k + n`, `k + 2n`, … Spark: `zipWithUniqueId`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let letters = sc.partitioned(2).parallelize(['a', 'b', 'c', 'd']);
    /// assert_eq!(letters.zip_with_unique_id().collect()?, [('a', 0), ('b', 2), ('c', 1), ('d', 3)]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "zipWithUniqueId")]
    #[track_caller]
    pub fn zip_with_unique_id(&self) -> Rdd<(T, u64)> {
        let by = |n: &[u64], p: u32| (u64::from(p), n.first().copied().unwrap_or(1));
        let partitions = vec![u64::from(self.num_partitions())];
        self.pipe("zip_with_unique_id", false, &Arc::new(partitions), Numbered(by, PhantomData))
    }

    /// The elements of each partition as one element, also of those that have none. All of a partition must fit into
    /// memory. Spark: `glom`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let readings = sc.partitioned(2).parallelize([3.5f64, 1.0, 2.0, 4.0]);
    /// let sorted = readings.glom().map(|mut part| { part.sort_by(f64::total_cmp); part });
    /// assert_eq!(sorted.collect()?, [[1.0, 3.5], [2.0, 4.0]]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn glom(&self) -> Rdd<Vec<T>> {
        self.pipe("glom", false, &Arc::new(()), Glom(PhantomData))
    }
}
