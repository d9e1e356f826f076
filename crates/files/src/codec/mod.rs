//! Packed files: which are unpacked while they are read, and which are refused, because their bytes are not what they hold.
//!
//! As in Hadoop the name says how a file is packed. What is packed under a name that does not say so is known by its first
//! bytes (`beginnings.rs`). A codec is a file here and a line in the list of [`CODECS`].

use std::{
    io::{self, Read},
    os::unix::ffi::OsStrExt,
};

use crate::{
    FilePath,
    error::{Error, Result},
};

mod beginnings;
mod bzip2;
mod gzip;
mod zstandard;

pub(crate) use beginnings::check_plain;

/// A way to pack a file. A packed file is read as a whole: there is no beginning in the middle of it.
pub trait Codec: Send + Sync {
    /// What it is called, in messages.
    fn name(&self) -> &'static str;

    /// What the names of files end in that are packed so.
    fn suffix(&self) -> &'static str;

    /// What is in the file whose bytes `packed` reads, unpacked. Reading it says with `UnexpectedEof` that the file is cut off,
    /// and with `InvalidInput`, `InvalidData` or `Other` that it is not packed so.
    ///
    /// # Errors
    /// When there is no memory to begin with.
    fn decoder(&self, packed: Box<dyn Read + Send>) -> io::Result<Box<dyn Read + Send>>;
}

/// The codecs.
static CODECS: [&dyn Codec; 3] = [&gzip::Gzip, &bzip2::Bzip2, &zstandard::Zstandard];

/// What the names of files end in that Hadoop unpacks and we cannot, and what they hold.
const NOT_READ: [(&str, &str); 3] = [(".deflate", "zlib"), (".snappy", "Snappy"), (".lz4", "LZ4")];

const REMEDY: &str = "unpack the file, or pack it as .gz, .bz2 or .zst";

/// How a file of this name is packed; `None` when it is plain.
///
/// # Errors
/// When files of such a name are packed in a way that cannot be read.
pub fn codec_of(path: &FilePath) -> Result<Option<&'static dyn Codec>> {
    let ends = |end: &str| path.path().as_os_str().as_bytes().ends_with(end.as_bytes());
    if let Some((end, kind)) = NOT_READ.iter().find(|(end, _)| ends(end)) {
        return Err(Error::Invalid(format!("{path}: files packed as {kind} ({end}) cannot be read: {REMEDY}")));
    }
    Ok(CODECS.into_iter().find(|codec| ends(codec.suffix())))
}

/// What reading a file through `codec` has failed by, in words that say what the file is taken for.
pub(crate) fn explain(codec: &dyn Codec, e: &io::Error) -> String {
    let kind = codec.name();
    match e.kind() {
        io::ErrorKind::UnexpectedEof => format!("it is packed as {kind} and cut off: write it anew"),
        io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData | io::ErrorKind::Other => {
            format!("it cannot be unpacked as {kind}, which its name stands for: {e}")
        }
        _ => e.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_how_a_file_is_packed() {
        let of = |name: &str| codec_of(&FilePath::local(name)).map(|codec| codec.map(Codec::name));
        assert_eq!(of("/d/a.gz").unwrap(), Some("gzip"));
        assert_eq!(of("a.tar.bz2").unwrap(), Some("bzip2"));
        assert_eq!(of("a.csv.zst").unwrap(), Some("Zstandard"));
        for plain in ["a", "a.txt", "a.gz/b", "gz", "a.GZ", "a.gz.txt"] {
            assert_eq!(of(plain).unwrap(), None, "{plain}");
        }
        for (name, kind) in [("a.lz4", "LZ4"), ("a.snappy", "Snappy"), ("a.deflate", "zlib")] {
            let error = of(name).unwrap_err().to_string();
            assert!(error.contains(kind) && error.contains("unpack") && error.contains(name), "{error}");
        }
    }
}
