//! Combining by key through a shuffle: the map side, the reduce side, and the node for where no shuffle is needed.
//! `by_key.rs` has the operators made of it.

use std::{marker::PhantomData, sync::Arc};

use firesteel_closure::{AnyNode, DecodeError, Func};
use firesteel_common::{
    Data, Env, Key, RddId, ShuffleId, TaskFailure,
    codec::{self, CodecError},
};
use firesteel_shuffle::{
    Aggregated, Aggregation, Combine, MapWriter, Partitioner, RecordReader, ShuffleBlocks, group_pieces,
};
use firesteel_task::{
    TaskContext, TaskError, TaskOutput,
    chunk::{CHUNK, Chunk, ChunkStream, Stream},
};

use super::{Partitioning, ShuffleDep, ShuffleRead, partition_by::write_pairs};
use crate::{
    Rdd,
    node::{Body, Dep},
    output::OutputOp,
    pipe::PipeOp,
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
    /// See [`Combine::pieces`].
    fn pieces<E>(self, c: Self::C, mut piece: impl FnMut(Self::C) -> Result<(), E>) -> Result<(), E> {
        piece(c)
    }
}

/// An [`Aggregator`] of three functions.
pub(super) struct Agg<K, V, C, E, F, G, H>(F, G, H, PhantomData<fn(K, V, E) -> C>);

impl<K, V, C, E, F, G, H> Agg<K, V, C, E, F, G, H> {
    pub(super) fn new(create: F, merge_value: G, merge_combiners: H) -> Self {
        Agg(create, merge_value, merge_combiners, PhantomData)
    }
}

copy_as_functions!(Agg<K, V, C, E; F, G, H>);

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

/// Gathers the values of a key in the order in which they come.
pub(super) struct Gather<K, V>(PhantomData<fn(K) -> V>);

impl<K, V> Gather<K, V> {
    pub(super) fn new() -> Self {
        Gather(PhantomData)
    }
}

impl<K, V> Clone for Gather<K, V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V> Copy for Gather<K, V> {}

impl<K: Key, V: Data> Aggregator for Gather<K, V> {
    type K = K;
    type V = V;
    type C = Vec<V>;
    type Env = ();

    #[inline]
    fn create(self, (): &(), v: V) -> Vec<V> {
        vec![v]
    }

    #[inline]
    fn merge_value(self, (): &(), mut c: Vec<V>, v: V) -> Vec<V> {
        c.push(v);
        c
    }

    #[inline]
    fn merge_combiners(self, (): &(), mut a: Vec<V>, mut b: Vec<V>) -> Vec<V> {
        a.append(&mut b);
        a
    }

    fn pieces<E>(self, c: Vec<V>, piece: impl FnMut(Vec<V>) -> Result<(), E>) -> Result<(), E> {
        group_pieces(c, piece)
    }
}

/// An aggregator with its environment, as a table takes it.
struct ByValue<A: Aggregator>(A, Arc<A::Env>);

impl<A: Aggregator> Combine for ByValue<A> {
    type Key = A::K;
    type Value = A::V;
    type Combined = A::C;

    #[inline]
    fn create(&self, value: A::V) -> A::C {
        self.0.create(&self.1, value)
    }

    #[inline]
    fn merge_value(&self, combined: A::C, value: A::V) -> A::C {
        self.0.merge_value(&self.1, combined, value)
    }

    #[inline]
    fn merge_combined(&self, a: A::C, b: A::C) -> A::C {
        self.0.merge_combiners(&self.1, a, b)
    }

    fn pieces<E>(&self, combined: A::C, piece: impl FnMut(A::C) -> Result<(), E>) -> Result<(), E> {
        self.0.pieces(combined, piece)
    }
}

/// The same where what comes in was combined already.
struct ByCombiner<A: Aggregator>(A, Arc<A::Env>);

impl<A: Aggregator> Combine for ByCombiner<A> {
    type Key = A::K;
    type Value = A::C;
    type Combined = A::C;

