//! One step of a lineage: [`RddNode`], with a [`Body`] that knows how to compute a partition and how to travel.
//!
//! The same type lives on both sides. On the driver a node knows its parents across shuffles, too; what arrives at an
//! executor is one stage of it, with shuffle reads as its leaves.

use std::{
    any::{Any, type_name},
    marker::PhantomData,
    panic::Location,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
};

use bytes::Bytes;
use firesteel_closure::{AnyNode, DecodeError, Func, Op, OpDesc, ZeroSized, describe};
use firesteel_common::{
    Data, NarrowMap, RddId, ShuffleId,
    codec::{self, CodecError},
};
pub use firesteel_storage::StorageLevel;
use firesteel_task::{
    Cleaner, Released, TaskContext, TaskError,
    cache::{self, Persisted},
    chunk::Stream,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::error::Error;

/// Which records lie in which partition: two RDDs with equal keys are co-partitioned and join without a shuffle.
///
/// Equality is that of the partitioner's type and encoding.
#[derive(Clone)]
pub struct PartitionerKey {
    type_name: &'static str,
    encoded: Vec<u8>,
    /// Number of partitions.
    pub partitions: u32,
    /// The `Partitioning` itself, for others that are to be spread alike.
    partitioning: Option<Arc<dyn Any + Send + Sync>>,
}

impl PartialEq for PartitionerKey {
    fn eq(&self, other: &Self) -> bool {
        (self.type_name, &self.encoded, self.partitions) == (other.type_name, &other.encoded, other.partitions)
    }
}

impl PartitionerKey {
    /// The key of `partitioner`; `None` when it cannot be encoded, which then also fails the job that needs it.
    pub fn of<P: Serialize + DeserializeOwned>(partitioner: &P, partitions: u32) -> Option<Self> {
        let encoded = codec::encode(partitioner).ok()?;
        Some(PartitionerKey { type_name: type_name::<P>(), encoded, partitions, partitioning: None })
    }

    /// The same key, which knows what spreads so.
    pub(crate) fn made_by(mut self, partitioning: Arc<dyn Any + Send + Sync>) -> Self {
        self.partitioning = Some(partitioning);
        self
    }

    /// What spreads so, if it is a `P`.
    pub(crate) fn partitioning<P: 'static>(&self) -> Option<&P> {
        self.partitioning.as_ref()?.downcast_ref()
    }
}

/// What every node has, whatever it computes.
pub struct Meta {
    /// The RDD.
    pub id: RddId,
    /// Number of its partitions.
    pub partitions: u32,
    /// The operator's name, for stages and pages.
    pub name: &'static str,
    /// Where the user called the operator; on the driver only.
    pub location: Option<&'static Location<'static>>,
    /// How its records are spread, where that is known.
    pub partitioner: Option<PartitionerKey>,
    level: AtomicU16,
    indeterminate: AtomicBool,
    barrier: AtomicBool,
    /// On the driver: who frees the kept partitions when this is dropped.
    cleaner: Option<Arc<dyn Cleaner>>,
    /// A level was set at some time.
    kept: AtomicBool,
    /// What the user calls it.
    given_name: Mutex<Option<Arc<str>>>,
}

impl Meta {
    /// A node that is neither kept nor indeterminate.
    pub fn new(id: RddId, partitions: u32, name: &'static str, partitioner: Option<PartitionerKey>) -> Self {
        let (level, indeterminate, kept) = (AtomicU16::new(0), AtomicBool::new(false), AtomicBool::new(false));
        let barrier = AtomicBool::new(false);
        let (location, cleaner, given_name) = (None, None, Mutex::default());
        Meta { id, partitions, name, location, partitioner, level, indeterminate, barrier, cleaner, kept, given_name }
    }

    /// The node of an operator that the user called there.
    pub fn made_at(mut self, location: &'static Location<'static>) -> Self {
        self.location = Some(location);
        self
    }

    /// The driver's node: `cleaner` hears when it is dropped, if partitions of it may have been kept.
    pub fn cleaned_by(mut self, cleaner: Option<&Arc<dyn Cleaner>>) -> Self {
        self.cleaner = cleaner.cloned();
        self
    }

    /// The storage level.
    pub fn level(&self) -> StorageLevel {
        StorageLevel::from_bits(self.level.load(Ordering::Acquire))
    }

    /// Sets the storage level.
    pub fn set_level(&self, level: StorageLevel) {
        self.kept.fetch_or(level.is_kept(), Ordering::AcqRel);
        self.level.store(level.to_bits(), Ordering::Release);
    }

