//! Operators that need a shuffle: what goes into its map side and what comes out of its reduce side.
//!
//! ```text
//!  Rdd<(K, V)> ──ShuffleDep{ WriteCombined | WritePairs | WriteDealt }──▶ shuffle files
//!                 shuffle files ──▶ ReadCombined | ReadRecords | ReadSorted | CoGroup ──▶ Rdd<..>
//! ```

mod cogroup;
mod combine;
mod partition_by;
mod repartition;
mod sort;

use std::sync::Arc;

use firesteel_common::{Data, ShuffleId, codec::CodecError};
use firesteel_shuffle::HashPartitioner;
use serde::Serialize;

use crate::{
    Rdd,
    flat_drop::Parent,
    node::{AnyRdd, AnyShuffle, Dep, EncodedOp, PartitionerKey, RddNode},
    output::{OutputOp, encode_output},
    runner::Scope,
};

/// The map side of a shuffle, on the driver.
struct ShuffleDep<O: OutputOp> {
    id: ShuffleId,
    reducers: u32,
    parent: Parent<RddNode<O::In>>,
    env: O::Env,
    op: O,
}

impl<O: OutputOp> ShuffleDep<O> {
    fn new(parent: &Rdd<O::In>, reducers: u32, env: impl FnOnce(ShuffleId) -> O::Env, op: O) -> Arc<Self> {
        let id = parent.scope().next_shuffle();
        Arc::new(ShuffleDep { id, reducers, parent: parent.node().clone(), env: env(id), op })
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
}

/// A shuffle as a node reads it: the number travels, the map side stays on the driver.
struct ShuffleRead {
    id: ShuffleId,
    map_side: Option<Arc<dyn AnyShuffle>>,
}

impl ShuffleRead {
    fn of<O: OutputOp>(dep: Arc<ShuffleDep<O>>) -> Self {
        ShuffleRead { id: dep.id, map_side: Some(dep) }
    }

    fn decoded(id: ShuffleId) -> Self {
        ShuffleRead { id, map_side: None }
    }

    fn deps(&self) -> Vec<Dep> {
        self.map_side.iter().cloned().map(Dep::Shuffle).collect()
    }
}

/// How many partitions a shuffle has when the user names none: those of the first parent that lies by hash already, as
/// many as `spark.default.parallelism` where that is set, otherwise as many as the largest parent. As Spark's
/// `Partitioner.defaultPartitioner`.
fn default_partitions(scope: &Scope, parents: &[(u32, bool)]) -> u32 {
    let by_hash = parents.iter().find(|(_, by_hash)| *by_hash).map(|(n, _)| *n);
    let widest = || parents.iter().map(|(n, _)| *n).max().unwrap_or(1);
    by_hash.or_else(|| scope.configured_parallelism()).unwrap_or_else(widest).max(1)
}

impl<K: Data, V: Data> Rdd<(K, V)> {
    /// Whether the records lie where `partitioner` would put them.
    fn lies_by<P: Serialize>(&self, partitioner: &P, partitions: u32) -> bool {
        let key = PartitionerKey::of(partitioner, partitions);
        key.is_some() && self.partitioner() == key.as_ref()
    }

    /// What [`default_partitions`] asks of a parent.
    fn as_parent(&self) -> (u32, bool) {
        let n = self.num_partitions();
        (n, self.lies_by(&HashPartitioner::new(n), n))
    }
}
