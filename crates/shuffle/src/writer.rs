//! The map side: records in, one data file and one index file out.
//!
//! ```text
//!  write ─▶ buffer of the reducer ─(full: seal)─▶ log of frames ─(large: spill)─▶ temporary file
//!  finish:  the frames of each reducer, in order, from file and log ─▶ data file, index file
//! ```

use std::{
    io::{self, BufWriter, Write},
    os::unix::fs::FileExt,
    path::PathBuf,
    sync::Arc,
};

use firesteel_common::{
    ShuffleId, TaskId,
    codec::{self, CodecError},
};
use serde::Serialize;

use crate::{
    MapOutput, ShuffleError, ShuffleManager,
    files::{self, TempFile},
    frame::{FRAME_BYTES, FrameEncoder},
    map_output::size_to_code,
};

/// No buffer is sealed below this, however many reducers there are.
const MIN_FRAME_BYTES: usize = 1024;

/// Encoded records of one reducer that are in no frame yet.
#[derive(Clone, Default)]
struct Buffer {
    bytes: Vec<u8>,
    records: u32,
}

/// A frame in the log.
struct LoggedFrame {
    reduce: u32,
    len: u32,
    /// From the log's start; what lies below `spilled` is in the file.
    at: u64,
}

/// Writes the output of one map task. Dropped before [`MapWriter::finish`], it leaves nothing behind.
pub struct MapWriter {
    manager: Arc<ShuffleManager>,
    shuffle: ShuffleId,
    map_task: TaskId,
    /// One a reducer.
    buffers: Vec<Buffer>,
    frame_bytes: usize,
    encoder: FrameEncoder,
    /// The end of the log, from `spilled` on.
    log: Vec<u8>,
    log_limit: usize,
    frames: Vec<LoggedFrame>,
    spilled: u64,
    spill: Option<TempFile>,
}

impl MapWriter {
    /// A writer for the attempt `map_task`, for `reducers` reducers.
    pub fn new(manager: &Arc<ShuffleManager>, shuffle: ShuffleId, map_task: TaskId, reducers: u32) -> MapWriter {
        let limit = manager.config().write_buffer_bytes;
        // With many reducers the buffers get smaller, so that together they keep the bound.
        let frame_bytes = (limit / 2 / (reducers.max(1) as usize)).clamp(MIN_FRAME_BYTES, FRAME_BYTES);
        MapWriter {
            manager: manager.clone(),
            shuffle,
            map_task,
            buffers: vec![Buffer::default(); reducers as usize],
            frame_bytes,
            encoder: FrameEncoder::new(manager.config().compression),
            log: Vec::new(),
            // What the buffers leave, at least half.
            log_limit: limit.saturating_sub(frame_bytes * reducers as usize).max(FRAME_BYTES),
            frames: Vec::new(),
            spilled: 0,
            spill: None,
        }
    }

    /// Appends a record for a reducer.
    #[inline]
    pub fn write<T: Serialize + ?Sized>(&mut self, reduce: u32, record: &T) -> Result<(), ShuffleError> {
        let Some(buffer) = self.buffers.get_mut(reduce as usize) else { return Err(self.no_such_reducer(reduce)) };
        codec::encode_into(record, &mut buffer.bytes)?;
        buffer.records += 1;
        // The count fills a frame of records that take no bytes.
        if buffer.bytes.len() >= self.frame_bytes || buffer.records == u32::MAX { self.seal(reduce) } else { Ok(()) }
    }

    #[cold]
    fn no_such_reducer(&self, reduce: u32) -> ShuffleError {
        ShuffleError::NoSuchReducer { shuffle: self.shuffle, reduce, reducers: self.buffers.len() as u32 }
    }

