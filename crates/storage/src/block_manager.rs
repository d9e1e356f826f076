//! All blocks of one process under one roof: the source behind its [`crate::BlockServer`].

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use dashmap::DashMap;
use firesteel_common::RddId;
use tempfile::{SpooledData, SpooledTempFile};

use crate::{
    BlockData, BlockError, BlockId, BlockSource, DiskStore, FrameWriter, LocalDirs, MemoryConfig, MemoryManager,
    MemoryStore, StorageLevel,
    broadcast::Broadcasts,
    disk_store::{DiskBlock, DiskWriter},
    memory_store::Cached,
    replication::{BlockNetwork, Copying},
    source::{NotReplicated, Replicas},
};

/// A cached partition of more bytes is encoded into a file, not in memory, when it is sent.
const ENCODE_IN_MEMORY: usize = 4 << 20;

/// Where a cached partition is.
pub enum Found {
    /// In memory.
    Memory(Cached),
    /// In a file.
    Disk(DiskBlock),
}

struct ServedFile {
    file: Arc<File>,
    path: PathBuf,
    len: u64,
    crc32c: Option<u32>,
}

/// Ties together what a process keeps: the [`MemoryStore`], whole files such as the application binary, and the
/// shuffle files, which `shuffle` brings along as a source of its own. Spark: `BlockManager`.
pub struct BlockManager {
    manager: Arc<MemoryManager>,
    memory: Arc<MemoryStore>,
    disk: Option<Arc<DiskStore>>,
    network: OnceLock<BlockNetwork>,
    files: DashMap<BlockId, ServedFile>,
    shuffle: OnceLock<Arc<dyn BlockSource>>,
    broadcasts: Broadcasts,
    copying: Copying,
}

impl BlockManager {
    /// A manager with a pool of `memory_limit` bytes of its own.
    pub fn new(memory_limit: u64) -> BlockManager {
        Self::with_memory(MemoryManager::new(MemoryConfig { total_bytes: memory_limit, storage_fraction: 0.5 }))
    }

    /// A manager whose blocks take their memory from `manager`, and which has no disk.
    pub fn with_memory(manager: Arc<MemoryManager>) -> BlockManager {
        Self::with_stores(manager, None)
    }

    /// A manager whose blocks take their memory from `manager` and whose cached partitions may go below `dirs`.
    pub fn with_disk(manager: Arc<MemoryManager>, dirs: &[PathBuf]) -> BlockManager {
        Self::with_stores(manager, Some(DiskStore::new(dirs)))
    }

    /// The same below directories in which others write, too.
    pub fn within(manager: Arc<MemoryManager>, dirs: Arc<LocalDirs>) -> BlockManager {
        Self::with_stores(manager, Some(DiskStore::within(dirs)))
    }

    fn with_stores(manager: Arc<MemoryManager>, disk: Option<Arc<DiskStore>>) -> BlockManager {
        let memory = MemoryStore::new(manager.clone(), disk.clone());
        BlockManager {
            manager,
            memory,
            disk,
            network: OnceLock::new(),
            files: DashMap::new(),
            shuffle: OnceLock::new(),
            broadcasts: Broadcasts::default(),
            copying: Copying::default(),
        }
    }

    pub(crate) fn copying(&self) -> &Copying {
        &self.copying
    }

    /// The pool that blocks and tasks share.
    pub fn memory_manager(&self) -> &Arc<MemoryManager> {
        &self.manager
    }

    /// The cached partitions and byte blocks.
    pub fn memory(&self) -> &MemoryStore {
        &self.memory
    }

    /// Which pieces of which broadcast values are here and, on the driver, elsewhere.
    pub fn broadcasts(&self) -> &Broadcasts {
        &self.broadcasts
    }

    /// Serves shuffle blocks from `source`; the first call wins.
    pub fn set_shuffle_source(&self, source: Arc<dyn BlockSource>) {
        if self.shuffle.set(source).is_err() {
            tracing::warn!("the shuffle source of this block manager was set twice; the first one stays");
        }
    }

    /// Serves a whole file, such as the application binary, under `id` until it is removed.
    pub fn serve_file(&self, id: BlockId, file: Arc<File>, path: PathBuf, len: u64) {
        self.serve_summed(id, file, path, len, None);
    }

    /// As [`BlockManager::serve_file`], with the file's CRC-32C where it is known. `path` is what errors name.
    pub(crate) fn serve_summed(&self, id: BlockId, file: Arc<File>, path: PathBuf, len: u64, crc32c: Option<u32>) {
        self.files.insert(id, ServedFile { file, path, len, crc32c });
    }

    /// Keeps a byte block until it is removed; cached partitions give way to it.
    pub fn put_bytes(&self, id: BlockId, bytes: Bytes) -> Result<(), BlockError> {
        self.memory.put_bytes(id, bytes)
    }

    /// The bytes of a block that is kept here, in memory or in a file.
    pub fn read(&self, id: &BlockId) -> Result<Bytes, BlockError> {
        match self.open(id)? {
            BlockData::Bytes(bytes) | BlockData::Unchecked(bytes) | BlockData::Summed { bytes, .. } => Ok(bytes),
            BlockData::File { file, path, offset, len, .. } => {
                let failed = |source| BlockError::File { action: "read", path: path.clone(), source };
                let len = usize::try_from(len).map_err(|e| failed(io::Error::other(e)))?;
                let mut bytes = vec![0; len];
                file.read_exact_at(&mut bytes, offset).map_err(failed)?;
                Ok(bytes.into())
            }
        }
    }

    /// A byte block that is kept in memory here.
    pub fn get(&self, id: &BlockId) -> Option<Bytes> {
        self.memory.get_bytes(id)
    }

