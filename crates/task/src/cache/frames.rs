//! A kept partition as frames of encoded elements, in memory or in a file, read chunk by chunk.

use std::{collections::VecDeque, fs::File, io::BufReader, sync::Arc};

use firesteel_common::{Data, RddId, TaskFailure};
use firesteel_storage::{BlockId, Frame, FrameReader, storage_reservation::StorageReservation};

use super::persisted::Persisted;
use crate::{
    chunk::{Chunk, ChunkStream, Stream},
    context::TaskContext,
    error::TaskError,
    frames::FrameElements,
};

/// Where frames come from.
pub(super) enum FrameSource {
    /// They are kept in memory.
    Memory(Arc<Vec<Frame>>, usize),
    /// They are handed on, with their memory.
    Leaving(VecDeque<Frame>, StorageReservation),
    /// They are in a file.
    Disk(FrameReader<BufReader<File>>),
}

impl FrameSource {
    pub fn memory(frames: Arc<Vec<Frame>>) -> Self {
        FrameSource::Memory(frames, 0)
    }

    fn next_frame(&mut self) -> std::io::Result<Option<Frame>> {
        match self {
            FrameSource::Memory(frames, next) => {
                *next += 1;
                Ok(frames.get(*next - 1).cloned())
            }
            FrameSource::Leaving(frames, memory) => {
                let frame = frames.pop_front();
                if let Some(frame) = &frame {
                    memory.resize(memory.held().saturating_sub(frame.bytes.len() as u64));
                }
                Ok(frame)
            }
            FrameSource::Disk(reader) => reader.next_frame(),
        }
    }
}

/// Decodes frames a chunk at a time.
pub(super) struct FrameStream<T> {
    rdd: RddId,
    partition: u32,
    /// The executor's block server that it came from; empty for this one.
    address: String,
    source: FrameSource,
    elements: FrameElements<T>,
    ctx: Arc<TaskContext>,
}

impl<T: Data> FrameStream<T> {
    /// Streams the elements of a partition, which is dropped when it turns out to be damaged.
    pub fn stream(persisted: &Persisted<T>, source: FrameSource, ctx: &Arc<TaskContext>) -> Stream<T> {
        Self::fetched(persisted, source, String::new(), ctx)
    }

    /// Streams the elements of a partition that came from the executor at `address`; damage is told to the driver.
    pub fn fetched(
        persisted: &Persisted<T>,
        source: FrameSource,
        address: String,
        ctx: &Arc<TaskContext>,
    ) -> Stream<T> {
        let (rdd, partition, elements) = (persisted.rdd, persisted.partition, FrameElements::default());
        Box::new(FrameStream { rdd, partition, address, source, elements, ctx: ctx.clone() })
    }

    /// What is damaged is dropped, so that the next attempt computes it: here at once, elsewhere by the driver.
    #[cold]
    fn damaged(&self, message: impl std::fmt::Display) -> TaskError {
        let (rdd, partition) = (self.rdd, self.partition);
        if self.address.is_empty() {
            drop_damaged(BlockId::Rdd { rdd, partition }, &self.ctx);
        }
        let (address, message) = (self.address.clone(), message.to_string());
        TaskFailure::CachedPartitionDamaged { rdd, partition, address, message }.into()
    }
}

impl<T: Data> ChunkStream<T> for FrameStream<T> {
    fn next_chunk(&mut self) -> Result<Option<Chunk<T>>, TaskError> {
        self.ctx.kill().check()?;
        while self.elements.is_empty() {
            match self.source.next_frame() {
                Ok(Some(frame)) => self.elements.refill(frame),
                Ok(None) => return Ok(None),
                Err(e) => return Err(self.damaged(e)),
            }
        }
        let chunk = self.elements.next_chunk().map_err(|e| self.damaged(e))?;
        Ok(Some(Chunk::Owned(chunk)))
    }
}

/// Drops what cannot be read, and has the driver know.
pub(super) fn drop_damaged(block: BlockId, ctx: &TaskContext) {
    ctx.services().blocks.remove(&block);
    ctx.services().blocks.memory().note_dropped(block);
}
