//! `partition_by`: the same pairs, spread by a partitioner.

use std::{marker::PhantomData, sync::Arc};

use firesteel_closure::{AnyNode, DecodeError, Func};
use firesteel_common::{
    Data, Env, RddId, ShuffleId,
    codec::{self, CodecError},
};
use firesteel_shuffle::{Partitioner, RecordReader};
use firesteel_task::{
    TaskContext, TaskError, TaskOutput,
    chunk::{CHUNK, Chunk, ChunkStream, Stream},
};

use super::{Partitioning, ShuffleDep, ShuffleRead};
use crate::{
    Rdd,
    node::{Body, Dep},
    output::OutputOp,
};

/// Map side: writes each pair to the partition of its key.
struct WritePairs<K, V, P>(PhantomData<fn(K, V) -> P>);

impl<K, V, P> Clone for WritePairs<K, V, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V, P> Copy for WritePairs<K, V, P> {}

impl<K: Data, V: Data, P: Partitioner<K> + Env> OutputOp for WritePairs<K, V, P> {
    type In = (K, V);
    type Env = (ShuffleId, Arc<P>);

    fn run(
        self,
        env: &Arc<Self::Env>,
        mut input: Stream<(K, V)>,
        ctx: &Arc<TaskContext>,
    ) -> Result<TaskOutput, TaskError> {
        let (shuffle, partitioner) = &**env;
        let mut writer = ctx.map_writer(*shuffle, partitioner.partitions().max(1));
        while let Some(chunk) = input.next_chunk()? {
            for record in chunk.as_slice() {
                writer.write(partitioner.partition(&record.0), record)?;
            }
        }
        Ok(TaskOutput::Map(writer.finish()?))
    }
}

/// The map side that spreads `rdd` by `partitioner`.
pub(super) fn write_pairs<K: Data, V: Data, P: Partitioner<K> + Env>(
    rdd: &Rdd<(K, V)>,
    partitioner: Arc<P>,
) -> ShuffleRead {
    let partitions = partitioner.partitions().max(1);
    ShuffleRead::of(ShuffleDep::new(rdd, partitions, |id| (id, partitioner), WritePairs(PhantomData)))
}

/// Reduce side: the records as they were written, in the order of the map tasks.
pub(super) struct ReadRecords<T> {
    pub(super) shuffle: ShuffleRead,
    pub(super) records: PhantomData<fn() -> T>,
}

impl<T: Data> Body for ReadRecords<T> {
    type Item = T;
    type Func = ();

    fn func(&self) -> Func<()> {
        Func::new(())
    }

    fn compute(&self, _: RddId, p: u32, ctx: &Arc<TaskContext>) -> Result<Stream<T>, TaskError> {
        Ok(Box::new(Records(RecordReader::new(ctx.read_shuffle(self.shuffle.id, p)?))))
    }

    fn deps(&self) -> Vec<Dep> {
        self.shuffle.deps()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        codec::encode_into(&self.shuffle.id, out)
    }

    fn decode(_: Func<()>, _: &[AnyNode], env: &[u8]) -> Result<Self, DecodeError> {
        Ok(ReadRecords { shuffle: ShuffleRead::decoded(codec::decode(env)?), records: PhantomData })
    }
}

/// The records of one reduce partition. Its blocks ask for the kill flag themselves.
struct Records<T>(RecordReader<T>);

impl<T: Data> ChunkStream<T> for Records<T> {
    fn next_chunk(&mut self) -> Result<Option<Chunk<T>>, TaskError> {
        Ok(self.0.next_batch(CHUNK)?.map(Chunk::Owned))
    }
}

impl<K: Data, V: Data> Rdd<(K, V)> {
    /// Spreads the pairs by `partitioner`. Does nothing when they lie by an equal one already.
    ///
    /// An RDD that was spread and then kept joins with others spread by an equal partitioner without moving again.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// use firesteel::HashPartitioner;
    ///
    /// let links = sc.parallelize([(1u32, vec![2u32, 3]), (2, vec![1]), (3, vec![1])]);
    /// let links = links.partition_by(HashPartitioner::new(8)).cache();
    /// let mut ranks = links.map_values(|_| 1.0f64);
    /// for _ in 0..3 {
    ///     // Only the shares move.
    ///     let shares = links.join(&ranks).flat_map(|(_, (to, rank))| {
    ///         let share = rank / to.len() as f64;
    ///         to.into_iter().map(move |page| (page, share))
    ///     });
    ///     ranks = shares.partitioned(8).reduce_by_key(|a, b| a + b);
    /// }
    /// assert_eq!(ranks.collect_as_map()?[&1], 2.0);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "partitionBy")]
    #[track_caller]
    pub fn partition_by<P: Partitioner<K> + Env>(&self, partitioner: P) -> Rdd<(K, V)> {
        let (partitions, partitioner) = (partitioner.partitions().max(1), Arc::new(partitioner));
        let key = Partitioning::shared(&partitioner).key();
        if key.is_some() && self.partitioner() == key.as_ref() {
            return self.clone();
        }
        let shuffle = write_pairs(self, partitioner);
        Rdd::from_body(self.scope(), partitions, "partition_by", key, ReadRecords { shuffle, records: PhantomData })
    }
}
