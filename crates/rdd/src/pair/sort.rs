//! `sort_by_key` and `sort_by`: ranges of keys by sampling, each sorted by itself.

use std::{marker::PhantomData, sync::Arc};

use firesteel_closure::{AnyNode, DecodeError, Func};
use firesteel_common::{
    Data, Env, RddId, ShuffleId,
    codec::{self, CodecError},
    hash::fixed_hash,
};
use firesteel_shuffle::{ExternalSorter, Partitioner, RangePartitioner, RecordReader, SortKey, Sorted};
use firesteel_task::{
    TaskContext, TaskError,
    chunk::{CHUNK, Chunk, ChunkStream, Stream},
};

use super::{Partitioning, ShuffleRead, partition_by::write_pairs};
use crate::{
    Partitioned, PartitionedWith, Rdd, Result,
    actions::over,
    node::{Body, Dep},
};

/// Keys sampled for each partition of the result, as Spark's RangePartitioner does.
const SAMPLES_A_PARTITION: usize = 20;

/// Reduce side: all pairs of a range, sorted; equal keys stay in the order of the map tasks.
struct ReadSorted<K, V> {
    shuffle: ShuffleRead,
    ascending: bool,
    records: PhantomData<fn() -> (K, V)>,
}

impl<K: Data + SortKey, V: Data> Body for ReadSorted<K, V> {
    type Item = (K, V);
    type Func = ();

    fn func(&self) -> Func<()> {
        Func::new(())
    }

    fn compute(&self, _: RddId, p: u32, ctx: &Arc<TaskContext>) -> Result<Stream<(K, V)>, TaskError> {
        let mut sorter = ExternalSorter::new(self.ascending, &ctx.spills());
        RecordReader::new(ctx.read_shuffle(self.shuffle.id, p)?).for_each(|(k, v)| sorter.insert(k, v))?;
        Ok(Box::new(SortedRows { rows: sorter.finish()?, ctx: ctx.clone() }))
    }

    fn deps(&self) -> Vec<Dep> {
        self.shuffle.deps()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        codec::encode_into(&(self.shuffle.id, self.ascending), out)
    }

    fn decode(_: Func<()>, _: &[AnyNode], env: &[u8]) -> Result<Self, DecodeError> {
        let (id, ascending): (ShuffleId, bool) = codec::decode(env)?;
        Ok(ReadSorted { shuffle: ShuffleRead::decoded(id), ascending, records: PhantomData })
    }
}

/// The rows of a range, in order.
struct SortedRows<K, V> {
    rows: Sorted<K, V>,
    ctx: Arc<TaskContext>,
}

impl<K: Data + SortKey, V: Data> ChunkStream<(K, V)> for SortedRows<K, V> {
    fn next_chunk(&mut self) -> Result<Option<Chunk<(K, V)>>, TaskError> {
        self.ctx.kill().check()?;
        Ok(self.rows.next_batch(CHUNK)?.map(Chunk::Owned))
    }
}

/// A uniform sample of at most `size` keys of a partition, and how many there are (reservoir, fixed seed).
fn sample<K: Data, V: Data>(size: usize, seed: u32, mut input: Stream<(K, V)>) -> Result<(u64, Vec<K>), TaskError> {
    let (mut seen, mut kept) = (0u64, Vec::new());
    while let Some(chunk) = input.next_chunk()? {
        for (k, _) in chunk.as_slice() {
            if kept.len() < size {
                kept.push(k.clone());
            } else {
                let at = fixed_hash(&(seed, seen)) % (seen + 1);
                if let Some(slot) = usize::try_from(at).ok().and_then(|at| kept.get_mut(at)) {
                    *slot = k.clone();
                }
            }
            seen += 1;
        }
    }
    Ok((seen, kept))
}

impl<K: Data + SortKey, V: Data> Rdd<(K, V)> {
    /// The pairs in the order of their keys, partition after partition, in as many partitions as there are. Runs a job
    /// at once that samples the keys, as Spark does. Floats are ordered as by Java's
    /// `Double.compare`: every NaN comes last.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let results = sc.parallelize([(60.5f64, "Ada"), (59.0, "Max"), (61.0, "Eva")].map(|(t, who)| (t, who.to_owned())));
    /// assert_eq!(results.sort_by_key(true)?.values().collect()?, ["Max", "Ada", "Eva"]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the sampling job fails.
    #[doc(alias = "sortByKey")]
    #[track_caller]
    pub fn sort_by_key(&self, ascending: bool) -> Result<Rdd<(K, V)>> {
        self.sorted(ascending, self.num_partitions())
    }

    #[track_caller]
    fn sorted(&self, ascending: bool, partitions: u32) -> Result<Rdd<(K, V)>> {
        let partitions = partitions.max(1);
        let samples = if partitions == 1 { Vec::new() } else { self.sample_keys(partitions)? };
        let partitioner = Arc::new(RangePartitioner::from_weighted_sample(samples, partitions, ascending));
        let partitions = Partitioner::<K>::partitions(&*partitioner);
        let key = Partitioning::<K>::shared(&partitioner).key();
        let shuffle = write_pairs(self, partitioner);
        let body = ReadSorted { shuffle, ascending, records: PhantomData };
        Ok(Rdd::from_body(self.scope(), partitions, "sort_by_key", key, body))
    }

