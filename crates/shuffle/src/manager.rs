//! The shuffle files of one executor: who writes there, who reads, and their end.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use firesteel_common::{
    ExecutorId, ShuffleId, TaskId,
    conf::{Conf, ConfError, keys},
};
use firesteel_storage::{
    Abort, BlockClient, BlockData, BlockError, BlockId, BlockSource, LocalDirs, MapOutputs, NotAdopted, ScratchFile,
    local_dirs::{FileError, make_within, reserve},
};

use crate::{
    Compression, ShuffleBlocks, ShuffleError, ShuffleInput,
    block_body::BlockBody,
    files::{self, MapFiles, TempFile},
    open_outputs::{Found, OpenOutputs, ReadBounds},
};

/// A block of this size is held in memory however little there is.
const LEAST_BLOCK_IN_MEMORY: u64 = 1 << 20;

/// What a [`ShuffleManager`] works by.
#[derive(Clone, Debug)]
pub struct ShuffleConfig {
    /// Local directories; map outputs and spills are spread over them. Only the `shuffle_*` directories and `spill_*` files
    /// in them are this manager's.
    pub dirs: Vec<PathBuf>,
    /// Map outputs of this executor are read from its own files.
    pub executor: ExecutorId,
    /// How frames are compressed.
    pub compression: Compression,
    /// Bytes of remote blocks that a reduce task may have asked for and not taken (`spark.reducer.maxSizeInFlight`).
    pub max_bytes_in_flight: u64,
    /// Bytes of map output that a map task gathers in memory before it combines or spills them, or fewer if it is refused
    /// memory. Finished frames may take four times as much where the memory manager grants it.
    pub write_buffer_bytes: usize,
    /// Blocks of more bytes are not held in memory (`spark.network.maxRemoteBlockSizeFetchToMem`).
    pub max_block_in_memory: u64,
    /// Files of other executors on this host are read from its disk (`spark.shuffle.readHostLocalDisk`).
    pub read_host_local: bool,
    /// A shuffle service serves the files: they outlive this manager, and whoever runs the service removes them.
    pub outlived_by_files: bool,
    /// How spilled data is compressed.
    pub spill_compression: Compression,
    /// Bytes that are gathered before they are written to a file (`spark.shuffle.file.buffer`).
    pub file_buffer_bytes: usize,
    /// Up to so many reducers have a buffer each (`spark.shuffle.sort.bypassMergeThreshold`).
    pub bypass_merge_threshold: u32,
    /// What is kept of the map outputs that are being read.
    pub read_bounds: ReadBounds,
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
            max_block_in_memory: 200 << 20,
            read_host_local: true,
            outlived_by_files: false,
            spill_compression: Compression::default(),
            file_buffer_bytes: 32 << 10,
            bypass_merge_threshold: 200,
            read_bounds: ReadBounds::default(),
        }
    }

    /// What the configuration says, files in `dirs`.
    pub fn from_conf(conf: &Conf, dirs: Vec<PathBuf>, executor: ExecutorId) -> Result<ShuffleConfig, ConfError> {
        let codec = Compression::from_conf(conf)?;
        let when = |on: bool| if on { codec } else { Compression::None };
        Ok(ShuffleConfig {
            compression: when(conf.get(&keys::SHUFFLE_COMPRESS)?),
            spill_compression: when(conf.get(&keys::SHUFFLE_SPILL_COMPRESS)?),
            max_bytes_in_flight: conf.get(&keys::REDUCER_MAX_SIZE_IN_FLIGHT)?.0,
            file_buffer_bytes: conf.get(&keys::SHUFFLE_FILE_BUFFER)?.0 as usize,
            bypass_merge_threshold: conf.get(&keys::SHUFFLE_BYPASS_MERGE_THRESHOLD)?,
            read_bounds: ReadBounds::from_conf(conf)?,
            ..ShuffleConfig::new(dirs, executor)
        })
    }
}

