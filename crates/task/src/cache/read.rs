//! Where a persisted partition is found.

use std::sync::Arc;

use firesteel_common::Data;
use firesteel_storage::{block_manager::Found, memory_store::Cached};

use super::{
    frames::{FrameSource, FrameStream, drop_damaged},
    persisted::Persisted,
    pieces::{PieceStream, Pieces},
    unroll,
};
use crate::{chunk::Stream, context::TaskContext, error::TaskError};

/// The elements of a persisted partition: those that are kept, or computed and, when they fit, kept.
pub fn get_or_compute<T: Data>(
    persisted: &Persisted<T>,
    ctx: &Arc<TaskContext>,
    compute: impl FnOnce() -> Result<Stream<T>, TaskError>,
) -> Result<Stream<T>, TaskError> {
    if let Some(found) = ctx.services().blocks.find_cached(&persisted.block())
        && let Some(stream) = open(persisted, found, ctx)?
    {
        return Ok(stream);
    }
    match fetch(persisted, ctx)? {
        Some(stream) => Ok(stream),
        None => unroll::keep(persisted, ctx, compute()?),
    }
}

/// Streams what another executor keeps. When none can give it, it is computed.
fn fetch<T: Data>(persisted: &Persisted<T>, ctx: &Arc<TaskContext>) -> Result<Option<Stream<T>>, TaskError> {
    let (block, blocks) = (persisted.block(), &ctx.services().blocks);
    for address in ctx.cached_at(persisted.rdd, persisted.partition) {
        match blocks.fetch_cached(block, address, &ctx.abort()) {
            Ok(reader) => {
                return Ok(Some(FrameStream::fetched(persisted, FrameSource::Disk(reader), address.clone(), ctx)));
            }
            Err(e) => {
                ctx.kill().check()?;
                tracing::warn!(%block, address, error = %e, "a cached partition cannot be read from another executor");
            }
        }
    }
    Ok(None)
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