    /// Turns a reducer's buffer into a frame.
    #[cold]
    #[inline(never)]
    fn seal(&mut self, reduce: u32) -> Result<(), ShuffleError> {
        let buffer = &mut self.buffers[reduce as usize];
        let start = self.log.len();
        self.encoder.append(buffer.records, &buffer.bytes, &mut self.log).map_err(|_| CodecError::Encode {
            type_name: "record",
            message: format!("it takes {} bytes, more than the 2 GiB that can be shuffled", buffer.bytes.len()),
        })?;
        buffer.records = 0;
        buffer.bytes.clear();
        // One huge record must not keep its memory for the rest of the task.
        buffer.bytes.shrink_to(self.frame_bytes * 2);
        let (at, len) = (self.spilled + start as u64, (self.log.len() - start) as u32);
        self.frames.push(LoggedFrame { reduce, len, at });
        if self.log.len() >= self.log_limit { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> Result<(), ShuffleError> {
        let spill = match &mut self.spill {
            Some(spill) => spill,
            None => {
                let (data, _) = self.manager.paths_to_write(self.shuffle, self.map_task)?;
                self.spill.insert(TempFile::create(&data.with_extension("spill"))?)
            }
        };
        spill.write_all(&self.log)?;
        self.spilled += self.log.len() as u64;
        self.log.clear();
        Ok(())
    }

    /// Writes the files and says how large the blocks are.
    pub fn finish(mut self) -> Result<MapOutput, ShuffleError> {
        for reduce in 0..self.buffers.len() {
            if self.buffers[reduce].records > 0 {
                self.seal(reduce as u32)?;
                self.buffers[reduce].bytes = Vec::new();
            }
        }
        // Stable: a reducer's frames stay in the order in which they were written.
        self.frames.sort_by_key(|frame| frame.reduce);

        let (data_path, index_path) = self.manager.paths_to_write(self.shuffle, self.map_task)?;
        let data = TempFile::create(&data_path)?;
        let blocks = self.write_data(&data)?;
        let mut index = TempFile::create(&index_path)?;
        index.write_all(&files::encode_index(&blocks))?;
        // The index comes last: where it is, the data is.
        data.keep(&data_path)?;
        if let Err(e) = index.keep(&index_path) {
            remove_orphan(&data_path);
            return Err(e);
        }
        let sizes = blocks.iter().map(|(len, _)| size_to_code(*len)).collect();
        Ok(MapOutput { map_task: self.map_task, sizes })
    }

    /// Writes the blocks; returns the length and checksum of each.
    fn write_data(&self, data: &TempFile) -> Result<Vec<(u64, u32)>, ShuffleError> {
        let mut blocks = vec![(0u64, 0u32); self.buffers.len()];
        let capacity = ((self.spilled as usize).saturating_add(self.log.len())).min(256 * 1024);
        let mut out = BufWriter::with_capacity(capacity, &data.file);
        let mut scratch = Vec::new();
        for frame in &self.frames {
            let bytes = self.logged(frame, &mut scratch)?;
            let (len, crc) = &mut blocks[frame.reduce as usize];
            *len += bytes.len() as u64;
            *crc = crc32c::crc32c_append(*crc, bytes);
            out.write_all(bytes).map_err(|e| data.failed(e))?;
        }
        let flushed = out.flush();
        // Its drop would try once more, in silence.
        let (_, _) = out.into_parts();
        flushed.map_err(|e| data.failed(e))?;
        Ok(blocks)
    }

    /// The bytes of a frame, from the log or from the spill file.
    fn logged<'a>(&'a self, frame: &LoggedFrame, scratch: &'a mut Vec<u8>) -> Result<&'a [u8], ShuffleError> {
        let len = frame.len as usize;
        if let Some(start) = frame.at.checked_sub(self.spilled) {
            return Ok(&self.log[start as usize..start as usize + len]);
        }
        let failed = |path: PathBuf, source| ShuffleError::File { action: "read back", path, source };
        let Some(spill) = &self.spill else {
            return Err(failed(PathBuf::new(), io::Error::other("nothing was spilled")));
        };
        scratch.resize(len, 0);
        spill.file.read_exact_at(scratch, frame.at).map_err(|e| failed(spill.path.clone(), e))?;
        Ok(scratch)
    }
}

fn remove_orphan(path: &std::path::Path) {
    if let Err(e) = std::fs::remove_file(path) {
        tracing::warn!(path = %path.display(), error = %e, "cannot remove a data file without an index");
    }
}
