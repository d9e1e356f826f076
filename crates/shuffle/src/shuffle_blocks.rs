//! The reduce side: the blocks of one reducer, in map order, as frames of whole records.
//!
//! Blocks of this executor, and of others whose files are on this host, are read from their files. All others are asked
//! for ahead, on one connection a peer and up to a bound in bytes; they wait in the buffers of the two systems until their
//! turn comes, so there is no thread to hop to and no second copy. One block at a time is in memory, and of a large one
//! a window: it is read from its file here, or goes to one first.

use std::{collections::HashMap, sync::Arc, time::Instant};

use firesteel_common::{ShuffleId, TaskFailure, TaskId};
use firesteel_storage::{Abort, BlockError, BlockId, BlockStream, Reservation, ScratchFile, TaskMemory};

use crate::{
    ShuffleError, ShuffleInput, ShuffleManager,
    block_body::{BlockBody, NoFrame},
    files,
    map_output::size_of_code,
};

/// Requests that one peer may have before it: few enough to fit into the socket's buffers, so that writing them never
/// waits for the answers to be read.
const MAX_REQUESTS: usize = 512;

/// A block up to this size is taken without asking whether there is memory.
const SMALL: u64 = 1 << 20;

/// Where a block is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In this executor's files.
    Own,
    /// In another executor's files on this host.
    HostLocal,
    /// With a block server: the index into `peers`.
    Peer(u32),
}

/// A block that is not empty.
struct Wanted {
    map: u32,
    place: Place,
    /// Its size, estimated, bytes.
    size: u64,
}

/// Where the current frame's content is.
enum Content {
    Nothing,
    /// A range of the current block, stored as it is.
    InBlock(std::ops::Range<usize>),
    /// In `frame`.
    Decompressed,
}

/// Why a block could not be had.
enum Failed {
    /// Where it was written: its map task may have to run again.
    There(BlockError),
    /// Here: nothing is wrong with the block.
    Here(ShuffleError),
}

/// Yields the frames of all blocks of one reducer, in map order.
pub struct ShuffleBlocks {
    manager: Arc<ShuffleManager>,
    input: Arc<ShuffleInput>,
    reduce: u32,
    abort: Abort,
    wanted: Vec<Wanted>,
    /// The next of `wanted` to be read.
    next: usize,
    /// The next of `wanted` to be asked for.
    requested: usize,
    bytes_in_flight: u64,
    peers: Vec<BlockStream>,
    /// The current block; its memory serves block after block.
    block: BlockBody,
    frame: Vec<u8>,
    content: Content,
    records: u32,
    memory: Option<Reservation>,
    /// A driver's mistake, reported by the first [`ShuffleBlocks::advance`].
    broken: Option<TaskFailure>,
}

impl ShuffleBlocks {
    pub(crate) fn new(manager: Arc<ShuffleManager>, input: Arc<ShuffleInput>, reduce: u32, abort: Abort) -> Self {
        let mut wanted = Vec::new();
        let mut peers = Vec::new();
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        let mut broken = None;
        let host_local = manager.config().read_host_local;
        for (map, location) in input.maps.iter().enumerate() {
            let Some(&code) = location.sizes.get(reduce as usize) else {
                broken = Some(failed_text(format!(
                    "map {map} of {} has {} blocks, reducer {reduce} finds none",
                    input.shuffle,
                    location.sizes.len()
                )));
                break;
            };
            if code == 0 {
                continue;
            }
            let place = if location.executor == manager.config().executor {
                Place::Own
            } else if host_local && input.host_local.contains_key(&location.executor) {
                Place::HostLocal
            } else {
                Place::Peer(*numbers.entry(&location.block_address).or_insert_with(|| {
                    peers.push(manager.client().open(&location.block_address, abort.clone()));
                    peers.len() as u32 - 1
                }))
            };
            wanted.push(Wanted { map: map as u32, place, size: size_of_code(code) });
        }
        ShuffleBlocks {
            manager,
            input,
            reduce,
            abort,
            wanted,
            next: 0,
            requested: 0,
            bytes_in_flight: 0,
            peers,
            block: BlockBody::default(),
            frame: Vec::new(),
            content: Content::Nothing,
            records: 0,
            memory: None,
            broken,
        }
    }

