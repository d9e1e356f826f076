//! A byte block that grows while it is written: in memory as far as it is small and the pool grants it, then in a file
//! without a name. Called by the executor for the results of tasks. Spark keeps them MEMORY_AND_DISK_SER.

use std::{fs::File, io::Write, path::PathBuf, sync::Arc};

use bytes::Bytes;

use crate::{BlockError, BlockId, BlockManager, storage_reservation::StorageReservation};

/// What is larger goes to a file, whatever memory there is: the system's cache holds it as well, and gives way.
const IN_MEMORY: usize = 16 << 20;
/// A file is written in pieces of so many bytes.
const PIECE: usize = 1 << 20;

/// Writes one block. Dropped before its end it leaves nothing behind.
pub struct BlockWriter {
    blocks: Arc<BlockManager>,
    id: BlockId,
    /// Bytes that nobody needs to grant: blocks that turn out no larger are not kept here.
    free: usize,
    /// What is not in the file.
    buffer: Vec<u8>,
    memory: StorageReservation,
    file: Option<Spooled>,
}

struct Spooled {
    file: File,
    /// The directory that it lies in.
    dir: PathBuf,
    len: u64,
    crc32c: u32,
}

/// A block that was written whole.
pub struct WrittenBlock {
    id: BlockId,
    content: Content,
}

enum Content {
    Memory(Bytes, StorageReservation),
    File(Spooled),
}

impl BlockWriter {
    /// A writer of block `id` of `blocks`. Blocks of up to `free` bytes take no memory of the pool.
    pub fn new(blocks: &Arc<BlockManager>, id: BlockId, free: u64) -> BlockWriter {
        let memory = StorageReservation::new(blocks.memory_manager().clone(), None);
        let free = usize::try_from(free).unwrap_or(usize::MAX).min(IN_MEMORY);
        BlockWriter { blocks: blocks.clone(), id, free, buffer: Vec::new(), memory, file: None }
    }

    /// Appends what `append` appends to the Vec that it gets, which may hold the bytes before.
    ///
    /// # Errors
    /// Those of `append`; [`BlockError::OutOfMemory`] when there is neither memory nor a disk for the block;
    /// [`BlockError::File`] when the disk fails.
    pub fn write<E: From<BlockError>>(&mut self, append: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        append(&mut self.buffer)?;
        Ok(self.settle()?)
    }

    /// Bytes so far.
    pub fn len(&self) -> u64 {
        self.buffer.len() as u64 + self.file.as_ref().map_or(0, |file| file.len)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends the block; the bytes themselves when there are no more than the pool was not asked for.
    pub fn finish(mut self) -> Result<Result<Vec<u8>, WrittenBlock>, BlockError> {
        if self.file.is_none() && self.buffer.len() <= self.free {
            return Ok(Ok(self.buffer));
        }
        let content = match self.file.take() {
            Some(mut file) => {
                file.write(&self.buffer)?;
                Content::File(file)
            }
            None => Content::Memory(self.buffer.into(), self.memory),
        };
        Ok(Err(WrittenBlock { id: self.id, content }))
    }

    /// Takes memory for what was appended, or writes it to the file.
    fn settle(&mut self) -> Result<(), BlockError> {
        if let Some(file) = &mut self.file {
            if self.buffer.len() >= PIECE {
                file.write(&self.buffer)?;
                self.buffer.clear();
                self.buffer.shrink_to(4 * PIECE);
            }
            return Ok(());
        }
        if self.buffer.len() <= self.free {
            return Ok(());
        }
        let (blocks, buffer, id) = (&self.blocks, &self.buffer, self.id);
        let disk = blocks.disk().filter(|disk| !disk.is_nowhere());
        let bytes = buffer.capacity() as u64;
        if (buffer.len() <= IN_MEMORY || disk.is_none()) && self.memory.resize(bytes) {
            return Ok(());
        }
        let Some(disk) = disk else { return Err(blocks.memory().out_of_memory(id, bytes)) };
        let file = disk.scratch(id, |dir| {
            let mut file = Spooled::create(dir.to_owned())?;
            file.write(buffer)?;
            Ok(file)
        })?;
        self.buffer = Vec::new();
        self.memory.resize(0);
        self.file = Some(file);
        Ok(())
    }
}

impl Spooled {
    fn create(dir: PathBuf) -> Result<Spooled, BlockError> {
        match tempfile::tempfile_in(&dir) {
            Ok(file) => Ok(Spooled { file, dir, len: 0, crc32c: 0 }),
            Err(source) => Err(BlockError::File { action: "create a file in", path: dir, source }),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), BlockError> {
        let failed = |source| BlockError::File { action: "write to a file in", path: self.dir.clone(), source };
        self.file.write_all(bytes).map_err(failed)?;
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }
}

impl WrittenBlock {
    /// Which it is.
    pub fn id(&self) -> BlockId {
        self.id
    }

