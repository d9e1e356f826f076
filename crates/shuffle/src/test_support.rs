//! A task with little memory, for the tests of what spills.

use std::sync::Arc;

use firesteel_common::{ExecutorId, TaskId};
use firesteel_rpc::{Role, Transport};
use firesteel_storage::{Abort, BlockClient, MemoryConfig, MemoryManager};

use crate::{ShuffleConfig, ShuffleManager, Spills};

/// The only task of a pool of `bytes`, and where it spills to.
pub(crate) fn spills(bytes: u64) -> (Spills, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let config = ShuffleConfig::new(vec![dir.path().to_owned()], ExecutorId(0));
    let manager =
        Arc::new(ShuffleManager::new(config, BlockClient::new(Transport::default(), "app", Role::Executor)).unwrap());
    let memory = MemoryManager::new(MemoryConfig { total_bytes: bytes, storage_fraction: 0.0 });
    let mut spills = Spills::new(&manager, &memory.for_task(TaskId(1), Abort::never()), TaskId(1));
    // Small enough that the memory decides.
    spills.set_floor(bytes.min(16 << 10));
    (spills, dir)
}
