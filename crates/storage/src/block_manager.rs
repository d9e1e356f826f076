//! All blocks of one process under one roof: the source behind its [`crate::BlockServer`].

use std::{
    fs::File,
    path::PathBuf,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use dashmap::DashMap;
use firesteel_common::RddId;

use crate::{BlockData, BlockError, BlockId, BlockSource, MemoryConfig, MemoryManager, MemoryStore};

struct ServedFile {
    file: Arc<File>,
    path: PathBuf,
    len: u64,
}

/// Ties together what a process keeps: the [`MemoryStore`], whole files such as the application binary, and the
/// shuffle files, which `shuffle` brings along as a source of its own. Spark: `BlockManager`.
pub struct BlockManager {
    manager: Arc<MemoryManager>,
    memory: Arc<MemoryStore>,
    files: DashMap<BlockId, ServedFile>,
    shuffle: OnceLock<Arc<dyn BlockSource>>,
}

impl BlockManager {
    /// A manager with a pool of `memory_limit` bytes of its own.
    pub fn new(memory_limit: u64) -> BlockManager {
        Self::with_memory(MemoryManager::new(MemoryConfig { total_bytes: memory_limit, storage_fraction: 0.5 }))
    }

    /// A manager whose blocks take their memory from `manager`.
    pub fn with_memory(manager: Arc<MemoryManager>) -> BlockManager {
        let memory = MemoryStore::new(manager.clone());
        BlockManager { manager, memory, files: DashMap::new(), shuffle: OnceLock::new() }
    }

    /// The pool that blocks and tasks share.
    pub fn memory_manager(&self) -> &Arc<MemoryManager> {
        &self.manager
    }

    /// The cached partitions and byte blocks.
    pub fn memory(&self) -> &MemoryStore {
        &self.memory
    }

    /// Serves shuffle blocks from `source`; the first call wins.
    pub fn set_shuffle_source(&self, source: Arc<dyn BlockSource>) {
        if self.shuffle.set(source).is_err() {
            tracing::warn!("the shuffle source of this block manager was set twice; the first one stays");
        }
    }

    /// Serves a whole file, such as the application binary, under `id` until it is removed.
    pub fn serve_file(&self, id: BlockId, file: Arc<File>, path: PathBuf, len: u64) {
        self.files.insert(id, ServedFile { file, path, len });
    }

    /// Keeps a byte block until it is removed; cached partitions give way to it.
    pub fn put_bytes(&self, id: BlockId, bytes: Bytes) -> Result<(), BlockError> {
        self.memory.put_bytes(id, bytes)
    }

    /// A byte block that is kept here.
    pub fn get(&self, id: &BlockId) -> Option<Bytes> {
        self.memory.get_bytes(id)
    }

    /// Removes a block or stops serving a file; whether it was there.
    pub fn remove(&self, id: &BlockId) -> bool {
        self.memory.remove(id) | self.files.remove(id).is_some()
    }

    /// Removes the cached partitions of an RDD and returns their numbers in order.
    pub fn remove_rdd(&self, rdd: RddId) -> Vec<u32> {
        self.memory.remove_rdd(rdd)
    }
}

impl BlockSource for BlockManager {
    fn open(&self, id: &BlockId) -> Result<BlockData, BlockError> {
        match id {
            BlockId::Shuffle { .. } => match self.shuffle.get() {
                Some(source) => source.open(id),
                None => Err(BlockError::NotFound { id: *id }),
            },
            _ => {
                if let Some(bytes) = self.memory.get_bytes(id) {
                    return Ok(BlockData::Bytes(bytes));
                }
                let served = self.files.get(id).ok_or(BlockError::NotFound { id: *id })?;
                let ServedFile { file, path, len } = &*served;
                Ok(BlockData::File { file: file.clone(), path: path.clone(), offset: 0, len: *len, crc32c: None })
            }
        }
    }
}
