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

use firesteel_common::{Data, ExecutorId, RddId};
use firesteel_storage::{Abort, BlockId, BlockManager, StorageLevel, block_manager::Found, memory_store::Cached};

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
    if let Some(found) = ctx.services.blocks.find_cached(&persisted.block())
        && let Some(stream) = open(persisted, found, ctx)?
    {
        return Ok(stream);
    }
    match fetch(persisted, ctx)? {
        Some(stream) => Ok(stream),
        None => unroll::keep(persisted, ctx, compute()?),
    }
}

/// Drops what cannot be read, and has the driver know.
fn drop_damaged(block: BlockId, ctx: &TaskContext) {
    ctx.services.blocks.remove(&block);
    ctx.services.blocks.memory().note_dropped(block);
}

/// Streams what another executor keeps. When none can give it, it is computed.
fn fetch<T: Data>(persisted: &Persisted<T>, ctx: &Arc<TaskContext>) -> Result<Option<Stream<T>>, TaskError> {
    let (block, blocks) = (persisted.block(), &ctx.services.blocks);
    for address in ctx.cached.get(&(persisted.rdd, persisted.partition)).into_iter().flatten() {
        match blocks.fetch_cached(block, address, &ctx.abort()) {
            Ok(reader) => {
                return Ok(Some(FrameStream::fetched(persisted, FrameSource::Disk(reader), address.clone(), ctx)));
            }
            Err(e) => {
                ctx.kill.check()?;
                tracing::warn!(%block, address, error = %e, "a cached partition cannot be read from another executor");
            }
        }
    }
    Ok(None)
}

/// Has `copies` of `peers` keep a copy of a partition that is kept here; returns those that do.
pub fn copy_to_peers(
    blocks: &BlockManager,
    block: BlockId,
    level: StorageLevel,
    copies: u32,
    peers: &[(ExecutorId, String)],
    abort: &Abort,
) -> Vec<ExecutorId> {
    let mut made = Vec::new();
    for (executor, address) in peers {
        if made.len() as u32 == copies || abort.reason().is_some() {
            break;
        }
        match blocks.replicate_to(address, block, level, abort) {
            Ok(()) => made.push(*executor),
            Err(e) => {
                tracing::warn!(%block, executor_id = executor.0, error = %e, "no copy of a cached partition there")
            }
        }
    }
    made
}

/// Streams what is kept here; None when its file cannot be opened any more.
fn open<T: Data>(
    persisted: &Persisted<T>,
    found: Found,
    ctx: &Arc<TaskContext>,
) -> Result<Option<Stream<T>>, TaskError> {
    let block = persisted.block();
    Ok(Some(match found {
        Found::Memory(Cached::Values(values)) => {
            let pieces = values
                .into_any()
                .downcast::<Pieces<T>>()
                .map_err(|_| TaskError::failed(format!("{block} holds elements of another type")))?;
            PieceStream::stream(pieces, ctx)
        }
        Found::Memory(Cached::Frames(frames)) => FrameStream::stream(persisted, FrameSource::memory(frames), ctx),
        Found::Disk(disk) => match disk.read() {
            Ok(reader) => FrameStream::stream(persisted, FrameSource::Disk(reader), ctx),
            Err(e) => {
                tracing::warn!(%block, error = %e, "a kept partition cannot be read any more; it is computed anew");
                drop_damaged(block, ctx);
                return Ok(None);
            }
        },
    }))
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
