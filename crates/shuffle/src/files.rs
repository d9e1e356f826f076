//! The two files of a map task: names, writing without leaving halves, reading with checks.
//!
//! ```text
//!  data:   the blocks of reducer 0, 1, … one after the other
//!  index:  magic u64, reducers u32, then for each reducer and once more at the end: offset u64, crc32c u32
//! ```

use std::{
    fs::{self, File},
    io::{self, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use firesteel_common::{ShuffleId, TaskId};
use firesteel_storage::{BlockData, BlockError};

use crate::{ShuffleError, block_body::BlockBody};

const MAGIC: u64 = u64::from_le_bytes(*b"FSSHIDX1");
const INDEX_HEADER: usize = 12;
const INDEX_ENTRY: usize = 12;
/// So much of a block is read at a time.
const PIECE: usize = 256 * 1024;

/// The directory of a shuffle under one local directory.
pub fn shuffle_dir(dir: &Path, shuffle: ShuffleId) -> PathBuf {
    dir.join(format!("shuffle_{}", shuffle.0))
}

/// The data file's name.
pub fn data_name(shuffle: ShuffleId, map_task: TaskId) -> String {
    format!("shuffle_{}_{}.data", shuffle.0, map_task.0)
}

/// The index file's name.
pub fn index_name(shuffle: ShuffleId, map_task: TaskId) -> String {
    format!("shuffle_{}_{}.index", shuffle.0, map_task.0)
}

/// The task whose index file has this name; `None` for any other name.
pub(crate) fn map_task_of(index_name: &str, shuffle: ShuffleId) -> Option<TaskId> {
    let task = index_name.strip_prefix(&format!("shuffle_{}_", shuffle.0))?.strip_suffix(".index")?;
    task.parse().ok().map(TaskId)
}

/// A file that is removed unless it is kept under its final name.
pub(crate) struct TempFile {
    pub file: File,
    pub path: PathBuf,
    kept: bool,
}

impl TempFile {
    /// Creates `path` with `.tmp` at its end. `readable` for a file that is read back.
    pub fn create(path: &Path) -> Result<TempFile, ShuffleError> {
        let mut name = path.as_os_str().to_owned();
        name.push(".tmp");
        let path = PathBuf::from(name);
        match File::options().read(true).write(true).create(true).truncate(true).open(&path) {
            Ok(file) => Ok(TempFile { file, path, kept: false }),
            Err(source) => Err(ShuffleError::File { action: "create", path, source }),
        }
    }

    /// A file that is there, under a name of its own.
    pub fn of(path: PathBuf) -> Result<TempFile, ShuffleError> {
        match File::open(&path) {
            Ok(file) => Ok(TempFile { file, path, kept: false }),
            Err(source) => Err(ShuffleError::File { action: "open", path, source }),
        }
    }

    /// An error of writing this file.
    pub fn failed(&self, source: io::Error) -> ShuffleError {
        ShuffleError::File { action: "write", path: self.path.clone(), source }
    }

    pub fn write_all(&mut self, bytes: &[u8]) -> Result<(), ShuffleError> {
        self.file.write_all(bytes).map_err(|e| self.failed(e))
    }

    /// Gives it its final name.
    pub fn keep(mut self, path: &Path) -> Result<(), ShuffleError> {
        fs::rename(&self.path, path).map_err(|source| ShuffleError::File {
            action: "rename to its final name",
            path: self.path.clone(),
            source,
        })?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.kept
            && let Err(e) = fs::remove_file(&self.path)
            && e.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.path.display(), error = %e, "cannot remove an unfinished file");
        }
    }
}

/// One reducer's part of a data file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BlockRange {
    /// Where it starts.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
    /// CRC-32C of its bytes.
    pub crc32c: u32,
}

/// The content of an index file for blocks of these lengths and checksums.
pub(crate) fn encode_index(blocks: &[(u64, u32)]) -> Vec<u8> {
    let mut out = Vec::with_capacity(INDEX_HEADER + (blocks.len() + 1) * INDEX_ENTRY);
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.extend_from_slice(&(blocks.len() as u32).to_le_bytes());
    let mut offset = 0u64;
    for (len, crc) in blocks {
        out.extend_from_slice(&offset.to_le_bytes());
        out.extend_from_slice(&crc.to_le_bytes());
        offset += len;
    }
    out.extend_from_slice(&offset.to_le_bytes());
    out.extend_from_slice(&0u32.to_le_bytes());
    out
}

/// The open files of one finished map task.
pub(crate) struct MapFiles {
    pub data: Arc<File>,
    pub data_path: PathBuf,
    index: Arc<File>,
    index_path: PathBuf,
    reducers: u32,
}

impl MapFiles {
    pub fn open(data_path: PathBuf, index_path: PathBuf) -> Result<MapFiles, BlockError> {
        let open = |path: &PathBuf| {
            File::open(path).map_err(|source| BlockError::File { action: "open", path: path.clone(), source })
        };
        let index = Arc::new(open(&index_path)?);
        let data = Arc::new(open(&data_path)?);
        let mut header = [0; INDEX_HEADER];
        read_exact(&index, &index_path, &mut header, 0)?;
        let (magic, reducers) = header.split_at(8);
        if magic != MAGIC.to_le_bytes() {
            return Err(corrupt(&index_path, "it does not start as an index file does"));
        }
        let reducers = reducers.iter().rev().fold(0, |n, b| n << 8 | u32::from(*b));
        Ok(MapFiles { data, data_path, index, index_path, reducers })
    }

