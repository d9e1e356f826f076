//! Frames: some tens of kilobytes of whole records, compressed together. A block is a run of frames.
//!
//! ```text
//!  records u32 │ raw length u32, bit 31: codec │ stored length u32, bit 31: codec │ stored bytes       (little endian)
//! ```
//!
//! The records are counted because some, such as `()`, take no bytes. The two bits say how this very frame is stored, so
//! that a frame which does not shrink is stored as it is.

use std::cell::RefCell;

use firesteel_common::conf::{Conf, ConfError, Source, keys};
use lz4_flex::block::{CompressTable, compress_into_with_table, decompress_into, get_maximum_output_size};

/// Bytes before a frame's content.
pub(crate) const HEADER_BYTES: usize = 12;
/// A buffer that has reached this is sealed. Below 64 KiB lz4 gets by with its small table, which stays in the L1 cache.
pub(crate) const FRAME_BYTES: usize = 60 * 1024;
/// Less than this is not worth compressing.
const MIN_COMPRESSED: usize = 128;
/// So many frames at most are stored as they are, untried, after one that did not shrink.
const MAX_UNTRIED: u32 = 15;
const BIT: u32 = 1 << 31;

/// How shuffle data and spilled data are compressed (`spark.io.compression.codec`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Compression {
    /// Stored as it is.
    None,
    /// lz4 blocks.
    #[default]
    Lz4,
    /// Zstandard, each frame by itself.
    Zstd {
        /// `spark.io.compression.zstd.level`.
        level: i32,
    },
    /// Snappy, raw format.
    Snappy,
}

impl Compression {
    /// The codec that the configuration names.
    ///
    /// # Errors
    /// When a value cannot be read, or zstd has no such level.
    pub fn from_conf(conf: &Conf) -> Result<Compression, ConfError> {
        Ok(match conf.get(&keys::IO_COMPRESSION_CODEC)?.as_str() {
            "none" => Compression::None,
            "zstd" => {
                let key = &keys::IO_COMPRESSION_ZSTD_LEVEL;
                let (level, most) = (conf.get(key)?, *zstd::compression_level_range().end());
                let level = i32::try_from(level).ok().filter(|level| *level <= most).ok_or(ConfError::Invalid {
                    key: key.name().to_owned(),
                    value: level.to_string(),
                    origin: conf.source(key.name()).cloned().unwrap_or(Source::Default),
                    reason: format!("zstd has levels up to {most}"),
                })?;
                Compression::Zstd { level }
            }
            "snappy" => Compression::Snappy,
            _ => Compression::Lz4,
        })
    }
}

/// How one frame is stored, as the two bits say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stored {
    AsItIs,
    Lz4,
    Zstd,
    Snappy,
}

impl Stored {
    /// The bits at the raw length and at the stored length.
    fn bits(self) -> (u32, u32) {
        match self {
            Stored::Lz4 => (0, 0),
            Stored::AsItIs => (0, BIT),
            Stored::Zstd => (BIT, 0),
            Stored::Snappy => (BIT, BIT),
        }
    }

    fn of_bits(raw: u32, stored: u32) -> Stored {
        match (raw & BIT != 0, stored & BIT != 0) {
            (false, false) => Stored::Lz4,
            (false, true) => Stored::AsItIs,
            (true, false) => Stored::Zstd,
            (true, true) => Stored::Snappy,
        }
    }

    /// More than this the codec cannot make of one byte: a larger claim is none to allocate for.
    fn most_of_one_byte(self) -> usize {
        match self {
            Stored::AsItIs => 1,
            Stored::Lz4 => 255,
            Stored::Snappy => 64,
            // A block of 128 KiB of one repeated byte takes four bytes.
            Stored::Zstd => 1 << 16,
        }
    }
}

enum Codec {
    None,
    Lz4(Box<CompressTable>),
    Zstd(Box<zstd::bulk::Compressor<'static>>),
    Snappy(Box<snap::raw::Encoder>),
}

/// Makes frames.
pub(crate) struct FrameEncoder {
    codec: Codec,
    /// Frames that are stored untried, and how many the next one that does not shrink costs.
    untried: u32,
    penalty: u32,
}

impl FrameEncoder {
    pub fn new(compression: Compression) -> FrameEncoder {
        let codec = match compression {
            Compression::None => Codec::None,
            Compression::Lz4 => Codec::Lz4(Box::new(CompressTable::small())),
            Compression::Snappy => Codec::Snappy(Box::new(snap::raw::Encoder::new())),
            // It fails only where the level is none, which `Compression::from_conf` looks at.
            Compression::Zstd { level } => {
                zstd::bulk::Compressor::new(level).map_or(Codec::None, |c| Codec::Zstd(Box::new(c)))
            }
        };
        FrameEncoder { codec, untried: 0, penalty: 0 }
    }

