//! Memory that serves block after block. Used by the fetching side here, and by `shuffle` for its own files.

use std::ops::Deref;

/// The bytes of the current block. Their memory is zeroed when it is first taken and never again.
#[derive(Default)]
pub struct BlockBuffer {
    /// What is beyond `len` is left from earlier blocks.
    bytes: Vec<u8>,
    len: usize,
}

impl BlockBuffer {
    /// An empty buffer without memory.
    pub fn new() -> BlockBuffer {
        BlockBuffer::default()
    }

    /// Forgets the block and keeps the memory.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Makes room for a block of `len` bytes in place of the present one, and returns it; what it holds means nothing.
    pub fn start(&mut self, len: usize) -> &mut [u8] {
        if self.bytes.len() < len {
            // Zeroed memory of the system costs nothing before bytes arrive for it, and what was there need not move.
            self.bytes = Vec::new();
            self.bytes = vec![0; len];
        }
        self.len = len;
        &mut self.bytes[..len]
    }

    /// Makes the block `len` bytes long and returns what comes after its first `kept` bytes.
    pub fn extend(&mut self, kept: usize, len: usize) -> &mut [u8] {
        if self.bytes.len() < len {
            self.bytes.resize(len, 0);
        }
        self.len = len;
        &mut self.bytes[kept..len]
    }

    /// Drops all but the bytes from `from` on, which move to the start.
    pub fn keep_from(&mut self, from: usize) {
        self.bytes.copy_within(from..self.len, 0);
        self.len -= from;
    }

    /// Gives memory back: at most `limit` bytes stay, and the block is forgotten.
    pub fn shrink_to(&mut self, limit: usize) {
        self.len = 0;
        if self.bytes.len() > limit {
            self.bytes = Vec::new();
        }
    }

    /// Bytes of memory that it has.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// The block alone.
    pub fn into_vec(mut self) -> Vec<u8> {
        self.bytes.truncate(self.len);
        self.bytes
    }
}

impl Deref for BlockBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_stays_and_bytes_are_those_of_the_block() {
        let mut buffer = BlockBuffer::new();
        buffer.start(4).copy_from_slice(b"abcd");
        assert_eq!(&*buffer, b"abcd");
        let memory = buffer.as_ptr();
        buffer.start(2).copy_from_slice(b"xy");
        assert_eq!((&*buffer, buffer.as_ptr()), (&b"xy"[..], memory));
        buffer.extend(2, 5).copy_from_slice(b"123");
        buffer.keep_from(1);
        assert_eq!(&*buffer, b"y123");
        assert_eq!(buffer.into_vec(), b"y123");
    }
}