    /// What the user calls it, if anything.
    pub fn given_name(&self) -> Option<Arc<str>> {
        self.given_name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has it be called so from now on.
    pub fn give_name(&self, name: Arc<str>) {
        *self.given_name.lock().unwrap_or_else(PoisonError::into_inner) = Some(name);
    }

    /// Whether the user has said that computing a partition twice may give other records.
    pub fn indeterminate(&self) -> bool {
        self.indeterminate.load(Ordering::Acquire)
    }

    /// Whether its tasks wait for one another, so that its stage is a barrier stage.
    pub fn barrier(&self) -> bool {
        self.barrier.load(Ordering::Acquire)
    }

    /// Makes its stage a barrier stage.
    pub fn set_barrier(&self) {
        self.barrier.store(true, Ordering::Release);
    }

    /// Says that computing a partition twice may give other records.
    pub fn set_indeterminate(&self) {
        self.indeterminate.store(true, Ordering::Release);
    }
}

impl Drop for Meta {
    fn drop(&mut self) {
        if let Some(cleaner) = &self.cleaner
            && *self.kept.get_mut()
        {
            cleaner.released(Released::Rdd(self.id));
        }
    }
}

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
    /// What it is computed from.
    fn deps(&self) -> Vec<Dep>;
    /// Its code and environment.
    fn encode(&self) -> Result<EncodedOp, CodecError>;
    /// The data of a source's partition that travels with a task; `None` when there is none.
    fn input(&self, partition: u32) -> Result<Option<Bytes>, Error>;
    /// Hosts where a source's partitions are best computed, for each of them; empty when it does not matter.
    fn preferred_hosts(&self) -> Vec<Vec<String>>;
    /// Whether the order of a partition's elements depends on how much memory there is.
    fn order_varies(&self) -> bool;
    /// Whether what is made of an element depends on its position in its partition. In another order other elements come out.
    fn by_position(&self) -> bool;
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

    /// See [`AnyRdd::input`].
    fn input(&self, _partition: u32) -> Result<Option<Bytes>, Error> {
        Ok(None)
    }

    /// See [`AnyRdd::preferred_hosts`].
    fn preferred_hosts(&self) -> Vec<Vec<String>> {
        Vec::new()
    }

    /// See [`AnyRdd::order_varies`].
    fn order_varies(&self) -> bool {
        false
    }

    /// See [`AnyRdd::by_position`].
    fn by_position(&self) -> bool {
        false
    }

    /// What tells how many bytes an element owns on the heap; without it that is estimated.
    fn heap_of(&self) -> Option<fn(&Self::Item) -> u64> {
        None
    }
}

/// A [`Body`] behind a pointer, with the descriptor of its type.
trait DynBody<T>: Send + Sync {
    fn compute(&self, id: RddId, p: u32, ctx: &Arc<TaskContext>) -> Result<Stream<T>, TaskError>;
    fn deps(&self) -> Vec<Dep>;
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError>;
    fn input(&self, partition: u32) -> Result<Option<Bytes>, Error>;
    fn preferred_hosts(&self) -> Vec<Vec<String>>;
    fn desc(&self) -> &'static OpDesc;
    fn heap_of(&self) -> Option<fn(&T) -> u64>;
    fn order_varies(&self) -> bool;
    fn by_position(&self) -> bool;
}

impl<B: Body> DynBody<B::Item> for B {
    fn compute(&self, id: RddId, p: u32, ctx: &Arc<TaskContext>) -> Result<Stream<B::Item>, TaskError> {
        Body::compute(self, id, p, ctx)
    }

    fn deps(&self) -> Vec<Dep> {
        Body::deps(self)
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

    fn desc(&self) -> &'static OpDesc {
        describe::<NodeOp<B>>(&self.func())
    }

    fn heap_of(&self) -> Option<fn(&B::Item) -> u64> {
        Body::heap_of(self)
    }

    fn order_varies(&self) -> bool {
        Body::order_varies(self)
    }

    fn by_position(&self) -> bool {
        Body::by_position(self)
    }
}

/// One RDD of a lineage.
pub struct RddNode<T> {
    meta: Meta,
    body: Box<dyn DynBody<T>>,
}

impl<T: Data> RddNode<T> {
    /// A node that computes `body`.
    pub fn new<B: Body<Item = T>>(meta: Meta, body: B) -> Arc<Self> {
        Arc::new(RddNode { meta, body: Box::new(body) })
    }

    /// The elements of partition `p`: from the cache where the RDD is kept, computed otherwise.
    pub fn stream(&self, p: u32, ctx: &Arc<TaskContext>) -> Result<Stream<T>, TaskError> {
        let (rdd, level) = (self.meta.id, self.meta.level());
        if !level.is_kept() {
            return self.body.compute(rdd, p, ctx);
        }
        let persisted = Persisted { rdd, partition: p, level, heap_of: self.body.heap_of() };
        cache::get_or_compute(&persisted, ctx, || self.body.compute(rdd, p, ctx))
    }
}

impl<T: Data> AnyRdd for RddNode<T> {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn deps(&self) -> Vec<Dep> {
        self.body.deps()
    }

    fn encode(&self) -> Result<EncodedOp, CodecError> {
        let mut env = codec::encode(&(self.meta.id, self.meta.partitions, self.meta.level()))?;
        self.body.encode(&mut env)?;
        Ok(EncodedOp { desc: self.body.desc(), env })
    }

    fn input(&self, partition: u32) -> Result<Option<Bytes>, Error> {
        self.body.input(partition)
    }

    fn preferred_hosts(&self) -> Vec<Vec<String>> {
        self.body.preferred_hosts()
    }

    fn order_varies(&self) -> bool {
        self.body.order_varies()
    }

    fn by_position(&self) -> bool {
        self.body.by_position()
    }
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
