//! Map outputs that go from an executor that leaves to one that stays, so that no map task runs again. Spark:
//! `MigratableResolver`.
//!
//! ```text
//!  who leaves: outputs() ── "adopt" ──▶ block server of who stays ──▶ take(): index and data fetched into files,
//!                                                                     checked, given their names, served from then on
//! ```
//!
//! Called by the executor that leaves and by the block server of the one that stays; calls the block client.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{PoisonError, atomic::Ordering},
};

use firesteel_common::{ShuffleId, TaskId};
use firesteel_storage::{Abort, BlockError, BlockId, local_dirs::FileError};

use crate::{
    ShuffleError, ShuffleManager,
    files::{self, MapFiles, TempFile},
};

/// Why an output could not be taken.
#[derive(Debug, thiserror::Error)]
enum NotTaken {
    #[error(transparent)]
    Block(#[from] BlockError),
    #[error(transparent)]
    File(#[from] ShuffleError),
}

impl FileError for NotTaken {
    fn file(&self) -> Option<(&Path, &io::Error)> {
        match self {
            NotTaken::Block(e) => e.file(),
            NotTaken::File(e) => e.file(),
        }
    }

    fn of_all(reasons: Vec<String>) -> NotTaken {
        NotTaken::File(ShuffleError::NoDirectory { reasons })
    }
}

impl ShuffleManager {
    /// The finished outputs that are here, in order. What cannot be looked at is left out, and logged.
    pub fn outputs(&self) -> Vec<(ShuffleId, TaskId)> {
        let written = self.written.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut found = Vec::new();
        for shuffle in written {
            for dir in self.config().dirs.iter().map(|dir| files::shuffle_dir(dir, shuffle)) {
                match outputs_in(&dir, shuffle) {
                    Ok(tasks) => found.extend(tasks.into_iter().map(|task| (shuffle, task))),
                    Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                    Err(e) => tracing::warn!(path = %dir.display(), error = %e, "cannot look for map outputs"),
                }
            }
        }
        found.sort_unstable();
        found
    }

    /// Whether a finished output is here.
    pub fn has_output(&self, shuffle: ShuffleId, map_task: TaskId) -> bool {
        self.whole(shuffle, map_task).is_ok()
    }

    /// Fetches an output from the block server at `from`. It is complete and checked, or there is nothing of it.
    pub(crate) fn take(&self, shuffle: ShuffleId, map_task: TaskId, from: &str) -> Result<(), String> {
        // Whoever asks twice has not heard the answer.
        if self.has_output(shuffle, map_task) {
            return Ok(());
        }
        self.try_take(shuffle, map_task, from).map_err(|e| e.to_string())
    }

    fn try_take(&self, shuffle: ShuffleId, map_task: TaskId, from: &str) -> Result<(), NotTaken> {
        self.write_output(shuffle, map_task, |data_path, index_path| {
            let index = self.fetch(BlockId::ShuffleIndex { shuffle, map_task }, index_path, from)?;
            let data = self.fetch(BlockId::ShuffleData { shuffle, map_task }, data_path, from)?;
            MapFiles::open(data.path.clone(), index.path.clone())?.verify()?;
            // The index comes last: where it is, the data is.
            data.keep(data_path)?;
            if let Err(e) = index.keep(index_path) {
                if let Err(e) = fs::remove_file(data_path) {
                    tracing::warn!(path = %data_path.display(), error = %e, "cannot remove a data file without an index");
                }
                return Err(NotTaken::from(e));
            }
            tracing::debug!(%shuffle, %map_task, from, "has taken a map output");
            Ok(())
        })
    }

    /// Copies a whole file into one beside `path`, which nobody else writes.
    fn fetch(&self, id: BlockId, path: &Path, from: &str) -> Result<TempFile, NotTaken> {
        let number = self.scratch_files.fetch_add(1, Ordering::Relaxed);
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{number}.tmp"));
        let path = PathBuf::from(name);
        self.client().fetch_to_file(from, id, &path, u64::MAX, &Abort::never())?;
        Ok(TempFile::of(path.clone()).inspect_err(|_| {
            if let Err(e) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), error = %e, "cannot remove what was fetched");
            }
        })?)
    }
}

/// The tasks of which a finished output is in this directory of a shuffle.
fn outputs_in(dir: &Path, shuffle: ShuffleId) -> io::Result<Vec<TaskId>> {
    let mut tasks = Vec::new();
    for entry in fs::read_dir(dir)? {
        tasks.extend(entry?.file_name().to_str().and_then(|name| files::map_task_of(name, shuffle)));
    }
    Ok(tasks)
}
