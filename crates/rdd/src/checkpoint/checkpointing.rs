//! [`Checkpointing`]: where an RDD stands with its checkpoint.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use firesteel_files::FilePath;

use crate::error::Result;

/// Writes the checkpoint and puts what reads it in the node's place; says where the files are, if it is files.
pub(crate) type Write = Arc<dyn Fn() -> Result<Option<FilePath>> + Send + Sync>;

/// Where an RDD stands with its checkpoint. Spark: `RDDCheckpointData`.
#[derive(Default)]
pub(crate) struct Checkpointing {
    state: Mutex<State>,
    /// A job on it, or on what was made from it, has done its work; or it is being looked at for that.
    had_job: AtomicBool,
}

#[derive(Default)]
enum State {
    #[default]
    None,
    Marked(Write),
    /// By a job that runs on some thread.
    Writing,
    Done(Option<FilePath>),
}

impl Checkpointing {
    /// Has the next job be followed by `write`. False when it is written already.
    ///
    /// # Errors
    /// The text says why that is too late.
    pub fn mark(&self, write: Write) -> std::result::Result<bool, &'static str> {
        let mut state = self.state();
        match *state {
            State::Writing | State::Done(_) => Ok(false),
            State::None if self.had_job.load(Ordering::Acquire) => {
                Err("a job on it has run already: mark it before the first action")
            }
            State::None | State::Marked(_) => {
                *state = State::Marked(write);
                Ok(true)
            }
        }
    }

    /// True for the first who asks, after the first job.
    pub fn first_job(&self) -> bool {
        !self.had_job.swap(true, Ordering::AcqRel)
    }

    /// A checkpoint could not be written: the next job counts as the first.
    pub fn had_none(&self) {
        self.had_job.store(false, Ordering::Release);
    }

    /// Writes the checkpoint, if it is marked and nobody else does.
    pub fn write(&self) -> Result<()> {
        let write = {
            let mut state = self.state();
            let State::Marked(write) = &*state else { return Ok(()) };
            let write = write.clone();
            *state = State::Writing;
            write
        };
        let written = write();
        *self.state() = match &written {
            Ok(file) => State::Done(file.clone()),
            Err(_) => State::Marked(write),
        };
        written.map(|_| ())
    }

    /// It has been marked, and is not written.
    pub fn is_marked(&self) -> bool {
        matches!(*self.state(), State::Marked(_) | State::Writing)
    }

    /// It is written.
    pub fn is_done(&self) -> bool {
        matches!(*self.state(), State::Done(_))
    }

    /// Where its files are.
    pub fn file(&self) -> Option<FilePath> {
        match &*self.state() {
            State::Done(file) => file.clone(),
            State::None | State::Marked(_) | State::Writing => None,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
