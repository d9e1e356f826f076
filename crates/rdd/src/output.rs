//! What the tasks of a stage do with their partitions: [`OutputOp`], the last node of each lineage table.

use std::sync::Arc;

use firesteel_closure::{AnyNode, DecodeError, Func, Op, describe, parent};
use firesteel_common::{
    Data, Env,
    codec::{self, CodecError},
};
use firesteel_task::{StageTask, StageTaskNode, TaskContext, TaskError, TaskOutput, chunk::Stream};
use serde::Serialize;

use crate::{
    flat_drop::Parent,
    node::{EncodedOp, RddNode},
};

/// Consumes a partition. A value is zero-sized, as a [`crate::pipe::PipeOp`]'s is.
pub trait OutputOp: Copy + Send + Sync + 'static {
    /// Elements that come in.
    type In: Data;
    /// What `.with` passed, or what the action needs.
    type Env: Env;

    /// Where an element goes depends on its position in the partition.
    const BY_POSITION: bool = false;

    /// Tasks do something outside for which it matters that it is done with one edition of the elements.
    const HAS_EFFECTS: bool = false;

    /// Runs the task over one partition.
    fn run(
        self,
        env: &Arc<Self::Env>,
        input: Stream<Self::In>,
        ctx: &Arc<TaskContext>,
    ) -> Result<TaskOutput, TaskError>;
}

/// An [`OutputOp`] over its stage's last RDD, as it is decoded on an executor.
struct OutputNode<O: OutputOp> {
    parent: Parent<RddNode<O::In>>,
    env: Arc<O::Env>,
    op: Func<O>,
}

impl<O: OutputOp> StageTask for OutputNode<O> {
    fn run(&self, partition: u32, ctx: &Arc<TaskContext>) -> Result<TaskOutput, TaskError> {
        let input = self.parent.stream(partition, ctx)?;
        self.op.get().run(&self.env, input, ctx)
    }
}

impl<O: OutputOp> Op for OutputNode<O> {
    type Func = O;

    fn decode(op: Func<O>, parents: &[AnyNode], env: &[u8]) -> Result<AnyNode, DecodeError> {
        let env = Arc::new(codec::decode(env)?);
        let node: OutputNode<O> = OutputNode { parent: Parent::new(parent(parents, 0)?), env, op };
        Ok(Arc::new(StageTaskNode(Arc::new(node))))
    }
}

/// `op` with its environment, ready to travel. `env` must encode as an `O::Env` does: it may be a tuple of references
/// where that is a tuple of values.
pub fn encode_output<O: OutputOp>(op: O, env: &impl Serialize) -> Result<EncodedOp, CodecError> {
    let mut bytes = Vec::new();
    codec::encode_as::<O::Env, _>(env, &mut bytes)?;
    Ok(EncodedOp { desc: describe::<OutputNode<O>>(&Func::new(op)), env: bytes })
}