/// Owns an executor's shuffle files; whatever is left of them goes when it is dropped, unless they outlive it. Spark:
/// `SortShuffleManager` with its `IndexShuffleBlockResolver`.
pub struct ShuffleManager {
    config: ShuffleConfig,
    client: BlockClient,
    /// Shuffles that have directories.
    pub(crate) written: Mutex<BTreeSet<ShuffleId>>,
    local: Arc<LocalDirs>,
    open: OpenOutputs,
    /// How many files there were for large blocks.
    pub(crate) scratch_files: AtomicU64,
    /// How many spill files there were.
    spills: AtomicU64,
}

/// All outputs are of the one application.
const OWNER: u32 = 0;

impl ShuffleConfig {
    /// As the configuration says how blocks are read, in an executor whose tasks, `cores` at a time, share `pool_bytes` of
    /// memory.
    pub fn reading(self, conf: &Conf, pool_bytes: u64, cores: u32) -> Result<ShuffleConfig, ConfError> {
        let share = pool_bytes / 8 / u64::from(cores.max(1));
        let max_block_in_memory =
            conf.get(&keys::MAX_REMOTE_BLOCK_SIZE_FETCH_TO_MEM)?.0.min(share.max(LEAST_BLOCK_IN_MEMORY));
        let read_host_local = conf.get(&keys::SHUFFLE_READ_HOST_LOCAL_DISK)?;
        let ahead_bytes = self.read_bounds.ahead_bytes.min(pool_bytes / 16);
        let read_bounds = ReadBounds { ahead_bytes, ..self.read_bounds };
        Ok(ShuffleConfig { max_block_in_memory, read_host_local, read_bounds, ..self })
    }
}

impl ShuffleManager {
    /// A manager over the directories of `config`, which it creates; those that cannot be made are left out; `client`
    /// fetches what other executors have.
    pub fn new(config: ShuffleConfig, client: BlockClient) -> Result<ShuffleManager, ShuffleError> {
        let local = LocalDirs::new(config.dirs.clone()).open::<ShuffleError>()?;
        Ok(ShuffleManager::within(local, config, client))
    }

