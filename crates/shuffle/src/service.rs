//! What a worker's shuffle service serves of one application: the map outputs of all executors that the worker started,
//! whether they live or not. Spark: `ExternalShuffleBlockResolver`.
//!
//! ```text
//!  <block directory>/<application>/<executor>/shuffle_<id>/shuffle_<id>_<map task>.data, .index
//! ```
//!
//! An attempt's number is unique within its application, so the request need not say which executor wrote the block.
//! Called by the worker's block server; nothing but finished files is ever served or kept.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use firesteel_common::{ShuffleId, TaskId};
use firesteel_storage::{BlockData, BlockError, BlockId, BlockSource, NotRemoved};

use crate::files::{self, MapFiles};

/// Open files that are kept for the next reader.
const OPEN_FILES: usize = 256;

type OpenFiles = HashMap<(ShuffleId, TaskId), Arc<MapFiles>>;

/// The shuffle files of an application on one worker.
pub struct ApplicationShuffles {
    /// The application's directories, one on each local directory; below them one an executor.
    dirs: Vec<PathBuf>,
    open: Mutex<OpenFiles>,
}

impl ApplicationShuffles {
    /// Over the application's directories, one on each local directory.
    pub fn new(dirs: Vec<PathBuf>) -> ApplicationShuffles {
        ApplicationShuffles { dirs, open: Mutex::default() }
    }

    /// Closes the files that are kept open, so that what is removed gives its room back.
    pub fn close(&self) {
        self.open().clear();
    }

    fn open(&self) -> MutexGuard<'_, OpenFiles> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The directories of the executors that have, or had, one.
    fn executor_dirs(&self) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for dir in &self.dirs {
            match fs::read_dir(dir) {
                Ok(entries) => {
                    for entry in entries {
                        found.push(entry?.path());
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(e),
            }
        }
        Ok(found)
    }

    fn find(&self, shuffle: ShuffleId, map_task: TaskId, id: &BlockId) -> Result<Arc<MapFiles>, BlockError> {
        let key = (shuffle, map_task);
        if let Some(files) = self.open().get(&key) {
            return Ok(files.clone());
        }
        let (data, index) = (files::data_name(shuffle, map_task), files::index_name(shuffle, map_task));
        let executors = self.executor_dirs().map_err(|source| self.failed("read", source))?;
        let mut dirs = executors.iter().map(|dir| files::shuffle_dir(dir, shuffle));
        let Some(dir) = dirs.find(|dir| dir.join(&index).exists() || dir.join(&data).exists()) else {
            return Err(BlockError::NotFound { id: *id });
        };
        let found = Arc::new(MapFiles::open(dir.join(data), dir.join(index))?);
        let mut open = self.open();
        if open.len() >= OPEN_FILES {
            open.clear();
        }
        open.insert(key, found.clone());
        Ok(found)
    }

    fn failed(&self, action: &'static str, source: io::Error) -> BlockError {
        BlockError::File { action, path: self.dirs.first().cloned().unwrap_or_default(), source }
    }
}

impl BlockSource for ApplicationShuffles {
    fn open(&self, id: &BlockId) -> Result<BlockData, BlockError> {
        match *id {
            BlockId::Shuffle { shuffle, map_task, reduce } => self.find(shuffle, map_task, id)?.block(reduce),
            _ => Err(BlockError::NotFound { id: *id }),
        }
    }

    fn remove_shuffle(&self, shuffle: ShuffleId) -> Result<(), NotRemoved> {
        self.open().retain(|(of, _), _| *of != shuffle);
        let failed = |e: io::Error, path: &Path| NotRemoved { shuffle, reason: format!("{}: {e}", path.display()) };
        let executors = self.executor_dirs().map_err(|e| failed(e, Path::new("the application's directory")))?;
        let mut result = Ok(());
        for dir in executors.iter().map(|dir| files::shuffle_dir(dir, shuffle)) {
            if let Err(e) = fs::remove_dir_all(&dir)
                && e.kind() != io::ErrorKind::NotFound
            {
                result = Err(failed(e, &dir));
            }
        }
        result
    }
}

/// Removes from the directory of an executor that has ended what no shuffle service can serve: everything but finished
/// map outputs. The directory itself goes when nothing is left in it.
pub fn keep_map_outputs(executor_dir: &Path) -> io::Result<()> {
    let mut keep = false;
    for entry in fs::read_dir(executor_dir)? {
        let entry = entry?;
        let (path, is_dir) = (entry.path(), entry.file_type()?.is_dir());
        let is_shuffle = is_dir && entry.file_name().to_str().is_some_and(|name| name.starts_with("shuffle_"));
        if !is_shuffle {
            if is_dir {
                fs::remove_dir_all(&path)?
            } else {
                fs::remove_file(&path)?
            }
            continue;
        }
        let mut outputs = false;
        for file in fs::read_dir(&path)? {
            let file = file?.path();
            let is_data = file.extension().is_some_and(|e| e == "data");
            // A data file without its index is one that was being finished.
            let finished = if is_data { file.with_extension("index").exists() } else { is_index(&file) };
            outputs |= finished;
            if !finished {
                fs::remove_file(&file)?;
            }
        }
        if outputs {
            keep = true;
        } else {
            fs::remove_dir(&path)?;
        }
    }
    if keep { Ok(()) } else { fs::remove_dir(executor_dir) }
}

fn is_index(file: &Path) -> bool {
    file.extension().is_some_and(|e| e == "index")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_executor_that_ended_finished_outputs_stay_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (with, without) = (dir.path().join("1"), dir.path().join("2"));
        for executor in [&with, &without] {
            fs::create_dir_all(executor.join("shuffle_0")).unwrap();
            fs::create_dir_all(executor.join("shuffle_1")).unwrap();
            fs::create_dir_all(executor.join("spill")).unwrap();
            for name in ["shuffle_0/shuffle_0_4.data", "shuffle_0/shuffle_0_5.data.tmp", "spill/x", "y"] {
                fs::write(executor.join(name), "x").unwrap();
            }
        }
        fs::write(with.join("shuffle_0/shuffle_0_3.data"), "x").unwrap();
        fs::write(with.join("shuffle_0/shuffle_0_3.index"), "x").unwrap();
        keep_map_outputs(&with).unwrap();
        keep_map_outputs(&without).unwrap();
        assert!(!without.exists());
        let left: Vec<PathBuf> = fs::read_dir(&with).unwrap().map(|e| e.unwrap().path()).collect();
        assert_eq!(left, [with.join("shuffle_0")]);
        let mut left: Vec<_> = fs::read_dir(&left[0]).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["shuffle_0_3.data", "shuffle_0_3.index"]);
    }
}
