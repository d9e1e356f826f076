//! Partitions of persisted RDDs: where they are found, and how one that was computed is kept.
//!
//! ```text
//!  stream(p) ─▶ memory ─▶ disk ─▶ another executor ─▶ computed ─▶ Unroll ─▶ kept as values, frames or a file
//!                                                                    └────▶ does not fit: streamed on, not kept
//! ```
//!
//! Called by [`crate::node::RddNode`]; calls the block manager of `storage`.

mod frames;
mod pieces;
mod unroll;

use std::sync::Arc;

use firesteel_common::{Data, RddId};
use firesteel_storage::{BlockId, StorageLevel, block_manager::Found, memory_store::Cached};

use self::{
    frames::{FrameSource, FrameStream},
    pieces::{PieceStream, Pieces},
};
use crate::{
    chunk::{ChunkStream, Stream},
    task::{TaskContext, TaskError},
};

/// Bytes that an element owns on the heap, where its type knows.
pub type HeapOf<T> = Option<fn(&T) -> u64>;

/// A persisted partition: which, and how it is kept.
pub struct Persisted<T> {
    /// The RDD.
    pub rdd: RddId,
    /// Its partition.
    pub partition: u32,
    /// How it is kept.
    pub level: StorageLevel,
    /// How large an element is.
    pub heap_of: HeapOf<T>,
}

impl<T> Persisted<T> {
    fn block(&self) -> BlockId {
        BlockId::Rdd { rdd: self.rdd, partition: self.partition }
    }
}

/// The elements of a persisted partition: those that are kept, or computed and, when they fit, kept.
pub fn get_or_compute<T: Data>(
    persisted: &Persisted<T>,
    ctx: &Arc<TaskContext>,
    compute: impl FnOnce() -> Result<Stream<T>, TaskError>,
) -> Result<Stream<T>, TaskError> {
    match ctx.services.blocks.find_cached(&persisted.block()) {
        Some(found) => open(persisted.block(), found, ctx),
        None => unroll::keep(persisted, ctx, compute()?),
    }
}

/// Streams what is kept here.
fn open<T: Data>(block: BlockId, found: Found, ctx: &Arc<TaskContext>) -> Result<Stream<T>, TaskError> {
    match found {
        Found::Memory(Cached::Values(values)) => {
            let pieces = values
                .into_any()
                .downcast::<Pieces<T>>()
                .map_err(|_| TaskError::failed(format!("{block} holds elements of another type")))?;
            Ok(PieceStream::stream(pieces, ctx))
        }
        Found::Memory(Cached::Frames(frames)) => Ok(FrameStream::stream(block, FrameSource::memory(frames), ctx)),
        Found::Disk(disk) => {
            let reader = disk.read().map_err(TaskError::failed)?;
            Ok(FrameStream::stream(block, FrameSource::Disk(reader), ctx))
        }
    }
}

/// Streams one after the other.
struct Chain<T>(std::collections::VecDeque<Stream<T>>);

impl<T: 'static> Chain<T> {
    fn stream(parts: impl IntoIterator<Item = Stream<T>>) -> Stream<T> {
        Box::new(Chain(parts.into_iter().collect()))
    }
}

impl<T> ChunkStream<T> for Chain<T> {
    fn next_chunk(&mut self) -> Result<Option<crate::chunk::Chunk<T>>, TaskError> {
        while let Some(first) = self.0.front_mut() {
            if let Some(chunk) = first.next_chunk()? {
                return Ok(Some(chunk));
            }
            self.0.pop_front();
        }
        Ok(None)
    }
}
