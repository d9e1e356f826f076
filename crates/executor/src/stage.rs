//! What the tasks of one stage attempt share: decoded by the first of them that runs here, once, on its own thread.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use bytes::Bytes;
use firesteel_common::{BroadcastId, ExecutorId, ShuffleId, TaskFailure, TaskId};
use firesteel_protocol::Payload;
use firesteel_rdd::lineage::decode_stage;
use firesteel_rpc::{
    checked::decode,
    proto::executor::{ExecutorFiles, ShuffleOutputs, StageData},
};
use firesteel_shuffle::{MapLocation, ShuffleInput};
use firesteel_storage::{Abort, BlockManager, BroadcastMeta};
use firesteel_task::{KillFlag, StageTask, TaskError};

use crate::config::ExecutorConfig;

/// A decoded stage.
pub(crate) struct Stage {
    pub task: Arc<dyn StageTask>,
    pub shuffles: Arc<BTreeMap<ShuffleId, Arc<ShuffleInput>>>,
    pub properties: Arc<BTreeMap<String, String>>,
}

/// A stage's place, from its arrival to its end.
pub(crate) struct StageSlot {
    encoded: Option<Payload>,
    decoded: Mutex<Option<Arc<Stage>>>,
    /// The pieces of a large stage, which stay to be offered to other executors.
    kept: Mutex<Option<(Arc<BlockManager>, BroadcastId)>>,
}

impl Drop for StageSlot {
    fn drop(&mut self) {
        let kept = self.kept.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((blocks, broadcast)) = kept {
            blocks.remove_broadcast(broadcast);
        }
    }
}

impl StageSlot {
    /// `encoded` is absent when the driver sent a task without its stage.
    pub fn new(encoded: Option<Payload>) -> StageSlot {
        StageSlot { encoded, decoded: Mutex::new(None), kept: Mutex::new(None) }
    }

    /// The decoded stage. Tasks that come while another decodes wait for it; a failure is that task's alone and the next
    /// one tries again.
    pub fn get(&self, config: &ExecutorConfig, kill: &Arc<KillFlag>) -> Result<Arc<Stage>, TaskError> {
        let mut decoded = self.decoded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stage) = &*decoded {
            return Ok(stage.clone());
        }
        let Some(payload) = &self.encoded else {
            return Err(TaskError::failed("the driver sent a task of a stage whose lineage it has not sent"));
        };
        if let (Payload::Broadcast(pieces), Some(fetcher)) = (payload, config.services.broadcasts.fetcher()) {
            let kept = Some((fetcher.blocks().clone(), pieces.broadcast));
            *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = kept;
        }
        let bytes = fetch(payload, config, true, kill)?;
        let data =
            decode::<StageData>(bytes).map_err(|e| TaskError::failed(format!("cannot read the stage's data: {e}")))?;
        let task = decode_stage(&data.lineage)
            .map_err(|e| TaskError::failed(format!("cannot decode the stage's lineage: {e}")))?;
        let files = data.files.into_iter().filter(|files| on_this_host(&files.boot_id));
        let dirs = |files: ExecutorFiles| files.local_dirs.into_iter().map(PathBuf::from).collect();
        let host_local: BTreeMap<ExecutorId, Vec<PathBuf>> =
            files.map(|files| (ExecutorId(files.executor_id), dirs(files))).collect();
        let shuffles = data.shuffles.into_iter().map(|outputs| shuffle_input(outputs, &host_local)).collect();
        let (shuffles, properties) = (Arc::new(shuffles), Arc::new(data.properties));
        let stage = Arc::new(Stage { task, shuffles, properties });
        *decoded = Some(stage.clone());
        Ok(stage)
    }
}

fn on_this_host(boot_id: &str) -> bool {
    static HERE: OnceLock<String> = OnceLock::new();
    !boot_id.is_empty() && HERE.get_or_init(crate::this_host::boot_id) == boot_id
}

fn shuffle_input(
    outputs: ShuffleOutputs,
    host_local: &BTreeMap<ExecutorId, Vec<PathBuf>>,
) -> (ShuffleId, Arc<ShuffleInput>) {
    let shuffle = ShuffleId(outputs.shuffle_id);
    let maps = outputs.maps.into_iter().map(|m| MapLocation {
        map_task: TaskId(m.map_task_id),
        executor: ExecutorId(m.executor_id),
        block_address: m.block_address,
        sizes: m.sizes,
    });
    (shuffle, Arc::new(ShuffleInput { shuffle, maps: maps.collect(), host_local: host_local.clone() }))
}

/// The bytes of a payload, from the message or from those who have them; with `keep`, pieces stay here to be offered to
/// other executors.
pub(crate) fn fetch(
    payload: &Payload,
    config: &ExecutorConfig,
    keep: bool,
    kill: &Arc<KillFlag>,
) -> Result<Bytes, TaskError> {
    let flag = kill.clone();
    let abort = Abort::new(move || flag.reason());
    let fetched = match payload {
        Payload::Inline(bytes) => return Ok(bytes.clone()),
        Payload::Broadcast(pieces) => {
            let Some(fetcher) = config.services.broadcasts.fetcher() else {
                return Err(TaskError::failed("pieces were sent to an executor that shares its driver's process"));
            };
            let meta = BroadcastMeta {
                id: pieces.broadcast,
                len: pieces.size,
                piece_bytes: pieces.piece_bytes,
                checksums: pieces.checksums.clone(),
                source: pieces.address.clone(),
            };
            fetcher.fetch_bytes(&meta, keep, &abort)
        }
    };
    fetched.map_err(|e| match kill.check() {
        Err(killed) => killed,
        Ok(()) => match payload {
            Payload::Broadcast(pieces) => {
                let broadcast = pieces.broadcast;
                TaskFailure::BroadcastLost { broadcast, message: format!("it is a part of this stage or task: {e}") }
                    .into()
            }
            _ => TaskError::failed(format!("cannot fetch what the driver keeps for this task: {e}")),
        },
    })
}
