//! `cogroup` and the joins that are made of it.

use std::{marker::PhantomData, rc::Rc, sync::Arc};

use firesteel_closure::{AnyNode, DecodeError, Func, parent};
use firesteel_common::{
    Data, Key, RddId, ShuffleId,
    codec::{self, CodecError},
    hash::fixed_hash,
};
use firesteel_shuffle::{CombineTable, HashPartitioner};

use super::{
    ShuffleRead, default_partitions,
    partition_by::{ReadRecords, write_pairs},
};
use crate::{
    Rdd,
    chunk::{FromIter, Stream},
    flat_drop::Parent,
    node::{AnyRdd, Body, Dep, NarrowMap, PartitionerKey, RddNode},
    task::{TaskContext, TaskError},
};

/// One input of a cogroup: partitions that lie right already, or a shuffle.
enum Side<K: Data, V: Data> {
    Narrow(Parent<RddNode<(K, V)>>),
    Shuffled(ReadRecords<(K, V)>),
}

impl<K: Key, V: Data> Side<K, V> {
    fn of(rdd: &Rdd<(K, V)>, partitions: u32) -> Self {
        let partitioner = HashPartitioner::new(partitions);
        if rdd.lies_by(&partitioner, partitions) {
            Side::Narrow(rdd.node().clone())
        } else {
            let shuffle = write_pairs(rdd, partitions, partitioner);
            Side::Shuffled(ReadRecords { shuffle, records: PhantomData })
        }
    }

    fn stream(&self, id: RddId, p: u32, ctx: &Arc<TaskContext>) -> Result<Stream<(K, V)>, TaskError> {
        match self {
            Side::Narrow(parent) => parent.stream(p, ctx),
            Side::Shuffled(read) => read.compute(id, p, ctx),
        }
    }

