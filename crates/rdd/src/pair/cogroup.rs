//! `cogroup`, and the two sides that it and the joins read.

use std::{marker::PhantomData, sync::Arc};

use firesteel_closure::{AnyNode, DecodeError, Func, parent};
use firesteel_common::{
    Data, Key, NarrowMap, RddId, ShuffleId,
    codec::{self, CodecError},
    size::{CHUNK_BYTES, estimate},
};
use firesteel_shuffle::{Aggregation, Combine, Partitioner, group_pieces, size_of_code};
use firesteel_task::{TaskContext, TaskError, chunk::Stream};
use serde::Serialize;

use super::{
    Partitioning, ShuffleRead,
    combine::Combined,
    partition_by::{ReadRecords, write_pairs},
};
use crate::{
    Rdd,
    flat_drop::Parent,
    node::{AnyRdd, Body, Dep, PartitionerKey, RddNode},
};

/// One input of a cogroup: partitions that lie right already, or a shuffle.
pub(super) enum Side<K: Data, V: Data> {
    Narrow(Parent<RddNode<(K, V)>>),
    Shuffled(ReadRecords<(K, V)>),
}

impl<K: Key, V: Data> Side<K, V> {
    fn of(rdd: &Rdd<(K, V)>, by: &Arc<Partitioning<K>>, key: Option<&PartitionerKey>) -> Self {
        if key.is_some() && rdd.partitioner() == key {
            Side::Narrow(rdd.node().clone())
        } else {
            let shuffle = write_pairs(rdd, by.clone());
            Side::Shuffled(ReadRecords { shuffle, records: PhantomData })
        }
    }

    pub(super) fn stream(&self, id: RddId, p: u32, ctx: &Arc<TaskContext>) -> Result<Stream<(K, V)>, TaskError> {
        match self {
            Side::Narrow(parent) => parent.stream(p, ctx),
            Side::Shuffled(read) => read.compute(id, p, ctx),
        }
    }

    pub(super) fn deps(&self) -> Vec<Dep> {
        match self {
            Side::Narrow(parent) => {
                vec![Dep::Narrow { parent: (**parent).clone() as Arc<dyn AnyRdd>, map: NarrowMap::OneToOne }]
            }
            Side::Shuffled(read) => read.deps(),
        }
    }

    fn shuffle(&self) -> Option<ShuffleId> {
        match self {
            Side::Narrow(_) => None,
            Side::Shuffled(read) => Some(read.shuffle.id),
        }
    }

    /// About how many bytes partition `p` has as it was shuffled; none when the side is narrow.
    pub(super) fn bytes(&self, p: u32, ctx: &TaskContext) -> Result<Option<u64>, TaskError> {
        let Some(id) = self.shuffle() else { return Ok(None) };
        let maps = &ctx.shuffle_input(id)?.maps;
        Ok(Some(maps.iter().filter_map(|map| map.sizes.get(p as usize)).map(|code| size_of_code(*code)).sum()))
    }

    /// Takes the next parent when the side is narrow.
    fn decode(shuffle: Option<ShuffleId>, parents: &[AnyNode], next: &mut usize) -> Result<Self, DecodeError> {
        match shuffle {
            Some(id) => Ok(Side::Shuffled(ReadRecords { shuffle: ShuffleRead::decoded(id), records: PhantomData })),
            None => {
                *next += 1;
                Ok(Side::Narrow(Parent::new(parent(parents, *next - 1)?)))
            }
        }
    }
}

/// A value of either side.
#[derive(Clone, Serialize)]
enum Of<V, W> {
    Left(V),
    Right(W),
}

/// Gathers the values of both sides.
struct Grouping<K, V, W>(PhantomData<fn(K, V) -> W>);

impl<K: Key, V: Data, W: Data> Combine for Grouping<K, V, W> {
    type Key = K;
    type Value = Of<V, W>;
    type Combined = (Vec<V>, Vec<W>);

    #[inline]
    fn create(&self, value: Of<V, W>) -> Self::Combined {
        match value {
            Of::Left(v) => (vec![v], Vec::new()),
            Of::Right(w) => (Vec::new(), vec![w]),
        }
    }

    #[inline]
    fn merge_value(&self, mut groups: Self::Combined, value: Of<V, W>) -> Self::Combined {
        match value {
            Of::Left(v) => groups.0.push(v),
            Of::Right(w) => groups.1.push(w),
        }
        groups
    }

    fn merge_combined(&self, mut a: Self::Combined, mut b: Self::Combined) -> Self::Combined {
        a.0.append(&mut b.0);
        a.1.append(&mut b.1);
        a
    }

    fn pieces<E>(
        &self,
        (left, right): Self::Combined,
        mut piece: impl FnMut(Self::Combined) -> Result<(), E>,
    ) -> Result<(), E> {
        if estimate(&left).saturating_add(estimate(&right)) <= CHUNK_BYTES {
            return piece((left, right));
        }
        group_pieces(left, |left| piece((left, Vec::new())))?;
        group_pieces(right, |right| piece((Vec::new(), right)))
    }
}

