//! Operators that put partitions of several parents, or several partitions of one parent, together without a shuffle:
//! `union` and `coalesce`.

use std::sync::Arc;

use firesteel_closure::{AnyNode, DecodeError, Func, parent};
use firesteel_common::{
    Data, NarrowMap, RddId,
    codec::{self, CodecError},
};
use firesteel_task::{TaskContext, TaskError, chunk::Stream};

use crate::{
    Rdd,
    concat::Concat,
    flat_drop::Parent,
    node::{AnyRdd, Body, Dep, RddNode},
    runner::Scope,
};

/// A node whose partitions are runs of its parents' partitions.
struct Gather<T: Data> {
    parents: Vec<(Parent<RddNode<T>>, NarrowMap)>,
}

impl<T: Data> Body for Gather<T> {
    type Item = T;
    type Func = ();

    fn func(&self) -> Func<()> {
        Func::new(())
    }

    fn compute(&self, _: RddId, p: u32, ctx: &Arc<TaskContext>) -> Result<Stream<T>, TaskError> {
        let partitions: Vec<_> =
            self.parents.iter().flat_map(|(parent, map)| map.parents_of(p).map(|q| (Arc::clone(parent), q))).collect();
        if let [(only, q)] = partitions.as_slice() {
            return only.stream(*q, ctx);
        }
        Ok(Concat::stream(partitions, ctx))
    }

    fn deps(&self) -> Vec<Dep> {
        self.parents
            .iter()
            .map(|(parent, map)| Dep::Narrow { parent: (**parent).clone() as Arc<dyn AnyRdd>, map: map.clone() })
            .collect()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        let maps: Vec<NarrowMap> = self.parents.iter().map(|(_, map)| map.clone()).collect();
        codec::encode_into(&maps, out)
    }

    fn decode(_: Func<()>, parents: &[AnyNode], env: &[u8]) -> Result<Self, DecodeError> {
        let maps: Vec<NarrowMap> = codec::decode(env)?;
        let parents = maps
            .into_iter()
            .enumerate()
            .map(|(i, map)| Ok((Parent::new(parent(parents, i)?), map)))
            .collect::<Result<_, DecodeError>>()?;
        Ok(Gather { parents })
    }
}

impl<T: Data> Rdd<T> {
    /// The partitions of this RDD, then those of `other`. Duplicates stay.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let monday = sc.parallelize(["tea", "salt"].map(String::from));
    /// let tuesday = sc.parallelize(["tea".to_owned()]);
    /// assert_eq!(monday.union(&tuesday).collect()?, ["tea", "salt", "tea"]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn union(&self, other: &Rdd<T>) -> Rdd<T> {
        Rdd::union_of(self.scope(), &[self.clone(), other.clone()])
    }

    /// The partitions of all of `rdds`, in order. Spark: `SparkContext.union`.
    #[track_caller]
    pub fn union_of(scope: &Arc<Scope>, rdds: &[Rdd<T>]) -> Rdd<T> {
        let mut start = 0;
        let parents = rdds
            .iter()
            .map(|rdd| {
                let map = NarrowMap::Range { in_start: 0, out_start: start, length: rdd.num_partitions() };
                start += rdd.num_partitions();
                (rdd.node().clone(), map)
            })
            .collect();
        Rdd::from_body(scope, start, "union", None, Gather { parents })
    }

    /// Puts neighbouring partitions together until there are at most `partitions`, without a shuffle. More partitions
    /// than there are need [`Rdd::repartition`]. `partitions` is taken as at least 1.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let hits = sc.partitioned(100).range(0..100_000u64).filter(|n| n % 1000 == 0);
    /// let few = hits.coalesce(4);
    /// assert_eq!((few.num_partitions(), few.count()?), (4, 100));
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn coalesce(&self, partitions: u32) -> Rdd<T> {
        let (parents, children) = (self.num_partitions(), partitions.max(1).min(self.num_partitions()));
        let map = NarrowMap::Runs { parents, children };
        let body = Gather { parents: vec![(self.node().clone(), map)] };
        Rdd::from_body(self.scope(), children, "coalesce", None, body)
    }
}
