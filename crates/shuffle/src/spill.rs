//! Where the structures of a task take memory, and the files they spill to when they are refused it.
//!
//! ```text
//!  Aggregation, ExternalSorter, HashJoin ─▶ Spills ─▶ Reservation
//!                                             └─────▶ SpillFile ─(finish)─▶ Spilled ─▶ SpillReader, one a partition
//! ```
//!
//! A spill file holds frames as a shuffle's data file does, each of one partition; which partition and where is kept in
//! memory, with a checksum. It is removed when the last reader is dropped, and lies below the executor's local
//! directories, whose owner removes what a killed process leaves.

use std::{io, marker::PhantomData, os::unix::fs::FileExt, sync::Arc};

use firesteel_common::{TaskFailure, TaskId, codec};
use firesteel_storage::{Reservation, TaskMemory};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    ShuffleError, ShuffleManager,
    files::TempFile,
    frame::{FRAME_BYTES, Frame, FrameEncoder},
};

/// What the structures of one task need of their executor.
#[derive(Clone)]
pub struct Spills {
    manager: Arc<ShuffleManager>,
    memory: Arc<TaskMemory>,
    task: TaskId,
    floor: u64,
}

/// What a structure takes whether it is granted or not, bytes: spilling less would cost more than it frees.
const FLOOR: u64 = 4 << 20;

impl Spills {
    /// Of `task`, which takes memory from `memory` and spills to the directories of `manager`.
    pub fn new(manager: &Arc<ShuffleManager>, memory: &Arc<TaskMemory>, task: TaskId) -> Spills {
        Spills { manager: manager.clone(), memory: memory.clone(), task, floor: FLOOR }
    }

    /// Nothing is spilled for having less than so many bytes.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    #[cfg(test)]
    pub(crate) fn set_floor(&mut self, floor: u64) {
        self.floor = floor;
    }

    /// An empty reservation.
    pub fn reserve(&self, name: &'static str) -> Reservation {
        self.memory.reserve(name)
    }

    pub(crate) fn file(&self) -> Result<SpillFile, ShuffleError> {
        let config = self.manager.config();
        let file = self.manager.spill_file(self.task, |_| Ok(()))?;
        Ok(SpillFile {
            manager: self.manager.clone(),
            memory: self.memory.clone(),
            task: self.task,
            files: vec![(0, file)],
            encoder: FrameEncoder::new(config.spill_compression),
            frames: Vec::new(),
            buffer: Vec::new(),
            buffer_bytes: config.file_buffer_bytes.max(4 * FRAME_BYTES),
            written: 0,
            partition: 0,
            raw: Vec::new(),
            records: 0,
            largest: 0,
        })
    }
}

/// Bits 8 of the hash that split the records of one task at the first level.
pub(crate) const FIRST_BITS: u32 = 8;
/// Bits that split what was still too large at each deeper level.
pub(crate) const NEXT_BITS: u32 = 5;
/// What is too large after so many levels has equal hashes, or nearly.
pub(crate) const MAX_LEVEL: u32 = 8;

/// Which part of its level a record belongs to. Each level looks at bits of its own, which are neither those of the
/// partition (the highest) nor those of a table's places (the lowest).
#[inline]
pub(crate) fn digit(hash: u64, level: u32) -> usize {
    match level {
        0 => (hash >> 32 & ((1 << FIRST_BITS) - 1)) as usize,
        1..=3 => (hash >> (32 - NEXT_BITS * level) & ((1 << NEXT_BITS) - 1)) as usize,
        _ => ((hash ^ u64::from(level)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - NEXT_BITS)) as usize,
    }
}

#[derive(Clone, Copy)]
struct SpilledFrame {
    partition: u32,
    len: u32,
    at: u64,
    crc32c: u32,
}

/// A spill file that is being written.
pub(crate) struct SpillFile {
    manager: Arc<ShuffleManager>,
    memory: Arc<TaskMemory>,
    task: TaskId,
    /// Usually one; another where the disk was full. Each with the bytes in those before it.
    files: Vec<(u64, TempFile)>,
    encoder: FrameEncoder,
    frames: Vec<SpilledFrame>,
    /// Frames that are not in the file yet.
    buffer: Vec<u8>,
    buffer_bytes: usize,
    /// Bytes in the files.
    written: u64,
    partition: u32,
    /// Records of `partition` that are in no frame yet.
    raw: Vec<u8>,
    records: u32,
    largest: usize,
}