pub(super) struct CoGroup<K: Data, V: Data, W: Data> {
    pub(super) left: Side<K, V>,
    pub(super) right: Side<K, W>,
}

impl<K: Key, V: Data, W: Data> Body for CoGroup<K, V, W> {
    type Item = (K, (Vec<V>, Vec<W>));
    type Func = ();

    fn func(&self) -> Func<()> {
        Func::new(())
    }

    fn compute(&self, id: RddId, p: u32, ctx: &Arc<TaskContext>) -> Result<Stream<Self::Item>, TaskError> {
        let mut table = Aggregation::new(Grouping(PhantomData), &ctx.spills());
        let mut left = self.left.stream(id, p, ctx)?;
        while let Some(chunk) = left.next_chunk()? {
            table.insert_all(chunk.map(|(k, v)| (k, Of::Left(v))))?;
        }
        drop(left);
        let mut right = self.right.stream(id, p, ctx)?;
        while let Some(chunk) = right.next_chunk()? {
            table.insert_all(chunk.map(|(k, w)| (k, Of::Right(w))))?;
        }
        drop(right);
        Combined::stream(table, ctx)
    }

    fn deps(&self) -> Vec<Dep> {
        self.left.deps().into_iter().chain(self.right.deps()).collect()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        encode_sides(&self.left, &self.right, out)
    }

    fn decode(_: Func<()>, parents: &[AnyNode], env: &[u8]) -> Result<Self, DecodeError> {
        let (left, right) = decode_sides(parents, env)?;
        Ok(CoGroup { left, right })
    }
}

shuffles! {
    impl[K: Key, V: Data] (K, V);

    /// For each key of either RDD, its values in both. A side that lies by an equal partitioner is not moved.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let orders = sc.parallelize([(1u32, 9.5f64), (1, 3.0)]);
    /// let complaints = sc.parallelize([(1u32, "late".to_owned()), (2, "lost".to_owned())]);
    /// let both = orders.cogroup(&complaints).collect_as_map()?;
    /// assert_eq!(both[&1], (vec![9.5, 3.0], vec!["late".to_owned()]));
    /// assert_eq!(both[&2], (vec![], vec!["lost".to_owned()]));
    /// # Ok(()) }
    /// ```
    #[doc(alias = "groupWith")]
    fn cogroup[W: Data](other: &Rdd<(K, W)>) -> Rdd<(K, (Vec<V>, Vec<W>))>, by K = |rdd, by| rdd.cogrouped(other, by);
}

impl<K: Key, V: Data> Rdd<(K, V)> {
    #[track_caller]
    pub(super) fn cogrouped<W: Data>(
        &self,
        other: &Rdd<(K, W)>,
        by: Option<Partitioning<K>>,
    ) -> Rdd<(K, (Vec<V>, Vec<W>))> {
        let (left, right, partitions, key) = sides(self, other, by);
        Rdd::from_body(self.scope(), partitions, "cogroup", key, CoGroup { left, right })
    }
}

/// What [`decode_sides`] needs beside the parents.
pub(super) fn encode_sides<K: Key, V: Data, W: Data>(
    left: &Side<K, V>,
    right: &Side<K, W>,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    codec::encode_into(&(left.shuffle(), right.shuffle()), out)
}

/// The two sides of a node that has arrived.
pub(super) fn decode_sides<K: Key, V: Data, W: Data>(
    parents: &[AnyNode],
    env: &[u8],
) -> Result<(Side<K, V>, Side<K, W>), DecodeError> {
    let (left, right): (Option<ShuffleId>, Option<ShuffleId>) = codec::decode(env)?;
    let mut next = 0;
    let left = Side::decode(left, parents, &mut next)?;
    Ok((left, Side::decode(right, parents, &mut next)?))
}

/// How the two inputs of a cogroup or join come together: both sides, and the partitions and partitioner of the result.
pub(super) fn sides<K: Key, V: Data, W: Data>(
    left: &Rdd<(K, V)>,
    right: &Rdd<(K, W)>,
    by: Option<Partitioning<K>>,
) -> (Side<K, V>, Side<K, W>, u32, Option<PartitionerKey>) {
    let by = match (by, left.partitioner()) {
        (None, Some(key)) if left.partitioner() == right.partitioner() => {
            // By whatever partitioner: the records of a key lie in partitions of the same number.
            let sides = (Side::Narrow(left.node().clone()), Side::Narrow(right.node().clone()));
            return (sides.0, sides.1, left.num_partitions(), Some(key.clone()));
        }
        (None, _) => Partitioning::by_default(left.scope(), [left.as_parent(), right.as_parent()]),
        (Some(by), _) => by,
    };
    let (partitions, key, by) = (by.partitions().max(1), by.key(), Arc::new(by));
    (Side::of(left, &by, key.as_ref()), Side::of(right, &by, key.as_ref()), partitions, key)
}
