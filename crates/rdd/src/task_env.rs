//! What decoding finds of the task on whose thread it runs: a broadcast variable that arrives in an environment, or within
//! the elements of an RDD, gets the executor's services from here.

use std::{cell::RefCell, sync::Arc};

use firesteel_storage::Abort;

use crate::{
    accumulator::TaskAccumulators,
    task::{KillFlag, TaskServices},
};

/// The task of this thread.
#[derive(Clone)]
pub struct TaskEnv {
    /// Its executor's services.
    pub services: Arc<TaskServices>,
    /// The request to end it.
    pub kill: Arc<KillFlag>,
    /// What it has added to accumulators.
    pub accumulators: Arc<TaskAccumulators>,
}

thread_local! {
    static CURRENT: RefCell<Option<TaskEnv>> = const { RefCell::new(None) };
}

/// The thread is a task's until this is dropped.
pub struct Entered(Option<TaskEnv>);

/// Makes this thread one of a task.
pub fn enter(env: TaskEnv) -> Entered {
    Entered(CURRENT.with(|current| current.replace(Some(env))))
}

impl Drop for Entered {
    fn drop(&mut self) {
        let before = self.0.take();
        // A thread that ends has nothing to restore.
        let _ = CURRENT.try_with(|current| current.replace(before));
    }
}

/// The task of this thread, if it is one of a task.
pub fn current() -> Option<TaskEnv> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// What `look` says of the task of this thread, if it is one of a task.
pub fn with_current<R>(look: impl FnOnce(&TaskEnv) -> R) -> Option<R> {
    CURRENT.try_with(|current| current.borrow().as_ref().map(look)).ok().flatten()
}

impl TaskEnv {
    /// Ends a fetch when the task shall end.
    pub fn abort(&self) -> Abort {
        let kill = self.kill.clone();
        Abort::new(move || kill.reason())
    }
}
