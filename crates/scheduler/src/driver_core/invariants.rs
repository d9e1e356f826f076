//! What must hold between any two events: each part checks itself, here are those that belong together.

use std::collections::BTreeSet;

use super::DriverCore;
use crate::allocation::ExecutorAllocation;

impl DriverCore {
    /// Checks every invariant; the error says which one does not hold. Takes time in proportion to all that is known.
    pub(super) fn check_parts(&self) -> Result<(), String> {
        let executors = self.tasks.executors();
        self.tasks.check()?;
        self.dag.check()?;
        self.dag.check_tasks(&self.tasks, &self.outputs, &self.barriers)?;
        self.barriers.check()?;
        let runs = |task| self.tasks.running(task).is_some();
        self.news.check(runs, |attempt| self.dag.runs(attempt), |job| self.dag.has_job(job))?;
        self.farewells.check(&executors.leaving())?;
        self.replication.check(|executor| executors.is_connected(executor))?;
        let known: BTreeSet<_> = executors.iter().map(|(id, _)| id).collect();
        self.outputs.check(&known)?;
        self.blocks.check(&known)?;
        self.allocation.as_ref().map_or(Ok(()), ExecutorAllocation::check_bounds)
    }
}
