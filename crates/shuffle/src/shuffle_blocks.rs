//! The reduce side: the blocks of one reducer, in map order, as frames of whole records.
//!
//! Blocks of this executor are read from their files. Blocks of others are asked for ahead, on one connection a peer and
//! up to a bound in bytes; they wait in the buffers of the two systems until their turn comes, so there is no thread to
//! hop to and no second copy.

use std::{collections::HashMap, sync::Arc};

use firesteel_common::TaskFailure;
use firesteel_storage::{Abort, BlockError, BlockId, BlockStream};

use crate::{ShuffleInput, ShuffleManager, files, frame::Frame, map_output::size_of_code};

/// Requests that one peer may have before it: few enough to fit into the socket's buffers, so that writing them never
/// waits for the answers to be read.
const MAX_REQUESTS: usize = 512;

/// A block that is not empty.
struct Wanted {
    map: u32,
    /// Whose block server has it; none: it is in this executor's files.
    peer: Option<u32>,
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
    /// The current block; the buffer serves block after block.
    block: Vec<u8>,
    /// How far the current block is read.
    at: usize,
    frame: Vec<u8>,
    content: Content,
    records: u32,
    /// A driver's mistake, reported by the first [`ShuffleBlocks::advance`].
    broken: Option<TaskFailure>,
}

impl ShuffleBlocks {
    pub(crate) fn new(manager: Arc<ShuffleManager>, input: Arc<ShuffleInput>, reduce: u32, abort: Abort) -> Self {
        let mut wanted = Vec::new();
        let mut peers = Vec::new();
        let mut numbers: HashMap<&str, u32> = HashMap::new();
        let mut broken = None;
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
            let peer = (location.executor != manager.config().executor).then(|| {
                *numbers.entry(&location.block_address).or_insert_with(|| {
                    peers.push(manager.client().open(&location.block_address, abort.clone()));
                    peers.len() as u32 - 1
                })
            });
            wanted.push(Wanted { map: map as u32, peer, size: size_of_code(code) });
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
            block: Vec::new(),
            at: 0,
            frame: Vec::new(),
            content: Content::Nothing,
            records: 0,
            broken,
        }
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
            Content::InBlock(range) => &self.block[range.clone()],
            Content::Decompressed => &self.frame,
        }
    }

    /// How many records the current frame has; they may take no bytes.
    #[inline]
    pub fn records(&self) -> u32 {
        self.records
    }

    fn try_advance(&mut self) -> Result<bool, TaskFailure> {
        if self.at >= self.block.len() {
            self.no_frame();
            if self.next == self.wanted.len() {
                return Ok(false);
            }
            self.next_block()?;
        }
        let found = Frame::find(&self.block, self.at).and_then(|found| {
            if !found.is_raw() {
                found.decompress(&self.block[found.stored.clone()], &mut self.frame)?;
            }
            Ok(found)
        });
        let found = found.map_err(|message| self.fetch_failed(self.next - 1, message))?;
        self.at = found.stored.end;
        self.records = found.records;
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
        self.at = 0;
        let Wanted { map, peer, size } = self.wanted[number];
        let fetched = match peer {
            None => {
                let map_task = self.input.maps[map as usize].map_task;
                self.manager.read_own(self.input.shuffle, map_task, self.reduce, &mut self.block)
            }
            Some(peer) => {
                self.bytes_in_flight -= size;
                self.peers[peer as usize].next_into(&mut self.block)
            }
        };
        fetched.map_err(|e| match e {
            BlockError::Aborted { reason } => TaskFailure::Killed { reason },
            e => self.fetch_failed(number, e.to_string()),
        })?;
        if self.block.is_empty() {
            return Err(self.fetch_failed(number, "the block is empty where the map task wrote records".to_owned()));
        }
        Ok(())
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
            if let Some(peer) = wanted.peer {
                let stream = &mut self.peers[peer as usize];
                let over = self.bytes_in_flight.saturating_add(wanted.size) > limit && self.bytes_in_flight > 0;
                if self.requested > self.next && (over || stream.outstanding() >= MAX_REQUESTS) {
                    break;
                }
                let location = &self.input.maps[wanted.map as usize];
                let (shuffle, reduce) = (self.input.shuffle, self.reduce);
                stream.request(BlockId::Shuffle { shuffle, map_task: location.map_task, reduce });
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
        let Wanted { map, peer, .. } = self.wanted[number];
        let location = &self.input.maps[map as usize];
        let shuffle = self.input.shuffle;
        let message = match peer {
            None => message,
            Some(_) => {
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

fn failed_text(message: String) -> TaskFailure {
    TaskFailure::Exception { message, location: String::new(), panic: false }
}
