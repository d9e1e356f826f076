//! `combine_by_key` and all that is made of it: `reduce_by_key`, `aggregate_by_key`, `group_by_key`, `distinct`.

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
trait Aggregator: Copy + Send + Sync + 'static {
    type K: Key;
    type V: Data;
    type C: Data;
    type Env: Env;

    fn create(self, env: &Self::Env, v: Self::V) -> Self::C;
    fn merge_value(self, env: &Self::Env, c: Self::C, v: Self::V) -> Self::C;
    fn merge_combiners(self, env: &Self::Env, a: Self::C, b: Self::C) -> Self::C;
}

struct Agg<K, V, C, E, F, G, H>(F, G, H, PhantomData<fn(K, V, E) -> C>);

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
    fn combine<A: Aggregator<K = K, V = V>>(
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

    /// The values of each key as a Vec, in the order of the partitions they come from.
    ///
    /// All values of a key must fit into memory; where they are only combined, `reduce_by_key` moves less.
    #[doc(alias = "groupByKey")]
    pub fn group_by_key(&self) -> Rdd<(K, Vec<V>)> {
        self.grouped(None)
    }

    /// As `group_by_key`, into `partitions` partitions.
    pub fn group_by_key_n(&self, partitions: u32) -> Rdd<(K, Vec<V>)> {
        self.grouped(Some(partitions))
    }

    fn aggregated<U: Data, E: Env>(
        &self,
        name: &'static str,
        partitions: Option<u32>,
        env: &Arc<E>,
        zero: U,
        seq: impl Fn(&E, U, V) -> U + Copy + Send + Sync + 'static,
        comb: impl Fn(&E, U, U) -> U + Copy + Send + Sync + 'static,
    ) -> Rdd<(K, U)> {
        let agg = Agg(
            move |(env, zero): &(Arc<E>, U), v: V| seq(env, zero.clone(), v),
            move |(env, _): &(Arc<E>, U), c: U, v: V| seq(env, c, v),
            move |(env, _): &(Arc<E>, U), a: U, b: U| comb(env, a, b),
            PhantomData,
        );
        self.combine(name, partitions, true, &Arc::new((env.clone(), zero)), agg)
    }

    fn grouped(&self, partitions: Option<u32>) -> Rdd<(K, Vec<V>)> {
        let push = |_: &(), mut c: Vec<V>, v: V| {
            c.push(v);
            c
        };
        let append = |_: &(), mut a: Vec<V>, mut b: Vec<V>| {
            a.append(&mut b);
            a
        };
        let agg = Agg(|_: &(), v: V| vec![v], push, append, PhantomData);
        self.combine("group_by_key", partitions, false, &Arc::new(()), agg)
    }
}

impl<T: Key> Rdd<T> {
    /// Each element once.
    pub fn distinct(&self) -> Rdd<T> {
        self.map(|x| (x, ())).reduce_by_key(|(), ()| ()).keys()
    }

    /// As `distinct`, into `partitions` partitions.
    pub fn distinct_n(&self, partitions: u32) -> Rdd<T> {
        self.map(|x| (x, ())).reduce_by_key_n(partitions, |(), ()| ()).keys()
    }
}

