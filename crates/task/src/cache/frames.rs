//! A partition as frames of encoded elements, in memory or in a file: made element by element, read chunk by chunk.

use std::{collections::VecDeque, fs::File, io::BufReader, marker::PhantomData, mem::take, sync::Arc};

use bytes::{Buf as _, Bytes};
use firesteel_common::{Data, RddId, TaskFailure, codec};
use firesteel_storage::{BlockId, Frame, FrameReader, storage_reservation::StorageReservation};
use serde::{Serialize, de::DeserializeOwned};

use super::persisted::Persisted;
use crate::{
    chunk::{CHUNK, Chunk, ChunkStream, Stream},
    context::TaskContext,
    error::TaskError,
};

/// A frame is done when it has so many bytes: one is in memory at a time where a file is read.
const FRAME_BYTES: usize = 256 << 10;

/// Encodes elements into frames.
#[derive(Default)]
pub(super) struct FrameBuilder {
    buffer: Vec<u8>,
    elements: u32,
}

impl FrameBuilder {
    /// One more element, and the frame that is full with it.
    #[inline]
    pub fn push<T: Serialize + DeserializeOwned>(&mut self, x: &T) -> Result<Option<Frame>, TaskError> {
        codec::encode_into(x, &mut self.buffer)?;
        self.elements += 1;
        // The second bound is for elements without bytes.
        if self.buffer.len() < FRAME_BYTES && self.elements < 1 << 24 { Ok(None) } else { self.finish() }
    }

    /// The frame of what is left.
    pub fn finish(&mut self) -> Result<Option<Frame>, TaskError> {
        if self.elements == 0 {
            return Ok(None);
        }
        if u32::try_from(self.buffer.len()).is_err() {
            return Err(TaskError::failed("an element of 4 GiB or more cannot be kept as bytes"));
        }
        let elements = take(&mut self.elements);
        if self.buffer.len() > 2 * FRAME_BYTES {
            // A large element is not copied, and its buffer does not stay.
            return Ok(Some(Frame { elements, bytes: take(&mut self.buffer).into() }));
        }
        let bytes = Bytes::copy_from_slice(&self.buffer);
        self.buffer.clear();
        Ok(Some(Frame { elements, bytes }))
    }

    /// Bytes that are not in a frame yet.
    pub fn pending(&self) -> u64 {
        self.buffer.len() as u64
    }
}

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
    current: Frame,
    ctx: Arc<TaskContext>,
    elements: PhantomData<fn() -> T>,
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
        let current = Frame { elements: 0, bytes: Bytes::new() };
        let (rdd, partition) = (persisted.rdd, persisted.partition);
        Box::new(FrameStream { rdd, partition, address, source, current, ctx: ctx.clone(), elements: PhantomData })
    }

    fn decode(&mut self) -> Result<Vec<T>, codec::CodecError> {
        let count = (self.current.elements as usize).min(CHUNK);
        let (mut out, mut bytes) = (Vec::with_capacity(count), &self.current.bytes[..]);
        for _ in 0..count {
            let (x, used) = codec::decode_prefix(bytes)?;
            bytes = &bytes[used..];
            out.push(x);
        }
        let used = self.current.bytes.len() - bytes.len();
        self.current.bytes.advance(used);
        self.current.elements -= count as u32;
        Ok(out)
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
        while self.current.elements == 0 {
            match self.source.next_frame() {
                Ok(Some(frame)) => self.current = frame,
                Ok(None) => return Ok(None),
                Err(e) => return Err(self.damaged(e)),
            }
        }
        let chunk = self.decode().map_err(|e| self.damaged(e))?;
        Ok(Some(Chunk::Owned(chunk)))
    }
}

/// Drops what cannot be read, and has the driver know.
pub(super) fn drop_damaged(block: BlockId, ctx: &TaskContext) {
    ctx.services().blocks.remove(&block);
    ctx.services().blocks.memory().note_dropped(block);
}
