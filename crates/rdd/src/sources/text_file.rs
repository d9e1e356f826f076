//! Lines of text files: files, directories and globs, split by bytes at line ends.

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use firesteel_common::codec;
use serde::{Deserialize, Serialize};

use super::{Source, rdd_of};
use crate::{
    Rdd,
    chunk::{CHUNK, Chunk, ChunkStream, Stream},
    error::{Error, Result},
    runner::Scope,
    task::{TaskContext, TaskError},
};

/// Bounds on the size of a split, bytes.
#[derive(Clone, Copy, Debug)]
pub struct SplitBounds {
    /// `spark.hadoop.mapreduce.input.fileinputformat.split.minsize`.
    pub smallest: u64,
    /// `spark.hadoop.fs.local.block.size`.
    pub largest: u64,
}

const BUFFER: usize = 256 << 10;

/// Some bytes of a file. Its lines are those whose first byte lies in it.
#[derive(Serialize, Deserialize)]
struct Split {
    path: PathBuf,
    start: u64,
    len: u64,
}

struct TextFile {
    splits: Vec<Split>,
}

impl Source for TextFile {
    type Item = String;

    fn input(&self, p: u32) -> Result<Bytes> {
        let split = self.splits.get(p as usize);
        let split = split.ok_or_else(|| Error::InvalidArgument(format!("text_file has no partition {p}")))?;
        Ok(codec::encode(split)?.into())
    }

    fn open(input: &[u8], ctx: &Arc<TaskContext>) -> Result<Stream<String>, TaskError> {
        let split: Split = codec::decode(input)?;
        Ok(Box::new(Lines::open(split, ctx)?))
    }
}

/// The lines of a split.
struct Lines {
    reader: BufReader<File>,
    path: PathBuf,
    at: u64,
    end: u64,
    line: Vec<u8>,
    ctx: Arc<TaskContext>,
}

impl Lines {
    fn open(split: Split, ctx: &Arc<TaskContext>) -> Result<Self, TaskError> {
        let Split { path, start, len } = split;
        let fail = |e: io::Error| TaskError::failed(format!("{}: {e}", path.display()));
        let mut file = File::open(&path).map_err(fail)?;
        // The line that the split begins in belongs to the split before, unless it begins right here.
        let from = start.saturating_sub(1);
        file.seek(SeekFrom::Start(from)).map_err(fail)?;
        let mut reader = BufReader::with_capacity(BUFFER, file);
        let mut at = start;
        if start > 0 {
            at = from + reader.skip_until(b'\n').map_err(fail)? as u64;
        }
        Ok(Lines { reader, path, at, end: start + len, line: Vec::new(), ctx: ctx.clone() })
    }
}

impl ChunkStream<String> for Lines {
    fn next_chunk(&mut self) -> Result<Option<Chunk<String>>, TaskError> {
        self.ctx.kill.check()?;
        let mut out = Vec::with_capacity(CHUNK);
        while out.len() < CHUNK && self.at < self.end {
            self.line.clear();
            let read = self.reader.read_until(b'\n', &mut self.line);
            let read = read.map_err(|e| TaskError::failed(format!("{}: {e}", self.path.display())))?;
            if read == 0 {
                self.at = self.end;
                break;
            }
            self.at += read as u64;
            let line = self.line.strip_suffix(b"\n").unwrap_or(&self.line);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            // As Spark's Text does, bytes that are no UTF-8 become replacement characters.
            out.push(String::from_utf8_lossy(line).into_owned());
        }
        Ok(if out.is_empty() { None } else { Some(Chunk::Owned(out)) })
    }
}

/// The lines of the files that `path` names, without their ends (`\n` or `\r\n`).
///
/// `path` is a file, a directory (its files, without those whose names begin with `_` or `.`), a glob (`*`, `?`, `[a-z]`,
/// `{one,other}`), or several of these with commas between; `file://` may stand before each. There are at least
/// `min_partitions` partitions when the files have as many bytes; `bounds` limits their size. An empty file is one
/// partition, an empty directory none.
///
/// # Errors
/// When a path matches nothing, or a directory cannot be read or has directories in it. The files must be readable on
/// every worker under the same path.
pub fn text_file(scope: &Arc<Scope>, path: &str, min_partitions: u32, bounds: SplitBounds) -> Result<Rdd<String>> {
    let mut files = Vec::new();
    for pattern in outside_braces(path) {
        find(pattern.trim(), &mut files)?;
    }
    let total: u64 = files.iter().map(|(_, len)| len).sum();
    let mut splits = Vec::new();
    for (path, len) in files {
        let count = splits_of(len, total, min_partitions, bounds);
        let at = |i: u64| (u128::from(len) * u128::from(i) / u128::from(count)) as u64;
        splits.extend((0..count).map(|i| Split { path: path.clone(), start: at(i), len: at(i + 1) - at(i) }));
    }
    let partitions = u32::try_from(splits.len())
        .map_err(|_| Error::InvalidArgument(format!("{path}: {} splits are too many", splits.len())))?;
    Ok(rdd_of(scope, partitions, "text_file", TextFile { splits }))
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