operators! {
    impl[K: Key, V: Data] (K, V);

    /// Combines the values of each key with `f`, on the map side first. `f` must be associative and commutative.
    ///
    /// ```
    /// # use firesteel_rdd::Rdd;
    /// fn word_counts(lines: &Rdd<String>) -> Rdd<(String, u64)> {
    ///     lines
    ///         .flat_map_to(|line, words| line.split_whitespace().for_each(|w| words.emit(w.to_owned())))
    ///         .map(|word| (word, 1))
    ///         .reduce_by_key(|a, b| a + b)
    /// }
    /// ```
    #[doc(alias = "reduceByKey")]
    fn reduce_by_key[]() { f: F(a: V, b: V) -> V } -> Rdd<(K, V)> = |rdd, env| {
        rdd.combine("reduce_by_key", None, true, env, Agg(|_: &E, v: V| v, f, f, PhantomData))
    };

    /// As `reduce_by_key`, into `partitions` partitions.
    fn reduce_by_key_n[](partitions: u32) { f: F(a: V, b: V) -> V } -> Rdd<(K, V)> = |rdd, env| {
        rdd.combine("reduce_by_key", Some(partitions), true, env, Agg(|_: &E, v: V| v, f, f, PhantomData))
    };

    /// Combines the values of each key into a `C`: `create` makes one of a key's first value in a partition,
    /// `merge_value` adds a value, `merge_combiners` puts two of different partitions together.
    #[doc(alias = "combineByKey")]
    fn combine_by_key[C: Data,]() {
        create: F(v: V) -> C, merge_value: G(c: C, v: V) -> C, merge_combiners: H(a: C, b: C) -> C
    } -> Rdd<(K, C)> = |rdd, env| {
        rdd.combine("combine_by_key", None, true, env, Agg(create, merge_value, merge_combiners, PhantomData))
    };

    /// As `combine_by_key`, into `partitions` partitions.
    fn combine_by_key_n[C: Data,](partitions: u32) {
        create: F(v: V) -> C, merge_value: G(c: C, v: V) -> C, merge_combiners: H(a: C, b: C) -> C
    } -> Rdd<(K, C)> = |rdd, env| {
        let agg = Agg(create, merge_value, merge_combiners, PhantomData);
        rdd.combine("combine_by_key", Some(partitions), true, env, agg)
    };

    /// Folds the values of each key into a copy of `zero` with `seq`, and the partitions' results with `comb`. A key may
    /// begin with `zero` any number of times: it must change nothing.
    ///
    /// ```
    /// # use firesteel_rdd::Rdd;
    /// fn mean_by_key(temperatures: &Rdd<(String, f64)>) -> Rdd<(String, f64)> {
    ///     let sums = temperatures.aggregate_by_key((0.0, 0u32), |(s, n), t| (s + t, n + 1), |a, b| (a.0 + b.0, a.1 + b.1));
    ///     sums.map_values(|(sum, n)| sum / f64::from(n))
    /// }
    /// ```
    #[doc(alias = "aggregateByKey")]
    fn aggregate_by_key[U: Data,](zero: U) { seq: F(acc: U, v: V) -> U, comb: G(a: U, b: U) -> U } -> Rdd<(K, U)> =
        |rdd, env| rdd.aggregated("aggregate_by_key", None, env, zero, seq, comb);

    /// As `aggregate_by_key`, into `partitions` partitions.
    fn aggregate_by_key_n[U: Data,](zero: U, partitions: u32) {
        seq: F(acc: U, v: V) -> U, comb: G(a: U, b: U) -> U
    } -> Rdd<(K, U)> = |rdd, env| rdd.aggregated("aggregate_by_key", Some(partitions), env, zero, seq, comb);

    /// As `reduce_by_key`, beginning with copies of `zero`, which must change nothing.
    #[doc(alias = "foldByKey")]
    fn fold_by_key[](zero: V) { f: F(a: V, b: V) -> V } -> Rdd<(K, V)> =
        |rdd, env| rdd.aggregated("fold_by_key", None, env, zero, f, f);
}

operators! {
    impl[T: Data] T;

    /// The elements of each key that `f` gives, as a Vec.
    #[doc(alias = "groupBy")]
    fn group_by[K: Key,]() { f: F(x: &T) -> K } -> Rdd<(K, Vec<T>)> = |rdd, env| {
        rdd.with_env(env).key_by(f).group_by_key()
    };

    /// As `group_by`, into `partitions` partitions.
    fn group_by_n[K: Key,](partitions: u32) { f: F(x: &T) -> K } -> Rdd<(K, Vec<T>)> = |rdd, env| {
        rdd.with_env(env).key_by(f).group_by_key_n(partitions)
    };
}

#[cfg(test)]
#[path = "combine_tests.rs"]
mod tests;
