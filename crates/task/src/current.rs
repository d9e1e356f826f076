//! The task of this thread: a broadcast variable that arrives in an environment, or within the elements of an RDD, gets the
//! executor's services from here, and user code its task's context.

use std::{cell::RefCell, sync::Arc};

use firesteel_common::codec::CodecError;

use crate::{
    accumulator::{accumulate::Accumulate, local::TaskAccumulators},
    context::TaskContext,
};

thread_local! {
    /// What the task has added to accumulators.
    static ACCUMULATED: RefCell<TaskAccumulators> = const { RefCell::new(TaskAccumulators::none()) };
    static CURRENT: RefCell<Option<Arc<TaskContext>>> = const { RefCell::new(None) };
}

/// The thread is a task's until this is dropped.
pub struct Entered(Option<Arc<TaskContext>>, TaskAccumulators);

/// Makes this thread that of a task.
pub fn enter(context: Arc<TaskContext>) -> Entered {
    Entered(CURRENT.with(|current| current.replace(Some(context))), ACCUMULATED.take())
}

impl Drop for Entered {
    fn drop(&mut self) {
        let before = self.0.take();
        // A thread that ends has nothing to restore.
        let _ = CURRENT.try_with(|current| current.replace(before));
        let accumulated = std::mem::take(&mut self.1);
        let _ = ACCUMULATED.try_with(|current| current.replace(accumulated));
    }
}

/// The task of this thread, if it is one of a task.
pub(crate) fn context() -> Option<Arc<TaskContext>> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}

/// Adds to the local value of an accumulator of the task of this thread. False when it is none of a task's.
///
/// # Panics
/// When called from within another `add`.
#[expect(clippy::panic, reason = "what the caller documents")]
pub(crate) fn add_to<A: Accumulate>(id: u64, x: A::In) -> bool {
    let in_task = CURRENT.try_with(|current| current.borrow().is_some()).unwrap_or(false);
    in_task
        && ACCUMULATED.with(|accumulated| match accumulated.try_borrow_mut() {
            Ok(mut accumulated) => accumulated.add::<A>(id, x),
            Err(_) => panic!("an accumulator is added to while another one adds"),
        })
}

/// What the task of this thread has added to accumulators, encoded; it has added nothing then.
///
/// # Errors
/// When a value cannot be encoded.
pub fn take_accumulated() -> Result<Vec<(u64, Vec<u8>)>, CodecError> {
    ACCUMULATED.take().encode()
}
