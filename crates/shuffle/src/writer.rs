//! The map side: records in, one data file and one index file out.
//!
//! ```text
//!  few reducers:   write ─▶ buffer of the reducer ──(full: seal)──▶ log of frames ─(large: spill)─▶ temporary file
//!  many reducers:  write ─▶ one buffer ─(full: sort by reducer)───▶ log of frames
//!  finish:         the frames of each reducer, in order, from file and log ─▶ data file, index file
//! ```
//!
//! What is spilled are frames of the final form, so that merging is copying, from one file, however often was spilled.

use std::{
    io::{self, BufWriter, Write},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use firesteel_common::{ShuffleId, TaskId, codec};
use firesteel_storage::Reservation;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    MapOutput, ShuffleError, ShuffleManager,
    files::{self, TempFile},
    frame::{FRAME_BYTES, FrameEncoder},
    map_output::size_to_code,
    row_sum::RowSum,
};

/// No buffer is sealed below this, however many reducers there are.
const MIN_FRAME_BYTES: usize = 1024;

/// The log grows by segments of up to this size, and of a frame's size where that is larger: growing copies nothing.
const SEGMENT_BYTES: usize = 1 << 20;
/// Where the memory manager watches, the log may become so many times as long before it is spilled: a file that is
/// written twice costs more than memory that nobody else wants.
const MANAGED: usize = 4;

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
    /// From the log's start; what was spilled lies there in the file.
    at: u64,
}

/// The end of the log, which is in memory: what was spilled lies before.
#[derive(Default)]
struct Log {
    /// Where it begins.
    start: u64,
    segments: Vec<Segment>,
    len: usize,
    capacity: usize,
}

/// Some frames, whole ones.
struct Segment {
    /// Where it begins, from the log's start.
    at: u64,
    bytes: Vec<u8>,
}

impl Log {
    fn end(&self) -> u64 {
        self.start + self.len as u64
    }

    /// Appends a frame of about `raw` bytes, or nothing when `append` fails.
    fn append<E>(&mut self, raw: usize, append: impl FnOnce(&mut Vec<u8>) -> Result<(), E>) -> Result<(), E> {
        // What a codec may need more.
        let room = raw + raw / 4 + 1024;
        let at = self.end();
        match self.segments.last() {
            Some(last) if last.bytes.capacity() - last.bytes.len() >= room => {}
            // The first ones are small: most map tasks write little.
            _ => {
                let capacity = room.max((2 * self.capacity).min(SEGMENT_BYTES));
                self.capacity += capacity;
                self.segments.push(Segment { at, bytes: Vec::with_capacity(capacity) });
            }
        }
        let Some(Segment { bytes, .. }) = self.segments.last_mut() else { return Ok(()) };
        let (len, capacity) = (bytes.len(), bytes.capacity());
        let appended = append(bytes);
        if appended.is_err() {
            bytes.truncate(len);
        }
        // A huge record that has shrunk must not keep the room that it might have taken.
        if bytes.capacity() > 2 * SEGMENT_BYTES && bytes.len() < bytes.capacity() / 2 {
            bytes.shrink_to_fit();
        }
        self.len += bytes.len() - len;
        self.capacity = self.capacity + bytes.capacity() - capacity;
        appended
    }

    /// What lies at `at`, unless it was spilled.
    fn get(&self, at: u64, len: usize) -> Option<&[u8]> {
        let next = self.segments.partition_point(|segment| segment.at <= at);
        let segment = self.segments.get(next.checked_sub(1)?)?;
        let start = (at - segment.at) as usize;
        segment.bytes.get(start..start + len)
    }

    /// Forgets what it has, which was spilled.
    fn begin_anew(&mut self) {
        self.start = self.end();
        self.segments = Vec::new();
        (self.len, self.capacity) = (0, 0);
    }
}

/// Records of all reducers, in the order in which they came: for so many reducers that a buffer each would be too many.
#[derive(Default)]
struct Unsorted {
    bytes: Vec<u8>,
    /// Of each record the reducer and where it ends.
    ends: Vec<(u32, u64)>,
}

