//! What must hold after each step, and at the end.

use std::time::Duration;

use firesteel_scheduler::JobError;

use crate::{
    cluster::Cluster,
    model::{self, Record},
    worker_node::WORKER_CORES,
};

/// A task that waits at an executor must begin or be called back in this time, however long those before it take; the
/// way there and back comes on top.
const LONGEST_WAIT: Duration = Duration::from_millis(30);

impl Cluster {
    /// The machines' own invariants and what must hold between them.
    pub(crate) fn check_step(&self) -> Result<(), String> {
        self.master.check_invariants().map_err(|e| format!("master: {e}"))?;
        self.driver.core.check_invariants().map_err(|e| format!("driver: {e}"))?;
        for (n, worker) in self.workers.iter().enumerate() {
            let Some(worker) = worker else {
                if self.executors.values().any(|e| e.worker == n) {
                    return Err(format!("an executor outlives worker {n}"));
                }
                continue;
            };
            worker.machine.check_invariants().map_err(|e| format!("worker {n}: {e}"))?;
        }
        for (id, e) in &self.executors {
            e.core.check().map_err(|why| format!("{id}: {why}"))?;
            let behind = e.waiting.values().min().map(|since| self.now.since(*since));
            if behind.is_some_and(|wait| wait > LONGEST_WAIT + self.faults.delay * 4) {
                return Err(format!("a task waits behind others at {id} for {behind:?}"));
            }
            let owner = self.workers[e.worker].as_ref();
            let owned = owner.is_some_and(|w| {
                w.machine.executors().any(|key| key.executor_id == id.executor && key.app_id == e.app_id)
            });
            if !owned {
                return Err(format!("{id} has no owner"));
            }
        }
        Ok(())
    }

    /// Every job has ended as it must, and nothing is left.
    pub(crate) fn check_end(&self) -> Result<(), String> {
        for (id, job) in &self.driver.jobs {
            let fits = match self.driver.over.get(id) {
                None => return Err(format!("{id} did not end")),
                Some(Ok(())) => {
                    let decode = |i: u32| {
                        let bytes = self.driver.results.get(&(*id, i)).ok_or(format!("{id} lacks result {i}"))?;
                        firesteel_common::codec::decode(bytes).map_err(|e| e.to_string())
                    };
                    let results: Vec<Vec<Record>> =
                        (0..job.partitions.len() as u32).map(decode).collect::<Result<_, String>>()?;
                    model::check(&job.graph, &job.partitions, &results).map_err(|e| format!("{id}: {e}"))?;
                    true
                }
                Some(Err(JobError::Cancelled { .. })) => job.cancelled,
                Some(Err(JobError::Indeterminate { .. })) => job.graph.nodes.iter().any(|n| n.indeterminate),
                Some(Err(JobError::NoExecutors { .. })) => self.driver.removed,
                // Also code that ends its executor, and results that cannot be fetched, count as failures.
                Some(Err(JobError::TaskFailed { .. })) => {
                    self.faults.fail_task > 0 || self.faults.lose_message > 0 || self.faults.crash_executor.is_some()
                }
                Some(Err(JobError::FetchFailedTooOften { .. })) => {
                    self.faults.lose_data.is_some()
                        || self.faults.crash_executor.is_some()
                        || self.faults.crash_worker.is_some()
                        || self.faults.lose_message > 0
                }
                Some(Err(_)) => false,
            };
            if !fits {
                return Err(format!("{id} ended as it must not: {:?}", self.driver.over.get(id)));
            }
        }
        if let Some(id) = self.executors.keys().next() {
            return Err(format!("{id} is left over"));
        }
        if !self.master.executors().is_empty() || !self.master.applications().is_empty() {
            return Err("the master keeps what is over".to_owned());
        }
        let cores: u32 = self.master.workers().values().map(|w| w.cores_free()).sum();
        let all = WORKER_CORES * self.master.workers().len() as u32;
        if cores == all { Ok(()) } else { Err(format!("{cores} of {all} cores are free at the end")) }
    }
}
