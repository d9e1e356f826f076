//! Which files a path names, and how they are cut into splits: files, directories and globs.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Bounds on the size of a split, bytes.
#[derive(Clone, Copy, Debug)]
pub struct SplitBounds {
    /// `spark.hadoop.mapreduce.input.fileinputformat.split.minsize`.
    pub smallest: u64,
    /// `spark.hadoop.fs.local.block.size`.
    pub largest: u64,
}

/// Some bytes of a file. Its lines are those whose first byte lies in it.
#[derive(Serialize, Deserialize)]
pub(crate) struct Split {
    pub path: PathBuf,
    pub start: u64,
    pub len: u64,
}

/// The splits of the files that `path` names, in order: at least `wanted` when there are as many bytes.
pub(crate) fn splits(path: &str, wanted: u32, bounds: SplitBounds) -> Result<Vec<Split>> {
    let mut files = Vec::new();
    for pattern in outside_braces(path) {
        find(pattern.trim(), &mut files)?;
    }
    let total: u64 = files.iter().map(|(_, len)| len).sum();
    let mut splits = Vec::new();
    for (path, len) in files {
        let count = splits_of(len, total, wanted, bounds);
        let at = |i: u64| (u128::from(len) * u128::from(i) / u128::from(count)) as u64;
        splits.extend((0..count).map(|i| Split { path: path.clone(), start: at(i), len: at(i + 1) - at(i) }));
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

fn find(pattern: &str, files: &mut Vec<(PathBuf, u64)>) -> Result<()> {
    let path = local_path(pattern)?;
    // What is there under the very name is meant, also when the name would be a pattern.
    if path.try_exists().map_err(|e| Error::io(&path, e))? {
        return add(&path, files);
    }
    let text = path.to_str().ok_or_else(|| Error::InvalidArgument(format!("{pattern}: not UTF-8")))?;
    let mut matched = false;
    for plain in expand(text) {
        let matches = glob::glob(&plain).map_err(|e| Error::InvalidArgument(format!("{pattern}: {e}")))?;
        for found in matches {
            let found = found.map_err(|e| Error::io(e.path().to_path_buf(), io::Error::other(e.to_string())))?;
            if !hidden(&found) {
                matched = true;
                add(&found, files)?;
            }
        }
    }
    if matched { Ok(()) } else { Err(Error::InputMissing(pattern.to_owned())) }
}

/// The parts between commas, but for those in braces.
fn outside_braces(list: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0u32;
    list.split(move |c| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

/// `a{b,c}d` as `abd` and `acd`. A brace without its other half stands for itself.
fn expand(pattern: &str) -> Vec<String> {
    let mut depth = 0u32;
    let open = pattern.find('{');
    let close = pattern.find(|c| {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => {
                depth -= 1;
                return depth == 0;
            }
            _ => {}
        }
        false
    });
    let (Some(open), Some(close)) = (open, close) else { return vec![pattern.to_owned()] };
    let (before, inner, after) = (&pattern[..open], &pattern[open + 1..close], &pattern[close + 1..]);
    let rests = expand(after);
    let choices = outside_braces(inner).flat_map(expand);
    choices.flat_map(|choice| rests.iter().map(move |rest| format!("{before}{choice}{rest}"))).collect()
}

fn hidden(path: &Path) -> bool {
    path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(['_', '.']))
}

/// Adds a file, or the files of a directory in the order of their names.
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
        let meta = fs::metadata(&entry).map_err(|e| Error::io(&entry, e))?;
        if !meta.is_file() {
            return Err(Error::InvalidArgument(format!("{} is no file: name its files or a glob", entry.display())));
        }
        files.push((entry, meta.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn braces_are_choices() {
        let parts = |s| outside_braces(s).collect::<Vec<_>>();
        assert_eq!(parts("a,{b,c}/d,e"), ["a", "{b,c}/d", "e"]);
        assert_eq!(parts(""), [""]);
        assert_eq!(expand("a{b,c{d,e}}f{,g}"), ["abf", "abfg", "acdf", "acdfg", "acef", "acefg"]);
        assert_eq!(expand("a}b{c"), ["a}b{c"]);
        assert_eq!(expand("plain"), ["plain"]);
    }

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
