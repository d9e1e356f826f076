//! Records out of frames.

use std::marker::PhantomData;

use firesteel_common::{
    TaskFailure,
    codec::{self, CodecError},
};
use serde::de::DeserializeOwned;

use crate::ShuffleBlocks;

/// Decodes the records of one reducer, in map order and within a map in the order in which they were written.
pub struct RecordReader<T> {
    blocks: ShuffleBlocks,
    /// How far the current frame is read, bytes.
    at: usize,
    /// How many of its records are left.
    left: u32,
    record: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> RecordReader<T> {
    /// Reads all of `blocks`.
    pub fn new(blocks: ShuffleBlocks) -> RecordReader<T> {
        let left = blocks.records();
        RecordReader { blocks, at: 0, left, record: PhantomData }
    }

    /// The next records, at most `max` and at least one; fewer do not mean the end, `None` does.
    pub fn next_batch(&mut self, max: usize) -> Result<Option<Vec<T>>, TaskFailure> {
        while self.left == 0 {
            if !self.advance()? {
                return Ok(None);
            }
        }
        let frame = self.blocks.frame();
        let count = (self.left as usize).min(max.max(1));
        let mut batch = Vec::with_capacity(count);
        let mut at = self.at;
        for _ in 0..count {
            let (record, used) = codec::decode_prefix(&frame[at..]).map_err(undecodable)?;
            at += used;
            batch.push(record);
        }
        self.at = at;
        self.left -= count as u32;
        Ok(Some(batch))
    }

    /// Hands every record left to `f`; stops at the first error. The task's kill flag is asked once a frame.
    pub fn for_each<E: From<TaskFailure>>(mut self, mut f: impl FnMut(T) -> Result<(), E>) -> Result<(), E> {
        loop {
            let frame = self.blocks.frame();
            let mut at = self.at;
            for _ in 0..self.left {
                let (record, used) = codec::decode_prefix(&frame[at..]).map_err(undecodable)?;
                at += used;
                f(record)?;
            }
            self.at = at;
            self.left = 0;
            if !self.advance()? {
                return Ok(());
            }
        }
    }

    fn advance(&mut self) -> Result<bool, TaskFailure> {
        let unread = self.blocks.frame().len() - self.at;
        if unread > 0 {
            return Err(undecodable(CodecError::Decode {
                type_name: std::any::type_name::<T>(),
                message: format!("{unread} bytes are left over after the last record"),
            }));
        }
        let more = self.blocks.advance()?;
        self.at = 0;
        self.left = self.blocks.records();
        Ok(more)
    }
}

/// The bytes passed their checksum: what was written is not what is read, so that fetching again cannot help.
#[cold]
fn undecodable(e: CodecError) -> TaskFailure {
    TaskFailure::Exception {
        message: format!("a record that was shuffled does not come back: {e}"),
        location: String::new(),
        panic: false,
    }
}
