//! Cached partitions between executors: read where another has them, copied where a level asks for copies. Called by the
//! cache of `rdd` and, for the peers, by the block server; calls [`BlockClient`].

use std::{
    fs::{self, File},
    io::BufReader,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use firesteel_common::RddId;

use crate::{
    Abort, BlockClient, BlockError, BlockId, BlockManager, FrameReader, StorageLevel, StorageReservation,
    memory_store::Cached,
};

/// How a block manager reaches those of other executors, and they reach it.
pub struct BlockNetwork {
    /// Fetches from them.
    pub client: BlockClient,
    /// `host:port` of this process's block server.
    pub address: String,
    fetched: AtomicU64,
}

impl BlockNetwork {
    /// Others reach this process at `address`.
    pub fn new(client: BlockClient, address: impl Into<String>) -> BlockNetwork {
        BlockNetwork { client, address: address.into(), fetched: AtomicU64::new(0) }
    }
}

/// The copies that are being made. A removal that comes meanwhile finds nothing to remove yet: it leaves word here.
#[derive(Default)]
pub(crate) struct Copying(Mutex<Vec<(BlockId, Arc<AtomicBool>)>>);

/// A copy that is being made.
pub(crate) struct CopyUnderWay<'a> {
    all: &'a Copying,
    removed: Arc<AtomicBool>,
}

impl Copying {
    fn all(&self) -> MutexGuard<'_, Vec<(BlockId, Arc<AtomicBool>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be held until the copy is there.
    pub fn begin(&self, id: BlockId) -> CopyUnderWay<'_> {
        let removed = Arc::new(AtomicBool::new(false));
        self.all().push((id, removed.clone()));
        CopyUnderWay { all: self, removed }
    }

    /// Leaves word that an RDD is removed. Comes before the look at what is there: a copy is either seen there, or sees this.
    pub fn removed(&self, rdd: RddId) {
        let of_it = |id: &BlockId| matches!(id, BlockId::Rdd { rdd: of, .. } if *of == rdd);
        self.all().iter().filter(|(id, _)| of_it(id)).for_each(|(_, removed)| removed.store(true, Ordering::SeqCst));
    }
}

impl CopyUnderWay<'_> {
    /// Whether its RDD was removed since it began.
    pub fn is_removed(&self) -> bool {
        self.removed.load(Ordering::SeqCst)
    }
}

impl Drop for CopyUnderWay<'_> {
    fn drop(&mut self) {
        self.all.all().retain(|(_, removed)| !Arc::ptr_eq(removed, &self.removed));
    }
}

impl BlockManager {
    /// Copies a cached partition from the executor at `address` into a file without a name, and opens it. However large
    /// it is, it is not in memory.
    pub fn fetch_cached(
        &self,
        id: BlockId,
        address: &str,
        abort: &Abort,
    ) -> Result<FrameReader<BufReader<File>>, BlockError> {
        let network = self.network().ok_or(BlockError::NotFound { id })?;
        let number = network.fetched.fetch_add(1, Ordering::Relaxed);
        self.disk().ok_or(BlockError::NoDisk { id })?.scratch(id, |dir| {
            let path = dir.join(format!("{id}.{number}.fetched"));
            let len = network.client.fetch_to_file(address, id, &path, u64::MAX, abort)?;
            let opened = File::open(&path);
            let removed = fs::remove_file(&path);
            let failed = |action| {
                let path = path.clone();
                move |source| BlockError::File { action, path, source }
            };
            removed.map_err(failed("remove"))?;
            Ok(FrameReader::new(BufReader::new(opened.map_err(failed("open"))?), len))
        })
    }

    /// Has the executor at `address` keep a copy of a partition that is cached here.
    pub fn replicate_to(
        &self,
        address: &str,
        id: BlockId,
        level: StorageLevel,
        abort: &Abort,
    ) -> Result<(), BlockError> {
        let network = self.network().ok_or(BlockError::NotFound { id })?;
        network.client.replicate(address, id, level, &network.address, abort)
    }

    /// Fetches a cached partition from the executor at `from` and keeps it as bytes, in memory or on disk as `level` says.
    /// Not if its RDD was removed meanwhile: nobody would remove the copy.
    pub(crate) fn keep_copy(&self, id: BlockId, level: StorageLevel, from: &str) -> Result<(), BlockError> {
        if self.find_cached(&id).is_some() {
            return Ok(());
        }
        let copying = self.copying().begin(id);
        self.copy(id, level, from)?;
        if copying.is_removed() {
            self.remove(&id);
            return Err(BlockError::NotFound { id });
        }
        Ok(())
    }

    fn copy(&self, id: BlockId, level: StorageLevel, from: &str) -> Result<(), BlockError> {
        let mut reader = self.fetch_cached(id, from, &Abort::never())?;
        let failed = |source| BlockError::File { action: "read a copy of", path: id.to_string().into(), source };
        let keep = match id {
            BlockId::Rdd { rdd, .. } => Some(rdd),
            _ => None,
        };
        let mut memory = StorageReservation::new(self.memory_manager().clone(), keep);
        let (mut frames, mut next) = (Vec::new(), reader.next_frame().map_err(failed)?);
        while level.use_memory()
            && let Some(frame) = next.take()
        {
            let bytes = memory.held() + frame.bytes.len() as u64;
            frames.push(frame);
            if !memory.resize(bytes) {
                if !level.use_disk() {
                    return Err(self.memory().out_of_memory(id, bytes));
                }
                next = reader.next_frame().map_err(failed)?;
                break;
            }
            next = reader.next_frame().map_err(failed)?;
            if next.is_none() {
                self.memory().put(id, Cached::Frames(Arc::new(frames)), memory.into_block(), level.use_disk());
                return Ok(());
            }
        }
        if level.use_memory() && frames.is_empty() {
            self.memory().put(id, Cached::Frames(Arc::default()), memory.into_block(), level.use_disk());
            return Ok(());
        }
        let mut writer = self.write_to_disk(id)?;
        for frame in &frames {
            writer.write(frame)?;
        }
        drop((frames, memory));
        while let Some(frame) = next {
            writer.write(&frame)?;
            next = reader.next_frame().map_err(failed)?;
        }
        writer.finish().map(drop).map_err(|(e, _)| e)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_is_under_way_hears_of_the_removal_of_its_rdd() {
        let copying = Copying::default();
        let block = |rdd, partition| BlockId::Rdd { rdd: RddId(rdd), partition };
        copying.removed(RddId(1));
        let (one, other) = (copying.begin(block(1, 7)), copying.begin(block(2, 7)));
        assert!(!one.is_removed());
        copying.removed(RddId(1));
        assert!(one.is_removed() && !other.is_removed());
        drop((one, other));
        assert!(copying.all().is_empty());
    }
}
