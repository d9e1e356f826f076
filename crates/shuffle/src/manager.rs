//! The shuffle files of one executor: who writes there, who reads, and their end.

use std::{
    collections::{BTreeSet, HashMap},
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use firesteel_common::{ExecutorId, ShuffleId, TaskId};
use firesteel_storage::{Abort, BlockClient, BlockData, BlockError, BlockId, BlockSource};

use crate::{
    Compression, ShuffleBlocks, ShuffleError, ShuffleInput,
    files::{self, MapFiles},
};

/// Open files that are kept for the next reader.
const OPEN_FILES: usize = 256;

/// What a [`ShuffleManager`] works by.
#[derive(Clone, Debug)]
pub struct ShuffleConfig {
    /// Local directories; map outputs are spread over them. Only `shuffle_*` directories in them are this manager's.
    pub dirs: Vec<PathBuf>,
    /// Map outputs of this executor are read from its own files.
    pub executor: ExecutorId,
    /// How frames are compressed.
    pub compression: Compression,
    /// Bytes of remote blocks that a reduce task may have asked for and not taken (`spark.reducer.maxSizeInFlight`).
    pub max_bytes_in_flight: u64,
    /// Bytes of map output that a map task gathers in memory before it spills.
    pub write_buffer_bytes: usize,
    /// A shuffle service serves the files: they outlive this manager, and whoever runs the service removes them.
    pub outlived_by_files: bool,
}

impl ShuffleConfig {
    /// Spark's defaults, files in `dirs`.
    pub fn new(dirs: Vec<PathBuf>, executor: ExecutorId) -> ShuffleConfig {
        ShuffleConfig {
            dirs,
            executor,
            compression: Compression::default(),
            max_bytes_in_flight: 48 << 20,
            write_buffer_bytes: 64 << 20,
            outlived_by_files: false,
        }
    }
}

/// Owns an executor's shuffle files; whatever is left of them goes when it is dropped, unless they outlive it. Spark: `SortShuffleManager` with
/// its `IndexShuffleBlockResolver`.
pub struct ShuffleManager {
    config: ShuffleConfig,
    client: BlockClient,
    /// Shuffles that have directories.
    written: Mutex<BTreeSet<ShuffleId>>,
    open: Mutex<HashMap<(ShuffleId, TaskId), Arc<MapFiles>>>,
}

impl ShuffleManager {
    /// A manager over the directories of `config`, which it creates; `client` fetches what other executors have.
    pub fn new(config: ShuffleConfig, client: BlockClient) -> Result<ShuffleManager, ShuffleError> {
        if config.dirs.is_empty() {
            return Err(ShuffleError::NoDirectory);
        }
        for dir in &config.dirs {
            fs::create_dir_all(dir).map_err(|source| ShuffleError::File {
                action: "create directory",
                path: dir.clone(),
                source,
            })?;
        }
        Ok(ShuffleManager { config, client, written: Mutex::default(), open: Mutex::default() })
    }

    /// What it works by.
    pub fn config(&self) -> &ShuffleConfig {
        &self.config
    }

    pub(crate) fn client(&self) -> &BlockClient {
        &self.client
    }

    /// Reads the blocks of one reducer, in map order.
    pub fn read(self: &Arc<Self>, input: &Arc<ShuffleInput>, reduce: u32, abort: Abort) -> ShuffleBlocks {
        ShuffleBlocks::new(self.clone(), input.clone(), reduce, abort)
    }

    /// Removes what this executor wrote for a shuffle. Readers that have its files open are not disturbed.
    pub fn remove_shuffle(&self, shuffle: ShuffleId) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).retain(|(of, _), _| *of != shuffle);
        if self.written.lock().unwrap_or_else(PoisonError::into_inner).remove(&shuffle) {
            self.remove_directories(shuffle);
        }
    }

    fn remove_directories(&self, shuffle: ShuffleId) {
        for dir in &self.config.dirs {
            let path = files::shuffle_dir(dir, shuffle);
            if let Err(e) = fs::remove_dir_all(&path)
                && e.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), error = %e, "cannot remove shuffle files");
            }
        }
    }

    /// Where the files of a map task go; the directory is there afterwards.
    pub(crate) fn paths_to_write(
        &self,
        shuffle: ShuffleId,
        map_task: TaskId,
    ) -> Result<(PathBuf, PathBuf), ShuffleError> {
        let (data, index) = self.paths(shuffle, map_task);
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if !written.contains(&shuffle) {
            for dir in &self.config.dirs {
                let path = files::shuffle_dir(dir, shuffle);
                // Not the local directory itself: where that was removed its owner has ended, and nobody would remove it.
                match fs::create_dir(&path) {
                    Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(ShuffleError::File { action: "create directory", path, source });
                    }
                    _ => {}
                }
            }
            written.insert(shuffle);
        }
        Ok((data, index))
    }

    fn paths(&self, shuffle: ShuffleId, map_task: TaskId) -> (PathBuf, PathBuf) {
        let dir = &self.config.dirs[(map_task.0 % self.config.dirs.len() as u64) as usize];
        let dir = files::shuffle_dir(dir, shuffle);
        (dir.join(files::data_name(shuffle, map_task)), dir.join(files::index_name(shuffle, map_task)))
    }

    /// The open files of a map task of this executor.
    fn files(&self, shuffle: ShuffleId, map_task: TaskId) -> Result<Arc<MapFiles>, BlockError> {
        let key = (shuffle, map_task);
        if let Some(files) = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(files.clone());
        }
        let (data, index) = self.paths(shuffle, map_task);
        let files = Arc::new(MapFiles::open(data, index)?);
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= OPEN_FILES {
            open.clear();
        }
        open.insert(key, files.clone());
        Ok(files)
    }

    /// Reads and checks a block that a map task of this executor wrote; `out` is overwritten.
    pub(crate) fn read_own(
        &self,
        shuffle: ShuffleId,
        map_task: TaskId,
        reduce: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), BlockError> {
        self.files(shuffle, map_task)?.read(reduce, out)
    }
}

impl BlockSource for ShuffleManager {
    fn open(&self, id: &BlockId) -> Result<BlockData, BlockError> {
        let BlockId::Shuffle { shuffle, map_task, reduce } = *id else {
            return Err(BlockError::NotFound { id: *id });
        };
        self.files(shuffle, map_task)?.block(reduce)
    }
}

impl Drop for ShuffleManager {
    fn drop(&mut self) {
        if self.config.outlived_by_files {
            return;
        }
        let written = std::mem::take(&mut *self.written.lock().unwrap_or_else(PoisonError::into_inner));
        written.into_iter().for_each(|shuffle| self.remove_directories(shuffle));
    }
}
