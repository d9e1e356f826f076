//! The user wants executors to leave. Called by the event loop.

use std::sync::mpsc;

use firesteel_common::ExecutorId;
use firesteel_scheduler::DriverEvent;

use super::EventLoop;

impl EventLoop {
    /// The user wants some executors to leave; those that are connected will.
    pub(super) fn decommission(
        &mut self,
        mut executors: Vec<ExecutorId>,
        reason: &str,
        reply: &mpsc::Sender<Vec<ExecutorId>>,
        events: &mut Vec<DriverEvent>,
    ) {
        executors.sort_unstable();
        executors.dedup();
        executors.retain(|executor| self.links.contains_key(executor));
        for executor in &executors {
            let (executor, message) = (*executor, reason.to_owned());
            events.push(DriverEvent::ExecutorDecommissioning { executor, message, worker_leaves: false });
        }
        // Whoever asked may have given up.
        let _ = reply.send(executors);
    }
}
