//! [`Input`]: which files a path names, and how they are cut into splits: files, directories and globs.

use std::{ffi::OsStr, io, num::NonZeroU64, os::unix::ffi::OsStrExt};

use crate::{
    FileKind, FilePath, FileSplit, FileStatus, FileSystem, FileSystems, InputSplit, SplitBounds,
    error::{Error, Result},
    glob,
    split::{best_hosts, cut},
};

/// What the program asked to read, for [`InputFormat::splits`](crate::InputFormat::splits).
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// As the program wrote it. File formats take it for files, as [`Input::files`] does.
    pub path: &'a str,
    /// The file systems that it may name.
    pub systems: &'a FileSystems,
    /// As many partitions, at least, the program wants where there is enough to read.
    pub min_partitions: u32,
    /// How large the pieces of a file may be.
    pub bounds: SplitBounds,
}

impl Input<'_> {
    /// The files that the path names: a file, a directory (its files, in the order of their names, without those whose names
    /// begin with `_` or `.`), a glob (`*`, `?`, `[a-z]`, `[^a-z]`, `{one,other}`, and `\` before a character that stands for
    /// itself), or several of these with commas between.
    ///
    /// # Errors
    /// When a path matches nothing, is of an unknown file system, or a directory cannot be read or has directories in it.
    pub fn files(&self) -> Result<Vec<FileStatus>> {
        let mut files = Vec::new();
        for pattern in glob::outside_braces(self.path) {
            match self.find(pattern, &mut files) {
                // Blanks belong to a name; where they were only written around the comma, there is no such name.
                Err(Error::Missing(_) | Error::Invalid(_)) if pattern.trim() != pattern => {
                    self.find(pattern.trim(), &mut files)?
                }
                found => found?,
            }
        }
        Ok(files)
    }

    /// The files, each cut into splits at multiples of as many bytes as `unit` says of it, or into one where it says none.
    /// There are [`Input::min_partitions`] splits when the files have as many units. An empty file is one split.
    ///
    /// # Errors
    /// As [`Input::files`], and those of `unit`.
    pub fn file_splits(
        &self,
        unit: impl Fn(&FileStatus) -> Result<Option<NonZeroU64>>,
    ) -> Result<Vec<InputSplit<FileSplit>>> {
        let files = self.files()?;
        let total: u64 = files.iter().map(|file| file.len).sum();
        let mut splits = Vec::new();
        for file in files {
            let (unit, hosts) = (unit(&file)?, self.block_hosts(&file)?);
            cut(file, unit, total, self.min_partitions, self.bounds, &hosts, &mut splits);
        }
        Ok(splits)
    }

    /// Whole files, several to a split: it ends with the file that makes it as large as `bytes` says of the list of them.
    /// Spark: Hadoop's `CombineFileInputFormat`.
    ///
    /// # Errors
    /// As [`Input::files`].
    pub fn whole_files(&self, bytes: impl FnOnce(&[FileStatus]) -> u64) -> Result<Vec<InputSplit<Vec<FileSplit>>>> {
        let files = self.files()?;
        let enough = bytes(&files).max(1);
        let mut splits = Vec::new();
        let (mut group, mut group_bytes, mut blocks) = (Vec::new(), 0u64, Vec::new());
        let last = files.len().saturating_sub(1);
        for (i, file) in files.into_iter().enumerate() {
            blocks.push((self.block_hosts(&file)?, 0..file.len));
            group_bytes += file.len;
            group.push(FileSplit { path: file.path, start: 0, len: file.len });
            if group_bytes >= enough || i == last {
                let hosts: Vec<_> = blocks.iter().map(|(hosts, range)| (&hosts[..], range.clone())).collect();
                let hosts = best_hosts(&hosts);
                splits.push(InputSplit { data: std::mem::take(&mut group), bytes: group_bytes, hosts });
                (group_bytes, blocks) = (0, Vec::new());
            }
        }
        Ok(splits)
    }

    fn block_hosts(&self, file: &FileStatus) -> Result<Vec<crate::BlockHosts>> {
        self.systems.of(&file.path)?.block_hosts(file).map_err(|e| Error::io(&file.path, e))
    }

    /// Adds what one element of the list names.
    fn find(&self, pattern: &str, files: &mut Vec<FileStatus>) -> Result<()> {
        let path = FilePath::parse(pattern)?;
        let system = self.systems.of(&path)?;
        match system.status(&path) {
            // What is there under the very name is meant, also when the name would be a pattern.
            Ok(status) => return add(status, system, files),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io(&path, e)),
        }
        let mut matches = glob::find(&path, system)?;
        matches.retain(|found| !found.path.file_name().is_some_and(hidden));
        if matches.is_empty() {
            return Err(Error::Missing(pattern.to_owned()));
        }
        matches.into_iter().try_for_each(|found| add(found, system, files))
    }
}

fn hidden(name: &OsStr) -> bool {
    name.as_bytes().first().is_some_and(|first| b"_.".contains(first))
}

/// Adds a file, or the files of a directory in the order of their names.
fn add(status: FileStatus, system: &dyn FileSystem, files: &mut Vec<FileStatus>) -> Result<()> {
    if status.kind == FileKind::File {
        files.push(status);
        return Ok(());
    }
    let mut entries = system.list(&status.path, &|name| !hidden(name)).map_err(|e| Error::io(&status.path, e))?;
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    if let Some(entry) = entries.iter().find(|entry| entry.kind != FileKind::File) {
        return Err(Error::Invalid(format!("{} is no file: name its files or a glob", entry.path)));
    }
    files.append(&mut entries);
    Ok(())
}
