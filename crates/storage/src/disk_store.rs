//! Cached partitions on disk, below the executor's local directories. Called by [`crate::BlockManager`], by the memory
//! store that spills, and by `rdd`'s cache.
//!
//! Who owns the local directories removes them when the application ends; what is unpersisted goes at once.

use std::{
    fs::{self, File},
    io::{self, BufReader, Seek},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use dashmap::DashMap;
use firesteel_common::RddId;

use crate::{BlockError, BlockId, Frame, FrameReader, FrameWriter};

/// A block's file.
#[derive(Clone, Debug)]
pub struct DiskBlock {
    /// Its name.
    pub path: PathBuf,
    /// Its length in bytes.
    pub len: u64,
}

impl DiskBlock {
    /// Opens it to be read frame by frame.
    pub fn read(&self) -> Result<FrameReader<BufReader<File>>, BlockError> {
        Ok(FrameReader::new(BufReader::new(self.open()?), self.len))
    }

    /// Opens the file.
    pub fn open(&self) -> Result<File, BlockError> {
        File::open(&self.path).map_err(failed("open", &self.path))
    }
}

/// Blocks in files, spread over the local directories. Spark: `DiskStore`.
pub struct DiskStore {
    dirs: Vec<PathBuf>,
    blocks: DashMap<BlockId, DiskBlock>,
    written: AtomicU64,
}

impl DiskStore {
    /// A store below `dirs`, of which there must be at least one for anything to be stored.
    pub fn new(dirs: &[PathBuf]) -> Arc<DiskStore> {
        let dirs = dirs.iter().map(|dir| dir.join("blocks")).collect();
        Arc::new(DiskStore { dirs, blocks: DashMap::new(), written: AtomicU64::new(0) })
    }

    /// Begins to write block `id`.
    pub fn write(self: &Arc<Self>, id: BlockId) -> Result<DiskWriter, BlockError> {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let Some(dir) = self.dirs.get(number as usize % self.dirs.len().max(1)) else {
            return Err(BlockError::NoDisk { id });
        };
        fs::create_dir_all(dir).map_err(failed("create", dir))?;
        // Two tasks may write the same block at once.
        let temporary = dir.join(format!("{id}.{number}.tmp"));
        let file = File::options().read(true).write(true).create_new(true).open(&temporary);
        let file = file.map_err(failed("create", &temporary))?;
        let unfinished = Unfinished { path: temporary, kept: false };
        Ok(DiskWriter { store: self.clone(), id, frames: FrameWriter::new(file), dir: dir.clone(), unfinished })
    }

    /// Where block `id` lies.
    pub fn get(&self, id: &BlockId) -> Option<DiskBlock> {
        self.blocks.get(id).map(|block| block.clone())
    }

    /// The blocks that are here.
    pub(crate) fn ids(&self) -> Vec<BlockId> {
        self.blocks.iter().map(|entry| *entry.key()).collect()
    }

    /// Removes a block; whether it was there.
    pub fn remove(&self, id: &BlockId) -> bool {
        let Some((_, block)) = self.blocks.remove(id) else { return false };
        remove_file(&block.path);
        true
    }

    /// Removes every block of an RDD and returns the partitions' numbers.
    pub fn remove_rdd(&self, rdd: RddId) -> Vec<u32> {
        let of_rdd = |id: &BlockId| match id {
            BlockId::Rdd { rdd: r, partition } if *r == rdd => Some(*partition),
            _ => None,
        };
        let partitions: Vec<u32> = self.blocks.iter().filter_map(|entry| of_rdd(entry.key())).collect();
        for &partition in &partitions {
            self.remove(&BlockId::Rdd { rdd, partition });
        }
        partitions
    }

    /// A directory for files that nobody else will see.
    pub fn scratch_dir(&self) -> Option<&Path> {
        self.dirs.first().filter(|dir| fs::create_dir_all(dir).is_ok()).map(PathBuf::as_path)
    }
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BlockError {
    let path = path.to_owned();
    move |source| BlockError::File { action, path, source }
}

fn remove_file(path: &Path) {
    if let Err(e) = fs::remove_file(path)
        && e.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), error = %e, "cannot remove a block's file");
    }
}

