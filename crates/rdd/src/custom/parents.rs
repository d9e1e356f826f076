//! What a [`CustomRdd`](super::CustomRdd) is computed from: [`ParentRdds`] on the driver, a [`ParentInput`] of each in a task.

use std::sync::Arc;

use firesteel_closure::{AnyNode, DecodeError, parent};
use firesteel_common::{Data, NarrowMap};
use firesteel_task::{PartitionIter, TaskContext};

use crate::{
    Rdd,
    concat::Concat,
    flat_drop::Parent,
    node::{AnyRdd, RddNode},
};

/// Parents of a [`CustomRdd`](super::CustomRdd): `()`, an [`Rdd`], two or three of them in a tuple, or a Vec of some.
pub trait ParentRdds: Held {
    /// What `compute` gets of them: `()`, a [`ParentInput`], a tuple or a Vec of these.
    type Inputs;

    /// The inputs of partition `p`, by the map of each parent.
    #[doc(hidden)]
    fn inputs(nodes: &Self::Nodes, maps: &[NarrowMap], p: u32, ctx: &Arc<TaskContext>) -> Self::Inputs;
}

/// How parents are held by a node and found again on an executor. The types that have it are those above.
pub trait Held {
    /// The parents' nodes.
    type Nodes: Send + Sync + 'static;

    /// Holds them.
    fn hold(&self) -> Self::Nodes;

    /// All of them, in their order.
    fn nodes(nodes: &Self::Nodes) -> Vec<Arc<dyn AnyRdd>>;

    /// `count` of them, of a node that has arrived.
    fn decode(parents: &[AnyNode], count: usize) -> Result<Self::Nodes, DecodeError>;
}

/// The partitions of one parent that a task of a [`CustomRdd`](super::CustomRdd) reads.
///
/// ```
/// # fn main() -> firesteel::Result<()> {
/// # let sc = firesteel::Context::builder().master("local[2]").build()?;
/// use std::{error::Error, sync::Arc};
/// use firesteel::{CustomRdd, NarrowMap, ParentInput, Rdd, TaskContext};
/// use serde::{Deserialize, Serialize};
///
/// /// The elements of two RDDs in turn, in pairs of partitions: those of the left one in their order, of the right one from
/// /// the last to the first.
/// #[derive(Serialize, Deserialize)]
/// struct InTurn(u32);
///
/// impl CustomRdd for InTurn {
///     type Item = u64;
///     type Parents = (Rdd<u64>, Rdd<u64>);
///
///     fn partitions(&self) -> u32 {
///         self.0
///     }
///
///     fn dependencies(&self) -> Vec<NarrowMap> {
///         vec![NarrowMap::OneToOne, NarrowMap::Selected((0..self.0).rev().collect())]
///     }
///
///     fn compute(
///         &self,
///         partition: u32,
///         (left, right): (ParentInput<u64>, ParentInput<u64>),
///         _: &Arc<TaskContext>,
///     ) -> Result<impl Iterator<Item = u64> + 'static, Box<dyn Error + Send + Sync>> {
///         assert_eq!((left.partitions(), right.partitions()), (&[partition][..], &[self.0 - 1 - partition][..]));
///         let last = right.partition(0).ok_or("no right partition")?;
///         Ok(left.elements().zip(last).flat_map(|(left, right)| [left, right]))
///     }
/// }
///
/// let (left, right) = (sc.partitioned(2).range(0..4u64), sc.partitioned(2).range(10..14u64));
/// let in_turn = sc.rdd_from(InTurn(2), (left, right))?;
/// assert_eq!(in_turn.collect()?, [0, 12, 1, 13, 2, 10, 3, 11]);
/// # Ok(()) }
/// ```
pub struct ParentInput<T: Data> {
    node: Arc<RddNode<T>>,
    partitions: Vec<u32>,
    ctx: Arc<TaskContext>,
}

impl<T: Data> ParentInput<T> {
    fn new(node: &Parent<RddNode<T>>, map: Option<&NarrowMap>, p: u32, ctx: &Arc<TaskContext>) -> Self {
        let partitions = map.map(|map| map.parents_of(p).collect()).unwrap_or_default();
        ParentInput { node: (**node).clone(), partitions, ctx: ctx.clone() }
    }

    /// The numbers of the parent's partitions that this partition needs, as its [`NarrowMap`] says.
    pub fn partitions(&self) -> &[u32] {
        &self.partitions
    }

