//! [`FilePath`]: the name of a file, with the file system that it belongs to.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A path on the local disk, or a URL such as `store://bucket/key`.
///
/// A local one is absolute, because executors have other working directories, and need not be UTF-8. Ordered by scheme,
/// then by the bytes of the path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct FilePath {
    /// Empty for the local disk.
    scheme: String,
    /// Not every name of a file is UTF-8, which serde asks of a `PathBuf`.
    path: OsString,
}

impl FilePath {
    /// The path that `text` writes: `scheme://what/ever`, `file:///a`, `/a`, or `a`, which is below the working directory.
    ///
    /// # Errors
    /// When the working directory is needed and unknown, or `text` is empty.
    pub fn parse(text: &str) -> Result<FilePath> {
        let plain = text.strip_prefix("file:").map_or(text, |rest| rest.strip_prefix("//").unwrap_or(rest));
        match plain.split_once("://") {
            Some((scheme, path)) => Ok(FilePath { scheme: scheme.to_owned(), path: path.into() }),
            None => FilePath::absolute(Path::new(plain)),
        }
    }

    /// As [`FilePath::parse`], for paths that may be no UTF-8, which are on the local disk.
    ///
    /// # Errors
    /// As [`FilePath::parse`].
    pub fn from_path(path: &Path) -> Result<FilePath> {
        path.to_str().map_or_else(|| FilePath::absolute(path), FilePath::parse)
    }

    /// `path` on the local disk, as it is.
    pub fn local(path: impl Into<PathBuf>) -> FilePath {
        FilePath { scheme: String::new(), path: path.into().into_os_string() }
    }

    fn absolute(path: &Path) -> Result<FilePath> {
        std::path::absolute(path).map(FilePath::local).map_err(|e| Error::io(&FilePath::local(path), e))
    }

    /// The file system's scheme; `file` for the local disk.
    pub fn scheme(&self) -> &str {
        if self.is_local() { "file" } else { &self.scheme }
    }

    /// Whether it is on the local disk.
    pub fn is_local(&self) -> bool {
        self.scheme.is_empty()
    }

    /// What stands after `scheme://`; the absolute path for the local disk.
    pub fn path(&self) -> &Path {
        Path::new(&self.path)
    }

    /// `name` below it.
    pub fn join(&self, name: impl AsRef<OsStr>) -> FilePath {
        let path = self.path().join(name.as_ref()).into_os_string();
        FilePath { scheme: self.scheme.clone(), path }
    }

    /// `path` in the same file system.
    pub(crate) fn of_same_system(&self, path: &str) -> FilePath {
        FilePath { scheme: self.scheme.clone(), path: path.into() }
    }

    /// What it lies in; `None` at the top.
    pub fn parent(&self) -> Option<FilePath> {
        let parent = self.path().parent().filter(|parent| !parent.as_os_str().is_empty())?;
        Some(FilePath { scheme: self.scheme.clone(), path: parent.as_os_str().to_owned() })
    }

    /// Its last component.
    pub fn file_name(&self) -> Option<&OsStr> {
        self.path().file_name()
    }

    /// What [`FilePath::parse`] takes back, where the path is UTF-8.
    pub fn to_path_buf(&self) -> PathBuf {
        if self.is_local() {
            return self.path().to_owned();
        }
        let mut url = OsString::from(format!("{}://", self.scheme));
        url.push(&self.path);
        url.into()
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_local() {
            write!(f, "{}://", self.scheme)?;
        }
        self.path().display().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_parsed() {
        for (text, scheme, path) in [
            ("/a/b", "file", "/a/b"),
            ("file:/a/b", "file", "/a/b"),
            ("file:///a/b", "file", "/a/b"),
            ("store://bucket/a b", "store", "bucket/a b"),
            ("/a:b//c", "file", "/a:b/c"),
        ] {
            let parsed = FilePath::parse(text).unwrap();
            assert_eq!((parsed.scheme(), parsed.path()), (scheme, Path::new(path)), "{text}");
            assert_eq!(FilePath::from_path(&parsed.to_path_buf()).unwrap(), parsed);
            assert_eq!(parsed.to_path_buf().to_str().unwrap(), parsed.to_string());
        }
        let below = FilePath::parse("a").unwrap();
        assert!(below.is_local() && below.path().is_absolute() && below.path().ends_with("a"));
        assert!(FilePath::parse("").is_err());
    }

    #[test]
    fn above_a_bucket_there_is_nothing() {
        let path = FilePath::parse("store://bucket/key").unwrap();
        assert_eq!(path.file_name().unwrap(), "key");
        let bucket = path.parent().unwrap();
        assert_eq!(bucket.to_string(), "store://bucket");
        assert_eq!(bucket.parent(), None);
        assert_eq!(bucket.join("other").to_string(), "store://bucket/other");
        assert_eq!(FilePath::local("/").parent(), None);
    }
}
