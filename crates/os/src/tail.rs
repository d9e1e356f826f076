//! The end of a log file, for messages about a process that did not end well.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

/// How much of an executor's stderr is reported.
pub const STDERR_TAIL_BYTES: u64 = 4096;

/// The last `max_bytes` of a file as text; bytes that are no UTF-8 are replaced, and a line that is cut off at the
/// front is left out unless it is the only one.
pub fn tail(path: &Path, max_bytes: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let start = file.metadata()?.len().saturating_sub(max_bytes);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(max_bytes).read_to_end(&mut bytes)?;
    let whole_lines = match bytes.iter().position(|byte| *byte == b'\n') {
        Some(newline) if start > 0 && newline + 1 < bytes.len() => &bytes[newline + 1..],
        _ => &bytes,
    };
    Ok(String::from_utf8_lossy(whole_lines).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_given_from_the_first_whole_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("stderr");
        std::fs::write(&path, "first\nsecond\nthird\n").unwrap();
        assert_eq!(tail(&path, 100).unwrap(), "first\nsecond\nthird\n");
        assert_eq!(tail(&path, 10).unwrap(), "third\n");
        std::fs::write(&path, [b"\xff".as_slice(), &[b'x'; 20]].concat()).unwrap();
        assert_eq!(tail(&path, 5).unwrap(), "xxxxx");
        assert!(tail(&path, 100).unwrap().starts_with('\u{fffd}'));
        assert!(tail(&dir.path().join("none"), 5).is_err());
    }
}