    /// Appends a frame with `raw`, the encoding of so many records, as its content.
    pub fn append(&mut self, records: u32, raw: &[u8], out: &mut Vec<u8>) -> Result<(), TooLarge> {
        let raw_len = u32::try_from(raw.len()).ok().filter(|len| len & BIT == 0).ok_or(TooLarge)?;
        let start = out.len();
        out.extend_from_slice(&records.to_le_bytes());
        out.extend_from_slice(&raw_len.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        let body = start + HEADER_BYTES;
        let stored = match self.compress(raw, body, out) {
            Some(stored) => stored,
            None => {
                out.truncate(body);
                out.extend_from_slice(raw);
                Stored::AsItIs
            }
        };
        let (raw_bit, stored_bit) = stored.bits();
        let len = (out.len() - body) as u32;
        out[start + 4..start + 8].copy_from_slice(&(raw_len | raw_bit).to_le_bytes());
        out[start + 8..body].copy_from_slice(&(len | stored_bit).to_le_bytes());
        Ok(())
    }

    /// Puts `raw`, compressed, at `body`; none when that is not worth it.
    fn compress(&mut self, raw: &[u8], body: usize, out: &mut Vec<u8>) -> Option<Stored> {
        if raw.len() < MIN_COMPRESSED || matches!(self.codec, Codec::None) {
            return None;
        }
        if self.untried > 0 {
            self.untried -= 1;
            return None;
        }
        let most = match &self.codec {
            Codec::Snappy(_) => snap::raw::max_compress_len(raw.len()),
            Codec::Zstd(_) => zstd::zstd_safe::compress_bound(raw.len()),
            _ => get_maximum_output_size(raw.len()),
        };
        out.resize(body + most, 0);
        let room = &mut out[body..];
        // They fail only when the output does not fit, and then storing is better anyhow.
        let (len, stored) = match &mut self.codec {
            Codec::None => (None, Stored::AsItIs),
            Codec::Lz4(table) => (compress_into_with_table(raw, room, table).ok(), Stored::Lz4),
            Codec::Zstd(zstd) => (zstd.compress_to_buffer(raw, room).ok(), Stored::Zstd),
            Codec::Snappy(snappy) => (snappy.compress(raw, room).ok(), Stored::Snappy),
        };
        // Less than a sixteenth saved does not pay for decompressing.
        let len = len.filter(|len| *len <= raw.len() - raw.len() / 16);
        let Some(len) = len else {
            self.penalty = (2 * self.penalty + 1).min(MAX_UNTRIED);
            self.untried = self.penalty;
            return None;
        };
        self.penalty = 0;
        out.truncate(body + len);
        Some(stored)
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
    how: Stored,
}

thread_local! {
    /// A context takes long to make and is needed for each frame.
    static ZSTD: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
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
        let (raw_len, stored) = (u32::from_le_bytes(*raw_len), u32::from_le_bytes(*stored));
        let how = Stored::of_bits(raw_len, stored);
        let (raw_len, len) = ((raw_len & !BIT) as usize, (stored & !BIT) as usize);
        let too_much = raw_len > len.saturating_mul(how.most_of_one_byte());
        if rest.len() < len || too_much || (how == Stored::AsItIs && raw_len != len) {
            return Err(broken());
        }
        let start = at + HEADER_BYTES;
        let records = u32::from_le_bytes(*records);
        Ok(Frame { records, stored: start..start + len, raw_len, how })
    }

    /// Whether the stored bytes are the content.
    pub fn is_raw(&self) -> bool {
        self.how == Stored::AsItIs
    }

    /// Decompresses `stored` into `out`, which it overwrites.
    pub fn decompress(&self, stored: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
        // Only what is new is zeroed: the buffer serves frame after frame.
        out.resize(self.raw_len, 0);
        let len = match self.how {
            Stored::AsItIs => {
                out.copy_from_slice(stored);
                Ok(stored.len())
            }
            Stored::Lz4 => decompress_into(stored, out).map_err(|e| e.to_string()),
            Stored::Snappy => snap::raw::Decoder::new().decompress(stored, out).map_err(|e| e.to_string()),
            Stored::Zstd => ZSTD.with_borrow_mut(|context| {
                let context = match context {
                    Some(context) => context,
                    None => context.insert(zstd::bulk::Decompressor::new().map_err(|e| e.to_string())?),
                };
                context.decompress_to_buffer(stored, out.as_mut_slice()).map_err(|e| e.to_string())
            }),
        };
        match len {
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

    const ALL: [Compression; 4] =
        [Compression::None, Compression::Lz4, Compression::Zstd { level: 1 }, Compression::Snappy];

    proptest! {
        #[test]
        fn frames_come_back_as_they_were(
            contents in prop::collection::vec(prop::collection::vec(0u8..4, 0..2000), 0..5), codec in 0..4usize,
        ) {
            let mut encoder = FrameEncoder::new(ALL[codec]);
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

    #[test]
    fn what_shrinks_shrinks_with_every_codec() {
        for codec in &ALL[1..] {
            let mut block = Vec::new();
            FrameEncoder::new(*codec).append(1, &[7; 50_000], &mut block).unwrap();
            assert!(block.len() < 5000, "{codec:?}: {}", block.len());
            let (frame, mut out) = (Frame::find(&block, 0).unwrap(), Vec::new());
            frame.decompress(&block[frame.stored.clone()], &mut out).unwrap();
            assert_eq!(out, [7; 50_000]);
        }
    }

    #[test]
    fn compressing_is_tried_again_after_data_that_does_not_shrink() {
        let mut state = 1u64;
        let noise: Vec<u8> = (0..8000)
            .map(|_| {
                state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
                (state >> 56) as u8
            })
            .collect();
        let mut encoder = FrameEncoder::new(Compression::Lz4);
        let mut block = Vec::new();
        (0..40).for_each(|_| encoder.append(1, &noise, &mut block).unwrap());
        assert_eq!(block.len(), 40 * (8000 + HEADER_BYTES));
        block.clear();
        (0..40).for_each(|_| encoder.append(1, &[1; 8000], &mut block).unwrap());
        assert!(block.len() < 20 * 8000, "{}", block.len());
    }
}
