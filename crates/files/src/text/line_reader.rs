//! Lines of text files, split by bytes at line ends and read in large blocks.
//!
//! ```text
//!  FileSplit ──LineReader: read, cut at the last line end──▶ LineBlock ──who looks at its lines: check the UTF-8──▶ elements
//! ```
//!
//! A line ends at `\n`, `\r\n` or `\r`. Whether a `\r` at the end of what has been read is a line end of its own, only the next
//! byte tells; so such a one is left until more is read.

use std::{
    io::{self, Read},
    mem::replace,
};

use memchr::{memchr2, memrchr2};

use super::line_block::LineBlock;
use crate::{FileSplit, ReadTask, RecordReader, codec_of, error::Result};

/// Bytes read at once: small enough that a block is still in the cache when its lines are looked at.
const BLOCK: usize = 64 << 10;

/// The byte order mark of UTF-8, which is no part of a file's first line.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// The lines of a split, block by block: a batch is one block.
pub struct LineReader {
    file: Box<dyn Read + Send>,
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
}

impl LineReader {
    /// Opens the file of `split`.
    pub(super) fn open(split: &FileSplit, task: &ReadTask) -> Result<Self> {
        let FileSplit { path, start, len } = split;
        // A line that begins right at the split's start is known by the line end before it.
        let at = start.saturating_sub(1);
        let (file, end): (Box<dyn Read + Send>, u64) = match codec_of(path)? {
            // How long the text is shows when it has been read; a file without a byte is no packed one, but has no lines.
            Some(_) => (task.open_unpacked(path)?, if *len == 0 { 0 } else { u64::MAX }),
            None => (Box::new(task.open_plain(path, at)?), start + len),
        };
        Ok(LineReader { file, at, end, buffer: vec![0; BLOCK], filled: 0, unseen: 0, skipping: *start > 0 })
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
                return Ok(Some(LineBlock::new(lines)));
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
                    self.filled += *read.as_ref().unwrap_or(&0);
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

impl RecordReader for LineReader {
    type Record = LineBlock;

    fn next_batch(&mut self) -> Result<Option<Vec<LineBlock>>> {
        Ok(self.next_block()?.map(|block| vec![block]))
    }

    fn count(batch: &[LineBlock]) -> u64 {
        batch.iter().map(|block| block.count() as u64).sum()
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
