//! Bytes that a message carries, or says where to find.

use bytes::Bytes;
use firesteel_common::BroadcastId;

/// Bytes, or where to fetch them when they are larger than a message may carry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payload {
    /// In the message itself.
    Inline(Bytes),
    /// In pieces of the driver's, which executors that have them pass on.
    Broadcast(BroadcastRef),
}

/// The pieces of a value that travels as broadcast values do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BroadcastRef {
    /// Its number.
    pub broadcast: BroadcastId,
    /// Bytes in all.
    pub size: u64,
    /// Bytes of each piece but the last.
    pub piece_bytes: u64,
    /// CRC-32C of each piece.
    pub checksums: Vec<u32>,
    /// host:port of the driver's block server.
    pub address: String,
}