    /// Where the block of `reduce` lies.
    pub fn range(&self, reduce: u32) -> Result<BlockRange, BlockError> {
        if reduce >= self.reducers {
            return Err(corrupt(&self.index_path, &format!("no reducer {reduce}, it has {}", self.reducers)));
        }
        let mut entries = [0u8; 2 * INDEX_ENTRY];
        let at = INDEX_HEADER as u64 + u64::from(reduce) * INDEX_ENTRY as u64;
        read_exact(&self.index, &self.index_path, &mut entries, at)?;
        let number =
            |range: std::ops::Range<usize>| entries[range].iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b));
        let (offset, crc32c, end) = (number(0..8), number(8..12) as u32, number(12..20));
        let len = end.checked_sub(offset).ok_or_else(|| {
            corrupt(&self.index_path, &format!("the block of reducer {reduce} ends before it starts"))
        })?;
        Ok(BlockRange { offset, len, crc32c })
    }

    /// The whole files as they are sent, data and index. Their receiver checks the data by the index.
    pub fn whole(&self) -> Result<(BlockData, BlockData), BlockError> {
        let data_len = self.data_len()?;
        let index_len = INDEX_HEADER as u64 + (u64::from(self.reducers) + 1) * INDEX_ENTRY as u64;
        let whole = |file: &Arc<File>, path: &PathBuf, len| BlockData::File {
            file: file.clone(),
            path: path.clone(),
            offset: 0,
            len,
            crc32c: None,
        };
        Ok((whole(&self.data, &self.data_path, data_len), whole(&self.index, &self.index_path, index_len)))
    }

    /// What the index says of the data file's length.
    fn data_len(&self) -> Result<u64, BlockError> {
        let mut end = [0; 8];
        let at = INDEX_HEADER as u64 + u64::from(self.reducers) * INDEX_ENTRY as u64;
        read_exact(&self.index, &self.index_path, &mut end, at)?;
        Ok(u64::from_le_bytes(end))
    }

    /// Reads all blocks and compares them with their checksums.
    pub fn verify(&self) -> Result<(), BlockError> {
        let (expected, actual) = (self.data_len()?, self.actual_len()?);
        if expected != actual {
            return Err(corrupt(&self.data_path, &format!("it has {actual} bytes where the index says {expected}")));
        }
        let mut piece = vec![0; PIECE];
        for reduce in 0..self.reducers {
            let range = self.range(reduce)?;
            let sum = self.sum(range, &mut piece)?;
            self.compare(reduce, sum, range.crc32c)?;
        }
        Ok(())
    }

    fn actual_len(&self) -> Result<u64, BlockError> {
        let looked = self.data.metadata();
        let failed = |source| BlockError::File { action: "look at", path: self.data_path.clone(), source };
        looked.map(|data| data.len()).map_err(failed)
    }

    /// CRC-32C of a range of the data file, which is read piece by piece.
    fn sum(&self, range: BlockRange, piece: &mut [u8]) -> Result<u32, BlockError> {
        let (mut crc, mut at) = (0, 0);
        while at < range.len {
            let n = (range.len - at).min(piece.len() as u64) as usize;
            read_exact(&self.data, &self.data_path, &mut piece[..n], range.offset + at)?;
            crc = crc32c::crc32c_append(crc, &piece[..n]);
            at += n as u64;
        }
        Ok(crc)
    }

    fn compare(&self, reduce: u32, actual: u32, written: u32) -> Result<(), BlockError> {
        if actual == written {
            return Ok(());
        }
        let message = format!("the CRC-32C of reducer {reduce}'s block is {actual:08x}, {written:08x} was written");
        Err(corrupt(&self.data_path, &message))
    }

    /// The block of `reduce` as it is sent.
    pub fn block(&self, reduce: u32) -> Result<BlockData, BlockError> {
        let BlockRange { offset, len, crc32c } = self.range(reduce)?;
        let (file, path) = (self.data.clone(), self.data_path.clone());
        Ok(BlockData::File { file, path, offset, len, crc32c: Some(crc32c) })
    }

    /// Reads and checks the block of `reduce` into `body`; one of more than `limit` bytes is checked and left in its file.
    pub fn read(&self, reduce: u32, limit: u64, body: &mut BlockBody) -> Result<(), BlockError> {
        let BlockRange { offset, len, crc32c } = self.range(reduce)?;
        let actual = self.actual_len()?;
        // Before the length is believed and memory reserved for it.
        if offset.checked_add(len).is_none_or(|end| end > actual) {
            let message = format!("it has {actual} bytes where the index says {len} at {offset} for reducer {reduce}");
            return Err(corrupt(&self.data_path, &message));
        }
        let actual = if len > limit {
            let crc = self.sum(BlockRange { offset, len, crc32c }, &mut vec![0; PIECE])?;
            body.set_file(self.data.clone(), self.data_path.clone(), offset, len);
            crc
        } else {
            let mut crc = 0;
            let mut at = offset;
            for piece in body.memory().start(len as usize).chunks_mut(PIECE) {
                read_exact(&self.data, &self.data_path, piece, at)?;
                // While it is in the processor's cache.
                crc = crc32c::crc32c_append(crc, piece);
                at += piece.len() as u64;
            }
            crc
        };
        self.compare(reduce, actual, crc32c)
    }
}

fn corrupt(path: &Path, message: &str) -> BlockError {
    BlockError::CorruptFile { path: path.to_owned(), message: message.to_owned() }
}

fn read_exact(file: &File, path: &Path, out: &mut [u8], at: u64) -> Result<(), BlockError> {
    file.read_exact_at(out, at).map_err(|source| match source.kind() {
        io::ErrorKind::UnexpectedEof => corrupt(path, &format!("it ends before byte {}", at + out.len() as u64)),
        _ => BlockError::File { action: "read", path: path.to_owned(), source },
    })
}