    /// Its bytes.
    pub fn len(&self) -> u64 {
        match &self.content {
            Content::Memory(bytes, _) => bytes.len() as u64,
            Content::File(file) => file.len,
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Serves it until it is removed.
    pub fn keep(self, blocks: &BlockManager) {
        match self.content {
            Content::Memory(bytes, memory) => blocks.memory().put_acquired(self.id, bytes, memory.into_block()),
            Content::File(Spooled { file, dir, len, crc32c }) => {
                blocks.serve_summed(self.id, Arc::new(file), dir, len, Some(crc32c));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BlockData, BlockSource, MemoryConfig, MemoryManager};

    fn manager(pool: u64, dirs: &[PathBuf]) -> Arc<BlockManager> {
        let memory = MemoryManager::new(MemoryConfig { total_bytes: pool, storage_fraction: 0.5 });
        Arc::new(BlockManager::with_disk(memory, dirs))
    }

    /// `len` bytes, 1,000 at a time.
    fn write(blocks: &Arc<BlockManager>, len: usize) -> Result<Result<Vec<u8>, WrittenBlock>, BlockError> {
        let id = BlockId::TaskResult(firesteel_common::TaskId(1));
        let mut writer = BlockWriter::new(blocks, id, 2000);
        for start in (0..len).step_by(1000) {
            writer.write(|out| {
                out.extend((start..(start + 1000).min(len)).map(|i| i as u8));
                Ok::<(), BlockError>(())
            })?;
        }
        assert_eq!(writer.len(), len as u64);
        writer.finish()
    }

    #[test]
    fn a_block_goes_to_memory_and_where_that_is_refused_to_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let expected: Vec<u8> = (0..100_000usize).map(|i| i as u8).collect();
        for (pool, in_file) in [(1 << 20, false), (50_000, true)] {
            let blocks = manager(pool, &[dir.path().to_owned()]);
            assert_eq!(write(&blocks, 2000).unwrap().ok().unwrap(), expected[..2000]);
            let Err(block) = write(&blocks, 100_000).unwrap() else { panic!("it is large") };
            let (id, len) = (block.id(), block.len());
            block.keep(&blocks);
            assert_eq!(len, 100_000);
            assert_eq!(blocks.memory_manager().storage_used() > 0, !in_file);
            let data = blocks.open(&id).unwrap();
            assert_eq!(matches!(data, BlockData::File { crc32c: Some(_), .. }), in_file);
            assert_eq!(blocks.read(&id).unwrap(), expected);
            assert!(blocks.remove(&id) && blocks.open(&id).is_err());
            assert_eq!(blocks.memory_manager().storage_used(), 0);
            let left = std::fs::read_dir(dir.path().join("blocks")).map_or(0, Iterator::count);
            assert_eq!(left, 0, "the file has no name");
        }
    }

    #[test]
    fn without_a_disk_the_error_says_who_holds_the_memory() {
        let blocks = manager(50_000, &[]);
        let task = blocks.memory_manager().for_task(firesteel_common::TaskId(7), crate::Abort::never());
        let mut sorter = task.reserve("sort");
        assert!(sorter.resize(20_000));
        let error = write(&blocks, 100_000).err().unwrap().to_string();
        assert!(error.contains("task 7") && error.contains("sort 20000 bytes"), "{error}");
    }
}
