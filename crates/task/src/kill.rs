//! The request to end a task.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use firesteel_common::TaskFailure;

use crate::error::TaskError;

/// A request to end a task, shared between the executor and the task. Checked once a chunk.
#[derive(Default, Debug)]
pub struct KillFlag {
    set: AtomicBool,
    reason: OnceLock<String>,
}

impl KillFlag {
    /// Asks the task to end; the first reason stays.
    pub fn kill(&self, reason: impl Into<String>) {
        let _ = self.reason.set(reason.into());
        self.set.store(true, Ordering::Release);
    }

    /// Whether the task shall end.
    #[inline]
    pub fn is_set(&self) -> bool {
        self.set.load(Ordering::Relaxed)
    }

    /// Whether the task may go on.
    ///
    /// # Errors
    /// With the reason, once the flag is set.
    #[inline]
    pub fn check(&self) -> Result<(), TaskError> {
        if self.is_set() { Err(self.error()) } else { Ok(()) }
    }

    /// Why the task shall end, once it shall.
    pub fn reason(&self) -> Option<String> {
        // The reason was stored before the flag: acquire makes it visible.
        self.set.load(Ordering::Acquire).then(|| self.reason.get().cloned().unwrap_or_default())
    }

    #[cold]
    fn error(&self) -> TaskError {
        TaskFailure::Killed { reason: self.reason().unwrap_or_default() }.into()
    }
}
