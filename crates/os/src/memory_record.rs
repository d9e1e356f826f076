//! A small file in which a process notes who holds its memory, for another one to read when it has ended for the lack of
//! it: then it can say nothing itself any more.
//!
//! The room is taken when the file is made, so that noting needs none on a disk that is full meanwhile.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

/// Bytes of the file; the text is shorter by one.
const ROOM: usize = 4096;

/// Makes the file, without a text, for this user alone.
pub fn create(path: &Path) -> io::Result<()> {
    File::options().create(true).write(true).truncate(true).mode(0o600).open(path)?.write_all_at(&[0; ROOM], 0)
}

/// The one who notes.
#[derive(Debug)]
pub struct MemoryRecord {
    file: File,
    bytes: Box<[u8; ROOM]>,
}

impl MemoryRecord {
    /// Opens a file that [`create`] has made.
    pub fn open(path: &Path) -> io::Result<MemoryRecord> {
        Ok(MemoryRecord { file: File::options().write(true).open(path)?, bytes: Box::new([0; ROOM]) })
    }

    /// Notes `text`, in place of what was noted before, as far as there is room.
    pub fn note(&mut self, text: &str) -> io::Result<()> {
        let end = text.floor_char_boundary(ROOM - 1);
        self.bytes.fill(0);
        self.bytes[..end].copy_from_slice(&text.as_bytes()[..end]);
        self.file.write_all_at(&*self.bytes, 0)
    }
}

/// What was noted last; none when there is nothing, or no file.
pub fn read(path: &Path) -> Option<String> {
    let bytes = std::fs::read(path).ok()?;
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    Some(String::from_utf8_lossy(&bytes[..end]).into_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_last_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("memory");
        assert_eq!(read(&path), None);
        create(&path).unwrap();
        assert_eq!(read(&path), None);
        let mut record = MemoryRecord::open(&path).unwrap();
        record.note("much, and more of it").unwrap();
        record.note("less").unwrap();
        assert_eq!(read(&path).as_deref(), Some("less"));
        record.note(&"ä".repeat(ROOM)).unwrap();
        assert_eq!(read(&path), Some("ä".repeat(ROOM / 2 - 1)));
        assert_eq!(std::fs::metadata(&path).unwrap().len(), ROOM as u64);
    }
}
