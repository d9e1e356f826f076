//! Lines of text files, split by bytes at line ends and read in large blocks.
//!
//! ```text
//!  Split ──Blocks: read, cut at the last line end──▶ LineBlock ──operators of Lines: check the UTF-8──▶ elements
//! ```
//!
//! A line ends at `\n`, `\r\n` or `\r`. Whether a `\r` at the end of what has been read is a line end of its own, only the next
//! byte tells; so such a one is left until more is read.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    mem::replace,
    path::PathBuf,
    sync::Arc,
};

use bytes::Bytes;
use firesteel_common::codec;
use memchr::{memchr2, memrchr2};

use super::{
    LineBlock, Source, SplitBounds,
    files::{Split, splits},
    packing::{self, Packing},
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

/// The byte order mark of UTF-8, which is no part of a file's first line.
const MARK: &[u8] = b"\xef\xbb\xbf";

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
    file: Box<dyn Read + Send>,
    path: PathBuf,
    packing: Option<Packing>,
    /// Where the buffer's first byte lies in the text.
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
        let Split { path, start, len, packing } = split;
        let path = PathBuf::from(path);
        let fail = |e: io::Error| TaskError::failed(format!("{}: {e}", path.display()));
        let mut file = File::open(&path).map_err(fail)?;
        // A line that begins right at the split's start is known by the line end before it.
        let at = start.saturating_sub(1);
        let (file, end): (Box<dyn Read + Send>, u64) = match packing {
            // How long the text is shows when it has been read; a file without a byte is no packed one, but has no lines.
            Some(packing) => (packing.reader(file), if len == 0 { 0 } else { u64::MAX }),
            None => {
                packing::check_plain(&file).map_err(fail)?;
                file.seek(SeekFrom::Start(at)).map_err(fail)?;
                (Box::new(file), start + len)
            }
        };
        let (buffer, skipping, ctx) = (vec![0; BLOCK], start > 0, ctx.clone());
        Ok(Blocks { file, path, packing, at, end, buffer, filled: 0, unseen: 0, skipping, ctx })
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
                let first = self.at == 0;
                let mut lines = self.take_first(cut);
                if first && lines.starts_with(MARK) {
                    lines.drain(..MARK.len());
                }
                let block = LineBlock::new(lines);
                if self.ctx.measured {
                    self.ctx.memory.counters().input_records.add(block.count() as u64);
                }
                return Ok(Some(block));
            }
        }
        Ok(None)
    }

    /// Passes over the line that belongs to the split before.
    fn skip(&mut self) -> io::Result<()> {
        while self.skipping {
            let read = self.read()?;
            let line_end = after_line_end(&self.buffer[..self.filled], 0);
            let passed = if read > 0 { self.decided() } else { self.filled };
            self.take_first(line_end.unwrap_or(passed));
            self.skipping = line_end.is_none() && read > 0 && self.at < self.end;
            self.unseen = 0;
        }
        Ok(())
    }

    /// How many bytes from the buffer's start are whole lines of this split.
    fn whole_lines(&mut self) -> usize {
        let end_before = |to: usize| {
            // The byte after a line end that is found here is known, and no `\n` that goes with it.
            memrchr2(b'\n', b'\r', self.buffer.get(self.unseen..to).unwrap_or_default()).map(|i| self.unseen + i + 1)
        };
        // The split's last line is the one that its last byte lies in.
        let last = usize::try_from(self.end - 1 - self.at).unwrap_or(usize::MAX);
        let cut = if last < self.filled {
            let last = last.max(self.unseen);
            after_line_end(&self.buffer[..self.filled], last).or_else(|| end_before(last))
        } else {
            end_before(self.decided())
        };
        self.unseen = self.decided();
        cut.unwrap_or(0)
    }

    /// How much of the buffer does not depend on the next byte: all but a `\r` at its end.
    fn decided(&self) -> usize {
        self.filled - usize::from(self.buffer[..self.filled].ends_with(b"\r"))
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
                    let bytes = *read.as_ref().unwrap_or(&0);
                    self.ctx.memory.counters().input_bytes.add(bytes as u64);
                    self.filled += bytes;
                    return read;
                }
            }
        }
    }

    /// Hands the buffer out, without what comes after its first `n` bytes: less is copied than these are.
    fn take_first(&mut self, n: usize) -> Vec<u8> {
        let rest = self.buffer.get(n..self.filled).unwrap_or_default();
        let mut next = vec![0; BLOCK.max(rest.len())];
        next[..rest.len()].copy_from_slice(rest);
        self.filled = rest.len();
        let mut first = replace(&mut self.buffer, next);
        first.truncate(n);
        self.at += n as u64;
        self.unseen = self.decided();
        first
    }
}

impl ChunkStream<LineBlock> for Blocks {
    fn next_chunk(&mut self) -> Result<Option<Chunk<LineBlock>>, TaskError> {
        self.ctx.kill.check()?;
        let block = self.next_block().map_err(|e| {
            let reason = self.packing.map_or_else(|| e.to_string(), |packing| packing.explain(&e));
            TaskError::failed(format!("{}: {reason}", self.path.display()))
        })?;
        Ok(block.map(|block| Chunk::Owned(vec![block])))
    }
}

/// The place after the first line end from `from` on. None, too, when that is a `\r` at the end of `bytes`, where a `\n` may
/// follow.
fn after_line_end(bytes: &[u8], from: usize) -> Option<usize> {
    let at = from + memchr2(b'\n', b'\r', bytes.get(from..)?)?;
    if bytes[at] == b'\n' {
        return Some(at + 1);
    }
    bytes.get(at + 1).map(|next| at + 1 + usize::from(*next == b'\n'))
}

/// The lines of the files that `path` names, without their ends (`\n`, `\r\n` or `\r`), to be looked at by reference. A byte
/// order mark at the start of a file is no part of its first line.
///
/// `path` is a file, a directory (its files, without those whose names begin with `_` or `.`), a glob (`*`, `?`, `[a-z]`,
/// `[^a-z]`, `{one,other}`, and `\` before a character that stands for itself), or several of these with commas between;
/// `file://` may stand before each. There are at least `min_partitions` partitions when the files have as many bytes;
/// `bounds` limits their size. An empty file is one partition, an empty directory none. Files whose names end in `.gz` or
/// `.bz2` are unpacked, each in one partition.
///
/// # Errors
/// When a path matches nothing, a directory cannot be read or has directories in it, or a file is packed in another way;
/// where its name does not say so, the job fails that would read it. The files must be readable on every worker under the
/// same path.
#[track_caller]
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
#[track_caller]
pub fn text_file(scope: &Arc<Scope>, path: &str, min_partitions: u32, bounds: SplitBounds) -> Result<Rdd<String>> {
    Ok(text_lines(scope, path, min_partitions, bounds)?.to_strings())
}
