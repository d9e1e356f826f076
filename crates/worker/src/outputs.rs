//! The output of applications in the work directory: which directories are this worker's, and when they go. Called by
//! `WorkDir`.
//!
//! ```text
//!  <work>/.applications/<application>    an empty file for each directory of an application that a worker made here; its
//!                                        time tells when the application ended
//!  <work>/<application>/                 stays after that as long as `Cleanup` says
//! ```
//!
//! Whatever else lies in the work directory is not touched.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use firesteel_common::AppId;

use crate::{config::Cleanup, trash::Bin, work_dir::private_dir};

/// The directories of applications of one worker.
#[derive(Debug)]
pub(crate) struct Outputs {
    root: PathBuf,
    rules: Cleanup,
    /// Applications that have not ended.
    running: Mutex<BTreeSet<AppId>>,
    bin: Bin,
}

impl Outputs {
    pub(crate) fn new(root: PathBuf, rules: Cleanup, bin: Bin) -> Outputs {
        Outputs { root, rules, running: Mutex::default(), bin }
    }

    /// Notes that the directory of an application is made here, and keeps it from being removed.
    pub(crate) fn begin(&self, app_id: &AppId) -> io::Result<()> {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if !running.contains(app_id) {
            private_dir(&self.registry())?;
            let entry = self.registry().join(app_id.as_str());
            File::options().write(true).create(true).truncate(true).mode(0o600).open(entry)?;
            running.insert(app_id.clone());
        }
        Ok(())
    }

    /// The application has ended: its output stays for a while.
    pub(crate) fn over(&self, app_id: &AppId) {
        let ended = || {
            let entry = File::options().write(true).open(self.registry().join(app_id.as_str()))?;
            entry.set_modified(SystemTime::now())
        };
        match ended() {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%app_id, error = %e, "cannot note when the application ended");
            }
            _ => {}
        }
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(app_id);
    }

    /// Removes the output that is too old, or too much. Blocks the thread.
    pub(crate) fn sweep(&self, now: SystemTime) {
        if !self.rules.enabled {
            return;
        }
        // Held to the end: an application that begins anew waits for it.
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = match fs::read_dir(self.registry()) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return,
            Err(e) => return tracing::warn!(error = %e, "cannot list what applications have left"),
        };
        let mut ended: Vec<(SystemTime, AppId)> = Vec::new();
        for entry in entries.flatten() {
            let time = entry.metadata().and_then(|found| found.modified());
            if let (Ok(time), Ok(name)) = (time, entry.file_name().into_string())
                && let Ok(app_id) = AppId::parse(&name)
                && !running.contains(&app_id)
            {
                ended.push((time, app_id));
            }
        }
        ended.sort();
        let mut executors = 0;
        for (time, app_id) in ended.iter().rev() {
            let dir = self.root.join(app_id.as_str());
            executors += fs::read_dir(&dir).map_or(0, |entries| entries.count());
            let old = now.duration_since(*time).is_ok_and(|age| age > self.rules.app_data_ttl);
            if !old && executors <= self.rules.retained_executors {
                continue;
            }
            let removed = self.bin.throw(&dir).and_then(|()| fs::remove_file(self.registry().join(app_id.as_str())));
            match removed {
                Ok(()) => tracing::info!(%app_id, old, "removed the output of an application that is over"),
                Err(e) => tracing::warn!(%app_id, error = %e, "cannot remove the output of an application"),
            }
        }
    }

    /// Where things of the work directory are thrown.
    pub(crate) fn bin(&self) -> &Bin {
        &self.bin
    }

    fn registry(&self) -> PathBuf {
        self.root.join(".applications")
    }
}
