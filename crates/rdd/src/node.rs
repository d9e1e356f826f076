//! One step of a lineage: [`RddNode`], with a [`Body`] that knows how to compute a partition and how to travel.
//!
//! The same type lives on both sides. On the driver a node knows its parents across shuffles, too; what arrives at an
//! executor is one stage of it, with shuffle reads as its leaves.

use std::{
    any::Any,
    marker::PhantomData,
    mem,
    sync::{Arc, PoisonError, RwLock},
};

use bytes::Bytes;
use firesteel_closure::{AnyNode, DecodeError, Func, Op, OpDesc, ZeroSized, describe};
use firesteel_common::{
    Data, NarrowMap, RddId, ShuffleId,
    codec::{self, CodecError},
};
pub use firesteel_storage::StorageLevel;
use firesteel_task::{
    TaskContext, TaskError,
    cache::{self, Persisted},
    chunk::Stream,
};

use crate::error::Error;
pub use crate::meta::{Meta, PartitionerKey};

/// What a node is computed from.
pub enum Dep {
    /// Partitions of a parent, in the same stage.
    Narrow {
        /// The parent.
        parent: Arc<dyn AnyRdd>,
        /// Which of its partitions.
        map: NarrowMap,
    },
    /// All partitions of a parent, through a shuffle.
    Shuffle(Arc<dyn AnyShuffle>),
}

/// A shuffle as the driver sees it: the map side of a stage boundary.
pub trait AnyShuffle: Send + Sync {
    /// The shuffle.
    fn id(&self) -> ShuffleId;
    /// How many partitions it is read in.
    fn reducers(&self) -> u32;
    /// The RDD that its map tasks compute.
    fn parent(&self) -> Arc<dyn AnyRdd>;
    /// The map tasks' output operator, encoded.
    fn output(&self) -> Result<EncodedOp, CodecError>;
    /// Whether the map tasks send an element somewhere for its position in its partition.
    fn by_position(&self) -> bool;
}

/// An operator ready to travel: its code and its environment.
pub struct EncodedOp {
    /// The code.
    pub desc: &'static OpDesc,
    /// The environment's bytes.
    pub env: Vec<u8>,
}

/// A node whose element type is not known, for walks over a lineage.
pub trait AnyRdd: Any + Send + Sync {
    /// Id, partitions, name.
    fn meta(&self) -> &Meta;

    /// What it is computed from and how, now. A checkpoint may put another one in its place: who looks twice keeps it.
    fn body(&self) -> Arc<dyn AnyBody>;
}

/// A [`Body`] of which nobody knows the type.
pub trait AnyBody: Send + Sync {
    /// What it is computed from.
    fn deps(&self) -> Vec<Dep>;
    /// Its code.
    fn desc(&self) -> &'static OpDesc;
    /// Appends its environment's bytes.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError>;
    /// The data of a source's partition that travels with a task; `None` when there is none.
    fn input(&self, partition: u32) -> Result<Option<Bytes>, Error>;
    /// Hosts where a source's partitions are best computed, for each of them; empty when it does not matter.
    fn preferred_hosts(&self) -> Vec<Vec<String>>;
    /// Whether the order of a partition's elements depends on how much memory there is.
    fn order_varies(&self) -> bool;
    /// Whether what is made of an element depends on its position in its partition. In another order other elements come out.
    fn by_position(&self) -> bool;
    /// Whether it reads what was written down, which comes out the same whatever wrote it.
    fn is_written_down(&self) -> bool;
}

/// How a kind of node computes and travels.
pub trait Body: Send + Sync + 'static {
    /// Type of the elements.
    type Item: Data;
    /// The zero-sized functions that it applies; `()` when there are none.
    type Func: ZeroSized;

    /// The functions.
    fn func(&self) -> Func<Self::Func>;

    /// The elements of partition `p`, as a stream.
    fn compute(&self, id: RddId, p: u32, ctx: &Arc<TaskContext>) -> Result<Stream<Self::Item>, TaskError>;

    /// What it is computed from.
    fn deps(&self) -> Vec<Dep>;

    /// Appends the environment's bytes.
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError>;

    /// The body back from its bytes; `parents` are the nodes of its narrow dependencies, in the order of `deps`.
    fn decode(func: Func<Self::Func>, parents: &[AnyNode], env: &[u8]) -> Result<Self, DecodeError>
    where
        Self: Sized;

    /// See [`AnyBody::input`].
    fn input(&self, _partition: u32) -> Result<Option<Bytes>, Error> {
        Ok(None)
    }

    /// See [`AnyBody::preferred_hosts`].
    fn preferred_hosts(&self) -> Vec<Vec<String>> {
        Vec::new()
    }

    /// See [`AnyBody::order_varies`].
    fn order_varies(&self) -> bool {
        false
    }

    /// See [`AnyBody::by_position`].
    fn by_position(&self) -> bool {
        false
    }

    /// See [`AnyBody::is_written_down`].
    fn is_written_down(&self) -> bool {
        false
    }

    /// What tells how many bytes an element owns on the heap; without it that is estimated.
    fn heap_of(&self) -> Option<fn(&Self::Item) -> u64> {
        None
    }
}

