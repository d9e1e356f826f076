//! How packed files begin: what is packed under a name that does not say so is known by it, and never read as plain bytes.

use std::io::{self, Read};

use super::by_name::{CODECS, REMEDY};

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

/// An error when a file that is taken for plain, which `file` reads from its start, begins as packed files do.
pub(crate) fn check_plain(file: &mut dyn Read) -> io::Result<()> {
    let mut bytes = [0; LONGEST];
    let mut len = 0;
    while len < bytes.len() {
        match file.read(&mut bytes[len..]) {
            Ok(0) => break,
            Ok(n) => len += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    let Some(kind) = packed_as(&bytes[..len]) else { return Ok(()) };
    Err(io::Error::other(match CODECS.iter().find(|codec| codec.name() == kind) {
        Some(codec) => {
            format!("it is packed as {kind}: give it a name that ends in {}, or unpack it", codec.suffix())
        }
        None => format!("it is packed as {kind}, which cannot be read: {REMEDY}"),
    }))
}

/// What a file that begins so is packed as.
fn packed_as(start: &[u8]) -> Option<&'static str> {
    // Some words begin with BZh; so the digit of the size and the mark of the first block, or of the end, are asked for, too.
    if let [b'B', b'Z', b'h', b'1'..=b'9', block @ ..] = start
        && (block.starts_with(b"\x31\x41\x59\x26\x53\x59") || block.starts_with(b"\x17\x72\x45\x38\x50\x90"))
    {
        return Some("bzip2");
    }
    BEGINNINGS.iter().find(|(beginning, _)| start.starts_with(beginning)).map(|(_, kind)| *kind)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert_eq!(packed_as(start), Some(kind));
        }
        for text in ["", "BZh", "BZhang,1\n", "BZh91,2\n", "PK\n", "7z", "Rar!\n", "\u{feff}id", "(\u{b5})"] {
            assert_eq!(packed_as(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn each_codec_is_known_by_its_beginning() {
        for codec in CODECS {
            let known = BEGINNINGS.iter().any(|(_, kind)| *kind == codec.name()) || codec.name() == "bzip2";
            assert!(known, "{}", codec.name());
        }
    }

    #[test]
    fn the_longest_beginning_is_read() {
        assert!(BEGINNINGS.iter().all(|(beginning, _)| beginning.len() <= LONGEST));
    }
}
