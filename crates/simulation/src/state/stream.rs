//! The stream of an executor, as its driver sees it.

use firesteel_common::{ExecutorId, Tick};
use firesteel_protocol::RegisterExecutor;

/// The stream of an executor at its driver.
pub(crate) struct ExecutorStream {
    pub(crate) executor: ExecutorId,
    /// What it said, until it is answered.
    pub(crate) asks: Option<Box<RegisterExecutor>>,
    /// When it said something last.
    pub(crate) heard: Tick,
    /// It has ended before it was answered.
    pub(crate) ended: bool,
}

impl ExecutorStream {
    /// When an executor that is in was heard last.
    pub(crate) fn heard(&self) -> Option<Tick> {
        self.asks.is_none().then_some(self.heard)
    }
}
