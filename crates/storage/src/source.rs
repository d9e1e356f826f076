//! Where a [`crate::BlockServer`] gets the blocks that it is asked for.

use std::{fs::File, path::PathBuf, sync::Arc};

use bytes::Bytes;

use crate::{BlockError, BlockId};

/// A block that is ready to be sent.
#[derive(Clone, Debug)]
pub enum BlockData {
    /// In memory.
    Bytes(Bytes),
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
            BlockData::Bytes(bytes) => bytes.len() as u64,
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
