//! Packed text files: which are unpacked while they are read, and which are refused, because their bytes are no text.
//!
//! As in Hadoop the name says how a file is packed. What is packed under a name that does not say so is known by its first
//! bytes.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::{ffi::OsStrExt, fs::FileExt},
    path::Path,
};

use serde::{Deserialize, Serialize};

/// How a file is packed that can be read. It is read as a whole: there is no beginning in the middle of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Packing {
    Gzip,
    Bzip2,
}

/// What the names of files end in that Hadoop unpacks and we cannot, and what they hold.
const NOT_READ: [(&str, &str); 4] =
    [(".deflate", "zlib"), (".snappy", "Snappy"), (".lz4", "LZ4"), (".zst", "Zstandard")];

/// How packed files begin. Bytes of text are not among them: bzip2's and zip's words are longer than what text may begin with.
const BEGINNINGS: [(&[u8], &str); 11] = [
    (b"\x1f\x8b\x08", "gzip"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x04\x22\x4d\x18", "LZ4"),
    (b"\xff\x06\0\0sNaPpY", "Snappy"),
    (b"PK\x03\x04", "zip"),
    (b"7z\xbc\xaf\x27\x1c", "7z"),
    (b"\x89LZO\0\r\n\x1a\n", "lzop"),
    (b"LZIP\x01", "lzip"),
    (b"\x1f\x9d", "compress"),
    (b"Rar!\x1a\x07", "rar"),
];

/// The longest beginning.
const LONGEST: usize = 10;

impl Packing {
    /// By the name of a file; the error says that files of such a name cannot be read.
    pub fn of_name(path: &Path) -> Result<Option<Packing>, String> {
        let name = path.as_os_str().as_bytes();
        if name.ends_with(b".gz") {
            return Ok(Some(Packing::Gzip));
        }
        if name.ends_with(b".bz2") {
            return Ok(Some(Packing::Bzip2));
        }
        match NOT_READ.iter().find(|(end, _)| name.ends_with(end.as_bytes())) {
            Some((end, kind)) => Err(format!("files packed as {kind} ({end}) cannot be read: {REMEDY}")),
            None => Ok(None),
        }
    }

    /// What is in the file, unpacked.
    pub fn reader(self, file: File) -> Box<dyn Read + Send> {
        match self {
            Packing::Gzip => Box::new(flate2::read::MultiGzDecoder::new(file)),
            Packing::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(file)),
        }
    }

    /// What reading it has failed by, in words that say what the file is taken for.
    pub fn explain(self, e: &io::Error) -> String {
        let kind = match self {
            Packing::Gzip => "gzip",
            Packing::Bzip2 => "bzip2",
        };
        match e.kind() {
            io::ErrorKind::UnexpectedEof => format!("it is packed as {kind} and cut off: write it anew"),
            io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::Other => {
                format!("it cannot be unpacked as {kind}, which its name stands for: {e}")
            }
            _ => e.to_string(),
        }
    }
}

const REMEDY: &str = "unpack the file, or pack it as .gz or .bz2";

/// An error when a file that is taken for plain text begins as packed files do.
pub(crate) fn check_plain(file: &File) -> io::Result<()> {
    let mut bytes = [0; LONGEST];
    let mut len = 0;
    while len < bytes.len() {
        match file.read_at(&mut bytes[len..], len as u64) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    match packed_as(&bytes[..len]) {
        Some((kind, Some(end))) => {
            Err(io::Error::other(format!("it is packed as {kind}: give it a name that ends in {end}, or unpack it")))
        }
        Some((kind, None)) => Err(io::Error::other(format!("it is packed as {kind}, which cannot be read: {REMEDY}"))),
        None => Ok(()),
    }
}

/// What a file that begins so is packed as, and what its name must end in to be read.
fn packed_as(start: &[u8]) -> Option<(&'static str, Option<&'static str>)> {
    // Some words begin with BZh; so the digit of the size and the mark of the first block, or of the end, are asked for, too.
    if let [b'B', b'Z', b'h', b'1'..=b'9', block @ ..] = start
        && (block.starts_with(b"\x31\x41\x59\x26\x53\x59") || block.starts_with(b"\x17\x72\x45\x38\x50\x90"))
    {
        return Some(("bzip2", Some(".bz2")));
    }
    let (_, kind) = BEGINNINGS.iter().find(|(beginning, _)| start.starts_with(beginning))?;
    Some((kind, (*kind == "gzip").then_some(".gz")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_how_a_file_is_packed() {
        let of = |name| Packing::of_name(Path::new(name));
        assert_eq!(of("/d/a.gz"), Ok(Some(Packing::Gzip)));
        assert_eq!(of("a.tar.bz2"), Ok(Some(Packing::Bzip2)));
        for plain in ["a", "a.txt", "a.gz/b", "gz", "a.GZ", "a.gz.txt"] {
            assert_eq!(of(plain), Ok(None), "{plain}");
        }
        for (name, kind) in [("a.zst", "Zstandard"), ("a.lz4", "LZ4"), ("a.snappy", "Snappy"), ("a.deflate", "zlib")] {
            let error = of(name).unwrap_err();
            assert!(error.contains(kind) && error.contains("unpack"), "{error}");
        }
    }

    #[test]
    fn beginnings_of_packed_files_are_known_and_text_is_not_taken_for_them() {
        for (start, kind) in [
            (&b"\x1f\x8b\x08\0\0\0\0\0\0\x03"[..], "gzip"),
            (b"BZh91AY&SY", "bzip2"),
            (b"BZh1\x17\x72\x45\x38\x50\x90", "bzip2"),
            (b"\xfd7zXZ\0\0\x04\xe6\xd6", "xz"),
            (b"\x28\xb5\x2f\xfd\x24\x0e", "Zstandard"),
            (b"PK\x03\x04\x14\0", "zip"),
        ] {
            assert_eq!(packed_as(start).unwrap().0, kind);
        }
        for text in ["", "BZh", "BZhang,1\n", "BZh91,2\n", "PK\n", "7z", "Rar!\n", "\u{feff}id", "(\u{b5})"] {
            assert_eq!(packed_as(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn the_longest_beginning_is_read() {
        assert!(BEGINNINGS.iter().all(|(beginning, _)| beginning.len() <= LONGEST));
    }
}
