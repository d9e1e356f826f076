//! Combining by key through a shuffle: the map side, the reduce side, and the node for where no shuffle is needed.
//! `by_key.rs` has the operators made of it.

use std::{marker::PhantomData, sync::Arc};

use firesteel_closure::{AnyNode, DecodeError, Func};
use firesteel_common::{
    Data, Env, Key, RddId, ShuffleId,
    codec::{self, CodecError},
    hash::fixed_hash,
};
use firesteel_shuffle::{CombineTable, HashPartitioner, MapWriter, Partitioner, RecordReader};

use super::{ShuffleDep, ShuffleRead, default_partitions, partition_by::write_pairs};
use crate::{
    Rdd,
    chunk::{FromIter, Stream},
    node::{Body, Dep, PartitionerKey},
    output::OutputOp,
    pipe::PipeOp,
    task::{TaskContext, TaskError, TaskOutput},
};

/// The three functions of `combine_by_key`. Spark: `Aggregator`.
pub(super) trait Aggregator: Copy + Send + Sync + 'static {
    type K: Key;
    type V: Data;
    type C: Data;
    type Env: Env;

    fn create(self, env: &Self::Env, v: Self::V) -> Self::C;
    fn merge_value(self, env: &Self::Env, c: Self::C, v: Self::V) -> Self::C;
    fn merge_combiners(self, env: &Self::Env, a: Self::C, b: Self::C) -> Self::C;
}

/// An [`Aggregator`] of three functions.
pub(super) struct Agg<K, V, C, E, F, G, H>(F, G, H, PhantomData<fn(K, V, E) -> C>);

impl<K, V, C, E, F, G, H> Agg<K, V, C, E, F, G, H> {
    pub(super) fn new(create: F, merge_value: G, merge_combiners: H) -> Self {
        Agg(create, merge_value, merge_combiners, PhantomData)
    }
}

impl<K, V, C, E, F: Copy, G: Copy, H: Copy> Clone for Agg<K, V, C, E, F, G, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V, C, E, F: Copy, G: Copy, H: Copy> Copy for Agg<K, V, C, E, F, G, H> {}

impl<K: Key, V: Data, C: Data, E: Env, F, G, H> Aggregator for Agg<K, V, C, E, F, G, H>
where
    F: Fn(&E, V) -> C + Copy + Send + Sync + 'static,
    G: Fn(&E, C, V) -> C + Copy + Send + Sync + 'static,
    H: Fn(&E, C, C) -> C + Copy + Send + Sync + 'static,
{
    type K = K;
    type V = V;
    type C = C;
    type Env = E;

    #[inline]
    fn create(self, env: &E, v: V) -> C {
        (self.0)(env, v)
    }

    #[inline]
    fn merge_value(self, env: &E, c: C, v: V) -> C {
        (self.1)(env, c, v)
    }

    #[inline]
    fn merge_combiners(self, env: &E, a: C, b: C) -> C {
        (self.2)(env, a, b)
    }
}

/// Map side: combines by key what fits into memory, then writes.
#[derive(Clone, Copy)]
struct WriteCombined<A>(A);

impl<A: Aggregator> OutputOp for WriteCombined<A> {
    type In = (A::K, A::V);
    type Env = (ShuffleId, HashPartitioner, Arc<A::Env>);

    fn run(
        self,
        env: &Arc<Self::Env>,
        mut input: Stream<Self::In>,
        ctx: &Arc<TaskContext>,
    ) -> Result<TaskOutput, TaskError> {
        let (agg, (shuffle, partitioner, env)) = (self.0, &**env);
        let mut writer =
            MapWriter::new(&ctx.services.shuffle, *shuffle, ctx.task, Partitioner::<A::K>::partitions(partitioner));
        // A table as large as the writer's own buffers is written out and begun anew: what it could not combine, the
        // reduce side does. Counted in entries, since an emptied table keeps its memory.
        let entry = size_of::<(u64, A::K, Option<A::C>)>() + 1;
        let full = (ctx.services.shuffle.config().write_buffer_bytes / entry).max(1);
        let mut table = Table::<A>::new();
        while let Some(chunk) = input.next_chunk()? {
            for (k, v) in chunk.into_vec() {
                add_value(&mut table, agg, env, k, v);
            }
            if table.len() >= full {
                write_table::<A>(&mut table, &mut writer, *partitioner)?;
            }
        }
        write_table::<A>(&mut table, &mut writer, *partitioner)?;
        Ok(TaskOutput::Map(writer.finish()?))
    }
}

/// Combiners by key. `None` stands where a combiner is in the hands of the user's function.
type Table<A> = CombineTable<<A as Aggregator>::K, Option<<A as Aggregator>::C>>;

#[inline]
fn add_value<A: Aggregator>(table: &mut Table<A>, agg: A, env: &A::Env, k: A::K, v: A::V) {
    let merge = |c: &mut Option<A::C>, v| *c = c.take().map(|c| agg.merge_value(env, c, v));
    table.upsert(fixed_hash(&k), k, v, |v| Some(agg.create(env, v)), merge);
}

