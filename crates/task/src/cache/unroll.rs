//! Keeps a partition while it is computed, within the memory that the pool grants.
//!
//! Nothing that was computed is lost when it turns out not to fit: it goes on to disk where the level has disk, else it is
//! streamed on together with what is still to be computed. The same when the disk fails.

use std::{collections::VecDeque, sync::Arc};

use firesteel_common::Data;
use firesteel_storage::{
    BlockError, Frame,
    disk_store::{DiskWriter, Salvage},
    memory_store::Cached,
    storage_reservation::StorageReservation,
};

use super::{
    chain::Chain,
    copies::copy_to_peers,
    frames::{FrameSource, FrameStream},
    persisted::Persisted,
    pieces::{Leaving, PieceStream, PiecesBuilder},
};
use crate::{
    chunk::{Chunk, Stream},
    context::{CacheUpdate, TaskContext},
    error::TaskError,
    frames::FrameBuilder,
};

/// Keeps the partition that `input` yields, and streams it.
pub(super) fn keep<T: Data>(
    persisted: &Persisted<T>,
    ctx: &Arc<TaskContext>,
    input: Stream<T>,
) -> Result<Stream<T>, TaskError> {
    let manager = ctx.services().blocks.memory_manager().clone();
    let unroll = Unroll { persisted, ctx, input, memory: StorageReservation::new(manager, Some(persisted.rdd)) };
    match (persisted.level.use_memory(), persisted.level.deserialized()) {
        (true, true) => unroll.values(),
        (true, false) => unroll.frames(),
        (false, _) => unroll.disk(VecDeque::new(), VecDeque::new(), FrameBuilder::default()),
    }
}

struct Unroll<'a, T> {
    persisted: &'a Persisted<T>,
    ctx: &'a Arc<TaskContext>,
    input: Stream<T>,
    memory: StorageReservation,
}

