//! Cached partitions of a stage: which are kept, and which of them a task may read elsewhere. Called by `stages`.

use firesteel_common::ExecutorId;
use firesteel_protocol::CachedPlace;
use firesteel_rdd::{StorageLevel, lineage::StageLineage};
use firesteel_scheduler::DriverCore;

/// The levels at which RDDs of a stage are kept, of those that are.
pub fn kept_in_stage(stage: &StageLineage) -> Vec<StorageLevel> {
    stage.metas().map(|meta| meta.level()).filter(|level| level.is_kept()).collect()
}

/// The kept partitions that partition `p` of the stage comes from, which `executor` lacks and others hold.
pub fn held_elsewhere(core: &DriverCore, stage: &StageLineage, p: u32, executor: ExecutorId) -> Vec<CachedPlace> {
    let mut places = Vec::new();
    stage.partitions_of(p, |meta, partition| {
        let holders = if meta.level().is_kept() { core.holders_of(meta.id, partition) } else { Vec::new() };
        if !holders.is_empty() && holders.iter().all(|h| h.executor != executor) {
            let addresses = holders.iter().map(|h| h.block_address.to_string()).collect();
            places.push(CachedPlace { rdd: meta.id, partition, addresses });
        }
        holders.is_empty()
    });
    places
}
