//! `mem_sized`: hands its parent's elements on and knows how large they are.

use std::sync::Arc;

use firesteel_closure::{AnyNode, DecodeError, Func, parent};
use firesteel_common::{Data, MemSize, NarrowMap, RddId, codec::CodecError};
use firesteel_task::{TaskContext, TaskError, chunk::Stream};

use crate::{
    Rdd,
    flat_drop::Parent,
    node::{AnyRdd, Body, Dep, RddNode},
};

/// The body of an RDD whose elements know their size.
struct MemSized<T: Data> {
    parent: Parent<RddNode<T>>,
}

impl<T: Data + MemSize> Body for MemSized<T> {
    type Item = T;
    type Func = ();

    fn func(&self) -> Func<()> {
        Func::new(())
    }

    fn compute(&self, _: RddId, p: u32, ctx: &Arc<TaskContext>) -> Result<Stream<T>, TaskError> {
        self.parent.stream(p, ctx)
    }

    fn deps(&self) -> Vec<Dep> {
        vec![Dep::Narrow { parent: (*self.parent).clone() as Arc<dyn AnyRdd>, map: NarrowMap::OneToOne }]
    }

    fn encode(&self, _: &mut Vec<u8>) -> Result<(), CodecError> {
        Ok(())
    }

    fn decode(_: Func<()>, parents: &[AnyNode], _: &[u8]) -> Result<Self, DecodeError> {
        Ok(MemSized { parent: Parent::new(parent(parents, 0)?) })
    }

    fn heap_of(&self) -> Option<fn(&T) -> u64> {
        Some(T::heap_bytes)
    }
}

impl<T: Data + MemSize> Rdd<T> {
    /// The same elements, known by their exact size: where the result is persisted as values, its partitions count with
    /// what [`MemSize`] says instead of an estimate.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let embeddings = sc.range(0..1000u32).map(|word| (word, vec![0.5f32; 16]));
    /// let embeddings = embeddings.mem_sized().cache();
    /// assert_eq!(embeddings.count()?, 1000);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn mem_sized(&self) -> Rdd<T> {
        let body = MemSized { parent: self.node().clone() };
        Rdd::from_body(self.scope(), self.num_partitions(), "mem_sized", self.partitioner().cloned(), body)
    }
}
