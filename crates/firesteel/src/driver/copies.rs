//! Cached partitions as the driver's shell sees them: which of them a task may read elsewhere, where copies go, and copies
//! made anew when an executor is lost. Called by the event loop and by `stages`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use firesteel_common::{ExecutorId, RddId};
use firesteel_protocol::{BlockAddress, CachedPlace, ReplicateBlock, ToDriver, ToExecutor};
use firesteel_rdd::{
    StorageLevel,
    node::{AnyRdd, Dep},
};
use firesteel_scheduler::{BlockPeer, DriverCore};

use super::EventLoop;

/// The level at which each RDD of the stage of `root` is kept, of those that are.
pub fn kept_in_stage(root: &Arc<dyn AnyRdd>) -> BTreeMap<RddId, StorageLevel> {
    let (mut kept, mut seen, mut waiting) = (BTreeMap::new(), BTreeSet::new(), vec![root.clone()]);
    while let Some(node) = waiting.pop() {
        if !seen.insert(node.meta().id) {
            continue;
        }
        if node.meta().level().is_kept() {
            kept.insert(node.meta().id, node.meta().level());
        }
        waiting.extend(node.deps().into_iter().filter_map(|dep| match dep {
            Dep::Narrow { parent, .. } => Some(parent),
            Dep::Shuffle(_) => None,
        }));
    }
    kept
}

/// The kept partitions that partition `p` of `root` comes from, which `executor` lacks and others hold.
pub fn held_elsewhere(core: &DriverCore, root: &Arc<dyn AnyRdd>, p: u32, executor: ExecutorId) -> Vec<CachedPlace> {
    let (mut places, mut seen, mut waiting) = (Vec::new(), BTreeSet::new(), vec![(root.clone(), p)]);
    while let Some((node, partition)) = waiting.pop() {
        let rdd = node.meta().id;
        if !seen.insert((rdd, partition)) {
            continue;
        }
        let holders = if node.meta().level().is_kept() { core.holders_of(rdd, partition) } else { Vec::new() };
        if !holders.is_empty() {
            if holders.iter().all(|h| h.executor != executor) {
                let addresses = holders.iter().map(|h| h.block_address.to_string()).collect();
                places.push(CachedPlace { rdd, partition, addresses });
            }
            continue;
        }
        for dep in node.deps() {
            if let Dep::Narrow { parent, map } = dep {
                waiting.extend(map.parents_of(partition).map(|q| (parent.clone(), q)));
            }
        }
    }
    places
}

/// Peers as they travel.
pub fn peers(peers: &[BlockPeer]) -> Vec<BlockAddress> {
    let peer = |p: &BlockPeer| BlockAddress { executor: p.executor, address: p.block_address.to_string() };
    peers.iter().map(peer).collect()
}

impl EventLoop {
    /// Takes note of the answers to requests of `copy_again`; they name no copies when nobody could take one.
    pub(super) fn copies_made(&mut self, message: &ToDriver) {
        if let ToDriver::BlockUpdates(blocks) = message {
            for block in blocks {
                self.copying.remove(&(block.rdd, block.partition));
            }
        }
    }

    /// After executors came or went: has partitions copied that have fewer copies than their level asks for.
    pub(super) fn copy_again(&mut self) {
        self.copying.retain(|_, asked| self.links.contains_key(asked));
        for (rdd, level) in self.stages.replicated().clone() {
            for partition in self.core.cached_partitions(rdd) {
                let holders = self.core.holders_of(rdd, partition);
                let missing = level.replication().saturating_sub(holders.len() as u32);
                let Some(holder) = holders.first().filter(|_| missing > 0) else { continue };
                let mut others = self.core.peers_of(holder.executor, partition);
                others.retain(|peer| holders.iter().all(|h| h.executor != peer.executor));
                if others.is_empty() || self.copying.contains_key(&(rdd, partition)) {
                    continue;
                }
                let (level, peers) = (level.to_bits(), peers(&others));
                let message = ReplicateBlock { rdd, partition, level, copies: missing, peers };
                self.copying.insert((rdd, partition), holder.executor);
                self.send(holder.executor, ToExecutor::ReplicateBlock(message));
            }
        }
    }
}
