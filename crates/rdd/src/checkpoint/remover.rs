//! [`Remover`]: deletes the files of checkpoints whose RDDs were dropped, where that is wanted
//! (`spark.cleaner.referenceTracking.cleanCheckpoints`).

use std::{
    io::ErrorKind,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
};

use firesteel_files::{FilePath, FileSystems};

/// Deletes directories on a thread of its own, as RDDs are dropped on any thread, that of the event loop among them. Its
/// end waits for what it was asked to delete.
#[derive(Default)]
pub(crate) struct Remover {
    worker: Mutex<Option<Worker>>,
}

struct Worker {
    dirs: mpsc::Sender<(FileSystems, FilePath)>,
    thread: JoinHandle<()>,
}

impl Remover {
    fn remove(&self, systems: FileSystems, dir: FilePath) {
        let mut worker = self.worker.lock().unwrap_or_else(PoisonError::into_inner);
        if worker.is_none() {
            match Worker::start() {
                Ok(started) => *worker = Some(started),
                Err(error) => return tracing::warn!(%dir, %error, "no thread to delete a checkpoint: it stays"),
            }
        }
        if let Some(worker) = &*worker
            && let Err(mpsc::SendError((_, dir))) = worker.dirs.send((systems, dir))
        {
            tracing::warn!(%dir, "the thread that deletes checkpoints has died: it stays");
        }
    }
}

impl Worker {
    fn start() -> std::io::Result<Worker> {
        let (dirs, inbox) = mpsc::channel::<(FileSystems, FilePath)>();
        let work = move || inbox.into_iter().for_each(|(systems, dir)| delete(&systems, &dir));
        let thread = thread::Builder::new().name("checkpoint-cleaner".to_owned()).spawn(work)?;
        Ok(Worker { dirs, thread })
    }
}

fn delete(systems: &FileSystems, dir: &FilePath) {
    let deleted = systems.of(dir).map_err(|e| e.to_string()).and_then(|system| match system.delete(dir) {
        Err(e) if e.kind() != ErrorKind::NotFound => Err(e.to_string()),
        _ => Ok(()),
    });
    if let Err(error) = deleted {
        tracing::warn!(%dir, error, "cannot delete the checkpoint of an RDD that was dropped");
    }
}

impl Drop for Remover {
    fn drop(&mut self) {
        if let Some(Worker { dirs, thread }) = self.worker.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            drop(dirs);
            if thread.join().is_err() {
                tracing::warn!("the thread that deletes checkpoints has died");
            }
        }
    }
}

/// The files of a checkpoint, which go with this.
pub(super) struct CheckpointFiles {
    remover: Arc<Remover>,
    systems: FileSystems,
    dir: FilePath,
}

impl CheckpointFiles {
    pub fn new(remover: &Arc<Remover>, systems: &FileSystems, dir: &FilePath) -> Self {
        CheckpointFiles { remover: remover.clone(), systems: systems.clone(), dir: dir.clone() }
    }
}

impl Drop for CheckpointFiles {
    fn drop(&mut self) {
        self.remover.remove(self.systems.clone(), self.dir.clone());
    }
}
