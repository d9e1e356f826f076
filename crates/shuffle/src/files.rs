//! The two files of a map task: names, writing without leaving halves, reading with checks.
//!
//! ```text
//!  data:   the blocks of reducer 0, 1, … one after the other
//!  index:  magic u64, reducers u32, then for each reducer and once more at the end: offset u64, crc32c u32
//! ```

use std::{
    fs::{self, File},
    io::{self, Write},
    ops::Range,
    os::unix::fs::{FileExt, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use firesteel_common::{ShuffleId, TaskId};
use firesteel_storage::{BlockData, BlockError};

use crate::{ShuffleError, block_body::BlockBody};

const MAGIC: u64 = u64::from_le_bytes(*b"FSSHIDX1");
const INDEX_HEADER: usize = 12;
const INDEX_ENTRY: usize = 12;
/// So much of a block is read at a time.
const PIECE: usize = 256 * 1024;
/// No more blocks than this are read ahead.
const MOST_BLOCKS_AHEAD: u32 = 1024;

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

/// Whether one of the two files is in this directory of the shuffle.
pub(crate) fn is_in(dir: &Path, shuffle: ShuffleId, map_task: TaskId) -> bool {
    dir.join(index_name(shuffle, map_task)).exists() || dir.join(data_name(shuffle, map_task)).exists()
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
        match File::options().read(true).write(true).create(true).truncate(true).mode(0o600).open(&path) {
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

/// Blocks of one map output that follow one another, read and checked together.
pub(crate) struct Ahead {
    /// The reducer of the first.
    first: u32,
    /// Of each, where it ends in `bytes`, and its CRC-32C.
    ends: Vec<(u32, u32)>,
    pub bytes: Bytes,
}

impl Ahead {
    /// Where in `bytes` the block of `reduce` lies, and its checksum; `None` when it is not among them.
    pub fn block(&self, reduce: u32) -> Option<(Range<usize>, u32)> {
        let at = reduce.checked_sub(self.first)? as usize;
        let (end, crc32c) = *self.ends.get(at)?;
        let start = if at == 0 { 0 } else { self.ends[at - 1].0 };
        Some((start as usize..end as usize, crc32c))
    }

    /// Bytes of memory that it takes.
    pub fn memory_bytes(&self) -> u64 {
        (size_of::<Ahead>() + size_of_val(&self.ends[..]) + self.bytes.len()) as u64
    }
}

impl MapFiles {
    /// Opens the files in the first of these directories that has them.
    ///
    /// # Errors
    /// As [`MapFiles::open`]; where none has them, of the one that has at least the data.
    pub fn open_in(
        dirs: impl Iterator<Item = PathBuf> + Clone,
        shuffle: ShuffleId,
        map_task: TaskId,
    ) -> Result<MapFiles, BlockError> {
        let (data, index) = (data_name(shuffle, map_task), index_name(shuffle, map_task));
        let mut failure = None;
        for dir in dirs.clone() {
            let path = dir.join(&index);
            match File::open(&path) {
                Ok(file) => return Self::with_index(dir.join(&data), file, path),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                // One directory that is broken hides no other.
                Err(source) => {
                    failure.get_or_insert(BlockError::File { action: "open", path, source });
                }
            }
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        let dir = dirs.clone().find(|dir| is_in(dir, shuffle, map_task)).or_else(|| dirs.clone().next());
        let source = io::ErrorKind::NotFound.into();
        Err(BlockError::File { action: "open", path: dir.unwrap_or_default().join(&index), source })
    }

    /// Opens the two files.
    pub fn open(data_path: PathBuf, index_path: PathBuf) -> Result<MapFiles, BlockError> {
        let failed = |source| BlockError::File { action: "open", path: index_path.clone(), source };
        let index = File::open(&index_path).map_err(failed)?;
        Self::with_index(data_path, index, index_path)
    }

    fn with_index(data_path: PathBuf, index: File, index_path: PathBuf) -> Result<MapFiles, BlockError> {
        let failed = |source| BlockError::File { action: "open", path: data_path.clone(), source };
        let data = Arc::new(File::open(&data_path).map_err(failed)?);
        let index = Arc::new(index);
        let mut header = [0; INDEX_HEADER];
        read_exact(&index, &index_path, &mut header, 0)?;
        let (magic, reducers) = header.split_at(8);
        if magic != MAGIC.to_le_bytes() {
            return Err(corrupt(&index_path, "it does not start as an index file does"));
        }
        let reducers = reducers.iter().rev().fold(0, |n, b| n << 8 | u32::from(*b));
        Ok(MapFiles { data, data_path, index, index_path, reducers })
    }

    /// The directory in which they are.
    pub fn dir(&self) -> &Path {
        self.data_path.parent().unwrap_or(Path::new(""))
    }

    /// Where the block of `reduce` lies.
    pub fn range(&self, reduce: u32) -> Result<BlockRange, BlockError> {
        if reduce >= self.reducers {
            return Err(corrupt(&self.index_path, &format!("no reducer {reduce}, it has {}", self.reducers)));
        }
        let mut entries = [[0u8; INDEX_ENTRY]; 2];
        let at = INDEX_HEADER as u64 + u64::from(reduce) * INDEX_ENTRY as u64;
        read_exact(&self.index, &self.index_path, entries.as_flattened_mut(), at)?;
        let ((offset, crc32c), (end, _)) = (entry(&entries[0]), entry(&entries[1]));
        let len = end.checked_sub(offset).ok_or_else(|| {
            corrupt(&self.index_path, &format!("the block of reducer {reduce} ends before it starts"))
        })?;
        Ok(BlockRange { offset, len, crc32c })
    }

    /// Reads the blocks of `reduce` and those after it, as many as `bytes` of memory have room for. `None` when that are fewer than
    /// `least`, or they cannot be read: then each has to be read by itself, and says what is wrong.
    pub fn read_ahead(&self, reduce: u32, least: u32, bytes: u64) -> Option<Ahead> {
        let count = self.reducers.checked_sub(reduce)?.min(MOST_BLOCKS_AHEAD) as usize;
        let mut index = vec![0u8; (count + 1) * INDEX_ENTRY];
        let at = INDEX_HEADER as u64 + u64::from(reduce) * INDEX_ENTRY as u64;
        self.index.read_exact_at(&mut index, at).ok()?;
        let (entries, _) = index.as_chunks::<INDEX_ENTRY>();
        let (start, _) = entry(entries.first()?);
        let mut ends = Vec::with_capacity(count);
        for pair in entries.windows(2) {
            let ((_, crc32c), (end, _)) = (entry(&pair[0]), entry(&pair[1]));
            let end = end.checked_sub(start)?;
            let memory = size_of::<Ahead>() + (ends.len() + 1) * size_of::<(u32, u32)>();
            if end + memory as u64 > bytes {
                break;
            }
            ends.push((u32::try_from(end).ok()?, crc32c));
        }
        if (ends.len() as u32) < least {
            return None;
        }
        let mut data = vec![0u8; ends.last()?.0 as usize];
        self.data.read_exact_at(&mut data, start).ok()?;
        let mut from = 0;
        let is_whole = ends.iter().all(|(end, crc32c)| {
            let block = &data[from as usize..(*end).max(from) as usize];
            from = *end;
            crc32c::crc32c(block) == *crc32c
        });
        ends.shrink_to_fit();
        is_whole.then(|| Ahead { first: reduce, ends, bytes: data.into() })
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

/// Offset and checksum.
fn entry(bytes: &[u8; INDEX_ENTRY]) -> (u64, u32) {
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b));
    (number(&bytes[..8]), number(&bytes[8..]) as u32)
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
