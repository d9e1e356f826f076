//! Frames: some tens of kilobytes of whole records, compressed together. A block is a run of frames.
//!
//! ```text
//!  records u32 │ raw length u32 │ stored length u32, bit 31: stored as it is │ stored bytes       (little endian)
//! ```
//!
//! The records are counted because some, such as `()`, take no bytes.

use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size};

/// Bytes before a frame's content.
pub(crate) const HEADER_BYTES: usize = 12;
/// A buffer that has reached this is sealed. Below 64 KiB lz4 gets by with its small table, which stays in the L1 cache.
pub(crate) const FRAME_BYTES: usize = 60 * 1024;
/// Less than this is not worth compressing.
const MIN_COMPRESSED: usize = 128;
const STORED: u32 = 1 << 31;

/// How shuffle data is compressed (`spark.shuffle.compress`, `spark.io.compression.codec`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Compression {
    /// Stored as it is.
    None,
    /// lz4 blocks.
    #[default]
    Lz4,
}

/// Makes frames.
pub(crate) struct FrameEncoder {
    compression: Compression,
    table: CompressTable,
}

impl FrameEncoder {
    pub fn new(compression: Compression) -> FrameEncoder {
        FrameEncoder { compression, table: CompressTable::small() }
    }

    /// Appends a frame with `raw`, the encoding of so many records, as its content.
    pub fn append(&mut self, records: u32, raw: &[u8], out: &mut Vec<u8>) -> Result<(), TooLarge> {
        let raw_len = u32::try_from(raw.len()).ok().filter(|len| len & STORED == 0).ok_or(TooLarge)?;
        let start = out.len();
        out.extend_from_slice(&records.to_le_bytes());
        out.extend_from_slice(&raw_len.to_le_bytes());
        if self.compression == Compression::Lz4 && raw.len() >= MIN_COMPRESSED {
            let body = start + HEADER_BYTES;
            out.resize(body + get_maximum_output_size(raw.len()), 0);
            // It fails only when the output does not fit, and then storing is better anyhow.
            if let Ok(len) = compress_into_with_table(raw, &mut out[body..], &mut self.table)
                && len < raw.len()
            {
                out.truncate(body + len);
                out[start + 8..body].copy_from_slice(&(len as u32).to_le_bytes());
                return Ok(());
            }
            out.truncate(start + 8);
        }
        out.extend_from_slice(&(raw_len | STORED).to_le_bytes());
        out.extend_from_slice(raw);
        Ok(())
    }
}

/// One record has more than 2 GiB.
#[derive(Debug)]
pub(crate) struct TooLarge;

/// A frame found in a block.
pub(crate) struct Frame {
    /// Where its stored bytes are in the block.
    pub stored: std::ops::Range<usize>,
    /// How many records it holds.
    pub records: u32,
    raw_len: usize,
    as_it_is: bool,
}

impl Frame {
    /// How many bytes follow this header of a frame.
    pub fn stored_len(header: &[u8]) -> Option<usize> {
        let stored = header.get(8..HEADER_BYTES)?.first_chunk::<4>()?;
        // The highest bit says how they are stored.
        Some((u32::from_le_bytes(*stored) & !(1 << 31)) as usize)
    }

    /// The frame that starts at `at`.
    pub fn find(block: &[u8], at: usize) -> Result<Frame, String> {
        let broken = || format!("no frame at byte {at} of a block of {} bytes", block.len());
        let (records, rest) = block.get(at..).and_then(|b| b.split_first_chunk::<4>()).ok_or_else(broken)?;
        let (raw_len, rest) = rest.split_first_chunk::<4>().ok_or_else(broken)?;
        let (stored, rest) = rest.split_first_chunk::<4>().ok_or_else(broken)?;
        let raw_len = u32::from_le_bytes(*raw_len) as usize;
        let stored = u32::from_le_bytes(*stored);
        let (as_it_is, len) = (stored & STORED != 0, (stored & !STORED) as usize);
        // lz4 makes at most 255 bytes of one: a larger claim is none to allocate for.
        if rest.len() < len || raw_len > len.saturating_mul(255) || (as_it_is && raw_len != len) {
            return Err(broken());
        }
        let start = at + HEADER_BYTES;
        let records = u32::from_le_bytes(*records);
        Ok(Frame { records, stored: start..start + len, raw_len, as_it_is })
    }

    /// Whether the stored bytes are the content.
    pub fn is_raw(&self) -> bool {
        self.as_it_is
    }

    /// Decompresses `stored` into `out`, which it overwrites.
    pub fn decompress(&self, stored: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        // Only what is new is zeroed: the buffer serves frame after frame.
        out.resize(self.raw_len, 0);
        match decompress_into(stored, out) {
            Ok(len) if len == self.raw_len => Ok(()),
            Ok(len) => Err(format!("a frame of {} bytes decompressed to {len}", self.raw_len)),
            Err(e) => Err(format!("a frame cannot be decompressed: {e}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frames_come_back_as_they_were(
            contents in prop::collection::vec(prop::collection::vec(0u8..4, 0..2000), 0..5), lz4: bool,
        ) {
            let mut encoder = FrameEncoder::new(if lz4 { Compression::Lz4 } else { Compression::None });
            let mut block = Vec::new();
            contents.iter().for_each(|c| encoder.append(7, c, &mut block).unwrap());
            let (mut at, mut out) = (0, Vec::new());
            for content in &contents {
                let frame = Frame::find(&block, at).unwrap();
                let stored = &block[frame.stored.clone()];
                prop_assert_eq!(frame.records, 7);
                if frame.is_raw() {
                    prop_assert_eq!(stored, content);
                } else {
                    frame.decompress(stored, &mut out).unwrap();
                    prop_assert_eq!(&out, content);
                }
                at = frame.stored.end;
            }
            prop_assert_eq!(at, block.len());
        }

        #[test]
        fn random_bytes_are_refused_without_a_panic(block: Vec<u8>) {
            if let Ok(frame) = Frame::find(&block, 0) && !frame.is_raw() {
                let _ = frame.decompress(&block[frame.stored.clone()], &mut Vec::new());
            }
        }
    }
}