    /// Counts what it holds as the task's: a block for which there is no memory goes to disk.
    #[must_use]
    pub fn counted_in(mut self, task: &Arc<TaskMemory>) -> Self {
        self.memory = Some(task.reserve("shuffle blocks"));
        self
    }

    /// Goes to the next frame; false after the last one. After an error there is no going on.
    pub fn advance(&mut self) -> Result<bool, TaskFailure> {
        if let Some(failure) = self.broken.clone() {
            return Err(failure);
        }
        if let Some(reason) = self.abort.reason() {
            return Err(TaskFailure::Killed { reason });
        }
        let result = self.try_advance();
        if let Err(failure) = &result {
            self.no_frame();
            self.broken = Some(failure.clone());
        }
        result
    }

    /// The current frame: encoded records, whole ones, one after the other. Empty before the first and after the last.
    #[inline]
    pub fn frame(&self) -> &[u8] {
        match &self.content {
            Content::Nothing => &[],
            Content::InBlock(range) => &self.block.bytes()[range.clone()],
            Content::Decompressed => &self.frame,
        }
    }

    /// How many records the current frame has; they may take no bytes.
    #[inline]
    pub fn records(&self) -> u32 {
        self.records
    }

    fn try_advance(&mut self) -> Result<bool, TaskFailure> {
        if self.block.is_at_end() {
            self.no_frame();
            if self.next == self.wanted.len() {
                self.block = BlockBody::default();
                self.memory = None;
                return Ok(false);
            }
            self.next_block()?;
        }
        let number = self.next - 1;
        let found = match self.block.next_frame() {
            Ok(found) => found,
            Err(NoFrame::Broken(message)) => return Err(self.fetch_failed(number, message)),
            Err(NoFrame::File { path, source }) => {
                return Err(ShuffleError::File { action: "read", path, source }.into());
            }
        };
        if !found.is_raw() {
            let decompressed = found.decompress(&self.block.bytes()[found.stored.clone()], &mut self.frame);
            decompressed.map_err(|message| self.fetch_failed(number, message))?;
        }
        self.records = found.records;
        if let Some(memory) = &self.memory {
            memory.counters().shuffle_records.add(u64::from(found.records));
        }
        self.content = if found.is_raw() { Content::InBlock(found.stored) } else { Content::Decompressed };
        Ok(true)
    }

    fn no_frame(&mut self) {
        self.content = Content::Nothing;
        self.records = 0;
    }

    fn next_block(&mut self) -> Result<(), TaskFailure> {
        self.ask_ahead();
        let number = self.next;
        self.next += 1;
        self.block.clear();
        let remote = matches!(self.wanted[number].place, Place::Peer(_));
        let waits = remote.then(Instant::now);
        self.take_block(number).map_err(|failed| match failed {
            Failed::There(BlockError::Aborted { reason }) => TaskFailure::Killed { reason },
            Failed::There(e) => self.fetch_failed(number, e.to_string()),
            Failed::Here(e) => e.into(),
        })?;
        if let Some(memory) = &mut self.memory {
            let counters = memory.counters();
            match waits {
                Some(since) => {
                    counters.fetch_wait.add_time(since.elapsed());
                    counters.remote_blocks.add(1);
                    counters.remote_bytes.add(self.block.len());
                }
                None => {
                    counters.local_blocks.add(1);
                    counters.local_bytes.add(self.block.len());
                }
            }
            memory.force((self.block.capacity() + self.frame.capacity()) as u64);
        }
        if self.block.is_at_end() {
            return Err(self.fetch_failed(number, "the block is empty where the map task wrote records".to_owned()));
        }
        Ok(())
    }

    fn take_block(&mut self, number: usize) -> Result<(), Failed> {
        let Wanted { map, place, size } = self.wanted[number];
        if let Place::Peer(_) = place {
            self.bytes_in_flight -= size;
        }
        let limit = self.in_memory(size);
        let location = &self.input.maps[map as usize];
        let block = (self.input.shuffle, location.map_task, self.reduce);
        let manager = &self.manager;
        match place {
            Place::Own => {
                manager.read_local(&manager.config().dirs, block, limit, &mut self.block).map_err(Failed::There)
            }
            Place::HostLocal => {
                let dirs = self.input.host_local.get(&location.executor).map_or(&[][..], |dirs| dirs);
                let Err(e) = manager.read_local(dirs, block, limit, &mut self.block) else { return Ok(()) };
                // Its server may have it all the same, or say better what is wrong.
                tracing::info!(error = %e, "a block on this host's disk cannot be read; fetching it");
                let mut stream = manager.client().open(&location.block_address, self.abort.clone());
                stream.request(block_id(block));
                fetch(&mut stream, manager, limit, &mut self.block)
            }
            Place::Peer(peer) => fetch(&mut self.peers[peer as usize], manager, limit, &mut self.block),
        }
    }

