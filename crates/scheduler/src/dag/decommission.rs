//! Executors that are decommissioned: what they hold is moved to others, who then count as its holders, and their end is
//! nobody's fault.
//!
//! ```text
//!  ExecutorDecommissioning ─▶ no tasks, DecommissionExecutor ─▶ MapOutputMoved, block updates … ─▶ ExecutorRemoved
//!                                                       └─ too slow: RetireExecutors ───────────────────▲
//! ```

use firesteel_common::{ExecutorId, TaskFailure, Tick};
use firesteel_protocol::MapOutputMoved;

use super::{executor_loss::RETIREMENT, handler::DagHandler};
use crate::{
    effect::DriverEffect,
    tasks::{executor::Executor, running::EndedTask},
};

impl DagHandler<'_> {
    pub(crate) fn executor_decommissioning(
        &mut self,
        now: Tick,
        executor: ExecutorId,
        worker_leaves: bool,
        out: &mut Vec<DriverEffect>,
    ) {
        let kill_at = self.config.decommission_kill_timeout.map(|timeout| now + timeout);
        if self.tasks.leave(executor, kill_at, worker_leaves, out) {
            out.push(DriverEffect::DecommissionExecutor { executor });
        }
    }

    /// An executor has registered; that it is decommissioned may be known already.
    pub(crate) fn decommission_early(&mut self, now: Tick, executor: ExecutorId, out: &mut Vec<DriverEffect>) {
        if let Some(worker_leaves) = self.tasks.leaves_at_once(executor) {
            self.executor_decommissioning(now, executor, worker_leaves, out);
        }
    }

    /// Kills those that take too long to leave.
    pub(super) fn kill_leaving(&mut self, now: Tick, out: &mut Vec<DriverEffect>) {
        let overdue = self.tasks.kill_overdue(now, now + RETIREMENT);
        for executor in &overdue {
            self.give_back(now, *executor, out);
        }
        if !overdue.is_empty() {
            let reason = "it took too long to leave (spark.executor.decommission.forceKillTimeout)";
            let executors = overdue.into_iter().map(|executor| (executor, reason.to_owned())).collect();
            out.push(DriverEffect::RetireExecutors { executors });
        }
    }

    pub(crate) fn map_output_moved(
        &mut self,
        from: ExecutorId,
        MapOutputMoved { shuffle, map_task, to }: MapOutputMoved,
        out: &mut Vec<DriverEffect>,
    ) {
        if !self.outputs.knows(shuffle) {
            // It came to its new place after all had been told to drop it.
            out.push(DriverEffect::DropShuffle { shuffle });
            return;
        }
        let Some(known) = self.tasks.executor(to).filter(|e| e.is_connected()) else { return };
        let address = self.outputs.service_of(to).unwrap_or(known.block_address()).clone();
        self.outputs.moved(shuffle, map_task, from, to, address);
    }

    /// Whether the end of an executor is that of its worker's shuffle service: they leave together, and none of the
    /// worker's executors is there any more that could still move what the service has.
    pub(crate) fn service_leaves_with(&self, executor: ExecutorId) -> bool {
        let Some(service) = self.outputs.service_of(executor) else { return false };
        let mut others = self.tasks.executors().iter().filter(|(other, _)| *other != executor);
        self.tasks.executor(executor).is_some_and(Executor::leaves_with_worker)
            && !others.any(|(other, _)| self.outputs.service_of(other) == Some(service))
    }

    /// Whether the failure counts towards `spark.task.maxFailures`, and against the executor. A result that went with a
    /// decommissioned executor does not.
    pub(crate) fn counts(&self, ended: &EndedTask, failure: &TaskFailure) -> bool {
        let forgiven = matches!(failure, TaskFailure::ResultLost { .. })
            && self.tasks.executors().was_decommissioned(ended.executor);
        failure.counts() && !ended.zombie && !forgiven
    }
}
