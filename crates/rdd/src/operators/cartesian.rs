//! `cartesian`: each element of one RDD with each of another.

use std::sync::Arc;

use firesteel_closure::{AnyNode, DecodeError, Func, parent};
use firesteel_common::{Data, NarrowMap, RddId, codec::CodecError, size::SampledSize};
use firesteel_storage::Reservation;
use firesteel_task::{
    PartitionIter, TaskContext, TaskError,
    chunk::{Chunk, Stream},
};

use crate::{
    Error, Rdd, Result,
    elements::Flattened,
    flat_drop::Parent,
    node::{AnyRdd, Body, Dep, RddNode},
};

/// A node with a partition for each pair of its parents' partitions, those of one left partition one after the other.
struct Cartesian<T: Data, U: Data> {
    left: Parent<RddNode<T>>,
    right: Parent<RddNode<U>>,
}

impl<T: Data, U: Data> Cartesian<T, U> {
    /// Of the left and of the right parent.
    fn maps(&self) -> (NarrowMap, NarrowMap) {
        let divisor = self.right.meta().partitions;
        (NarrowMap::Quotient { divisor }, NarrowMap::Remainder { divisor })
    }
}

impl<T: Data, U: Data> Body for Cartesian<T, U> {
    type Item = (T, U);
    type Func = ();

    fn func(&self) -> Func<()> {
        Func::new(())
    }

    fn compute(&self, id: RddId, p: u32, ctx: &Arc<TaskContext>) -> Result<Stream<(T, U)>, TaskError> {
        let (left, right) = self.maps();
        let none = || TaskError::failed(format!("{id} has no partition {p}: one of its parents has none"));
        let left = left.parents_of(p).next().ok_or_else(none)?;
        let right = right.parents_of(p).next().ok_or_else(none)?;
        let mut right = Right { node: (*self.right).clone(), partition: right, ctx: ctx.clone(), held: Held::Unread };
        let pairs = move |x: T| Ok(right.open()?.map(move |y| (x.clone(), y)));
        Ok(Flattened::stream(self.left.stream(left, ctx)?, pairs, ctx))
    }

    // The schedulers look at the left parent's places first, then at the right one's. Lists of both for each of so many
    // partitions would cost more than they help.
    fn deps(&self) -> Vec<Dep> {
        let (left, right) = self.maps();
        vec![
            Dep::Narrow { parent: (*self.left).clone() as Arc<dyn AnyRdd>, map: left },
            Dep::Narrow { parent: (*self.right).clone() as Arc<dyn AnyRdd>, map: right },
        ]
    }

    fn encode(&self, _: &mut Vec<u8>) -> Result<(), CodecError> {
        Ok(())
    }

    fn decode(_: Func<()>, parents: &[AnyNode], _: &[u8]) -> Result<Self, DecodeError> {
        Ok(Cartesian { left: Parent::new(parent(parents, 0)?), right: Parent::new(parent(parents, 1)?) })
    }
}

/// The right partition, which is gone through once for each element on the left.
struct Right<U: Data> {
    node: Arc<RddNode<U>>,
    partition: u32,
    ctx: Arc<TaskContext>,
    held: Held<U>,
}

enum Held<U> {
    /// Nobody has asked for it.
    Unread,
    /// It lies in memory, which is given back with the last of these.
    InMemory(Arc<InMemory<U>>),
    /// It is larger than the memory that the task gets.
    TooLarge,
}

struct InMemory<U> {
    chunks: Vec<Chunk<U>>,
    len: usize,
    _memory: Reservation,
}

impl<U: Data> Right<U> {
    /// Its elements from the first on.
    fn open(&mut self) -> Result<RightIter<U>, TaskError> {
        if let Held::Unread = self.held {
            self.held = self.read()?.map_or(Held::TooLarge, |all| Held::InMemory(Arc::new(all)));
        }
        Ok(match &self.held {
            Held::InMemory(all) => RightIter::Held { left: all.len, all: all.clone(), chunk: 0, at: 0 },
            // As Spark does it always.
            Held::Unread | Held::TooLarge => {
                RightIter::Computed(PartitionIter::new(self.node.stream(self.partition, &self.ctx)?, &self.ctx))
            }
        })
    }

    /// All of it, as far as there is memory.
    fn read(&self) -> Result<Option<InMemory<U>>, TaskError> {
        let mut memory = self.ctx.memory().reserve("right side of a cartesian product");
        let (mut chunks, mut size, mut len) = (Vec::new(), SampledSize::new(), 0);
        let mut input = self.node.stream(self.partition, &self.ctx)?;
        while let Some(chunk) = input.next_chunk()? {
            self.ctx.kill().check()?;
            size.add_all(chunk.as_slice());
            if !memory.resize(size.bytes()) {
                let (rdd, partition) = (self.node.meta().id, self.partition);
                tracing::info!(
                    %rdd, partition,
                    "does not fit into memory beside its cartesian product: computed anew for each element on the left"
                );
                return Ok(None);
            }
            len += chunk.len();
            chunks.push(chunk);
        }
        Ok(Some(InMemory { chunks, len, _memory: memory }))
    }
}

/// One pass over the right partition.
enum RightIter<U> {
    Held {
        all: Arc<InMemory<U>>,
        /// The chunk that it is in, and where.
        chunk: usize,
        at: usize,
        /// How many elements there are from here to the end.
        left: usize,
    },
    Computed(PartitionIter<U>),
}

impl<U: Clone> Iterator for RightIter<U> {
    type Item = U;

    #[inline]
    fn next(&mut self) -> Option<U> {
        match self {
            RightIter::Held { all, chunk, at, left } => loop {
                let elements = all.chunks.get(*chunk)?.as_slice();
                if let Some(y) = elements.get(*at) {
                    *at += 1;
                    *left -= 1;
                    return Some(y.clone());
                }
                (*chunk, *at) = (*chunk + 1, 0);
            },
            RightIter::Computed(elements) => elements.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            RightIter::Held { left, .. } => (*left, Some(*left)),
            RightIter::Computed(elements) => elements.size_hint(),
        }
    }
}

impl<T: Data> Rdd<T> {
    /// All pairs of an element of this RDD and one of `other`, in as many partitions as the product of theirs: the pairs of
    /// one element on the left stand together, in the order of `other`.
    ///
    /// A partition of `other` is computed once for each task and held in memory. Where that does not suffice it is computed
    /// anew for each element on the left, as Spark does it always: then `other` should be kept ([`Rdd::persist`]).
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let sizes = sc.partitioned(2).parallelize(["S", "L"].map(String::from));
    /// let colours = sc.partitioned(1).parallelize(["red", "blue"].map(String::from));
    /// let goods = sizes.cartesian(&colours)?.map(|(size, colour)| format!("{size} {colour}"));
    /// assert_eq!(goods.collect()?, ["S red", "S blue", "L red", "L blue"]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when the result would have more partitions than there are numbers (32 bits).
    #[track_caller]
    pub fn cartesian<U: Data>(&self, other: &Rdd<U>) -> Result<Rdd<(T, U)>> {
        let (left, right) = (self.num_partitions(), other.num_partitions());
        let Some(partitions) = left.checked_mul(right) else {
            return Err(Error::InvalidArgument(format!("cartesian: {left} times {right} are too many partitions")));
        };
        let body = Cartesian { left: self.node().clone(), right: other.node().clone() };
        Ok(Rdd::from_body(self.scope(), partitions, "cartesian", None, body))
    }
}