    fn deps(&self) -> Vec<Dep> {
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

struct CoGroup<K: Data, V: Data, W: Data> {
    left: Side<K, V>,
    right: Side<K, W>,
}

impl<K: Key, V: Data, W: Data> Body for CoGroup<K, V, W> {
    type Item = (K, (Vec<V>, Vec<W>));
    type Func = ();

    fn func(&self) -> Func<()> {
        Func::new(())
    }

    fn compute(&self, id: RddId, p: u32, ctx: &Arc<TaskContext>) -> Result<Stream<Self::Item>, TaskError> {
        let mut table: CombineTable<K, (Vec<V>, Vec<W>)> = CombineTable::new();
        let mut left = self.left.stream(id, p, ctx)?;
        while let Some(chunk) = left.next_chunk()? {
            for (k, v) in chunk.into_vec() {
                table.upsert(fixed_hash(&k), k, v, |v| (vec![v], Vec::new()), |c, v| c.0.push(v));
            }
        }
        let mut right = self.right.stream(id, p, ctx)?;
        while let Some(chunk) = right.next_chunk()? {
            for (k, w) in chunk.into_vec() {
                table.upsert(fixed_hash(&k), k, w, |w| (Vec::new(), vec![w]), |c, w| c.1.push(w));
            }
        }
        Ok(FromIter::stream(table.into_iter().map(|(_, k, groups)| (k, groups)), ctx))
    }

    fn deps(&self) -> Vec<Dep> {
        self.left.deps().into_iter().chain(self.right.deps()).collect()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        codec::encode_into(&(self.left.shuffle(), self.right.shuffle()), out)
    }

    fn decode(_: Func<()>, parents: &[AnyNode], env: &[u8]) -> Result<Self, DecodeError> {
        let (left, right): (Option<ShuffleId>, Option<ShuffleId>) = codec::decode(env)?;
        let mut next = 0;
        let left = Side::decode(left, parents, &mut next)?;
        Ok(CoGroup { left, right: Side::decode(right, parents, &mut next)? })
    }
}

impl<K: Key, V: Data> Rdd<(K, V)> {
    /// For each key of either RDD, its values in both. A side that lies by an equal partitioner is not moved.
    #[doc(alias = "groupWith")]
    pub fn cogroup<W: Data>(&self, other: &Rdd<(K, W)>) -> Rdd<(K, (Vec<V>, Vec<W>))> {
        if let Some(key) = self.partitioner()
            && self.partitioner() == other.partitioner()
        {
            // By whatever partitioner: the records of a key lie in partitions of the same number.
            let (left, right) = (Side::Narrow(self.node().clone()), Side::Narrow(other.node().clone()));
            let (partitions, key) = (self.num_partitions(), Some(key.clone()));
            return Rdd::from_body(self.scope(), partitions, "cogroup", key, CoGroup { left, right });
        }
        self.cogroup_n(other, default_partitions(self.scope(), &[self.as_parent(), other.as_parent()]))
    }

    /// As `cogroup`, into `partitions` partitions.
    pub fn cogroup_n<W: Data>(&self, other: &Rdd<(K, W)>, partitions: u32) -> Rdd<(K, (Vec<V>, Vec<W>))> {
        let partitions = partitions.max(1);
        let body = CoGroup { left: Side::of(self, partitions), right: Side::of(other, partitions) };
        let key = PartitionerKey::of(&HashPartitioner::new(partitions), partitions);
        Rdd::from_body(self.scope(), partitions, "cogroup", key, body)
    }

    /// All pairs of values that the two RDDs have under the same key.
    pub fn join<W: Data>(&self, other: &Rdd<(K, W)>) -> Rdd<(K, (V, W))> {
        product(&self.cogroup(other))
    }

    /// As `join`, into `partitions` partitions.
    pub fn join_n<W: Data>(&self, other: &Rdd<(K, W)>, partitions: u32) -> Rdd<(K, (V, W))> {
        product(&self.cogroup_n(other, partitions))
    }

    /// As `join`, and `None` for the values of this RDD whose keys `other` lacks.
    #[doc(alias = "leftOuterJoin")]
    pub fn left_outer_join<W: Data>(&self, other: &Rdd<(K, W)>) -> Rdd<(K, (V, Option<W>))> {
        left_outer(self.cogroup(other))
    }

    /// As `left_outer_join`, into `partitions` partitions.
    pub fn left_outer_join_n<W: Data>(&self, other: &Rdd<(K, W)>, partitions: u32) -> Rdd<(K, (V, Option<W>))> {
        left_outer(self.cogroup_n(other, partitions))
    }

    /// As `join`, and `None` for the values of `other` whose keys this RDD lacks.
    #[doc(alias = "rightOuterJoin")]
    pub fn right_outer_join<W: Data>(&self, other: &Rdd<(K, W)>) -> Rdd<(K, (Option<V>, W))> {
        right_outer(self.cogroup(other))
    }

    /// As `right_outer_join`, into `partitions` partitions.
    pub fn right_outer_join_n<W: Data>(&self, other: &Rdd<(K, W)>, partitions: u32) -> Rdd<(K, (Option<V>, W))> {
        right_outer(self.cogroup_n(other, partitions))
    }

    /// As `join`, and `None` on either side for keys that the other lacks.
    #[doc(alias = "fullOuterJoin")]
    pub fn full_outer_join<W: Data>(&self, other: &Rdd<(K, W)>) -> Rdd<(K, (Option<V>, Option<W>))> {
        full_outer(self.cogroup(other))
    }

    /// As `full_outer_join`, into `partitions` partitions.
    pub fn full_outer_join_n<W: Data>(&self, other: &Rdd<(K, W)>, partitions: u32) -> Rdd<(K, (Option<V>, Option<W>))> {
        full_outer(self.cogroup_n(other, partitions))
    }

    /// The pairs whose keys `other` lacks.
    #[doc(alias = "subtractByKey")]
    pub fn subtract_by_key<W: Data>(&self, other: &Rdd<(K, W)>) -> Rdd<(K, V)> {
        lacking(self.cogroup(other))
    }

    /// As `subtract_by_key`, into `partitions` partitions.
    pub fn subtract_by_key_n<W: Data>(&self, other: &Rdd<(K, W)>, partitions: u32) -> Rdd<(K, V)> {
        lacking(self.cogroup_n(other, partitions))
    }
}

/// What `cogroup` of two RDDs gives.
type Groups<K, V, W> = Rdd<(K, (Vec<V>, Vec<W>))>;

fn left_outer<K: Key, V: Data, W: Data>(groups: Groups<K, V, W>) -> Rdd<(K, (V, Option<W>))> {
    product(&groups.map_values(|(vs, ws)| (vs, or_none(ws))))
}

fn right_outer<K: Key, V: Data, W: Data>(groups: Groups<K, V, W>) -> Rdd<(K, (Option<V>, W))> {
    product(&groups.map_values(|(vs, ws)| (or_none(vs), ws)))
}

fn full_outer<K: Key, V: Data, W: Data>(groups: Groups<K, V, W>) -> Rdd<(K, (Option<V>, Option<W>))> {
    product(&groups.map_values(|(vs, ws)| (or_none(vs), or_none(ws))))
}

fn lacking<K: Key, V: Data, W: Data>(groups: Groups<K, V, W>) -> Rdd<(K, V)> {
    groups.flat_map_values(|(vs, ws)| if ws.is_empty() { vs } else { Vec::new() })
}

fn or_none<T>(values: Vec<T>) -> Vec<Option<T>> {
    if values.is_empty() { vec![None] } else { values.into_iter().map(Some).collect() }
}

fn product<K: Key, V: Data, W: Data>(groups: &Groups<K, V, W>) -> Rdd<(K, (V, W))> {
    groups.flat_map_values(|(vs, ws)| {
        // One pair after the other: all those of a frequent key together may be more than fits into memory.
        let ws = Rc::new(ws);
        vs.into_iter().flat_map(move |v| {
            let ws = ws.clone();
            (0..ws.len()).filter_map(move |i| Some((v.clone(), ws.get(i)?.clone())))
        })
    })
}
