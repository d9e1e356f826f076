//! Why a block could not be had.

use std::{
    io,
    path::{Path, PathBuf},
};

use firesteel_common::BroadcastId;

use crate::{
    BlockId, Holders, Question,
    local_dirs::{FileError, all_failed},
};

/// A block could not be stored, found or fetched.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// Nobody has it here.
    #[error("block {id} is not here")]
    NotFound {
        /// The block.
        id: BlockId,
    },
    /// A local file failed.
    #[error("cannot {action} {path}: {source}", path = path.display())]
    File {
        /// What was tried, a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A local file is not what was written.
    #[error("{path} is corrupt: {message}", path = path.display())]
    CorruptFile {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        message: String,
    },
    /// The peer answered that it cannot give the block.
    #[error("{address} cannot give block {id}: {message}")]
    Remote {
        /// The peer.
        address: String,
        /// The block.
        id: BlockId,
        /// What the peer said; it names its file.
        message: String,
    },
    /// The peer does not answer a question.
    #[error("{address} does not say {question}: {message}")]
    NotAnswered {
        /// The peer.
        address: String,
        /// What it was asked.
        question: Question,
        /// What the peer said.
        message: String,
    },
    /// No connection to the peer.
    #[error("cannot connect to the block server at {address}: {message}")]
    Connect {
        /// The peer.
        address: String,
        /// What the system said.
        message: String,
        /// Nobody listens there: the process is gone, and does not come back.
        refused: bool,
    },
    /// The peer was reached but does not accept this process, or is not who it must be.
    #[error("the block server at {address} and this process do not accept each other: {message}")]
    Handshake {
        /// The peer.
        address: String,
        /// What happened, in words for people.
        message: String,
    },
    /// The connection ended or failed.
    #[error("the connection to the block server at {address} ended: {message}")]
    Lost {
        /// The peer.
        address: String,
        /// What the system said.
        message: String,
    },
    /// The peer sent nothing for too long.
    #[error("the block server at {address} sent nothing for {seconds} s (spark.network.timeout)")]
    Silent {
        /// The peer.
        address: String,
        /// How long.
        seconds: u64,
    },
    /// The peer does not follow the protocol.
    #[error("the block server at {address} broke the protocol: {message}")]
    Protocol {
        /// The peer.
        address: String,
        /// What it did.
        message: String,
    },
    /// The bytes that came are not the ones that were written.
    #[error("block {id} from {address} is corrupt: its CRC-32C is {actual:08x} where {expected:08x} was written")]
    Corrupt {
        /// The peer.
        address: String,
        /// The block.
        id: BlockId,
        /// What the index says.
        expected: u32,
        /// What came.
        actual: u32,
    },
    /// The peer did not remove what it was asked to remove.
    #[error("{address} has removed nothing: {message}")]
    NotRemoved {
        /// The peer.
        address: String,
        /// What the peer said.
        message: String,
    },
    /// The caller asked to stop.
    #[error("fetch given up: {reason}")]
    Aborted {
        /// The reason, in words for people.
        reason: String,
    },
    /// Memory for blocks is used up.
    #[error("no memory for block {id} of {size} bytes: {holders}; raise spark.executor.memory or spark.driver.memory")]
    OutOfMemory {
        /// The block.
        id: BlockId,
        /// Its size.
        size: u64,
        /// Who has what there is.
        holders: Box<Holders>,
    },
    /// No local directory takes what was to be written.
    #[error("{}", all_failed(reasons))]
    NoDirectory {
        /// Each directory's.
        reasons: Vec<String>,
    },
    /// There is no local directory.
    #[error("block {id} cannot be written: this process has no local directory (spark.local.dir)")]
    NoDisk {
        /// The block.
        id: BlockId,
    },
    /// The elements of a cached partition cannot be written as bytes.
    #[error("the cached elements cannot be encoded: {message}")]
    NotEncodable {
        /// What the codec said.
        message: String,
    },
    /// A piece of a broadcast value could not be had from anybody.
    #[error("cannot fetch piece {piece} of {broadcast} from {address}: {message}")]
    Broadcast {
        /// The value.
        broadcast: BroadcastId,
        /// The piece.
        piece: u32,
        /// The peer that was asked last: the driver, which has all pieces while the value lives.
        address: String,
        /// What went wrong there.
        message: String,
    },
    /// The block is larger than the caller allows.
    #[error("block {id} from {address} has {size} bytes, more than the {limit} allowed")]
    TooLarge {
        /// The peer.
        address: String,
        /// The block.
        id: BlockId,
        /// Its size.
        size: u64,
        /// The caller's bound.
        limit: u64,
    },
}

impl FileError for BlockError {
    fn file(&self) -> Option<(&Path, &io::Error)> {
        match self {
            BlockError::File { path, source, .. } => Some((path, source)),
            _ => None,
        }
    }

    fn of_all(reasons: Vec<String>) -> BlockError {
        BlockError::NoDirectory { reasons }
    }
}

impl BlockError {
    /// Whether another try, over a new connection, may do better: the connection failed, not the block.
    pub fn is_connection_lost(&self) -> bool {
        matches!(self, BlockError::Lost { .. })
    }

    /// Whether it may pass by itself: the network or the peer is busy, or was for a moment. A port where nobody listens
    /// stays so, since a process that serves blocks listens from before anybody knows of it to its end.
    pub fn may_pass(&self) -> bool {
        matches!(self, BlockError::Lost { .. } | BlockError::Silent { .. } | BlockError::Connect { refused: false, .. })
    }
}