    /// The largest size with which the next block may be in memory, where it has about `size` bytes.
    fn in_memory(&mut self, size: u64) -> u64 {
        let limit = self.manager.config().max_block_in_memory;
        if size <= SMALL || size > limit {
            return limit;
        }
        let wanted = size.max(self.block.capacity() as u64) + self.frame.capacity() as u64;
        let granted = self.memory.as_mut().is_none_or(|memory| memory.resize(wanted));
        if granted { limit } else { SMALL }
    }

    /// Asks for as many of the next blocks as the bound allows, and for at least the next one. Waits with it until half
    /// of the bound is free, so that many small requests share a write.
    fn ask_ahead(&mut self) {
        let limit = self.manager.config().max_bytes_in_flight;
        if self.requested > self.next && self.bytes_in_flight > limit / 2 {
            return;
        }
        let first = self.requested;
        while let Some(wanted) = self.wanted.get(self.requested) {
            if let Place::Peer(peer) = wanted.place {
                let stream = &mut self.peers[peer as usize];
                let over = self.bytes_in_flight.saturating_add(wanted.size) > limit && self.bytes_in_flight > 0;
                if self.requested > self.next && (over || stream.outstanding() >= MAX_REQUESTS) {
                    break;
                }
                let location = &self.input.maps[wanted.map as usize];
                stream.request(block_id((self.input.shuffle, location.map_task, self.reduce)));
                self.bytes_in_flight += wanted.size;
            }
            self.requested += 1;
        }
        if self.requested > first {
            self.peers.iter_mut().for_each(BlockStream::flush);
        }
    }

    #[cold]
    fn fetch_failed(&self, number: usize, message: String) -> TaskFailure {
        let Wanted { map, place, .. } = self.wanted[number];
        let location = &self.input.maps[map as usize];
        let shuffle = self.input.shuffle;
        let message = match place {
            Place::Own => message,
            Place::HostLocal | Place::Peer(_) => {
                let file = files::data_name(shuffle, location.map_task);
                format!("{message} (file {file} of {} at {})", location.executor, location.block_address)
            }
        };
        TaskFailure::FetchFailed {
            shuffle,
            map_index: map,
            map_task: location.map_task,
            reduce: self.reduce,
            executor: location.executor,
            message,
        }
    }
}

fn block_id((shuffle, map_task, reduce): (ShuffleId, TaskId, u32)) -> BlockId {
    BlockId::Shuffle { shuffle, map_task, reduce }
}

/// Takes the next block of a stream, into memory or, when it has more than `limit` bytes, by way of a file.
fn fetch(stream: &mut BlockStream, manager: &ShuffleManager, limit: u64, block: &mut BlockBody) -> Result<(), Failed> {
    let fetched = stream.next_or_file(block.memory(), limit, &mut |bytes| manager.scratch_file(bytes));
    let in_file = fetched.map_err(|e| match e {
        BlockError::File { action, path, source } => {
            let failed = ShuffleError::File { action, path, source };
            // The next attempt takes another directory.
            manager.local_dirs().has_failed(&failed);
            Failed::Here(failed)
        }
        BlockError::NoDirectory { reasons } => Failed::Here(ShuffleError::NoDirectory { reasons }),
        e => Failed::There(e),
    })?;
    let Some(ScratchFile { file, path }) = in_file else { return Ok(()) };
    match file.metadata() {
        Ok(metadata) => block.set_file(Arc::new(file), path, 0, metadata.len()),
        Err(source) => return Err(Failed::Here(ShuffleError::File { action: "look at", path, source })),
    }
    Ok(())
}

fn failed_text(message: String) -> TaskFailure {
    TaskFailure::Exception { message, location: String::new(), panic: false }
}
