//! Cached partitions of a stage: which are kept, and which of them a task may read elsewhere. Called by `stages`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use firesteel_common::{ExecutorId, RddId};
use firesteel_protocol::CachedPlace;
use firesteel_rdd::{
    StorageLevel,
    node::{AnyRdd, Dep},
};
use firesteel_scheduler::DriverCore;

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
