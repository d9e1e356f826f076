//! What the driver's shell asks about cached partitions when it sends tasks: who holds one, and who could hold a copy.

use std::sync::Arc;

use firesteel_common::{ExecutorId, RddId};
use firesteel_protocol::BlockAddress;

use crate::driver_core::DriverCore;

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

impl DriverCore {
    /// The executors that are known to hold a cached partition and have not been lost.
    pub fn holders_of(&self, rdd: RddId, partition: u32) -> Vec<BlockPeer> {
        self.blocks.holders(rdd, partition).iter().filter_map(|e| self.peer(*e)).collect()
    }

    /// The executors that stay and can keep copies for `executor`, best first: those of other hosts come first, and which is the
    /// first turns with `turn`.
    pub fn peers_of(&self, executor: ExecutorId, turn: u32) -> Vec<BlockPeer> {
        let here = self.tasks.executors.known.get(&executor).map(|e| e.host.clone());
        let others = self.tasks.executors.known.iter().filter(|(e, known)| **e != executor && known.stays());
        let mut peers: Vec<BlockPeer> = others.filter_map(|(e, _)| self.peer(*e)).collect();
        let len = peers.len().max(1);
        peers.rotate_left(turn as usize % len);
        peers.sort_by_key(|peer| here.as_ref() == Some(&peer.host));
        peers
    }

    /// The partitions of an RDD that are held somewhere.
    pub fn cached_partitions(&self, rdd: RddId) -> Vec<u32> {
        self.blocks.partitions(rdd)
    }

    /// The connected executors that leave.
    pub fn leaving(&self) -> Vec<ExecutorId> {
        let known = self.tasks.executors.known.iter();
        known.filter(|(_, e)| e.lost_at.is_none() && e.leaving.is_some()).map(|(id, _)| *id).collect()
    }

    fn peer(&self, executor: ExecutorId) -> Option<BlockPeer> {
        let known = self.tasks.executors.known.get(&executor).filter(|e| e.lost_at.is_none())?;
        Some(BlockPeer { executor, host: known.host.clone(), block_address: known.block_address.clone() })
    }
}