    /// A manager over directories in which others write, too; those of `config` do not count.
    pub fn within(local: Arc<LocalDirs>, config: ShuffleConfig, client: BlockClient) -> ShuffleManager {
        let config = ShuffleConfig { dirs: local.dirs().to_vec(), ..config };
        ShuffleManager {
            open: OpenOutputs::new(config.read_bounds),
            config,
            client,
            local,
            written: Mutex::default(),
            scratch_files: AtomicU64::new(0),
            spills: AtomicU64::new(0),
        }
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
        self.open.forget_shuffle(OWNER, shuffle);
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

    pub(crate) fn local_dirs(&self) -> &LocalDirs {
        &self.local
    }

    /// Has `attempt` write the files of a map task, which get the names of data file and index file or are named after
    /// them. Where a local directory fails, in another one.
    pub(crate) fn write_output<T, E: FileError + From<ShuffleError>>(
        &self,
        shuffle: ShuffleId,
        map_task: TaskId,
        mut attempt: impl FnMut(&Path, &Path) -> Result<T, E>,
    ) -> Result<T, E> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner).insert(shuffle);
        let (data, index) = (files::data_name(shuffle, map_task), files::index_name(shuffle, map_task));
        self.local.write(map_task.0, |dir| {
            let dir = files::shuffle_dir(dir, shuffle);
            make_within(&dir).map_err(|source| ShuffleError::File {
                action: "create directory",
                path: dir.clone(),
                source,
            })?;
            attempt(&dir.join(&data), &dir.join(&index))
        })
    }

    /// A new file for what a task spills, which begins with what `first` writes.
    pub(crate) fn spill_file(
        &self,
        task: TaskId,
        first: impl Fn(&mut TempFile) -> Result<(), ShuffleError>,
    ) -> Result<TempFile, ShuffleError> {
        let number = self.spills.fetch_add(1, Ordering::Relaxed);
        self.local.write(number, |dir| {
            let mut file = TempFile::create(&dir.join(format!("spill_{}_{number}", task.0)))?;
            first(&mut file)?;
            tracing::debug!(%task, path = %file.path.display(), "spilling");
            Ok(file)
        })
    }

    /// Opens the files of a map task, in one of these local directories of an executor; first `known` is looked at.
    fn open_files(
        dirs: &[PathBuf],
        shuffle: ShuffleId,
        map_task: TaskId,
        known: Option<&Path>,
    ) -> Result<MapFiles, BlockError> {
        // Usually in the first one that is looked at: see `write_output`.
        let count = dirs.len() as u64;
        let dirs = (0..count).map(|i| files::shuffle_dir(&dirs[((map_task.0 + i) % count) as usize], shuffle));
        MapFiles::open_in(known.map(Path::to_owned).into_iter().chain(dirs), shuffle, map_task)
    }

    /// The files of an output of this executor, to be looked at or moved as a whole.
    pub(crate) fn whole(&self, shuffle: ShuffleId, map_task: TaskId) -> Result<Arc<MapFiles>, BlockError> {
        match self.open.files((OWNER, shuffle, map_task)) {
            Some(files) => Ok(files),
            None => Self::open_files(&self.config.dirs, shuffle, map_task, None).map(Arc::new),
        }
    }

    /// The block of a map task for a reducer, in one of these local directories of an executor.
    fn find(
        &self,
        dirs: &[PathBuf],
        (shuffle, map_task, reduce): (ShuffleId, TaskId, u32),
    ) -> Result<Found, BlockError> {
        let open = |known: Option<&Path>| Self::open_files(dirs, shuffle, map_task, known);
        self.open.find((OWNER, shuffle, map_task), reduce, open)
    }

    /// Reads and checks a block from these directories, its executor's, on this host. What is found corrupt is looked at
    /// once more. Blocks of more than `limit` bytes are left in their file.
    pub(crate) fn read_local(
        &self,
        dirs: &[PathBuf],
        block: (ShuffleId, TaskId, u32),
        limit: u64,
        body: &mut BlockBody,
    ) -> Result<(), BlockError> {
        let (shuffle, map_task, reduce) = block;
        match self.find(dirs, block).and_then(|found| found.read(reduce, limit, body)) {
            Err(e @ BlockError::CorruptFile { .. }) => {
                tracing::warn!(error = %e, "reading a corrupt block once more");
                self.open.forget((OWNER, shuffle, map_task));
                self.find(dirs, block)?.read(reduce, limit, body)
            }
            result => result,
        }
    }

    /// A file for a block of `bytes` bytes that is too large for memory. It has no name: it ends with its last user,
    /// however that ends.
    pub(crate) fn scratch_file(&self, bytes: u64) -> Result<ScratchFile, BlockError> {
        let number = self.scratch_files.fetch_add(1, Ordering::Relaxed);
        let failed = |action| move |path: &Path, source| BlockError::File { action, path: path.to_owned(), source };
        self.local.write(number, |dir| {
            let path = dir.join(format!("fetch_{number}.tmp"));
            let file = fs::File::options().read(true).write(true).create_new(true).mode(0o600).open(&path);
            let file = file.map_err(|e| failed("create")(&path, e))?;
            fs::remove_file(&path).map_err(|e| failed("unlink")(&path, e))?;
            reserve(&file, bytes).map_err(|e| failed("take room for a large block in")(&path, e))?;
            tracing::debug!(path = %path.display(), bytes, "a large block goes to disk");
            Ok(ScratchFile { file, path })
        })
    }
}

impl BlockSource for ShuffleManager {
    fn open(&self, id: &BlockId) -> Result<BlockData, BlockError> {
        let dirs = &self.config.dirs;
        match *id {
            BlockId::Shuffle { shuffle, map_task, reduce } => {
                self.find(dirs, (shuffle, map_task, reduce))?.block(reduce)
            }
            BlockId::ShuffleData { shuffle, map_task } => Ok(self.whole(shuffle, map_task)?.whole()?.0),
            BlockId::ShuffleIndex { shuffle, map_task } => Ok(self.whole(shuffle, map_task)?.whole()?.1),
            _ => Err(BlockError::NotFound { id: *id }),
        }
    }
}

impl MapOutputs for ShuffleManager {
    fn adopt(&self, shuffle: ShuffleId, map_task: TaskId, from: &str) -> Result<(), NotAdopted> {
        self.take(shuffle, map_task, from).map_err(|reason| NotAdopted { shuffle, map_task, reason })
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