impl<T: Data> Unroll<'_, T> {
    fn values(mut self) -> Result<Stream<T>, TaskError> {
        let mut builder = PiecesBuilder::new(self.persisted.heap_of);
        while let Some(chunk) = self.input.next_chunk()? {
            builder.push(chunk);
            if !self.memory.resize(builder.bytes()) {
                let pieces = builder.into_pieces();
                if self.persisted.level.use_disk() {
                    return self.disk(VecDeque::new(), pieces, FrameBuilder::default());
                }
                self.no_room();
                let leaving = Leaving { pieces, memory: self.memory };
                return Ok(Chain::stream([Box::new(leaving) as Stream<T>, self.input]));
            }
        }
        self.memory.resize(builder.bytes());
        let pieces = builder.finish();
        self.put(Cached::Values(pieces.clone()));
        Ok(PieceStream::stream(pieces, self.ctx))
    }

    fn frames(mut self) -> Result<Stream<T>, TaskError> {
        let (mut builder, mut frames, mut bytes) = (FrameBuilder::default(), VecDeque::new(), 0);
        while let Some(chunk) = self.input.next_chunk()? {
            for x in chunk.as_slice() {
                if let Some(frame) = builder.push(x)? {
                    bytes += frame.bytes.len() as u64;
                    frames.push_back(frame);
                }
            }
            if !self.memory.resize(bytes + builder.pending()) {
                if self.persisted.level.use_disk() {
                    return self.disk(frames, VecDeque::new(), builder);
                }
                self.no_room();
                frames.extend(builder.finish()?);
                let leaving = FrameSource::Leaving(frames, self.memory);
                let leaving = FrameStream::stream(self.persisted, leaving, self.ctx);
                return Ok(Chain::stream([leaving, self.input]));
            }
        }
        frames.extend(builder.finish()?);
        let frames = Arc::new(Vec::from(frames));
        self.put(Cached::Frames(frames.clone()));
        Ok(FrameStream::stream(self.persisted, FrameSource::memory(frames), self.ctx))
    }

    /// Goes on to disk with what is in memory: whole frames, or pieces of values, and what `builder` has begun.
    fn disk(
        mut self,
        frames: VecDeque<Frame>,
        pieces: VecDeque<Arc<Vec<T>>>,
        builder: FrameBuilder,
    ) -> Result<Stream<T>, TaskError> {
        let mut writer = match self.ctx.services().blocks.write_to_disk(self.persisted.block()) {
            Ok(writer) => writer,
            Err(e) => return self.disk_failed(&e, None, Waiting { frames, pieces, builder, rest: Vec::new() }),
        };
        let mut waiting = Waiting { frames, pieces, builder, rest: Vec::new() };
        if let Err(e) = self.write(&mut writer, &mut waiting)? {
            return self.disk_failed(&e, Some(writer.salvage()), waiting);
        }
        match writer.finish() {
            Ok(block) => {
                self.stored(0);
                let reader = block.read().map_err(TaskError::failed)?;
                Ok(FrameStream::stream(self.persisted, FrameSource::Disk(reader), self.ctx))
            }
            Err((e, salvage)) => self.disk_failed(&e, Some(salvage), waiting),
        }
    }

    /// Writes all that waits and all that is still to come. When the disk fails, what is not written is in `waiting`.
    fn write(
        &mut self,
        writer: &mut DiskWriter,
        waiting: &mut Waiting<T>,
    ) -> Result<Result<(), BlockError>, TaskError> {
        while let Some(frame) = waiting.frames.front() {
            if let Err(e) = writer.write(frame) {
                return Ok(Err(e));
            }
            self.memory.resize(self.memory.held().saturating_sub(frame.bytes.len() as u64));
            waiting.frames.pop_front();
        }
        loop {
            let chunk = match waiting.pieces.pop_front() {
                Some(piece) => {
                    let left = waiting.pieces.len() as u64;
                    self.memory.resize(self.memory.held() / (left + 1) * left);
                    Chunk::Shared(piece.clone(), 0..piece.len())
                }
                None => match self.input.next_chunk()? {
                    Some(chunk) => chunk,
                    None => break,
                },
            };
            for (i, x) in chunk.as_slice().iter().enumerate() {
                let Some(frame) = waiting.builder.push(x)? else { continue };
                if let Err(e) = writer.write(&frame) {
                    waiting.frames.push_back(frame);
                    waiting.rest = chunk.as_slice().get(i + 1..).unwrap_or_default().to_vec();
                    return Ok(Err(e));
                }
            }
        }
        let Some(frame) = waiting.builder.finish()? else { return Ok(Ok(())) };
        let written = writer.write(&frame);
        if written.is_err() {
            waiting.frames.push_back(frame);
        }
        Ok(written)
    }

    /// Streams what was written, what waits and what is still to come; nothing is kept.
    fn disk_failed(
        self,
        error: &BlockError,
        written: Option<Salvage>,
        mut waiting: Waiting<T>,
    ) -> Result<Stream<T>, TaskError> {
        let block = self.persisted.block();
        tracing::warn!(%block, %error, "the partition is not kept on disk");
        let mut parts = Vec::new();
        if let Some(written) = written {
            let reader = written.read().map_err(|e| TaskError::failed(format!("cannot read {block} back: {e}")))?;
            parts.push(FrameStream::stream(self.persisted, FrameSource::Disk(reader), self.ctx));
        }
        waiting.frames.extend(waiting.builder.finish()?);
        let manager = self.ctx.services().blocks.memory_manager().clone();
        let frames = FrameSource::Leaving(waiting.frames, StorageReservation::new(manager, None));
        parts.push(FrameStream::stream(self.persisted, frames, self.ctx));
        waiting.pieces.push_front(Arc::new(waiting.rest));
        parts.push(Box::new(Leaving { pieces: waiting.pieces, memory: self.memory }));
        parts.push(self.input);
        Ok(Chain::stream(parts))
    }

    fn put(&mut self, cached: Cached) {
        let manager = self.ctx.services().blocks.memory_manager().clone();
        let memory = std::mem::replace(&mut self.memory, StorageReservation::new(manager, None));
        let bytes = memory.into_block();
        let level = self.persisted.level;
        self.ctx.services().blocks.memory().put(self.persisted.block(), cached, bytes, level.use_disk());
        self.stored(bytes);
    }

    fn stored(&self, memory_bytes: u64) {
        let (rdd, partition) = (self.persisted.rdd, self.persisted.partition);
        let (ctx, level) = (self.ctx, self.persisted.level);
        let (blocks, wanted) = (&ctx.services().blocks, level.replication().saturating_sub(1));
        let replicas = copy_to_peers(blocks, self.persisted.block(), level, wanted, ctx.peers(), &ctx.abort());
        if (replicas.len() as u32) < wanted {
            let copies = replicas.len();
            tracing::warn!(%rdd, partition, copies, wanted, "fewer copies of the partition are kept than its level asks for");
        }
        self.ctx.cache_updated(CacheUpdate { rdd, partition, stored: true, memory_bytes, replicas });
    }

    fn no_room(&self) {
        let (rdd, partition, bytes) = (self.persisted.rdd, self.persisted.partition, self.memory.held());
        tracing::warn!(%rdd, partition, bytes, "not enough memory to keep the partition; so much of it fitted");
    }
}

/// What is in memory on the way to disk, in the order of the elements.
struct Waiting<T> {
    frames: VecDeque<Frame>,
    pieces: VecDeque<Arc<Vec<T>>>,
    builder: FrameBuilder,
    /// Of the chunk that was being encoded when the disk failed.
    rest: Vec<T>,
}
