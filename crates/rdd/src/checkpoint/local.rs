//! Local checkpoints: partitions that the executors keep, without what they were computed from.

use std::{marker::PhantomData, sync::Arc};

use firesteel_closure::{AnyNode, DecodeError, Func};
use firesteel_common::{CallSite, Data, RddId, TaskFailure, codec::CodecError};
use firesteel_task::{TaskContext, TaskError, chunk::Stream};

use crate::{
    Error, Rdd, Result,
    actions::over,
    node::{AnyRdd, Body, Dep},
};

/// Has all partitions be kept, and forgets what they are computed from.
pub(super) fn keep<T: Data>(rdd: &Rdd<T>) -> Result<()> {
    let site = CallSite { operator: "local_checkpoint", location: rdd.node().meta().location };
    let pass = over(|(): &(), mut input: Stream<T>, _| {
        while input.next_chunk()?.is_some() {}
        Ok(())
    });
    let _: Vec<()> = rdd.run_all_at(site, &(), pass)?;
    if !rdd.scope().runner()?.is_kept(rdd.node().meta().id, rdd.num_partitions())? {
        let message = "not all of its partitions could be kept; there is too little disk space, or executors were lost";
        return Err(Error::Checkpoint { rdd: rdd.site().to_string(), message: message.to_owned() });
    }
    rdd.node().replace_body(Lost(PhantomData));
    Ok(())
}

/// The body of an RDD whose partitions are kept at executors or nowhere. Spark: `LocalCheckpointRDD`.
struct Lost<T>(PhantomData<fn() -> T>);

impl<T: Data> Body for Lost<T> {
    type Item = T;
    type Func = ();

    fn func(&self) -> Func<()> {
        Func::new(())
    }

    fn compute(&self, rdd: RddId, partition: u32, _: &Arc<TaskContext>) -> Result<Stream<T>, TaskError> {
        let message = "the executor that kept it is gone, or the RDD was unpersisted; a checkpoint in files, by \
                       Rdd::checkpoint, outlives both"
            .to_owned();
        Err(TaskFailure::CheckpointUnreadable { rdd, partition, path: String::new(), message }.into())
    }

    fn deps(&self) -> Vec<Dep> {
        Vec::new()
    }

    fn encode(&self, _: &mut Vec<u8>) -> Result<(), CodecError> {
        Ok(())
    }

    fn decode(_: Func<()>, _: &[AnyNode], _: &[u8]) -> Result<Self, DecodeError> {
        Ok(Lost(PhantomData))
    }
}
