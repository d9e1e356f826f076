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
    fs, io, iter,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use firesteel_common::{ShuffleId, TaskId};
use firesteel_storage::{BlockData, BlockError, BlockId, BlockSource, NotRemoved, Served, ShuffleFiles};

use crate::{
    files::{self, MapFiles},
    open_outputs::{Found, OpenOutputs, ReadBounds},
};

/// What a service keeps of the map outputs of all applications that are being read.
pub struct ServedOutputs {
    open: OpenOutputs,
    applications: AtomicU32,
}

impl ServedOutputs {
    /// Within these bounds.
    pub fn new(bounds: ReadBounds) -> ServedOutputs {
        ServedOutputs { open: OpenOutputs::new(bounds), applications: AtomicU32::new(0) }
    }
}

/// The shuffle files of an application on one worker.
pub struct ApplicationShuffles {
    /// The application's directories, one on each local directory; below them one an executor.
    dirs: Vec<PathBuf>,
    served: Arc<ServedOutputs>,
    /// Which application it is, in `served`.
    owner: u32,
}

impl ApplicationShuffles {
    /// Over the application's directories, one on each local directory.
    pub fn new(dirs: Vec<PathBuf>, served: Arc<ServedOutputs>) -> ApplicationShuffles {
        let owner = served.applications.fetch_add(1, Ordering::Relaxed);
        ApplicationShuffles { dirs, served, owner }
    }

    /// Closes the files that are kept open, so that what is removed gives its room back.
    pub fn close(&self) {
        self.served.open.forget_owner(self.owner);
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

    fn find(&self, shuffle: ShuffleId, map_task: TaskId, reduce: u32) -> Result<Found, BlockError> {
        self.served.open.find((self.owner, shuffle, map_task), reduce, |known| {
            if let Some(known) = known
                && let Ok(files) = MapFiles::open_in(iter::once(known.to_owned()), shuffle, map_task)
            {
                return Ok(files);
            }
            let executors = self.executor_dirs().map_err(|source| self.failed("read", source))?;
            let dirs = executors.iter().map(|dir| files::shuffle_dir(dir, shuffle));
            if !dirs.clone().any(|dir| files::is_in(&dir, shuffle, map_task)) {
                return Err(BlockError::NotFound { id: BlockId::Shuffle { shuffle, map_task, reduce } });
            }
            MapFiles::open_in(dirs, shuffle, map_task)
        })
    }

    fn failed(&self, action: &'static str, source: io::Error) -> BlockError {
        BlockError::File { action, path: self.dirs.first().cloned().unwrap_or_default(), source }
    }
}

impl ApplicationShuffles {
    /// What a shuffle service offers to the application: its blocks, and the removal of its shuffles.
    pub fn served(self: &Arc<Self>) -> Served {
        Served { files: Some(self.clone()), ..Served::blocks(self.clone()) }
    }
}

impl BlockSource for ApplicationShuffles {
    fn open(&self, id: &BlockId) -> Result<BlockData, BlockError> {
        match *id {
            BlockId::Shuffle { shuffle, map_task, reduce } => self.find(shuffle, map_task, reduce)?.block(reduce),
            _ => Err(BlockError::NotFound { id: *id }),
        }
    }
}

impl ShuffleFiles for ApplicationShuffles {
    fn remove_shuffle(&self, shuffle: ShuffleId) -> Result<(), NotRemoved> {
        self.served.open.forget_shuffle(self.owner, shuffle);
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
