//! [`LocalDisk`]: the file system of this host, or one that is mounted at the same place on every host.

use std::{
    ffi::OsStr,
    fs::{self, File, Metadata},
    io,
    path::Path,
};

use crate::{FileKind, FilePath, FileStatus, FileSystem, InputFile, OutputFile, file_system::is_missing};

/// What paths without a scheme, and with `file://`, name.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalDisk;

fn status_of(path: FilePath, meta: &Metadata) -> FileStatus {
    let kind = match () {
        () if meta.is_file() => FileKind::File,
        () if meta.is_dir() => FileKind::Directory,
        () => FileKind::Other,
    };
    FileStatus { path, kind, len: meta.len() }
}

impl FileSystem for LocalDisk {
    fn status(&self, path: &FilePath) -> io::Result<FileStatus> {
        Ok(status_of(path.clone(), &fs::metadata(path.path())?))
    }

    fn list(&self, dir: &FilePath, wanted: &dyn Fn(&OsStr) -> bool) -> io::Result<Vec<FileStatus>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(dir.path())? {
            let entry = entry?;
            if !wanted(&entry.file_name()) {
                continue;
            }
            let path = entry.path();
            match fs::metadata(&path) {
                Ok(meta) => found.push(status_of(FilePath::local(path), &meta)),
                Err(e) if is_missing(&e) => {}
                Err(e) => return Err(io::Error::new(e.kind(), format!("{}: {e}", path.display()))),
            }
        }
        Ok(found)
    }

    fn open(&self, path: &FilePath) -> io::Result<Box<dyn InputFile>> {
        Ok(Box::new(File::open(path.path())?))
    }

    fn create(&self, path: &FilePath) -> io::Result<Box<dyn OutputFile>> {
        Ok(Box::new(File::create_new(path.path())?))
    }

    fn create_dir(&self, dir: &FilePath) -> io::Result<()> {
        fs::create_dir(dir.path())
    }

    fn create_dirs(&self, dir: &FilePath) -> io::Result<()> {
        fs::create_dir_all(dir.path())
    }

    fn rename(&self, from: &FilePath, to: &FilePath) -> io::Result<()> {
        fs::rename(from.path(), to.path())
    }

    fn delete(&self, path: &FilePath) -> io::Result<()> {
        if fs::symlink_metadata(path.path())?.is_dir() { remove_all(path.path()) } else { fs::remove_file(path.path()) }
    }
}

/// Removes a directory. An attempt that nobody waits for any more may put one more file into it meanwhile: then once
/// more, which ends because each task makes few files and new ones find no directory.
fn remove_all(dir: &Path) -> io::Result<()> {
    const TRIES: usize = 100;
    for _ in 1..TRIES {
        match fs::remove_dir_all(dir) {
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            done => return done,
        }
    }
    fs::remove_dir_all(dir)
}
