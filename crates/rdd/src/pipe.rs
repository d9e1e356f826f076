//! Operators that turn one partition into one: [`PipeOp`] is what they do, [`PipeBody`] the node around them.

use std::sync::Arc;

use firesteel_closure::{AnyNode, DecodeError, Func, parent};
use firesteel_common::{
    Data, Env, NarrowMap, RddId,
    codec::{self, CodecError},
};
use firesteel_task::{TaskContext, TaskError, chunk::Stream};

use crate::{
    flat_drop::Parent,
    node::{AnyRdd, Body, Dep, RddNode},
};

/// What an operator does with a partition. A value is zero-sized: it is the user's closure in a wrapper.
pub trait PipeOp: Copy + Send + Sync + 'static {
    /// Elements that come in.
    type In: Data;
    /// Elements that go out.
    type Out: Data;
    /// What `.with` passed, `()` otherwise.
    type Env: Env;

    /// See [`AnyRdd::by_position`].
    const BY_POSITION: bool = false;

    /// The output of partition `p`, chunk by chunk.
    fn run(
        self,
        env: &Arc<Self::Env>,
        p: u32,
        input: Stream<Self::In>,
        ctx: &Arc<TaskContext>,
    ) -> Result<Stream<Self::Out>, TaskError>;
}

/// The node of a [`PipeOp`].
pub struct PipeBody<O: PipeOp> {
    parent: Parent<RddNode<O::In>>,
    env: Arc<O::Env>,
    op: Func<O>,
}

impl<O: PipeOp> PipeBody<O> {
    /// Applies `op` to `parent`.
    pub fn new(parent: Parent<RddNode<O::In>>, env: Arc<O::Env>, op: O) -> Self {
        PipeBody { parent, env, op: Func::new(op) }
    }
}

impl<O: PipeOp> Body for PipeBody<O> {
    type Item = O::Out;
    type Func = O;

    fn func(&self) -> Func<O> {
        self.op
    }

    fn compute(&self, _: RddId, p: u32, ctx: &Arc<TaskContext>) -> Result<Stream<O::Out>, TaskError> {
        self.op.get().run(&self.env, p, self.parent.stream(p, ctx)?, ctx)
    }

    fn deps(&self) -> Vec<Dep> {
        vec![Dep::Narrow { parent: (*self.parent).clone() as Arc<dyn AnyRdd>, map: NarrowMap::OneToOne }]
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        codec::encode_into(&*self.env, out)
    }

    fn by_position(&self) -> bool {
        O::BY_POSITION
    }

    fn decode(op: Func<O>, parents: &[AnyNode], env: &[u8]) -> Result<Self, DecodeError> {
        let env = Arc::new(codec::decode(env)?);
        Ok(PipeBody { parent: Parent::new(parent(parents, 0)?), env, op })
    }
}