    #[inline]
    fn create(&self, value: A::C) -> A::C {
        value
    }

    #[inline]
    fn merge_value(&self, combined: A::C, value: A::C) -> A::C {
        self.0.merge_combiners(&self.1, combined, value)
    }

    #[inline]
    fn merge_combined(&self, a: A::C, b: A::C) -> A::C {
        self.0.merge_combiners(&self.1, a, b)
    }

    fn pieces<E>(&self, combined: A::C, piece: impl FnMut(A::C) -> Result<(), E>) -> Result<(), E> {
        self.0.pieces(combined, piece)
    }
}

/// Map side: combines by key what fits into memory, then writes. A table that is full is written and begun anew: what it
/// could not combine, the reduce side does.
#[derive(Clone, Copy)]
struct WriteCombined<A>(A);

/// Rows after which it is decided whether combining pays.
const TRIAL_ROWS: u64 = 256 * 1024;
/// Where combining leaves more than this part of the rows, it costs more than it saves.
const WORTH: f64 = 0.7;
/// Rows that are written as they are before combining is tried again: first, and at most.
const PAUSE_ROWS: (u64, u64) = (4 << 20, 64 << 20);

impl<A: Aggregator> OutputOp for WriteCombined<A> {
    type In = (A::K, A::V);
    type Env = (ShuffleId, Partitioning<A::K>, Arc<A::Env>);

    fn run(
        self,
        env: &Arc<Self::Env>,
        mut input: Stream<Self::In>,
        ctx: &Arc<TaskContext>,
    ) -> Result<TaskOutput, TaskError> {
        let (agg, (shuffle, partitioner, env)) = (self.0, &**env);
        let reducers = partitioner.partitions().max(1);
        let mut writer = ctx.map_writer(*shuffle, reducers);
        let limit = ctx.services().shuffle.config().write_buffer_bytes as u64;
        let mut table = Aggregation::bounded(ByValue(agg, env.clone()), &ctx.spills(), limit);
        // Of the rows since combining was last begun: how many, and how many records they became.
        let (mut rows, mut records) = (0u64, 0u64);
        // Rows that are not combined, left and next time.
        let (mut pause, mut next_pause) = (0u64, PAUSE_ROWS.0);
        let mut tried = false;
        while let Some(chunk) = input.next_chunk()? {
            let chunk = chunk.into_vec();
            if pause > 0 {
                pause = pause.saturating_sub(chunk.len() as u64);
                for (k, v) in chunk {
                    let reduce = partitioner.partition(&k);
                    writer.write(reduce, &(k, agg.create(env, v)))?;
                }
                continue;
            }
            rows += chunk.len() as u64;
            table.insert_all(chunk)?;
            let full = table.is_full();
            if full {
                records += write_table(&mut table, &mut writer, partitioner)?;
            }
            let rest = if rows < TRIAL_ROWS {
                continue;
            } else if full {
                records as f64 / rows as f64
            } else if !tried && records == 0 {
                table.expected_rest()
            } else {
                continue;
            };
            tried = true;
            if rest > WORTH {
                write_table(&mut table, &mut writer, partitioner)?;
                (pause, next_pause) = (next_pause, (2 * next_pause).min(PAUSE_ROWS.1));
                tried = false;
            }
            if full || pause > 0 {
                (rows, records) = (0, 0);
            }
        }
        write_table(&mut table, &mut writer, partitioner)?;
        if table.was_short() {
            writer.not_comparable();
        }
        drop(table);
        Ok(TaskOutput::Map(writer.finish()?))
    }
}

/// Writes what a table has, and returns how many records that were.
fn write_table<A: Aggregator>(
    table: &mut Aggregation<ByValue<A>>,
    writer: &mut MapWriter,
    partitioner: &Partitioning<A::K>,
) -> Result<u64, TaskError> {
    let mut records = 0;
    table.drain(|hash, k, c| {
        records += 1;
        Ok::<(), TaskError>(writer.write(partitioner.partition_hashed(&k, hash), &(k, c))?)
    })?;
    Ok(records)
}

