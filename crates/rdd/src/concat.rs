//! Several partitions as one stream. Called by operators whose partitions need several of a parent's.

use std::sync::Arc;

use firesteel_common::Data;
use firesteel_task::{
    TaskContext, TaskError,
    chunk::{Chunk, ChunkStream, Stream},
};

use crate::node::RddNode;

/// Partitions one after the other; the next is opened when the one before is at its end.
pub(crate) struct Concat<T: Data> {
    current: Option<Stream<T>>,
    /// The next one last.
    waiting: Vec<(Arc<RddNode<T>>, u32)>,
    ctx: Arc<TaskContext>,
}

impl<T: Data> Concat<T> {
    /// The elements of `partitions`, in their order.
    pub fn stream(mut partitions: Vec<(Arc<RddNode<T>>, u32)>, ctx: &Arc<TaskContext>) -> Stream<T> {
        partitions.reverse();
        Box::new(Concat { current: None, waiting: partitions, ctx: ctx.clone() })
    }
}

impl<T: Data> ChunkStream<T> for Concat<T> {
    fn next_chunk(&mut self) -> Result<Option<Chunk<T>>, TaskError> {
        loop {
            if let Some(stream) = &mut self.current
                && let Some(chunk) = stream.next_chunk()?
            {
                return Ok(Some(chunk));
            }
            match self.waiting.pop() {
                Some((node, p)) => self.current = Some(node.stream(p, &self.ctx)?),
                None => return Ok(None),
            }
        }
    }
}