    /// Keys with the number of records that each stands for.
    #[track_caller]
    fn sample_keys(&self, partitions: u32) -> Result<Vec<(K, f64)>> {
        let wanted = (SAMPLES_A_PARTITION * partitions as usize).min(1_000_000);
        // Three times the even share, so that an uneven partition is still sampled well.
        let each = (3 * wanted).div_ceil(self.num_partitions().max(1) as usize).max(1);
        let sketch = over(|each: &usize, input: Stream<(K, V)>, ctx| sample(*each, ctx.partition_id(), input));
        let sketches: Vec<(u64, Vec<K>)> = self.run_all("sort_by_key", &each, sketch)?;
        let weigh = |(seen, keys): (u64, Vec<K>)| {
            let weight = seen as f64 / keys.len().max(1) as f64;
            keys.into_iter().map(move |k| (k, weight))
        };
        Ok(sketches.into_iter().flat_map(weigh).collect())
    }
}

impl<K: Data + SortKey, V: Data> Partitioned<(K, V), u32> {
    /// As [`Rdd::sort_by_key`], into at most so many partitions: fewer when there are not as many different keys.
    ///
    /// # Errors
    /// When the sampling job fails.
    #[track_caller]
    pub fn sort_by_key(&self, ascending: bool) -> Result<Rdd<(K, V)>> {
        self.rdd.sorted(ascending, self.by)
    }
}

impl<K: Data + SortKey, V: Data, P> Partitioned<(K, V), P> {
    /// Spreads the pairs and puts those of each partition in the order of their keys, in the shuffle itself: cheaper than to
    /// spread them first and sort them then. Equal keys stay in the order of the partitions that they come from. Spark:
    /// `repartitionAndSortWithinPartitions`.
    ///
    /// With a partitioner that looks at the first part of a key of two, the groups of that part lie together and their values are
    /// sorted by the second one, and none needs to be in memory as a whole.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// use firesteel::HashPartitioner;
    ///
    /// let pairs = sc.parallelize([(5u32, 'e'), (1, 'a'), (3, 'c'), (2, 'b')]);
    /// let sorted = pairs.partitioned(HashPartitioner::new(2)).repartition_and_sort_within_partitions();
    /// for part in sorted.keys().collect_partitions()? {
    ///     assert!(part.is_sorted());
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "repartitionAndSortWithinPartitions")]
    #[track_caller]
    pub fn repartition_and_sort_within_partitions(&self) -> Rdd<(K, V)>
    where
        P: Partitioner<K> + Env + Clone,
    {
        let by = Arc::new(self.by.clone());
        let (partitions, key) = (by.partitions().max(1), Partitioning::shared(&by).key());
        let body = ReadSorted { shuffle: write_pairs(&self.rdd, by), ascending: true, records: PhantomData };
        Rdd::from_body(self.rdd.scope(), partitions, "repartition_and_sort_within_partitions", key, body)
    }
}

operators! {
    impl[T: Data] T;

    /// The elements in the order of the keys that `f` gives them; see `sort_by_key`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let words = sc.parallelize(["kettle", "tea", "salt"].map(String::from));
    /// assert_eq!(words.sort_by(true, |word| word.len())?.collect()?, ["tea", "salt", "kettle"]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the sampling job fails.
    #[doc(alias = "sortBy")]
    fn sort_by[K: Data + SortKey,](ascending: bool) { f: F(x: &T) -> K } -> Result<Rdd<T>> = |rdd, env| {
        Ok(rdd.with_env(env).key_by(f).sort_by_key(ascending)?.values())
    };
}

impl<T: Data> Partitioned<T, u32> {
    /// As [`Rdd::sort_by`], into at most so many partitions: fewer when there are not as many different keys.
    ///
    /// # Errors
    /// When the sampling job fails.
    #[track_caller]
    pub fn sort_by<K, F>(&self, ascending: bool, f: F) -> Result<Rdd<T>>
    where
        K: Data + SortKey,
        F: Fn(&T) -> K + Copy + Send + Sync + 'static,
    {
        firesteel_closure::require_zero_sized!(F);
        Ok(self.rdd.key_by(f).sorted(ascending, self.by)?.values())
    }
}

impl<T: Data, E: Env> PartitionedWith<T, u32, E> {
    /// As [`With::sort_by`](crate::With::sort_by), into at most so many partitions.
    ///
    /// # Errors
    /// When the sampling job fails.
    #[track_caller]
    pub fn sort_by<K, F>(&self, ascending: bool, f: F) -> Result<Rdd<T>>
    where
        K: Data + SortKey,
        F: Fn(&E, &T) -> K + Copy + Send + Sync + 'static,
    {
        firesteel_closure::require_zero_sized!(F);
        Ok(self.rdd.with_env(&self.env).key_by(f).sorted(ascending, self.by)?.values())
    }
}
