//! Executors that leave, as the driver's shell sees them: asked for by the user, told who takes what they hold, and told
//! again when others come or go. Called by the event loop.

use std::sync::mpsc;

use firesteel_common::ExecutorId;
use firesteel_protocol::{DecommissionExecutor, ToExecutor};
use firesteel_scheduler::DriverEvent;

use super::{EventLoop, copies};

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

    /// Tells an executor to leave, and who takes what it holds.
    fn send_leave(&mut self, executor: ExecutorId) {
        let peers = copies::peers(&self.core.peers_of(executor, executor.0));
        let message = DecommissionExecutor { peers, map_outputs: self.core.outputs_leave_with(executor) };
        if self.told_to_leave.get(&executor) != Some(&message) {
            self.told_to_leave.insert(executor, message.clone());
            self.send(executor, ToExecutor::DecommissionExecutor(message));
        }
    }

    /// After executors came, went or are to leave: others may be there now for what those hold that leave.
    pub(super) fn peers_changed(&mut self) {
        let leaving = self.core.leaving();
        self.told_to_leave.retain(|executor, _| leaving.contains(executor));
        for executor in leaving {
            self.send_leave(executor);
        }
    }
}