impl Unsorted {
    fn held(&self) -> usize {
        self.bytes.len() + self.ends.len() * size_of::<(u32, u64)>()
    }
}

/// Writes the output of one map task. Dropped before [`MapWriter::finish`], it leaves nothing behind.
pub struct MapWriter {
    manager: Arc<ShuffleManager>,
    shuffle: ShuffleId,
    map_task: TaskId,
    reducers: u32,
    /// One a reducer; empty when records are sorted.
    buffers: Vec<Buffer>,
    unsorted: Unsorted,
    /// Bytes of the records that are being sorted.
    sorting: usize,
    memory: Option<Reservation>,
    frame_bytes: usize,
    encoder: FrameEncoder,
    log: Log,
    log_limit: usize,
    frames: Vec<LoggedFrame>,
    /// What was spilled, usually one file; another where the disk was full. Each with where it begins in the log.
    spills: Vec<(u64, TempFile)>,
    sum: RowSum,
    /// Whether another run of the task writes the same rows if it computes the same.
    comparable: bool,
}

impl MapWriter {
    /// A writer for the attempt `map_task`, for `reducers` reducers.
    pub fn new(manager: &Arc<ShuffleManager>, shuffle: ShuffleId, map_task: TaskId, reducers: u32) -> MapWriter {
        let config = manager.config();
        let limit = config.write_buffer_bytes;
        let sorts = reducers > config.bypass_merge_threshold;
        // With many reducers the buffers get smaller, so that together they keep the bound.
        let frame_bytes = (limit / 2 / (reducers.max(1) as usize)).clamp(MIN_FRAME_BYTES, FRAME_BYTES);
        let buffers = if sorts { 0 } else { reducers as usize };
        MapWriter {
            manager: manager.clone(),
            shuffle,
            map_task,
            reducers,
            buffers: vec![Buffer::default(); buffers],
            unsorted: Unsorted::default(),
            sorting: 0,
            memory: None,
            frame_bytes: if sorts { FRAME_BYTES } else { frame_bytes },
            encoder: FrameEncoder::new(config.compression),
            log: Log::default(),
            // What the buffers leave, at least half.
            log_limit: limit.saturating_sub(frame_bytes * buffers).max(FRAME_BYTES),
            frames: Vec::new(),
            spills: Vec::new(),
            sum: RowSum::default(),
            comparable: true,
        }
    }

    /// Takes its memory from `memory`, and spills when it is refused some.
    #[must_use]
    pub fn with_memory(mut self, memory: Reservation) -> MapWriter {
        self.memory = Some(memory);
        self.log_limit = self.log_limit.saturating_mul(MANAGED);
        self
    }

    /// Says that how the rows were cut depends on how much memory there was, so that another run may well write others which
    /// come to the same: the output gets no checksum.
    pub fn not_comparable(&mut self) {
        self.comparable = false;
    }

    /// Appends a record for a reducer.
    #[inline]
    pub fn write<T: Serialize + DeserializeOwned>(&mut self, reduce: u32, record: &T) -> Result<(), ShuffleError> {
        let Some(buffer) = self.buffers.get_mut(reduce as usize) else { return self.write_unsorted(reduce, record) };
        codec::encode_into(record, &mut buffer.bytes)?;
        self.sum.add(reduce, record);
        buffer.records += 1;
        // The count fills a frame of records that take no bytes.
        if buffer.bytes.len() >= self.frame_bytes || buffer.records == u32::MAX { self.seal(reduce) } else { Ok(()) }
    }

    fn write_unsorted<T: Serialize + DeserializeOwned>(&mut self, reduce: u32, record: &T) -> Result<(), ShuffleError> {
        if !self.buffers.is_empty() || reduce >= self.reducers {
            return Err(self.no_such_reducer(reduce));
        }
        codec::encode_into(record, &mut self.unsorted.bytes)?;
        self.sum.add(reduce, record);
        self.unsorted.ends.push((reduce, self.unsorted.bytes.len() as u64));
        let held = self.unsorted.held();
        let refused = self.unsorted.ends.len().is_multiple_of(1024) && !self.may_hold(held / 2);
        if held >= self.manager.config().write_buffer_bytes.max(FRAME_BYTES) || refused { self.sort() } else { Ok(()) }
    }

