//! What a [`crate::BlockServer`] offers those that it lets in: blocks, and whatever else its process can do for them.

use std::sync::Arc;

use crate::{
    BlockManager,
    source::{BlockSource, BroadcastHolders, BroadcastPieces, MapOutputs, Replicas, ShuffleFiles},
};

/// What is offered. Who asks for what is not is told so.
#[derive(Clone)]
pub struct Served {
    /// Blocks, to everybody.
    pub blocks: Arc<dyn BlockSource>,
    /// Which pieces of broadcast values are here.
    pub pieces: Option<Arc<dyn BroadcastPieces>>,
    /// Which executors have pieces of broadcast values.
    pub holders: Option<Arc<dyn BroadcastHolders>>,
    /// Copies of cached partitions, which other executors ask for.
    pub replicas: Option<Arc<dyn Replicas>>,
    /// Taking over map outputs of executors that leave.
    pub outputs: Option<Arc<dyn MapOutputs>>,
    /// The shuffle files of executors that may be gone.
    pub files: Option<Arc<dyn ShuffleFiles>>,
}

impl Served {
    /// Blocks and nothing else.
    pub fn blocks(blocks: Arc<dyn BlockSource>) -> Served {
        Served { blocks, pieces: None, holders: None, replicas: None, outputs: None, files: None }
    }

    /// A driver's: it knows who has pieces of its values.
    pub fn by_driver(manager: &Arc<BlockManager>) -> Served {
        let (pieces, holders) = (Some(manager.clone() as _), Some(manager.clone() as _));
        Served { pieces, holders, ..Served::blocks(manager.clone()) }
    }

    /// An executor's, which keeps copies of partitions and, in `outputs`, map outputs of others.
    pub fn by_executor(manager: &Arc<BlockManager>, outputs: Arc<dyn MapOutputs>) -> Served {
        let (pieces, replicas) = (Some(manager.clone() as _), Some(manager.clone() as _));
        Served { pieces, replicas, outputs: Some(outputs), ..Served::blocks(manager.clone()) }
    }
}

/// Blocks alone.
impl<S: BlockSource + 'static> From<Arc<S>> for Served {
    fn from(blocks: Arc<S>) -> Served {
        Served::blocks(blocks)
    }
}

/// A process does not do what it was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this process {does}: only {who}")]
pub(crate) struct NotOffered {
    /// What it does instead, or not.
    pub does: &'static str,
    /// Who does.
    pub who: &'static str,
}
