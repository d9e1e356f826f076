//! Which files a path names, and how they are cut into splits: files, directories and globs.

use std::{
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{glob, packing::Packing};
use crate::error::{Error, Result};

/// Bounds on the size of a split, bytes.
#[derive(Clone, Copy, Debug)]
pub struct SplitBounds {
    /// `spark.hadoop.mapreduce.input.fileinputformat.split.minsize`.
    pub smallest: u64,
    /// `spark.hadoop.fs.local.block.size`.
    pub largest: u64,
}

/// Some bytes of a file. Its lines are those whose first byte lies in it. A packed file is one split.
#[derive(Serialize, Deserialize)]
pub(crate) struct Split {
    /// Not every name of a file is UTF-8, which serde asks of a `PathBuf`.
    pub path: OsString,
    pub start: u64,
    pub len: u64,
    pub packing: Option<Packing>,
}

/// The splits of the files that `path` names, in order: at least `wanted` when there are as many bytes.
pub(crate) fn splits(path: &str, wanted: u32, bounds: SplitBounds) -> Result<Vec<Split>> {
    let mut files = Vec::new();
    for pattern in glob::outside_braces(path) {
        match find(pattern, &mut files) {
            // Blanks belong to a name; where they were only written around the comma, there is no such name.
            Err(Error::InputMissing(_) | Error::InvalidArgument(_)) if pattern.trim() != pattern => {
                find(pattern.trim(), &mut files)?
            }
            found => found?,
        }
    }
    let total: u64 = files.iter().map(|(_, len)| len).sum();
    let mut splits = Vec::new();
    for (path, len) in files {
        let packing =
            Packing::of_name(&path).map_err(|e| Error::InvalidArgument(format!("{}: {e}", path.display())))?;
        let count = if packing.is_some() { 1 } else { splits_of(len, total, wanted, bounds) };
        let at = |i: u64| (u128::from(len) * u128::from(i) / u128::from(count)) as u64;
        let path = path.into_os_string();
        let split = |i| Split { path: path.clone(), start: at(i), len: at(i + 1) - at(i), packing };
        splits.extend((0..count).map(split));
    }
    Ok(splits)
}

/// Into how many splits a file of `len` bytes of `total` goes: its share of `wanted`, rounded up, within the bounds.
fn splits_of(len: u64, total: u64, wanted: u32, bounds: SplitBounds) -> u64 {
    let share = (u128::from(len) * u128::from(wanted.max(1))).div_ceil(u128::from(total.max(1))) as u64;
    let most = len / bounds.smallest.max(1);
    share.max(len.div_ceil(bounds.largest.max(1))).min(most).max(1)
}

/// `path` without `file://`, absolute, because executors have other working directories.
pub(crate) fn local_path(path: &str) -> Result<PathBuf> {
    let plain = path.strip_prefix("file:").map_or(path, |rest| rest.strip_prefix("//").unwrap_or(rest));
    if let Some((scheme, _)) = plain.split_once("://") {
        return Err(Error::InvalidArgument(format!(
            "{path}: there is no file system for {scheme}://, use a local path"
        )));
    }
    std::path::absolute(plain).map_err(|e| Error::io(plain, e))
}

/// Adds what one element of the list names.
fn find(pattern: &str, files: &mut Vec<(PathBuf, u64)>) -> Result<()> {
    let path = local_path(pattern)?;
    // What is there under the very name is meant, also when the name would be a pattern.
    if path.try_exists().map_err(|e| Error::io(&path, e))? {
        return add(&path, files);
    }
    let text = path.to_str().ok_or_else(|| Error::InvalidArgument(format!("{pattern}: not UTF-8")))?;
    let mut matches = glob::find(text)?;
    matches.retain(|found| !hidden(found));
    if matches.is_empty() {
        return Err(Error::InputMissing(pattern.to_owned()));
    }
    matches.iter().try_for_each(|found| add(found, files))
}

fn hidden(path: &Path) -> bool {
    path.file_name().and_then(|name| name.as_bytes().first()).is_some_and(|first| b"_.".contains(first))
}

/// Whether the error says that there is no such file, as for a link that leads nowhere.
pub(super) fn missing(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) || e.raw_os_error() == Some(libc::ELOOP)
}

/// Adds a file, or the files of a directory in the order of their names. Links that lead nowhere are passed over.
fn add(path: &Path, files: &mut Vec<(PathBuf, u64)>) -> Result<()> {
    let io = |e| Error::io(path, e);
    let meta = fs::metadata(path).map_err(io)?;
    if meta.is_file() {
        files.push((path.to_owned(), meta.len()));
        return Ok(());
    }
    let entries = fs::read_dir(path).map_err(io)?.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>();
    let mut entries = entries.map_err(io)?;
    entries.retain(|p| !hidden(p));
    entries.sort();
    for entry in entries {
        match fs::metadata(&entry) {
            Ok(meta) if meta.is_file() => files.push((entry, meta.len())),
            Ok(_) => {
                let what = format!("{} is no file: name its files or a glob", entry.display());
                return Err(Error::InvalidArgument(what));
            }
            Err(e) if missing(&e) => {}
            Err(e) => return Err(Error::io(entry, e)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_file_is_cut_within_the_bounds() {
        let bounds = SplitBounds { smallest: 1, largest: 32 };
        assert_eq!(splits_of(0, 0, 5, bounds), 1, "an empty file is one split");
        assert_eq!(splits_of(3, 3, 100, bounds), 3, "no split is empty");
        assert_eq!(splits_of(64, 64, 1, bounds), 2);
        assert_eq!(splits_of(64, 64, 8, SplitBounds { smallest: 20, largest: 32 }), 3);
    }

    proptest! {
        #[test]
        fn there_are_as_many_splits_as_asked_for(lens in prop::collection::vec(0u64..1000, 1..8), wanted in 1u32..50) {
            let total: u64 = lens.iter().sum();
            let bounds = SplitBounds { smallest: 1, largest: 1 << 30 };
            let splits: u64 = lens.iter().map(|len| splits_of(*len, total, wanted, bounds)).sum();
            prop_assert!(splits >= u64::from(wanted).min(total));
            prop_assert!(splits <= u64::from(wanted) + lens.len() as u64);
        }
    }
}
