//! Lines of text files, split by bytes at line ends and read in large blocks.
//!
//! ```text
//!  Split ──Blocks: read, cut at the last line end, check the UTF-8──▶ LineBlock ──operators of Lines──▶ elements
//! ```

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;
use firesteel_common::codec;
use memchr::{memchr, memrchr};

use super::{
    LineBlock, Source, SplitBounds,
    files::{Split, splits},
    rdd_of,
};
use crate::{
    Rdd,
    chunk::{Chunk, ChunkStream, Stream},
    error::{Error, Result},
    lines::Lines,
    runner::Scope,
    task::{TaskContext, TaskError},
};

/// Bytes read at once: small enough that a block is still in the cache when its lines are looked at.
const BLOCK: usize = 64 << 10;

struct TextFile {
    splits: Vec<Split>,
}

impl Source for TextFile {
    type Item = LineBlock;

    fn input(&self, p: u32) -> Result<Bytes> {
        let split = self.splits.get(p as usize);
        let split = split.ok_or_else(|| Error::InvalidArgument(format!("the text has no partition {p}")))?;
        Ok(codec::encode(split)?.into())
    }

    fn open(input: &[u8], ctx: &Arc<TaskContext>) -> Result<Stream<LineBlock>, TaskError> {
        Ok(Box::new(Blocks::open(codec::decode(input)?, ctx)?))
    }
}

/// The lines of a split, block by block.
struct Blocks {
    file: File,
    path: PathBuf,
    /// Where the buffer's first byte lies in the file.
    at: u64,
    /// Where the split ends.
    end: u64,
    buffer: Vec<u8>,
    /// How much of the buffer is read.
    filled: usize,
    /// No line ends before this place of the buffer.
    unseen: usize,
    /// The line that the buffer begins in belongs to the split before.
    skipping: bool,
    ctx: Arc<TaskContext>,
}

impl Blocks {
    fn open(split: Split, ctx: &Arc<TaskContext>) -> Result<Self, TaskError> {
        let Split { path, start, len } = split;
        let fail = |e: io::Error| TaskError::failed(format!("{}: {e}", path.display()));
        let mut file = File::open(&path).map_err(fail)?;
        // A line that begins right at the split's start is known by the line end before it.
        let at = start.saturating_sub(1);
        file.seek(SeekFrom::Start(at)).map_err(fail)?;
        let (buffer, skipping, ctx) = (vec![0; BLOCK], start > 0, ctx.clone());
        Ok(Blocks { file, path, at, end: start + len, buffer, filled: 0, unseen: 0, skipping, ctx })
    }

    fn next_block(&mut self) -> io::Result<Option<LineBlock>> {
        self.skip()?;
        while self.at < self.end {
            let mut cut = self.whole_lines();
            if cut == 0 && self.read()? == 0 {
                // The last line of the file has no end.
                (cut, self.end) = (self.filled, self.at);
            }
            if cut > 0 {
                let block = LineBlock::new(self.buffer.get(..cut).unwrap_or_default());
                self.drop_first(cut);
                return Ok(Some(block));
            }
        }
        Ok(None)
    }

    /// Passes over the line that belongs to the split before.
    fn skip(&mut self) -> io::Result<()> {
        while self.skipping {
            let read = self.read()?;
            let line_end = memchr(b'\n', &self.buffer[..self.filled]);
            self.drop_first(line_end.map_or(self.filled, |i| i + 1));
            self.skipping = line_end.is_none() && read > 0 && self.at < self.end;
            self.unseen = 0;
        }
        Ok(())
    }

    /// How many bytes from the buffer's start are whole lines of this split.
    fn whole_lines(&mut self) -> usize {
        let end_after = |from: usize| memchr(b'\n', &self.buffer[from..self.filled]).map(|i| from + i);
        let end_before = |to: usize| memrchr(b'\n', &self.buffer[self.unseen..to]).map(|i| self.unseen + i);
        // The split's last line is the one that its last byte lies in.
        let last = usize::try_from(self.end - 1 - self.at).unwrap_or(usize::MAX);
        let line_end = if last < self.filled {
            let last = last.max(self.unseen);
            end_after(last).or_else(|| end_before(last))
        } else {
            end_before(self.filled)
        };
        self.unseen = self.filled;
        line_end.map_or(0, |i| i + 1)
    }

    /// Reads on; 0 at the end of the file.
    fn read(&mut self) -> io::Result<usize> {
        if self.filled == self.buffer.len() {
            // A line is longer than the buffer.
            self.buffer.resize(self.filled * 2, 0);
        }
        loop {
            match self.file.read(&mut self.buffer[self.filled..]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                read => {
                    self.filled += *read.as_ref().unwrap_or(&0);
                    return read;
                }
            }
        }
    }

    fn drop_first(&mut self, n: usize) {
        self.buffer.copy_within(n..self.filled, 0);
        self.filled -= n;
        self.at += n as u64;
        self.unseen = self.filled;
        if self.buffer.len() > BLOCK && self.filled < BLOCK {
            // One huge line must not keep its memory for the rest of the task.
            self.buffer.truncate(BLOCK);
            self.buffer.shrink_to_fit();
        }
    }
}

impl ChunkStream<LineBlock> for Blocks {
    fn next_chunk(&mut self) -> Result<Option<Chunk<LineBlock>>, TaskError> {
        self.ctx.kill.check()?;
        let block = self.next_block().map_err(|e| TaskError::failed(format!("{}: {e}", self.path.display())))?;
        Ok(block.map(|block| Chunk::Owned(vec![block])))
    }
}

/// The lines of the files that `path` names, without their ends (`\n` or `\r\n`), to be looked at by reference.
///
/// `path` is a file, a directory (its files, without those whose names begin with `_` or `.`), a glob (`*`, `?`, `[a-z]`,
/// `{one,other}`), or several of these with commas between; `file://` may stand before each. There are at least
/// `min_partitions` partitions when the files have as many bytes; `bounds` limits their size. An empty file is one
/// partition, an empty directory none.
///
/// # Errors
/// When a path matches nothing, or a directory cannot be read or has directories in it. The files must be readable on
/// every worker under the same path.
pub fn text_lines(scope: &Arc<Scope>, path: &str, min_partitions: u32, bounds: SplitBounds) -> Result<Lines> {
    let splits = splits(path, min_partitions, bounds)?;
    let partitions = u32::try_from(splits.len())
        .map_err(|_| Error::InvalidArgument(format!("{path}: {} splits are too many", splits.len())))?;
    Ok(Lines::new(rdd_of(scope, partitions, "text_lines", TextFile { splits })))
}

/// As [`text_lines`], each line as a String of its own.
///
/// # Errors
/// As [`text_lines`].
pub fn text_file(scope: &Arc<Scope>, path: &str, min_partitions: u32, bounds: SplitBounds) -> Result<Rdd<String>> {
    Ok(text_lines(scope, path, min_partitions, bounds)?.to_strings())
}