    /// Removes a block or stops serving a file; whether it was there.
    pub fn remove(&self, id: &BlockId) -> bool {
        // Memory first: what is just being moved to disk is then removed there by who moves it.
        let in_memory = self.memory.remove(id);
        let on_disk = self.disk.as_ref().is_some_and(|disk| disk.remove(id));
        in_memory | on_disk | self.files.remove(id).is_some()
    }

    /// The cached partitions that are here, in order, each with the level at which a copy is kept as they are: what has
    /// gone to disk stays there.
    pub fn cached(&self) -> Vec<(BlockId, StorageLevel)> {
        let level = |spills| if spills { StorageLevel::MEMORY_AND_DISK_SER } else { StorageLevel::MEMORY_ONLY_SER };
        let mut all: BTreeMap<BlockId, StorageLevel> =
            self.memory.cached().into_iter().map(|(id, spills)| (id, level(spills))).collect();
        // It may go from memory to disk between the looks, never the other way.
        for id in self.disk.iter().flat_map(|disk| disk.ids()) {
            all.entry(id).or_insert(StorageLevel::DISK_ONLY);
        }
        all.into_iter().collect()
    }

    /// Removes the cached partitions of an RDD and returns their numbers in order.
    pub fn remove_rdd(&self, rdd: RddId) -> Vec<u32> {
        self.copying.removed(rdd);
        let mut partitions = self.memory.remove_rdd(rdd);
        partitions.extend(self.disk.as_ref().map(|disk| disk.remove_rdd(rdd)).unwrap_or_default());
        partitions.sort_unstable();
        partitions.dedup();
        partitions
    }

    /// Where a cached partition is; counts as a use of it.
    pub fn find_cached(&self, id: &BlockId) -> Option<Found> {
        // It may go from memory to disk between the looks, never the other way.
        let in_memory = self.memory.get(id).map(Found::Memory);
        in_memory.or_else(|| self.disk.as_ref()?.get(id).map(Found::Disk))
    }

    /// Begins to write a cached partition to disk.
    pub fn write_to_disk(&self, id: BlockId) -> Result<DiskWriter, BlockError> {
        self.disk.as_ref().ok_or(BlockError::NoDisk { id })?.write(id)
    }

    /// Lets cached partitions be read from and copied to other executors; the first call wins.
    pub fn set_network(&self, network: BlockNetwork) {
        if self.network.set(network).is_err() {
            tracing::warn!("the network of this block manager was set twice; the first one stays");
        }
    }

    pub(crate) fn network(&self) -> Option<&BlockNetwork> {
        self.network.get()
    }

    pub(crate) fn disk(&self) -> Option<&Arc<DiskStore>> {
        self.disk.as_ref()
    }

    /// A cached partition as it travels: frames. What is in memory as values is encoded on demand, large ones into a file
    /// without a name.
    fn open_cached(&self, id: &BlockId) -> Result<BlockData, BlockError> {
        match self.find_cached(id).ok_or(BlockError::NotFound { id: *id })? {
            Found::Disk(DiskBlock { path, len }) => {
                let file = DiskBlock { path: path.clone(), len }.open()?;
                Ok(BlockData::File { file: Arc::new(file), path, offset: 0, len, crc32c: None })
            }
            Found::Memory(cached) => match self.disk.as_ref().filter(|disk| !disk.is_nowhere()) {
                Some(disk) => disk.scratch(*id, |dir| encode(&cached, dir)),
                None => encode(&cached, &std::env::temp_dir()),
            },
        }
    }
}

/// The partition as frames, large ones in a file in `dir` without a name.
fn encode(cached: &Cached, dir: &Path) -> Result<BlockData, BlockError> {
    let failed =
        |source: io::Error| BlockError::File { action: "encode a cached partition in", path: dir.to_owned(), source };
    let mut writer = FrameWriter::new(SpooledTempFile::new_in(ENCODE_IN_MEMORY, dir));
    cached.encode(&mut |frame| writer.write(frame).map_err(failed))?;
    let mut spool = writer.finish().map_err(failed)?;
    spool.flush().map_err(failed)?;
    match spool.into_inner() {
        SpooledData::InMemory(bytes) => Ok(BlockData::Bytes(bytes.into_inner().into())),
        SpooledData::OnDisk(file) => {
            let len = file.metadata().map_err(failed)?.len();
            Ok(BlockData::File { file: Arc::new(file), path: dir.to_owned(), offset: 0, len, crc32c: None })
        }
    }
}

impl Replicas for BlockManager {
    fn replicate(&self, id: BlockId, level: StorageLevel, from: &str) -> Result<(), NotReplicated> {
        self.keep_copy(id, level, from).map_err(|e| NotReplicated { id, reason: e.to_string() })
    }
}

impl BlockSource for BlockManager {
    fn open(&self, id: &BlockId) -> Result<BlockData, BlockError> {
        match id {
            BlockId::Shuffle { .. } | BlockId::ShuffleData { .. } | BlockId::ShuffleIndex { .. } => {
                match self.shuffle.get() {
                    Some(source) => source.open(id),
                    None => Err(BlockError::NotFound { id: *id }),
                }
            }
            BlockId::Rdd { .. } => self.open_cached(id),
            BlockId::Broadcast { .. } => self.open_piece(id),
            // As decoded here, for this process alone.
            BlockId::BroadcastValue(_) => Err(BlockError::NotFound { id: *id }),
            _ => {
                if let Some(bytes) = self.memory.get_bytes(id) {
                    return Ok(BlockData::Bytes(bytes));
                }
                let served = self.files.get(id).ok_or(BlockError::NotFound { id: *id })?;
                let ServedFile { file, path, len, crc32c } = &*served;
                Ok(BlockData::File { file: file.clone(), path: path.clone(), offset: 0, len: *len, crc32c: *crc32c })
            }
        }
    }
}