/// A [`Body`] behind a pointer.
trait DynBody<T>: AnyBody {
    fn compute(&self, id: RddId, p: u32, ctx: &Arc<TaskContext>) -> Result<Stream<T>, TaskError>;
    fn heap_of(&self) -> Option<fn(&T) -> u64>;
}

impl<B: Body> DynBody<B::Item> for B {
    fn compute(&self, id: RddId, p: u32, ctx: &Arc<TaskContext>) -> Result<Stream<B::Item>, TaskError> {
        Body::compute(self, id, p, ctx)
    }

    fn heap_of(&self) -> Option<fn(&B::Item) -> u64> {
        Body::heap_of(self)
    }
}

impl<B: Body> AnyBody for B {
    fn deps(&self) -> Vec<Dep> {
        Body::deps(self)
    }

    fn desc(&self) -> &'static OpDesc {
        describe::<NodeOp<B>>(&self.func())
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        Body::encode(self, out)
    }

    fn input(&self, partition: u32) -> Result<Option<Bytes>, Error> {
        Body::input(self, partition)
    }

    fn preferred_hosts(&self) -> Vec<Vec<String>> {
        Body::preferred_hosts(self)
    }

    fn order_varies(&self) -> bool {
        Body::order_varies(self)
    }

    fn by_position(&self) -> bool {
        Body::by_position(self)
    }

    fn is_written_down(&self) -> bool {
        Body::is_written_down(self)
    }
}

/// One RDD of a lineage.
pub struct RddNode<T> {
    meta: Meta,
    /// Looked at once a partition. Only on the driver another one takes its place.
    body: RwLock<Arc<dyn DynBody<T>>>,
}

impl<T: Data> RddNode<T> {
    /// A node that computes `body`.
    pub fn new<B: Body<Item = T>>(meta: Meta, body: B) -> Arc<Self> {
        Arc::new(RddNode { meta, body: RwLock::new(Arc::new(body)) })
    }

    /// The elements of partition `p`: from the cache where the RDD is kept, computed otherwise.
    pub fn stream(&self, p: u32, ctx: &Arc<TaskContext>) -> Result<Stream<T>, TaskError> {
        let (rdd, level, body) = (self.meta.id, self.meta.level(), self.current());
        if !level.is_kept() {
            return body.compute(rdd, p, ctx);
        }
        let persisted = Persisted { rdd, partition: p, level, heap_of: body.heap_of() };
        cache::get_or_compute(&persisted, ctx, || body.compute(rdd, p, ctx))
    }

    /// Has the same elements come from `body` from now on, in as many partitions. What it was computed from is let go;
    /// jobs that run hold it to their end.
    pub(crate) fn replace_body<B: Body<Item = T>>(&self, body: B) {
        let body: Arc<dyn DynBody<T>> = Arc::new(body);
        let before = mem::replace(&mut *self.body.write().unwrap_or_else(PoisonError::into_inner), body);
        // Not under the lock: a lineage of any length may go with it.
        drop(before);
    }

    fn current(&self) -> Arc<dyn DynBody<T>> {
        self.body.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl<T: Data> AnyRdd for RddNode<T> {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn body(&self) -> Arc<dyn AnyBody> {
        self.current()
    }
}

/// `body` as that of the node of `meta`, ready to travel.
pub(crate) fn encode_node(meta: &Meta, body: &dyn AnyBody) -> Result<EncodedOp, CodecError> {
    let mut env = codec::encode(&(meta.id, meta.partitions, meta.level()))?;
    body.encode(&mut env)?;
    Ok(EncodedOp { desc: body.desc(), env })
}

/// The descriptor of nodes with body `B`.
struct NodeOp<B>(PhantomData<B>);

impl<B: Body> Op for NodeOp<B> {
    type Func = B::Func;

    fn decode(func: Func<B::Func>, parents: &[AnyNode], env: &[u8]) -> Result<AnyNode, DecodeError> {
        let ((id, partitions, level), used) = codec::decode_prefix::<(RddId, u32, StorageLevel)>(env)?;
        let body = B::decode(func, parents, env.get(used..).unwrap_or_default())?;
        let meta = Meta::new(id, partitions, "", None);
        meta.set_level(level);
        Ok(RddNode::new(meta, body))
    }
}
