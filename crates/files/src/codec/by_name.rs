//! Which codec a file's name stands for.

use std::os::unix::ffi::OsStrExt;

use super::{bzip2::Bzip2, gzip::Gzip, packing::Codec, zstandard::Zstandard};
use crate::{
    FilePath,
    error::{Error, Result},
};

/// The codecs.
pub(super) static CODECS: [&dyn Codec; 3] = [&Gzip, &Bzip2, &Zstandard];

/// What the names of files end in that Hadoop unpacks and we cannot, and what they hold.
const NOT_READ: [(&str, &str); 3] = [(".deflate", "zlib"), (".snappy", "Snappy"), (".lz4", "LZ4")];

pub(super) const REMEDY: &str = "unpack the file, or pack it as .gz, .bz2 or .zst";

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