    /// Turns the unsorted records into frames of the log.
    #[cold]
    fn sort(&mut self) -> Result<(), ShuffleError> {
        self.sorting = self.unsorted.held() + self.unsorted.ends.len() * size_of::<u32>();
        let Unsorted { bytes, ends } = std::mem::take(&mut self.unsorted);
        let mut order: Vec<u32> = (0..ends.len() as u32).collect();
        // Stable: by reducer, then in the order in which they came.
        order.sort_by_key(|i| ends[*i as usize].0);
        let (mut raw, mut records) = (Vec::with_capacity(self.frame_bytes), 0);
        let mut of = 0;
        for i in order {
            let i = i as usize;
            let (reduce, end) = ends[i];
            if records > 0 && (reduce != of || raw.len() >= self.frame_bytes) {
                self.append(of, records, &raw)?;
                records = 0;
                raw.clear();
            }
            of = reduce;
            let start = if i == 0 { 0 } else { ends[i - 1].1 };
            raw.extend_from_slice(&bytes[start as usize..end as usize]);
            records += 1;
        }
        if records > 0 {
            self.append(of, records, &raw)?;
        }
        drop((bytes, ends));
        self.sorting = 0;
        if !self.may_hold(0) {
            self.spill()?;
        }
        Ok(())
    }

    /// Bytes that it holds.
    fn held(&self) -> usize {
        self.log.capacity + self.unsorted.held() + self.sorting + self.buffers.len() * self.frame_bytes
    }

    /// Whether it may hold what it holds, and `more` bytes.
    fn may_hold(&mut self, more: usize) -> bool {
        let bytes = (self.held() + more) as u64;
        match &mut self.memory {
            Some(memory) if memory.asked_to_spill() => false,
            Some(memory) => bytes <= memory.held() || memory.resize(bytes + (bytes / 4).min(4 << 20)),
            None => true,
        }
    }

    #[cold]
    fn no_such_reducer(&self, reduce: u32) -> ShuffleError {
        ShuffleError::NoSuchReducer { shuffle: self.shuffle, reduce, reducers: self.reducers }
    }

    /// Turns a reducer's buffer into a frame.
    #[cold]
    #[inline(never)]
    fn seal(&mut self, reduce: u32) -> Result<(), ShuffleError> {
        let mut buffer = std::mem::take(&mut self.buffers[reduce as usize]);
        let appended = self.append(reduce, buffer.records, &buffer.bytes);
        buffer.records = 0;
        buffer.bytes.clear();
        // One huge record must not keep its memory for the rest of the task.
        buffer.bytes.shrink_to(self.frame_bytes * 2);
        self.buffers[reduce as usize] = buffer;
        appended
    }

