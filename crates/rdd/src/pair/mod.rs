//! Operators that need a shuffle: what goes into its map side and what comes out of its reduce side.
//!
//! ```text
//!  Rdd<(K, V)> ──ShuffleDep{ WriteCombined | WritePairs | WriteDealt }──▶ shuffle files
//!                 shuffle files ──▶ ReadCombined | ReadRecords | ReadSorted | CoGroup | Join ──▶ Rdd<..>
//! ```

mod by_key;
mod cogroup;
mod cogroup_more;
mod combine;
mod former;
mod join;
mod partition_by;
mod partitioning;
mod repartition;
mod sets;
mod sketches;
mod sort;
mod stratified;

use std::sync::Arc;

use firesteel_common::{ShuffleId, codec::CodecError};
use firesteel_task::{Cleaner, Released};
pub use partitioning::Partitioning;

use crate::{
    Rdd,
    flat_drop::Parent,
    node::{AnyRdd, AnyShuffle, Dep, EncodedOp, RddNode},
    output::{OutputOp, encode_output},
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
