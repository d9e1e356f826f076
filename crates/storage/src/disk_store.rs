//! Cached partitions on disk, below the executor's local directories. Called by [`crate::BlockManager`], by the memory
//! store that spills, and by `rdd`'s cache.
//!
//! Who owns the local directories removes them when the application ends; what is unpersisted goes at once.

use std::{
    fs::{self, File},
    io::{self, BufReader, Seek, Write},
    os::unix::fs::{FileExt, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use dashmap::DashMap;
use firesteel_common::RddId;

use crate::{BlockError, BlockId, Frame, FrameReader, FrameWriter, LocalDirs, local_dirs::make_within};

/// So much is copied at a time when a file goes on elsewhere.
const COPIED_AT_ONCE: usize = 256 << 10;

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
    dirs: Arc<LocalDirs>,
    blocks: DashMap<BlockId, DiskBlock>,
    written: AtomicU64,
}

impl DiskStore {
    /// A store below `dirs`, of which there must be at least one for anything to be stored.
    pub fn new(dirs: &[PathBuf]) -> Arc<DiskStore> {
        DiskStore::within(Arc::new(LocalDirs::new(dirs.to_vec())))
    }

    /// A store below directories in which others write, too.
    pub fn within(dirs: Arc<LocalDirs>) -> Arc<DiskStore> {
        Arc::new(DiskStore { dirs, blocks: DashMap::new(), written: AtomicU64::new(0) })
    }

    /// Whether there is no directory.
    pub fn is_nowhere(&self) -> bool {
        self.dirs.dirs().is_empty()
    }

    /// Begins to write block `id`.
    pub fn write(self: &Arc<Self>, id: BlockId) -> Result<DiskWriter, BlockError> {
        let place = self.begin(id, Ok)?;
        Ok(DiskWriter { store: self.clone(), id, place })
    }

    /// Begins a file of block `id` with what `first` does to it, in the first directory where that succeeds.
    fn begin<T>(&self, id: BlockId, mut first: impl FnMut(Place) -> Result<T, BlockError>) -> Result<T, BlockError> {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        self.in_a_directory(id, number, |dir| {
            let dir = dir.join("blocks");
            make_within(&dir).map_err(failed("create", &dir))?;
            // Two tasks may write the same block at once.
            let temporary = dir.join(format!("{id}.{number}.tmp"));
            let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&temporary);
            let frames = FrameWriter::new(file.map_err(failed("create", &temporary))?);
            first(Place { frames, dir, unfinished: Unfinished { path: temporary, kept: false } })
        })
    }

    /// Has `attempt` write for block `id` what nobody else will see, in a directory, and in another where that one fails.
    pub(crate) fn scratch<T>(
        &self,
        id: BlockId,
        attempt: impl FnMut(&Path) -> Result<T, BlockError>,
    ) -> Result<T, BlockError> {
        self.in_a_directory(id, self.written.fetch_add(1, Ordering::Relaxed), attempt)
    }

    fn in_a_directory<T>(
        &self,
        id: BlockId,
        number: u64,
        attempt: impl FnMut(&Path) -> Result<T, BlockError>,
    ) -> Result<T, BlockError> {
        if self.is_nowhere() {
            return Err(BlockError::NoDisk { id });
        }
        self.dirs.write(number, attempt)
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

/// A file that is being written.
struct Place {
    frames: FrameWriter<File>,
    dir: PathBuf,
    unfinished: Unfinished,
}

impl Place {
    fn write(&mut self, frame: &Frame) -> Result<(), BlockError> {
        self.frames.write(frame).map_err(failed("write", &self.unfinished.path))
    }

    /// Gives it the block's name.
    fn finish(&mut self, id: BlockId) -> Result<DiskBlock, BlockError> {
        self.frames.end().map_err(failed("write", &self.unfinished.path))?;
        let path = self.dir.join(id.to_string());
        let renamed = self.frames.get_ref().metadata().and_then(|m| {
            fs::rename(&self.unfinished.path, &path)?;
            Ok(m.len())
        });
        let len = renamed.map_err(failed("rename to its final name", &self.unfinished.path))?;
        self.unfinished.kept = true;
        Ok(DiskBlock { path, len })
    }

    /// Puts what was written whole before what goes on in `to`, which is empty.
    fn copy(&self, to: Place) -> Result<Place, BlockError> {
        let (from, mut file) = (self.frames.get_ref(), to.frames.into_inner());
        let (mut at, mut piece) = (0, vec![0; COPIED_AT_ONCE]);
        while at < self.frames.written() {
            let n = (self.frames.written() - at).min(piece.len() as u64) as usize;
            from.read_exact_at(&mut piece[..n], at).map_err(failed("read back", &self.unfinished.path))?;
            file.write_all(&piece[..n]).map_err(failed("write", &to.unfinished.path))?;
            at += n as u64;
        }
        Ok(Place { frames: self.frames.moved_to(file), ..to })
    }
}

/// A block that is being written; dropped before its end it leaves nothing behind. Where the disk gets full it goes on in
/// another directory.
pub struct DiskWriter {
    store: Arc<DiskStore>,
    id: BlockId,
    place: Place,
}

impl DiskWriter {
    /// Appends a frame.
    pub fn write(&mut self, frame: &Frame) -> Result<(), BlockError> {
        match self.place.write(frame) {
            Err(e) if self.store.dirs.has_failed(&e) => self.go_on(|place| place.write(frame)),
            written => written,
        }
    }

    /// Makes the block one of the store's, in place of an earlier one. What an error leaves can still be read.
    pub fn finish(mut self) -> Result<DiskBlock, (BlockError, Salvage)> {
        let id = self.id;
        let finished = match self.place.finish(id) {
            Err(e) if self.store.dirs.has_failed(&e) => self.go_on(|place| place.finish(id)),
            finished => finished,
        };
        let block = match finished {
            Ok(block) => block,
            Err(e) => return Err((e, self.salvage())),
        };
        if let Some(before) = self.store.blocks.insert(id, block.clone())
            && before.path != block.path
        {
            remove_file(&before.path);
        }
        Ok(block)
    }

    /// Goes on in another directory. Where none will do, all stays as it is.
    fn go_on<T>(&mut self, then: impl Fn(&mut Place) -> Result<T, BlockError>) -> Result<T, BlockError> {
        let before = &self.place;
        let (place, done) = self.store.begin(self.id, |fresh| {
            let mut place = before.copy(fresh)?;
            let done = then(&mut place)?;
            Ok((place, done))
        })?;
        self.place = place;
        Ok(done)
    }

    /// What was written whole before a write failed, without the file's name.
    pub fn salvage(self) -> Salvage {
        let len = self.place.frames.written();
        Salvage { file: self.place.frames.into_inner(), len }
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
    fn a_block_whose_directory_gets_full_or_is_removed_goes_on_in_another_one() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let store = DiskStore::new(&[a.path().to_owned(), b.path().to_owned()]);
        let id = BlockId::Rdd { rdd: RddId(1), partition: 0 };
        for at in 0..3 {
            let mut writer = store.write(id).unwrap();
            for n in 0..3 {
                match n == at {
                    // As where the disk gets full.
                    true => writer.go_on(|place| place.write(&frame(n))).unwrap(),
                    false => writer.write(&frame(n)).unwrap(),
                }
            }
            let mut reader = writer.finish().map_err(|(e, _)| e).unwrap().read().unwrap();
            for n in 0..3 {
                assert_eq!(reader.next_frame().unwrap(), Some(frame(n)));
            }
            assert_eq!(reader.next_frame().unwrap(), None);
            assert_eq!(files(a.path()) + files(b.path()), 1, "nothing else is left");
        }
        let mut writer = store.write(id).unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        writer.place.frames = FrameWriter::new(full);
        writer.write(&frame(7)).unwrap();
        for dir in [a.path(), b.path()] {
            fs::remove_dir_all(dir).unwrap();
        }
        let mut reader = writer.finish().map_err(|(e, _)| e).unwrap().read().unwrap();
        assert_eq!((reader.next_frame().unwrap(), reader.next_frame().unwrap()), (Some(frame(7)), None));
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