/// The stream of an aggregation's result.
pub(super) struct Combined<A: Combine> {
    result: Aggregated<A>,
    ctx: Arc<TaskContext>,
}

impl<A: Combine + 'static> Combined<A> {
    pub(super) fn stream(
        table: Aggregation<A>,
        ctx: &Arc<TaskContext>,
    ) -> Result<Stream<(A::Key, A::Combined)>, TaskError> {
        Ok(Box::new(Combined { result: table.finish()?, ctx: ctx.clone() }))
    }
}

impl<A: Combine> ChunkStream<(A::Key, A::Combined)> for Combined<A> {
    fn next_chunk(&mut self) -> Result<Option<Chunk<(A::Key, A::Combined)>>, TaskError> {
        self.ctx.kill().check()?;
        Ok(self.result.next_batch(CHUNK)?.map(Chunk::Owned))
    }
}

fn read_into<A: Combine<Value: Data>>(table: &mut Aggregation<A>, blocks: ShuffleBlocks) -> Result<(), TaskFailure>
where
    A::Key: Data,
{
    let mut records = RecordReader::new(blocks);
    while let Some(batch) = records.next_batch(CHUNK)? {
        table.insert_all(batch)?;
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
        let (agg, env) = (self.agg.get(), self.env.clone());
        let blocks = ctx.read_shuffle(self.shuffle.id, p)?;
        if self.map_side {
            let mut table = Aggregation::new(ByCombiner(agg, env), &ctx.spills());
            read_into(&mut table, blocks)?;
            Combined::stream(table, ctx)
        } else {
            let mut table = Aggregation::new(ByValue(agg, env), &ctx.spills());
            read_into(&mut table, blocks)?;
            Combined::stream(table, ctx)
        }
    }

    fn deps(&self) -> Vec<Dep> {
        self.shuffle.deps()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        codec::encode_as::<(ShuffleId, bool, A::Env), _>(&(self.shuffle.id, self.map_side, &*self.env), out)
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
        let mut table = Aggregation::new(ByValue(self.0, env.clone()), &ctx.spills());
        while let Some(chunk) = input.next_chunk()? {
            table.insert_all(chunk.into_vec())?;
        }
        drop(input);
        Combined::stream(table, ctx)
    }
}

impl<K: Key, V: Data> Rdd<(K, V)> {
    /// Combines the values of each key with `agg`, spread as `by` says; `map_side` says whether before the shuffle as well.
    #[track_caller]
    pub(super) fn combine<A: Aggregator<K = K, V = V>>(
        &self,
        name: &'static str,
        by: Option<Partitioning<K>>,
        map_side: bool,
        env: &Arc<A::Env>,
        agg: A,
    ) -> Rdd<(K, A::C)> {
        if by.is_none() && self.partitioner().is_some() {
            // Whatever the partitioner is, all records of a key lie together.
            return self.pipe(name, true, env, CombineHere(agg));
        }
        let by = by.unwrap_or_else(|| Partitioning::by_default(self.scope(), [self.as_parent()]));
        let (partitions, key) = (by.partitions().max(1), by.key());
        if key.is_some() && self.partitioner() == key.as_ref() {
            return self.pipe(name, true, env, CombineHere(agg));
        }
        let shuffle = if map_side {
            let env = |id| (id, by, env.clone());
            ShuffleRead::of(ShuffleDep::new(self, partitions, env, WriteCombined(agg)))
        } else {
            write_pairs(self, Arc::new(by))
        };
        let body = ReadCombined { shuffle, map_side, env: env.clone(), agg: Func::new(agg) };
        Rdd::from_body(self.scope(), partitions, name, key, body)
    }
}

#[cfg(test)]
#[path = "combine_tests.rs"]
mod tests;