impl SpillFile {
    /// Bytes of the longest frame, before it was compressed.
    pub fn largest_frame(&self) -> usize {
        self.largest
    }

    /// Appends a record to `partition`. Cheap as long as the partition stays the same: a change ends the frame.
    #[inline]
    pub fn write<T: Serialize + DeserializeOwned>(&mut self, partition: u32, record: &T) -> Result<(), ShuffleError> {
        self.write_as::<T, T>(partition, record)
    }

    /// [`SpillFile::write`] of what is read back as a `D`.
    #[inline]
    pub fn write_as<D, T>(&mut self, partition: u32, record: &T) -> Result<(), ShuffleError>
    where
        D: Serialize + DeserializeOwned,
        T: Serialize,
    {
        if partition != self.partition || self.raw.len() >= FRAME_BYTES || self.records == u32::MAX {
            self.seal()?;
            self.partition = partition;
        }
        codec::encode_as::<D, T>(record, &mut self.raw)?;
        self.records += 1;
        Ok(())
    }

    /// Ends the frame.
    #[cold]
    pub fn seal(&mut self) -> Result<(), ShuffleError> {
        if self.records == 0 {
            return Ok(());
        }
        let raw = std::mem::take(&mut self.raw);
        let sealed = self.append(self.partition, self.records, &raw);
        self.raw = raw;
        self.raw.clear();
        self.raw.shrink_to(2 * FRAME_BYTES);
        self.records = 0;
        sealed
    }

    /// Appends a frame of encoded records to `partition`.
    pub fn append(&mut self, partition: u32, records: u32, raw: &[u8]) -> Result<(), ShuffleError> {
        let start = self.buffer.len();
        self.memory.counters().spilled_memory.add(raw.len() as u64);
        self.largest = self.largest.max(raw.len());
        self.encoder.append(records, raw, &mut self.buffer).map_err(|_| ShuffleError::record_too_large(raw.len()))?;
        let frame = &self.buffer[start..];
        let (len, crc32c, at) = (frame.len() as u32, crc32c::crc32c(frame), self.written + start as u64);
        self.frames.push(SpilledFrame { partition, len, at, crc32c });
        if self.buffer.len() >= self.buffer_bytes { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), ShuffleError> {
        let buffer = &self.buffer;
        match self.files.last_mut().map(|(_, file)| file.write_all(buffer)) {
            Some(Ok(())) => {}
            Some(Err(e)) if !self.manager.local_dirs().has_failed(&e) => return Err(e),
            _ => {
                let next = self.manager.spill_file(self.task, |file| file.write_all(buffer))?;
                self.files.push((self.written, next));
            }
        }
        self.written += self.buffer.len() as u64;
        self.memory.counters().spilled_disk.add(self.buffer.len() as u64);
        self.buffer.clear();
        self.buffer.shrink_to(2 * self.buffer_bytes);
        Ok(())
    }

    /// Ends the file; what it holds can then be read, partition by partition.
    pub fn finish(mut self) -> Result<Spilled, ShuffleError> {
        self.seal()?;
        self.flush()?;
        // Stable: the frames of a partition stay in the order in which they were written.
        self.frames.sort_by_key(|f| f.partition);
        Ok(Spilled { files: Arc::new(self.files), frames: self.frames })
    }
}

/// A spill file that is written.
pub(crate) struct Spilled {
    files: Arc<Vec<(u64, TempFile)>>,
    /// By partition.
    frames: Vec<SpilledFrame>,
}

impl Spilled {
    /// The records of a partition, in the order in which they were written.
    pub fn read<T>(&self, partition: u32) -> SpillReader<T> {
        let start = self.frames.partition_point(|f| f.partition < partition);
        let end = self.frames.partition_point(|f| f.partition <= partition);
        let frames = Vec::from(&self.frames[start..end]).into_iter();
        SpillReader { files: self.files.clone(), frames, stored: Vec::new(), raw: Vec::new(), record: PhantomData }
    }

