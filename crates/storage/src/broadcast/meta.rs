//! What an executor must know of a broadcast value to fetch it. Travels in the value's place.

use std::ops::Range;

use bytes::Bytes;
use firesteel_common::BroadcastId;
use serde::{Deserialize, Serialize};

use crate::BlockId;

/// Describes the pieces of a broadcast value.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct BroadcastMeta {
    /// Which value.
    pub id: BroadcastId,
    /// Bytes of all pieces together, before compression.
    pub len: u64,
    /// Bytes of a piece before compression; the last one may be shorter. Not zero unless `len` is.
    pub piece_bytes: u64,
    /// CRC-32C of each piece as it is sent; empty without `spark.broadcast.checksum`.
    pub checksums: Vec<u32>,
    /// `host:port` of the driver's block server; empty where driver and executor are one process.
    pub source: String,
}

impl BroadcastMeta {
    /// Describes `pieces`, which hold `len` bytes in runs of `piece_bytes`.
    pub fn of(id: BroadcastId, len: u64, piece_bytes: u64, pieces: &[Bytes], checksum: bool, source: &str) -> Self {
        let checksums = if checksum { pieces.iter().map(|p| crc32c::crc32c(p)).collect() } else { Vec::new() };
        BroadcastMeta { id, len, piece_bytes, checksums, source: source.to_owned() }
    }

    /// Number of pieces.
    pub fn pieces(&self) -> u32 {
        u32::try_from(self.len.div_ceil(self.piece_bytes.max(1))).unwrap_or(u32::MAX)
    }

    /// Where a piece lies in the value's bytes.
    pub fn range(&self, piece: u32) -> Range<u64> {
        let start = u64::from(piece) * self.piece_bytes;
        start..(start + self.piece_bytes).min(self.len)
    }

    /// The name of a piece.
    pub fn block(&self, piece: u32) -> BlockId {
        BlockId::Broadcast { broadcast: self.id, piece }
    }

    /// Whether pieces are checked as they come.
    pub(crate) fn has_checksums(&self) -> bool {
        !self.checksums.is_empty()
    }

    /// Says what is wrong with a piece that came, by its CRC-32C.
    pub(crate) fn check(&self, piece: u32, actual: u32) -> Result<(), String> {
        let Some(expected) = self.checksums.get(piece as usize) else { return Ok(()) };
        if actual == *expected {
            return Ok(());
        }
        Err(format!("it is corrupt: its CRC-32C is {actual:08x} where {expected:08x} was written"))
    }
}