    /// The elements of all of them, one partition after the other. Each is opened when its first element is asked for; when
    /// it fails, or the task is killed, the iterator unwinds.
    pub fn elements(&self) -> PartitionIter<T> {
        self.over(&self.partitions)
    }

    /// The elements of the `i`-th of [`ParentInput::partitions`], from 0; `None` where there are not so many.
    pub fn partition(&self, i: usize) -> Option<PartitionIter<T>> {
        self.partitions.get(i..=i).map(|one| self.over(one))
    }

    fn over(&self, partitions: &[u32]) -> PartitionIter<T> {
        let partitions = partitions.iter().map(|p| (self.node.clone(), *p)).collect();
        PartitionIter::new(Concat::stream(partitions, &self.ctx), &self.ctx)
    }
}

impl Held for () {
    type Nodes = ();

    fn hold(&self) {}

    fn nodes((): &()) -> Vec<Arc<dyn AnyRdd>> {
        Vec::new()
    }

    fn decode(_: &[AnyNode], _: usize) -> Result<(), DecodeError> {
        Ok(())
    }
}

impl ParentRdds for () {
    type Inputs = ();

    fn inputs((): &(), _: &[NarrowMap], _: u32, _: &Arc<TaskContext>) {}
}

impl<T: Data> Held for Rdd<T> {
    type Nodes = Parent<RddNode<T>>;

    fn hold(&self) -> Self::Nodes {
        self.node().clone()
    }

    fn nodes(node: &Self::Nodes) -> Vec<Arc<dyn AnyRdd>> {
        vec![(**node).clone()]
    }

    fn decode(parents: &[AnyNode], _: usize) -> Result<Self::Nodes, DecodeError> {
        Ok(Parent::new(parent(parents, 0)?))
    }
}

impl<T: Data> ParentRdds for Rdd<T> {
    type Inputs = ParentInput<T>;

    fn inputs(node: &Self::Nodes, maps: &[NarrowMap], p: u32, ctx: &Arc<TaskContext>) -> ParentInput<T> {
        ParentInput::new(node, maps.first(), p, ctx)
    }
}

impl<T: Data> Held for Vec<Rdd<T>> {
    type Nodes = Vec<Parent<RddNode<T>>>;

    fn hold(&self) -> Self::Nodes {
        self.iter().map(|rdd| rdd.node().clone()).collect()
    }

    fn nodes(nodes: &Self::Nodes) -> Vec<Arc<dyn AnyRdd>> {
        nodes.iter().map(|node| (**node).clone() as Arc<dyn AnyRdd>).collect()
    }

    fn decode(parents: &[AnyNode], count: usize) -> Result<Self::Nodes, DecodeError> {
        (0..count).map(|i| Ok(Parent::new(parent(parents, i)?))).collect()
    }
}

impl<T: Data> ParentRdds for Vec<Rdd<T>> {
    type Inputs = Vec<ParentInput<T>>;

    fn inputs(nodes: &Self::Nodes, maps: &[NarrowMap], p: u32, ctx: &Arc<TaskContext>) -> Vec<ParentInput<T>> {
        nodes.iter().zip(maps).map(|(node, map)| ParentInput::new(node, Some(map), p, ctx)).collect()
    }
}

macro_rules! tuples {
    ($($T:ident $i:tt),+) => {
        impl<$($T: Data),+> Held for ($(Rdd<$T>,)+) {
            type Nodes = ($(Parent<RddNode<$T>>,)+);

            fn hold(&self) -> Self::Nodes {
                ($(self.$i.node().clone(),)+)
            }

            fn nodes(nodes: &Self::Nodes) -> Vec<Arc<dyn AnyRdd>> {
                vec![$((*nodes.$i).clone() as Arc<dyn AnyRdd>),+]
            }

            fn decode(parents: &[AnyNode], _: usize) -> Result<Self::Nodes, DecodeError> {
                Ok(($(Parent::new(parent(parents, $i)?),)+))
            }
        }

        impl<$($T: Data),+> ParentRdds for ($(Rdd<$T>,)+) {
            type Inputs = ($(ParentInput<$T>,)+);

            fn inputs(nodes: &Self::Nodes, maps: &[NarrowMap], p: u32, ctx: &Arc<TaskContext>) -> Self::Inputs {
                ($(ParentInput::new(&nodes.$i, maps.get($i), p, ctx),)+)
            }
        }
    };
}

tuples!(A 0, B 1);
tuples!(A 0, B 1, C 2);