    /// Appends a frame to the log.
    fn append(&mut self, reduce: u32, records: u32, raw: &[u8]) -> Result<(), ShuffleError> {
        let at = self.log.end();
        let encoder = &mut self.encoder;
        let appended = self.log.append(raw.len(), |segment| encoder.append(records, raw, segment));
        appended.map_err(|_| ShuffleError::record_too_large(raw.len()))?;
        if let Some(memory) = &self.memory {
            memory.counters().written_records.add(u64::from(records));
        }
        self.frames.push(LoggedFrame { reduce, len: (self.log.end() - at) as u32, at });
        if self.log.len >= self.log_limit || !self.may_hold(0) { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> Result<(), ShuffleError> {
        let segments = &self.log.segments;
        let write = |file: &mut TempFile| segments.iter().try_for_each(|segment| file.write_all(&segment.bytes));
        match self.spills.last_mut().map(|(_, file)| write(file)) {
            Some(Ok(())) => {}
            Some(Err(e)) if !self.manager.local_dirs().has_failed(&e) => return Err(e),
            _ => {
                let ending = match self.spills.len() {
                    0 => "spill".to_owned(),
                    n => format!("spill{n}"),
                };
                let file = self.manager.write_output(self.shuffle, self.map_task, |data, _| {
                    let mut file = TempFile::create(&data.with_extension(&ending))?;
                    write(&mut file)?;
                    Ok::<_, ShuffleError>(file)
                })?;
                self.spills.push((self.log.start, file));
            }
        }
        let spilled = self.log.len as u64;
        self.log.begin_anew();
        let held = self.held() as u64;
        if let Some(memory) = &mut self.memory {
            // Frames are compressed before they wait here.
            memory.counters().spilled_memory.add(spilled);
            memory.counters().spilled_disk.add(spilled);
            memory.force(held);
        }
        Ok(())
    }

    /// Writes the files and says how large the blocks are.
    pub fn finish(mut self) -> Result<MapOutput, ShuffleError> {
        if !self.unsorted.ends.is_empty() {
            self.sort()?;
        }
        for reduce in 0..self.buffers.len() {
            if self.buffers[reduce].records > 0 {
                self.seal(reduce as u32)?;
                self.buffers[reduce].bytes = Vec::new();
            }
        }
        // Stable: a reducer's frames stay in the order in which they were written.
        self.frames.sort_by_key(|frame| frame.reduce);

        let (shuffle, map_task) = (self.shuffle, self.map_task);
        let began = Instant::now();
        let blocks = self.manager.write_output(shuffle, map_task, |data, index| self.write_files(data, index))?;
        if let Some(memory) = &self.memory {
            memory.counters().write_time.add_time(began.elapsed());
            memory.counters().written_bytes.add(blocks.iter().map(|(len, _)| len).sum());
        }
        let sizes = blocks.iter().map(|(len, _)| size_to_code(*len)).collect();
        let checksum = self.comparable.then(|| self.sum.value());
        Ok(MapOutput { map_task, sizes, checksum })
    }

    /// Both files are there, or none.
    fn write_files(&self, data_path: &Path, index_path: &Path) -> Result<Vec<(u64, u32)>, ShuffleError> {
        let data = TempFile::create(data_path)?;
        let blocks = self.write_data(&data)?;
        let mut index = TempFile::create(index_path)?;
        index.write_all(&files::encode_index(&blocks))?;
        // The index comes last: where it is, the data is.
        data.keep(data_path)?;
        if let Err(e) = index.keep(index_path) {
            remove_orphan(data_path);
            return Err(e);
        }
        Ok(blocks)
    }

    /// Writes the blocks; returns the length and checksum of each.
    fn write_data(&self, data: &TempFile) -> Result<Vec<(u64, u32)>, ShuffleError> {
        let mut blocks = vec![(0u64, 0u32); self.reducers as usize];
        let all = usize::try_from(self.log.end()).unwrap_or(usize::MAX);
        let mut out = BufWriter::with_capacity(all.min(self.manager.config().file_buffer_bytes), &data.file);
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

    /// The bytes of a frame, from the log or from where it was spilled.
    fn logged<'a>(&'a self, frame: &LoggedFrame, scratch: &'a mut Vec<u8>) -> Result<&'a [u8], ShuffleError> {
        let len = frame.len as usize;
        if let Some(bytes) = self.log.get(frame.at, len) {
            return Ok(bytes);
        }
        let failed = |path: PathBuf, source| ShuffleError::File { action: "read back", path, source };
        let at = self.spills.partition_point(|(start, _)| *start <= frame.at);
        let Some((start, spill)) = at.checked_sub(1).and_then(|last| self.spills.get(last)) else {
            return Err(failed(PathBuf::new(), io::Error::other("nothing was spilled")));
        };
        scratch.resize(len, 0);
        spill.file.read_exact_at(scratch, frame.at - start).map_err(|e| failed(spill.path.clone(), e))?;
        Ok(scratch)
    }
}

fn remove_orphan(path: &Path) {
    if let Err(e) = std::fs::remove_file(path) {
        tracing::warn!(path = %path.display(), error = %e, "cannot remove a data file without an index");
    }
}
