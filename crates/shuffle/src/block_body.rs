//! The block that a reader is at: whole in memory, or, when it is large, in a file of which a window is in memory.
//!
//! Used by `ShuffleBlocks` alone; `manager` and the block transfer fill it.

use std::{fs::File, io, os::unix::fs::FileExt, path::PathBuf, sync::Arc};

use firesteel_storage::BlockBuffer;

use crate::frame::{Frame, HEADER_BYTES};

/// So much of a file is read at a time.
const WINDOW: usize = 1 << 20;

/// What of a file comes after the window.
struct Rest {
    file: Arc<File>,
    path: PathBuf,
    next: u64,
    end: u64,
}

/// The frames of one block, one after the other.
#[derive(Default)]
pub(crate) struct BlockBody {
    /// The block, or the window.
    bytes: BlockBuffer,
    /// How far it is read.
    at: usize,
    rest: Option<Rest>,
}

/// Why a block whose checksum was right has no next frame.
pub(crate) enum NoFrame {
    /// Its content is none.
    Broken(String),
    /// The file could not be read.
    File { path: PathBuf, source: io::Error },
}

impl BlockBody {
    /// Room for a block that shall be in memory; the present one is forgotten.
    pub fn memory(&mut self) -> &mut BlockBuffer {
        self.at = 0;
        self.rest = None;
        &mut self.bytes
    }

    /// Takes a range of a file, whose checksum has been looked at, for the block.
    pub fn set_file(&mut self, file: Arc<File>, path: PathBuf, offset: u64, len: u64) {
        self.bytes.shrink_to(2 * WINDOW);
        self.at = 0;
        self.rest = Some(Rest { file, path, next: offset, end: offset + len });
    }

    /// Whether all of the block has been read.
    pub fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len() && self.rest.as_ref().is_none_or(|rest| rest.next >= rest.end)
    }

    /// The memory that the ranges of frames refer to.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of a block that is not read yet.
    pub fn len(&self) -> u64 {
        self.rest.as_ref().map_or(self.bytes.len() as u64, |rest| rest.end - rest.next)
    }

    /// Bytes of memory that it takes.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Forgets the block.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.at = 0;
        self.rest = None;
    }

    /// The next frame, which lies whole in [`BlockBody::bytes`].
    pub fn next_frame(&mut self) -> Result<Frame, NoFrame> {
        if self.rest.is_some() {
            self.ensure(HEADER_BYTES)?;
            let header = self.bytes.get(self.at..self.at + HEADER_BYTES);
            if let Some(len) = header.and_then(Frame::stored_len) {
                self.ensure(HEADER_BYTES + len)?;
            }
        }
        let frame = Frame::find(&self.bytes, self.at).map_err(NoFrame::Broken)?;
        self.at = frame.stored.end;
        Ok(frame)
    }

    /// Has so many bytes from `at` on in memory, if the block has so many left.
    fn ensure(&mut self, wanted: usize) -> Result<(), NoFrame> {
        let (there, Some(rest)) = (self.bytes.len() - self.at, &mut self.rest) else { return Ok(()) };
        let left = usize::try_from(rest.end - rest.next).unwrap_or(usize::MAX);
        if there >= wanted || left == 0 {
            return Ok(());
        }
        let more = wanted.max(WINDOW).saturating_sub(there).min(left);
        self.bytes.keep_from(self.at);
        self.at = 0;
        let room = self.bytes.extend(there, there + more);
        if let Err(source) = rest.file.read_exact_at(room, rest.next) {
            return Err(NoFrame::File { path: rest.path.clone(), source });
        }
        rest.next += more as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Compression, FrameEncoder};

    #[test]
    fn frames_of_a_file_come_as_from_memory_also_those_larger_than_the_window() {
        let mut encoder = FrameEncoder::new(Compression::None);
        let sizes = [10usize, WINDOW + 5, 0, 3 * WINDOW, 60_000, 1];
        let mut block = b"before".to_vec();
        let contents: Vec<Vec<u8>> = sizes.iter().map(|n| (0..*n).map(|i| (i * 7) as u8).collect()).collect();
        contents.iter().for_each(|c| encoder.append(3, c, &mut block).unwrap());
        let len = block.len() as u64 - 6;
        block.extend_from_slice(b"after");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        std::fs::write(&path, &block).unwrap();
        let mut body = BlockBody::default();
        body.set_file(Arc::new(File::open(&path).unwrap()), path, 6, len);
        for content in &contents {
            assert!(!body.is_at_end());
            let Ok(frame) = body.next_frame() else { panic!("no frame") };
            assert_eq!(frame.records, 3);
            assert!(body.bytes()[frame.stored.clone()] == **content);
        }
        assert!(body.is_at_end());
        assert!(matches!(body.next_frame(), Err(NoFrame::Broken(_))));
    }
}
