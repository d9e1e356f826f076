//! Who holds a cached partition, and who could hold a copy: asked by the driver's shell when it sends tasks, and when
//! executors leave or copies are made again.

use std::sync::Arc;

use firesteel_common::{ExecutorId, RddId};
use firesteel_protocol::BlockAddress;

use crate::{block_locations::BlockLocations, tasks::executors::Executors};

/// An executor that can keep blocks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BlockPeer {
    /// The executor's number within its application.
    pub executor: ExecutorId,
    /// Where it runs.
    pub host: Arc<str>,
    /// host:port of its block server.
    pub block_address: Arc<str>,
}

/// Peers as they travel.
pub fn addresses(peers: &[BlockPeer]) -> Vec<BlockAddress> {
    let address = |p: &BlockPeer| BlockAddress { executor: p.executor, address: p.block_address.to_string() };
    peers.iter().map(address).collect()
}

/// Executors, and what is cached at them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places<'a> {
    pub(crate) executors: &'a Executors,
    pub(crate) blocks: &'a BlockLocations,
}

impl Places<'_> {
    /// The executors that are known to hold a cached partition and have not been lost.
    pub(crate) fn holders_of(&self, rdd: RddId, partition: u32) -> Vec<BlockPeer> {
        self.blocks.holders(rdd, partition).iter().filter_map(|e| self.peer(*e)).collect()
    }

    /// The executors that stay and can keep copies for `executor`, best first: those of other hosts come first, and which is
    /// the first turns with `turn`.
    pub(crate) fn peers_of(&self, executor: ExecutorId, turn: u32) -> Vec<BlockPeer> {
        let here = self.executors.get(executor).map(|e| e.host().clone());
        let others = self.executors.iter().filter(|(e, known)| *e != executor && known.stays());
        let mut peers: Vec<BlockPeer> = others.filter_map(|(e, _)| self.peer(e)).collect();
        let len = peers.len().max(1);
        peers.rotate_left(turn as usize % len);
        peers.sort_by_key(|peer| here.as_ref() == Some(&peer.host));
        peers
    }

    fn peer(&self, executor: ExecutorId) -> Option<BlockPeer> {
        let known = self.executors.get(executor).filter(|e| e.is_connected())?;
        Some(BlockPeer { executor, host: known.host().clone(), block_address: known.block_address().clone() })
    }
}