    /// Whether a partition has no records.
    pub fn is_empty(&self, partition: u32) -> bool {
        let start = self.frames.partition_point(|f| f.partition < partition);
        self.frames.get(start).is_none_or(|f| f.partition != partition)
    }
}

/// Yields the records of one partition of a spill file.
pub(crate) struct SpillReader<T> {
    files: Arc<Vec<(u64, TempFile)>>,
    frames: std::vec::IntoIter<SpilledFrame>,
    stored: Vec<u8>,
    raw: Vec<u8>,
    record: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> SpillReader<T> {
    /// The records of the next frame; never none of them.
    pub fn next_batch(&mut self) -> Result<Option<Vec<T>>, TaskFailure> {
        let Some(frame) = self.frames.next() else { return Ok(None) };
        let at = self.files.partition_point(|(start, _)| *start <= frame.at);
        // The first one starts at 0.
        let (start, file) = &self.files[at.saturating_sub(1)];
        let failed = |source| ShuffleError::File { action: "read back", path: file.path.clone(), source };
        self.stored.resize(frame.len as usize, 0);
        file.file.read_exact_at(&mut self.stored, frame.at - start).map_err(failed)?;
        let corrupt = |m: String| failed(io::Error::new(io::ErrorKind::InvalidData, m));
        if crc32c::crc32c(&self.stored) != frame.crc32c {
            return Err(corrupt(format!("what was spilled at byte {} came back changed", frame.at)).into());
        }
        let found = Frame::find(&self.stored, 0).map_err(corrupt)?;
        let raw = if found.is_raw() {
            &self.stored[found.stored]
        } else {
            found.decompress(&self.stored[found.stored.clone()], &mut self.raw).map_err(corrupt)?;
            &self.raw[..]
        };
        let mut batch = Vec::with_capacity(found.records as usize);
        let mut at = 0;
        for _ in 0..found.records {
            let (record, used) = codec::decode_prefix(&raw[at..]).map_err(ShuffleError::from)?;
            at += used;
            batch.push(record);
        }
        Ok(Some(batch))
    }
}

/// A spill file whose records come in any order of partitions: a buffer for each.
pub(crate) struct Splitter {
    out: SpillFile,
    buffers: Vec<(Vec<u8>, u32)>,
    level: u32,
}

/// Bytes of the buffer of one of 32 parts.
const SPLIT_BYTES: usize = 16 * 1024;

impl Splitter {
    /// Splits by the digits of `level`, which is not the first one.
    pub fn new(spills: &Spills, level: u32) -> Result<Splitter, ShuffleError> {
        Ok(Splitter { out: spills.file()?, buffers: vec![(Vec::new(), 0); 1 << NEXT_BITS], level })
    }

    /// Bytes that it takes, at most.
    pub const BYTES: u64 = ((SPLIT_BYTES + 4096) << NEXT_BITS) as u64 + 5 * FRAME_BYTES as u64;

    #[inline]
    pub fn write<T: Serialize + DeserializeOwned>(&mut self, hash: u64, record: &T) -> Result<(), ShuffleError> {
        self.write_as::<T, T>(hash, record)
    }

    /// [`Splitter::write`] of what is read back as a `D`.
    #[inline]
    pub fn write_as<D, T>(&mut self, hash: u64, record: &T) -> Result<(), ShuffleError>
    where
        D: Serialize + DeserializeOwned,
        T: Serialize,
    {
        let part = digit(hash, self.level);
        let (bytes, records) = &mut self.buffers[part];
        codec::encode_as::<D, T>(record, bytes)?;
        *records += 1;
        if bytes.len() >= SPLIT_BYTES || *records == u32::MAX {
            self.out.append(part as u32, *records, bytes)?;
            *records = 0;
            bytes.clear();
            bytes.shrink_to(2 * SPLIT_BYTES);
        }
        Ok(())
    }

    pub fn finish(mut self) -> Result<Spilled, ShuffleError> {
        for (part, (bytes, records)) in self.buffers.into_iter().enumerate() {
            if records > 0 {
                self.out.append(part as u32, records, &bytes)?;
            }
        }
        self.out.finish()
    }
}

#[cfg(test)]
#[path = "spill_tests.rs"]
mod tests;
