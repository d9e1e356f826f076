//! Encoded elements in pieces that can be read one after the other: how partitions lie on disk and travel.
//!
//! ```text
//!  frame:  elements u32, length u32, crc32c u32, payload        (little endian)
//!  end:    elements u32::MAX, length 8, crc32c, all elements u64
//! ```
//!
//! What the payload means is the business of `rdd`. Called by the stores and by `rdd`'s cache.

use std::io::{self, Read, Write};

use bytes::Bytes;

const HEADER: usize = 12;
const END: u32 = u32::MAX;

/// Some encoded elements.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// How many.
    pub elements: u32,
    /// Their encoding.
    pub bytes: Bytes,
}

/// Writes frames and the mark of their end.
pub struct FrameWriter<W> {
    out: W,
    elements: u64,
    written: u64,
}

impl<W: Write> FrameWriter<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        FrameWriter { out, elements: 0, written: 0 }
    }

    /// Goes on in `out`, which has what this one has written.
    pub(crate) fn moved_to<V: Write>(&self, out: V) -> FrameWriter<V> {
        FrameWriter { out, elements: self.elements, written: self.written }
    }

    /// What is written to.
    pub(crate) fn get_ref(&self) -> &W {
        &self.out
    }

    /// Writes one frame.
    pub fn write(&mut self, frame: &Frame) -> io::Result<()> {
        self.put(frame.elements, &frame.bytes)?;
        self.elements += u64::from(frame.elements);
        Ok(())
    }

    /// Writes the end and returns what was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.end()?;
        Ok(self.out)
    }

    /// Writes the end, which counts as no frame.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        let (elements, written) = (self.elements, self.written);
        let ended = self.put(END, &elements.to_le_bytes()).and_then(|()| self.out.flush());
        self.written = written;
        ended
    }

    /// What is written to, without an end.
    pub fn into_inner(self) -> W {
        self.out
    }

    /// Bytes of all frames that were written whole.
    pub fn written(&self) -> u64 {
        self.written
    }

    fn put(&mut self, elements: u32, payload: &[u8]) -> io::Result<()> {
        let len = u32::try_from(payload.len())
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a frame of 4 GiB or more"))?;
        let mut header = [0; HEADER];
        header[..4].copy_from_slice(&elements.to_le_bytes());
        header[4..8].copy_from_slice(&len.to_le_bytes());
        header[8..].copy_from_slice(&crc32c::crc32c(payload).to_le_bytes());
        self.out.write_all(&header)?;
        self.out.write_all(payload)?;
        self.written += (HEADER + payload.len()) as u64;
        Ok(())
    }
}

/// Reads frames, one in memory at a time, and checks them.
pub struct FrameReader<R> {
    input: R,
    elements: u64,
    /// Bytes that may follow, which bound what a damaged length makes us reserve.
    left: u64,
    /// The input is cut off after whole frames and has no end mark.
    unfinished: bool,
    ended: bool,
}

impl<R: Read> FrameReader<R> {
    /// Reads what a [`FrameWriter`] has finished, `len` bytes.
    pub fn new(input: R, len: u64) -> Self {
        FrameReader { input, elements: 0, left: len, unfinished: false, ended: false }
    }

    /// Reads the frames of a [`FrameWriter`] that was not finished, `len` bytes.
    pub fn unfinished(input: R, len: u64) -> Self {
        FrameReader { unfinished: true, ..Self::new(input, len) }
    }

    /// The next frame; None at the end. `InvalidData` is damage.
    pub fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        if self.ended || (self.unfinished && self.left == 0) {
            return Ok(None);
        }
        let mut header = [0; HEADER];
        self.fill(&mut header)?;
        let word = |at: usize| header[at..at + 4].iter().rev().fold(0u32, |n, b| n << 8 | u32::from(*b));
        let (elements, len, crc32c) = (word(0), word(4), word(8));
        if u64::from(len) > self.left {
            return Err(damaged(format!("a frame of {len} bytes where {} are left", self.left)));
        }
        let mut payload = vec![0; len as usize];
        self.fill(&mut payload)?;
        let actual = crc32c::crc32c(&payload);
        if actual != crc32c {
            return Err(damaged(format!("a frame's CRC-32C is {actual:08x}, {crc32c:08x} was written")));
        }
        if elements == END {
            self.ended = true;
            if payload != self.elements.to_le_bytes() {
                return Err(damaged(format!("{} elements were read, which is not what was written", self.elements)));
            }
            return Ok(None);
        }
        self.elements += u64::from(elements);
        Ok(Some(Frame { elements, bytes: payload.into() }))
    }

    fn fill(&mut self, out: &mut [u8]) -> io::Result<()> {
        self.input.read_exact(out).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => damaged("it is cut off".to_owned()),
            _ => e,
        })?;
        self.left = self.left.saturating_sub(out.len() as u64);
        Ok(())
    }
}

fn damaged(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Vec<Frame> {
        (1..4u8).map(|n| Frame { elements: u32::from(n), bytes: vec![n; 10 * usize::from(n)].into() }).collect()
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<Frame>> {
        let mut reader = FrameReader::new(bytes, bytes.len() as u64);
        let mut all = Vec::new();
        while let Some(frame) = reader.next_frame()? {
            all.push(frame);
        }
        Ok(all)
    }

    #[test]
    fn frames_come_back_and_any_damage_is_seen() {
        let mut writer = FrameWriter::new(Vec::new());
        frames().iter().for_each(|f| writer.write(f).unwrap());
        let whole = writer.written();
        let bytes = writer.finish().unwrap();
        assert_eq!(read(&bytes).unwrap(), frames());
        for at in 0..bytes.len() {
            assert!(read(&bytes[..at]).is_err(), "cut off at {at}");
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            // The number of elements in a frame is checked by the end, its bytes by the sum.
            assert!(read(&damaged).is_err(), "a bit of byte {at}");
        }
        let mut reader = FrameReader::unfinished(bytes.as_slice(), whole);
        assert_eq!(std::iter::from_fn(|| reader.next_frame().unwrap()).collect::<Vec<_>>(), frames());
    }
}
