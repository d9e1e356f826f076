//! Where a [`crate::BlockServer`] gets what it is asked for: a trait for each thing that a process may be able to do.

use std::{fs::File, path::PathBuf, sync::Arc};

use bytes::Bytes;
use firesteel_common::{BroadcastId, ExecutorId, ShuffleId, TaskId};

use crate::{BlockError, BlockId, Served, StorageLevel, broadcast::Pieces};

/// A block that is ready to be sent.
#[derive(Clone, Debug)]
pub enum BlockData {
    /// In memory.
    Bytes(Bytes),
    /// In memory, with the checksum that it had when it was written.
    Summed {
        /// The block.
        bytes: Bytes,
        /// CRC-32C of those bytes.
        crc32c: u32,
    },
    /// In memory; the receiver has a checksum of its own.
    Unchecked(Bytes),
    /// A range of a file.
    File {
        /// The open file.
        file: Arc<File>,
        /// Its name, for error texts.
        path: PathBuf,
        /// Where the block starts.
        offset: u64,
        /// Its length in bytes.
        len: u64,
        /// CRC-32C of those bytes, where it is known; without it the receiver has its own way to check them.
        crc32c: Option<u32>,
    },
}

impl BlockData {
    /// The block's length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            BlockData::Bytes(bytes) | BlockData::Unchecked(bytes) | BlockData::Summed { bytes, .. } => {
                bytes.len() as u64
            }
            BlockData::File { len, .. } => *len,
        }
    }

    /// Whether the block has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Something that has blocks.
pub trait BlockSource: Send + Sync {
    /// Opens a block; [`BlockError::NotFound`] when this source does not have it.
    fn open(&self, id: &BlockId) -> Result<BlockData, BlockError>;
}

/// Has pieces of broadcast values: the driver and its executors.
pub trait BroadcastPieces: Send + Sync {
    /// Which pieces of a value are here, once there are more than `known` or after a moment; `None` when the value is not
    /// known here.
    fn pieces(&self, broadcast: BroadcastId, known: u32) -> Option<Pieces>;
}

/// Knows who has pieces of broadcast values: the driver.
pub trait BroadcastHolders: Send + Sync {
    /// `host:port` of the block servers of some others that have pieces of a value or are getting them; `asker` is one of
    /// them from now on. `None` when there is no such value.
    fn holders(&self, broadcast: BroadcastId, asker: ExecutorId) -> Option<Vec<String>>;
}

/// Keeps copies of cached partitions for others: executors.
pub trait Replicas: Send + Sync {
    /// Fetches a cached partition from the block server at `from` and keeps it at `level`.
    fn replicate(&self, id: BlockId, level: StorageLevel, from: &str) -> Result<(), NotReplicated>;
}

/// Takes map outputs over from others: executors.
pub trait MapOutputs: Send + Sync {
    /// Fetches all that a map task wrote from the block server at `from`, and serves it from then on.
    fn adopt(&self, shuffle: ShuffleId, map_task: TaskId, from: &str) -> Result<(), NotAdopted>;
}

/// Serves the shuffle files of executors that may be gone: shuffle services.
pub trait ShuffleFiles: Send + Sync {
    /// Removes the files of a shuffle.
    fn remove_shuffle(&self, shuffle: ShuffleId) -> Result<(), NotRemoved>;
}

/// A copy of a cached partition was not made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{id} is not replicated: {reason}")]
pub struct NotReplicated {
    /// The block's name.
    pub id: BlockId,
    /// The reason, in words for people.
    pub reason: String,
}

/// A map output was not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the output of {map_task} for {shuffle} is not taken: {reason}")]
pub struct NotAdopted {
    /// Of which shuffle.
    pub shuffle: ShuffleId,
    /// Of which map task.
    pub map_task: TaskId,
    /// The reason, in words for people.
    pub reason: String,
}

/// The files of a shuffle stay.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the files of {shuffle} are not removed: {reason}")]
pub struct NotRemoved {
    /// Of which shuffle.
    pub shuffle: ShuffleId,
    /// The reason, in words for people.
    pub reason: String,
}

/// What a server of many applications serves to each of them: see [`crate::BlockServer::of_applications`].
pub trait ApplicationSources: Send + Sync {
    /// What is offered to an application; `None` when there is nothing of it here.
    fn source(&self, app_id: &str) -> Option<Served>;
}
