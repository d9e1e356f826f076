//! Operators that need a shuffle: what goes into its map side and what comes out of its reduce side.
//!
//! ```text
//!  Rdd<(K, V)> ──ShuffleDep{ WriteCombined | WritePairs | WriteDealt }──▶ shuffle files
//!                 shuffle files ──▶ ReadCombined | ReadRecords | ReadSorted | CoGroup | Join ──▶ Rdd<..>
//! ```

mod by_key;
mod cogroup;
mod combine;
mod join;
mod partition_by;
mod repartition;
mod sort;

use std::sync::Arc;

use firesteel_common::{Data, ShuffleId, codec::CodecError};
use firesteel_shuffle::HashPartitioner;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Rdd,
    flat_drop::Parent,
    node::{AnyRdd, AnyShuffle, Dep, EncodedOp, PartitionerKey, RddNode},
    output::{OutputOp, encode_output},
    runner::{Cleaner, Released, Scope},
};

/// The map side of a shuffle, on the driver.
struct ShuffleDep<O: OutputOp> {
    id: ShuffleId,
    reducers: u32,
    parent: Parent<RddNode<O::In>>,
    env: O::Env,
    op: O,
    cleaner: Option<Arc<dyn Cleaner>>,
}

impl<O: OutputOp> Drop for ShuffleDep<O> {
    fn drop(&mut self) {
        // Jobs that run hold what they read: nobody can want it again.
        if let Some(cleaner) = &self.cleaner {
            cleaner.released(Released::Shuffle(self.id));
        }
    }
}

impl<O: OutputOp> ShuffleDep<O> {
    fn new(parent: &Rdd<O::In>, reducers: u32, env: impl FnOnce(ShuffleId) -> O::Env, op: O) -> Arc<Self> {
        let id = parent.scope().next_shuffle();
        let cleaner = parent.scope().cleaner().cloned();
        Arc::new(ShuffleDep { id, reducers, parent: parent.node().clone(), env: env(id), op, cleaner })
    }
}

impl<O: OutputOp> AnyShuffle for ShuffleDep<O> {
    fn id(&self) -> ShuffleId {
        self.id
    }

    fn reducers(&self) -> u32 {
        self.reducers
    }

    fn parent(&self) -> Arc<dyn AnyRdd> {
        (*self.parent).clone()
    }

    fn output(&self) -> Result<EncodedOp, CodecError> {
        encode_output(self.op, &self.env)
    }

    fn by_position(&self) -> bool {
        O::BY_POSITION
    }
}

/// A shuffle as a node reads it: the number travels, the map side stays on the driver.
struct ShuffleRead {
    id: ShuffleId,
    map_side: Option<Arc<dyn AnyShuffle>>,
}

impl ShuffleRead {
    #[track_caller]
    fn of<O: OutputOp>(dep: Arc<ShuffleDep<O>>) -> Self {
        ShuffleRead { id: dep.id, map_side: Some(dep) }
    }

    #[track_caller]
    fn decoded(id: ShuffleId) -> Self {
        ShuffleRead { id, map_side: None }
    }

    fn deps(&self) -> Vec<Dep> {
        self.map_side.iter().cloned().map(Dep::Shuffle).collect()
    }
}

/// How many partitions a shuffle has when the user names none; `parents` are the partitions of each, and whether they
/// lie by hash. As Spark's `Partitioner.defaultPartitioner`: `spark.default.parallelism` where that is set, otherwise as
/// many as the largest parent, unless the largest parent that lies by hash already has no less, or less by a factor
/// below ten: then that one need not move.
fn default_partitions(scope: &Scope, parents: &[(u32, bool)]) -> u32 {
    let widest = parents.iter().map(|(n, _)| *n).max().unwrap_or(1);
    let default = scope.configured_parallelism().unwrap_or(widest);
    let by_hash = parents.iter().filter(|(_, by_hash)| *by_hash).map(|(n, _)| *n).max();
    let stays = by_hash.filter(|n| default <= *n || u64::from(widest) < u64::from(*n) * 10);
    stays.unwrap_or(default).max(1)
}

impl<K: Data, V: Data> Rdd<(K, V)> {
    /// Whether the records lie where `partitioner` would put them.
    fn lies_by<P: Serialize + DeserializeOwned>(&self, partitioner: &P, partitions: u32) -> bool {
        let key = PartitionerKey::of(partitioner, partitions);
        key.is_some() && self.partitioner() == key.as_ref()
    }

    /// What [`default_partitions`] asks of a parent.
    fn as_parent(&self) -> (u32, bool) {
        let n = self.num_partitions();
        (n, self.lies_by(&HashPartitioner::new(n), n))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Weak, atomic::AtomicU32};

    use super::*;
    use crate::{
        error::Result,
        runner::{Job, JobHandle, JobRunner},
    };

    struct Nobody;

    impl JobRunner for Nobody {
        fn submit(&self, _: Job) -> Result<JobHandle> {
            Err(crate::Error::Stopped)
        }

        fn unpersist(&self, _: firesteel_common::RddId) {}
    }

    #[test]
    fn partitions_by_default_are_those_of_spark() {
        let runner: Weak<dyn JobRunner> = Weak::<Nobody>::new();
        let free = Scope::new(runner.clone(), None, Arc::new(AtomicU32::new(8)));
        let set = Scope::new(runner, Some(20), Arc::new(AtomicU32::new(8)));
        let cases: [(&[(u32, bool)], u32, u32); 6] = [
            (&[(3, false), (7, false)], 7, 20),
            (&[(3, true), (7, false)], 3, 3),
            (&[(3, true), (5, true), (7, false)], 5, 5),
            (&[(3, true), (30, false)], 30, 20),
            (&[(25, true), (300, false)], 300, 25),
            (&[(0, false)], 1, 20),
        ];
        for (parents, without, with) in cases {
            assert_eq!((default_partitions(&free, parents), default_partitions(&set, parents)), (without, with));
        }
    }
}
