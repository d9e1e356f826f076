//! Elements in frames, as kept partitions and checkpoints lie: made element by element, read chunk by chunk.

use std::{marker::PhantomData, mem::take};

use bytes::{Buf as _, Bytes};
use firesteel_common::codec;
use firesteel_storage::Frame;
use serde::{Serialize, de::DeserializeOwned};

use crate::{chunk::CHUNK, error::TaskError};

/// A frame is done when it has so many bytes: one is in memory at a time where a file is read.
pub const FRAME_BYTES: usize = 256 << 10;

/// Encodes elements into frames.
#[derive(Default)]
pub struct FrameBuilder {
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

/// Decodes the elements of one frame after the other, a chunk at a time.
pub struct FrameElements<T> {
    current: Frame,
    elements: PhantomData<fn() -> T>,
}

impl<T> Default for FrameElements<T> {
    fn default() -> Self {
        FrameElements { current: Frame { elements: 0, bytes: Bytes::new() }, elements: PhantomData }
    }
}

impl<T: DeserializeOwned> FrameElements<T> {
    /// Whether the next frame is wanted.
    pub fn is_empty(&self) -> bool {
        self.current.elements == 0
    }

    /// Takes the next frame, in the place of what is left.
    pub fn refill(&mut self, frame: Frame) {
        self.current = frame;
    }

    /// Up to [`CHUNK`] elements. What follows an error is not decoded.
    pub fn next_chunk(&mut self) -> Result<Vec<T>, codec::CodecError> {
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
}