/// Removes a file that did not get its final name.
struct Unfinished {
    path: PathBuf,
    kept: bool,
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.kept {
            remove_file(&self.path);
        }
    }
}

/// A block that is being written; dropped before its end it leaves nothing behind.
pub struct DiskWriter {
    store: Arc<DiskStore>,
    id: BlockId,
    frames: FrameWriter<File>,
    dir: PathBuf,
    unfinished: Unfinished,
}

impl DiskWriter {
    /// Appends a frame.
    pub fn write(&mut self, frame: &Frame) -> Result<(), BlockError> {
        self.frames.write(frame).map_err(failed("write", &self.unfinished.path))
    }

    /// Makes the block one of the store's, in place of an earlier one.
    pub fn finish(self) -> Result<DiskBlock, (BlockError, Option<Salvage>)> {
        let DiskWriter { store, id, frames, dir, mut unfinished } = self;
        let len = frames.written();
        // The end mark may be what does not fit: the frames before it are still there.
        let file = match frames.finish() {
            Ok(file) => file,
            Err(e) => {
                let error = failed("write", &unfinished.path)(e);
                let salvage = File::open(&unfinished.path).ok().map(|file| Salvage { file, len });
                return Err((error, salvage));
            }
        };
        let path = dir.join(id.to_string());
        let renamed = file.metadata().and_then(|m| fs::rename(&unfinished.path, &path).map(|()| m.len()));
        let len = match renamed {
            Ok(len) => len,
            Err(e) => {
                let error = failed("rename to its final name", &unfinished.path)(e);
                return Err((error, Some(Salvage { file, len })));
            }
        };
        unfinished.kept = true;
        let block = DiskBlock { path, len };
        if let Some(before) = store.blocks.insert(id, block.clone())
            && before.path != block.path
        {
            remove_file(&before.path);
        }
        Ok(block)
    }

    /// What was written whole before a write failed, without the file's name.
    pub fn salvage(self) -> Salvage {
        let len = self.frames.written();
        Salvage { file: self.frames.into_inner(), len }
    }
}

/// The frames of a block that could not be stored: still to be read once. Their space is free when this is dropped.
pub struct Salvage {
    file: File,
    len: u64,
}

impl Salvage {
    /// Reads them.
    pub fn read(mut self) -> io::Result<FrameReader<BufReader<File>>> {
        self.file.rewind()?;
        Ok(FrameReader::unfinished(BufReader::new(self.file), self.len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(n: u8) -> Frame {
        Frame { elements: 1, bytes: vec![n; 100].into() }
    }

    fn files(dir: &Path) -> usize {
        fs::read_dir(dir.join("blocks")).map_or(0, Iterator::count)
    }

    #[test]
    fn blocks_are_spread_over_the_directories_and_removed() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = DiskStore::new(&[a.path().to_owned(), b.path().to_owned()]);
        let id = |partition| BlockId::Rdd { rdd: RddId(1), partition };
        for n in 0..4u8 {
            let mut writer = store.write(id(u32::from(n))).unwrap();
            writer.write(&frame(n)).unwrap();
            assert!(writer.finish().is_ok());
        }
        assert_eq!((files(a.path()), files(b.path())), (2, 2));
        let mut reader = store.get(&id(3)).unwrap().read().unwrap();
        assert!(store.remove(&id(3)) && !store.remove(&id(3)));
        assert_eq!(reader.next_frame().unwrap(), Some(frame(3)), "who reads it reads on");
        assert_eq!(store.remove_rdd(RddId(1)).len(), 3);
        assert_eq!((files(a.path()), files(b.path())), (0, 0));
    }

    #[test]
    fn what_is_not_finished_leaves_nothing_but_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let store = DiskStore::new(&[dir.path().to_owned()]);
        let id = BlockId::Rdd { rdd: RddId(1), partition: 0 };
        let mut writer = store.write(id).unwrap();
        writer.write(&frame(1)).unwrap();
        assert_eq!(files(dir.path()), 1);
        let mut reader = writer.salvage().read().unwrap();
        assert_eq!(files(dir.path()), 0);
        assert_eq!((reader.next_frame().unwrap(), reader.next_frame().unwrap()), (Some(frame(1)), None));
        assert!(store.get(&id).is_none());
    }
}
