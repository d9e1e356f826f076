//! Where a [`crate::BlockServer`] gets the blocks that it is asked for.

use std::{fs::File, path::PathBuf, sync::Arc};

use bytes::Bytes;
use firesteel_common::{ShuffleId, TaskId};

use crate::{BlockError, BlockId, StorageLevel};

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

    /// Fetches a cached partition from the block server at `from` and keeps it at `level`.
    fn replicate(&self, id: BlockId, level: StorageLevel, from: &str) -> Result<(), NotReplicated> {
        let _ = (level, from);
        Err(NotReplicated { id, reason: "only executors keep copies".to_owned() })
    }

    /// Fetches all that a map task wrote from the block server at `from`, and serves it from then on.
    fn adopt(&self, shuffle: ShuffleId, map_task: TaskId, from: &str) -> Result<(), NotAdopted> {
        let _ = from;
        Err(NotAdopted { shuffle, map_task, reason: "only executors take map outputs".to_owned() })
    }

    /// Removes the files of a shuffle; an error unless this source serves the files of executors that may be gone.
    fn remove_shuffle(&self, shuffle: ShuffleId) -> Result<(), NotRemoved> {
        Err(NotRemoved { shuffle, reason: "executors remove their own files when the driver tells them to".to_owned() })
    }
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
    /// The blocks of an application; `None` when there is nothing of it here.
    fn source(&self, app_id: &str) -> Option<Arc<dyn BlockSource>>;
}