#[inline]
fn add_combiner<A: Aggregator>(table: &mut Table<A>, agg: A, env: &A::Env, k: A::K, c: A::C) {
    let merge = |a: &mut Option<A::C>, b| *a = a.take().map(|a| agg.merge_combiners(env, a, b));
    table.upsert(fixed_hash(&k), k, c, Some, merge);
}

/// The records of a table, in an order that follows from what was put in.
fn records<A: Aggregator>(table: Table<A>, ctx: &Arc<TaskContext>) -> Stream<(A::K, A::C)> {
    FromIter::stream(table.into_iter().filter_map(|(_, k, c)| Some((k, c?))), ctx)
}

fn write_table<A: Aggregator>(
    table: &mut Table<A>,
    writer: &mut MapWriter,
    partitioner: HashPartitioner,
) -> Result<(), TaskError> {
    for (hash, k, c) in table.drain() {
        if let Some(c) = c {
            writer.write(partitioner.partition_hashed(&k, hash), &(k, c))?;
        }
    }
    Ok(())
}

/// Reduce side: the combiners of each key merged, or, without a map-side combine, its values combined.
struct ReadCombined<A: Aggregator> {
    shuffle: ShuffleRead,
    map_side: bool,
    env: Arc<A::Env>,
    agg: Func<A>,
}

impl<A: Aggregator> Body for ReadCombined<A> {
    type Item = (A::K, A::C);
    type Func = A;

    fn func(&self) -> Func<A> {
        self.agg
    }

    fn compute(&self, _: RddId, p: u32, ctx: &Arc<TaskContext>) -> Result<Stream<Self::Item>, TaskError> {
        let (agg, env) = (self.agg.get(), &*self.env);
        let mut table = Table::<A>::new();
        let blocks = ctx.read_shuffle(self.shuffle.id, p)?;
        if self.map_side {
            RecordReader::new(blocks).for_each(|(k, c)| {
                add_combiner(&mut table, agg, env, k, c);
                Ok::<(), TaskError>(())
            })?;
        } else {
            RecordReader::new(blocks).for_each(|(k, v)| {
                add_value(&mut table, agg, env, k, v);
                Ok::<(), TaskError>(())
            })?;
        }
        Ok(records::<A>(table, ctx))
    }

    fn deps(&self) -> Vec<Dep> {
        self.shuffle.deps()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        codec::encode_into(&(self.shuffle.id, self.map_side, &*self.env), out)
    }

    fn decode(agg: Func<A>, _: &[AnyNode], env: &[u8]) -> Result<Self, DecodeError> {
        let (id, map_side, env): (ShuffleId, bool, Arc<A::Env>) = codec::decode(env)?;
        Ok(ReadCombined { shuffle: ShuffleRead::decoded(id), map_side, env, agg })
    }
}

/// Where the records lie by key already: combines each partition by itself.
#[derive(Clone, Copy)]
struct CombineHere<A>(A);

impl<A: Aggregator> PipeOp for CombineHere<A> {
    type In = (A::K, A::V);
    type Out = (A::K, A::C);
    type Env = A::Env;

    fn run(
        self,
        env: &Arc<A::Env>,
        _: u32,
        mut input: Stream<Self::In>,
        ctx: &Arc<TaskContext>,
    ) -> Result<Stream<Self::Out>, TaskError> {
        let agg = self.0;
        let mut table = Table::<A>::new();
        while let Some(chunk) = input.next_chunk()? {
            for (k, v) in chunk.into_vec() {
                add_value(&mut table, agg, env, k, v);
            }
        }
        Ok(records::<A>(table, ctx))
    }
}

impl<K: Key, V: Data> Rdd<(K, V)> {
    /// Combines the values of each key with `agg`; `map_side` says whether before the shuffle as well.
    pub(super) fn combine<A: Aggregator<K = K, V = V>>(
        &self,
        name: &'static str,
        partitions: Option<u32>,
        map_side: bool,
        env: &Arc<A::Env>,
        agg: A,
    ) -> Rdd<(K, A::C)> {
        if partitions.is_none() && self.partitioner().is_some() {
            // Whatever the partitioner is, all records of a key lie together.
            return self.pipe(name, true, env, CombineHere(agg));
        }
        let partitions = partitions.unwrap_or_else(|| default_partitions(self.scope(), &[self.as_parent()])).max(1);
        let partitioner = HashPartitioner::new(partitions);
        if self.lies_by(&partitioner, partitions) {
            return self.pipe(name, true, env, CombineHere(agg));
        }
        let shuffle = if map_side {
            let env = |id| (id, partitioner, env.clone());
            ShuffleRead::of(ShuffleDep::new(self, partitions, env, WriteCombined(agg)))
        } else {
            write_pairs(self, partitions, partitioner)
        };
        let body = ReadCombined { shuffle, map_side, env: env.clone(), agg: Func::new(agg) };
        let key = PartitionerKey::of(&partitioner, partitions);
        Rdd::from_body(self.scope(), partitions, name, key, body)
    }
}

#[cfg(test)]
#[path = "combine_tests.rs"]
mod tests;
