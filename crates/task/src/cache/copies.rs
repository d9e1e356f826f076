//! Copies of kept partitions on other executors.

use firesteel_common::ExecutorId;
use firesteel_storage::{Abort, BlockId, BlockManager, StorageLevel};

/// Has `copies` of `peers` keep a copy of a partition that is kept here; returns those that do.
pub fn copy_to_peers(
    blocks: &BlockManager,
    block: BlockId,
    level: StorageLevel,
    copies: u32,
    peers: &[(ExecutorId, String)],
    abort: &Abort,
) -> Vec<ExecutorId> {
    let mut made = Vec::new();
    for (executor, address) in peers {
        if made.len() as u32 == copies || abort.reason().is_some() {
            break;
        }
        match blocks.replicate_to(address, block, level, abort) {
            Ok(()) => made.push(*executor),
            Err(e) => {
                tracing::warn!(%block, executor_id = executor.0, error = %e, "no copy of a cached partition there")
            }
        }
    }
    made
}
