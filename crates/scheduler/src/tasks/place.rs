//! Where a task may run.

use std::sync::Arc;

use firesteel_common::ExecutorId;

/// An executor that is offered to a set.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) executor: ExecutorId,
    pub(crate) host: Arc<str>,
    pub(crate) rack: Option<Arc<str>>,
}
