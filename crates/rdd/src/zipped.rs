//! Operators that put the partitions of the same number of two parents together: [`ZipOp`] is what they do, [`ZipBody`] the
//! node around them.

use std::sync::Arc;

use firesteel_closure::{AnyNode, DecodeError, Func, parent};
use firesteel_common::{
    Data, Env, NarrowMap, RddId,
    codec::{self, CodecError},
};
use firesteel_task::{TaskContext, TaskError, chunk::Stream};

use crate::{
    Error, Rdd, Result,
    flat_drop::Parent,
    node::{AnyRdd, Body, Dep, RddNode},
};

/// What an operator does with two partitions. A value is zero-sized: it is the user's closure in a wrapper.
pub trait ZipOp: Copy + Send + Sync + 'static {
    /// Elements that come in on the left.
    type Left: Data;
    /// Elements that come in on the right.
    type Right: Data;
    /// Elements that go out.
    type Out: Data;
    /// What `.with` passed, `()` otherwise.
    type Env: Env;

    /// The output of partition `p`, chunk by chunk.
    fn run(
        self,
        env: &Arc<Self::Env>,
        p: u32,
        left: Stream<Self::Left>,
        right: Stream<Self::Right>,
        ctx: &Arc<TaskContext>,
    ) -> Result<Stream<Self::Out>, TaskError>;
}

/// The node of a [`ZipOp`].
struct ZipBody<O: ZipOp> {
    left: Parent<RddNode<O::Left>>,
    right: Parent<RddNode<O::Right>>,
    env: Arc<O::Env>,
    op: Func<O>,
}

impl<O: ZipOp> Body for ZipBody<O> {
    type Item = O::Out;
    type Func = O;

    fn func(&self) -> Func<O> {
        self.op
    }

    fn compute(&self, _: RddId, p: u32, ctx: &Arc<TaskContext>) -> Result<Stream<O::Out>, TaskError> {
        let (left, right) = (self.left.stream(p, ctx)?, self.right.stream(p, ctx)?);
        self.op.get().run(&self.env, p, left, right, ctx)
    }

    fn deps(&self) -> Vec<Dep> {
        let (left, right) = ((*self.left).clone() as Arc<dyn AnyRdd>, (*self.right).clone() as Arc<dyn AnyRdd>);
        [left, right].map(|parent| Dep::Narrow { parent, map: NarrowMap::OneToOne }).into()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        codec::encode_into(&*self.env, out)
    }

    fn decode(op: Func<O>, parents: &[AnyNode], env: &[u8]) -> Result<Self, DecodeError> {
        let env = Arc::new(codec::decode(env)?);
        Ok(ZipBody { left: Parent::new(parent(parents, 0)?), right: Parent::new(parent(parents, 1)?), env, op })
    }

    /// Where both partitions lie, otherwise where one of them does.
    fn preferred_hosts(&self) -> Vec<Vec<String>> {
        let (mut left, right) = (self.left.body().preferred_hosts(), self.right.body().preferred_hosts());
        if left.is_empty() {
            return right;
        }
        for (left, right) in left.iter_mut().zip(right) {
            if left.iter().any(|host| right.contains(host)) {
                left.retain(|host| right.contains(host));
            } else {
                left.extend(right);
            }
        }
        left
    }

    fn by_position(&self) -> bool {
        true
    }
}

impl<T: Data> Rdd<T> {
    /// A child of this RDD and `other`, which need equal numbers of partitions.
    #[track_caller]
    pub(crate) fn zipped<O: ZipOp<Left = T>>(
        &self,
        other: &Rdd<O::Right>,
        name: &'static str,
        env: &Arc<O::Env>,
        op: O,
    ) -> Result<Rdd<O::Out>> {
        let (partitions, others) = (self.num_partitions(), other.num_partitions());
        if partitions != others {
            return Err(Error::InvalidArgument(format!(
                "cannot {name} RDDs with unequal numbers of partitions: {partitions} and {others}"
            )));
        }
        let (left, right) = (self.node().clone(), other.node().clone());
        let body = ZipBody { left, right, env: env.clone(), op: Func::new(op) };
        Ok(Rdd::from_body(self.scope(), partitions, name, None, body))
    }
}
