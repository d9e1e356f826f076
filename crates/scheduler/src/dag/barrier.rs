//! Barrier stages: all tasks run at once or none, and with one that fails the attempt starts again as a whole.
//!
//! A job with a barrier stage that needs more slots than there are waits a bounded time for more; what is not possible at
//! all with barrier stages is refused when the job is submitted.

use std::{collections::BTreeMap, time::Duration};

use firesteel_common::{ExecutorId, JobId, StageAttempt, StageId, TaskFailure, Tick};
use firesteel_protocol::BarrierSync;

use super::{
    barrier_needs::barrier_needs,
    handler::DagHandler,
    job::{HeldJob, WantedJob},
    stage::HeldResult,
};
use crate::{
    barrier::Arrival,
    config::SchedulerConfig,
    effect::{DriverEffect, StageKind},
    error::JobError,
    tasks::set_key::SetKey,
};

impl DagHandler<'_> {
    /// Holds a job back that needs more slots at once than there are, or fails it. None when it is; otherwise it is to be
    /// planned now.
    pub(super) fn admit_barrier(
        &mut self,
        now: Tick,
        job: JobId,
        wanted: WantedJob,
        failed_checks: u32,
        out: &mut Vec<DriverEffect>,
    ) -> Option<WantedJob> {
        let allocates = self.config.allocation.is_some();
        let needed = match barrier_needs(&wanted.graph, &wanted.partitions, self.outputs, allocates) {
            Ok(needed) => needed,
            Err(error) => {
                out.push(DriverEffect::JobFailed { job, error });
                return None;
            }
        };
        let slots = if needed == 0 { 0 } else { self.tasks.executors().slots() };
        if needed <= slots {
            return Some(wanted);
        }
        if failed_checks >= self.config.barrier_check_failures {
            out.push(DriverEffect::JobFailed { job, error: JobError::BarrierSlots { needed, slots } });
            return None;
        }
        let check_at = now + self.config.barrier_check_interval;
        let failed_checks = failed_checks + 1;
        self.dag.held.insert(job, HeldJob { wanted, failed_checks, check_at });
        None
    }

    /// Looks whether the jobs that are held back can be planned now: those whose time has come, or `all`, which costs
    /// none of their checks.
    pub(crate) fn check_held(&mut self, now: Tick, all: bool, out: &mut Vec<DriverEffect>) {
        let due = |(_, held): &(&JobId, &HeldJob)| all || held.check_at <= now;
        let due: Vec<JobId> = self.dag.held.iter().filter(due).map(|(job, _)| *job).collect();
        for job in due {
            let Some(held) = self.dag.held.remove(&job) else { continue };
            let in_time = held.check_at > now;
            let (at, failed) = (held.check_at, held.failed_checks - u32::from(in_time));
            self.plan_job(now, job, held.wanted, failed, out);
            if in_time && let Some(again) = self.dag.held.get_mut(&job) {
                again.check_at = at;
            }
        }
    }

    /// Fails the jobs of barrier stages that need more slots at once than there are any more, once they have waited for
    /// others: executors may have gone for good since the job was planned.
    pub(super) fn fail_short_barriers(&mut self, now: Tick, out: &mut Vec<DriverEffect>) {
        let before = std::mem::take(&mut self.dag.short);
        let slots = if self.barriers.is_empty() { 0 } else { self.tasks.executors().slots() };
        let attempts: Vec<StageAttempt> = self.barriers.attempts().collect();
        for attempt in attempts {
            let Some(stage) = self.dag.stages.get(attempt.stage) else { continue };
            let needed = self.tasks.waiting(stage.key(attempt.attempt));
            if needed <= slots {
                continue;
            }
            let since = before.get(&attempt).copied().unwrap_or(now);
            if since + barrier_patience(self.config) <= now {
                self.abort_stage(attempt.stage, &JobError::BarrierSlots { needed, slots }, out);
            } else {
                self.dag.short.insert(attempt, since);
            }
        }
    }

    /// A task waits at a barrier.
    pub(crate) fn barrier_sync(
        &mut self,
        now: Tick,
        executor: ExecutorId,
        BarrierSync { task, call, gathers, message }: BarrierSync,
        out: &mut Vec<DriverEffect>,
    ) {
        // Of another the attempt is over, and it has been killed.
        let Some(running) = self.tasks.find(executor, task).filter(|_| self.tasks.is_wanted(task)) else { return };
        let arrival = Arrival { partition: running.position, task, executor, gathers, message };
        self.barriers.arrive(now, self.config.barrier_sync_timeout, running.set.1, call, arrival, out);
    }

    /// A task of a barrier stage failed: the others cannot go on without it. Their attempt ends and another is made of
    /// all of them, or the jobs fail after as many attempts as are allowed.
    pub(crate) fn restart_barrier(
        &mut self,
        now: Tick,
        id: StageId,
        failure: TaskFailure,
        out: &mut Vec<DriverEffect>,
    ) {
        let Some(stage) = self.dag.stages.get_mut(id).filter(|s| s.barrier && s.running_attempt().is_some()) else {
            return;
        };
        stage.failed_attempts += 1;
        let attempts = stage.failed_attempts;
        if attempts >= self.config.max_stage_attempts {
            self.abort_stage(id, &JobError::BarrierFailed { stage: id, attempts, failure }, out);
        } else {
            self.give_up_attempt(now, id, &failure, out);
        }
    }

    /// The attempt is over: what still runs of it waits for what cannot come.
    pub(super) fn end_barrier(&mut self, key: SetKey, out: &mut Vec<DriverEffect>) {
        self.tasks.cancel_set(key, "its attempt of a barrier stage is over", out);
        self.barriers.close(key.1);
        let Some(stage) = self.dag.stages.get_mut(key.1.stage) else { return };
        stage.held.clear();
        if let StageKind::Result { job } = stage.kind
            && let Some(job) = self.dag.jobs.get_mut(&job)
        {
            job.results.clear_all();
        }
    }

    /// Output of a barrier stage is made as a whole: what is left of an earlier attempt does not count.
    pub(super) fn forget_part(&mut self, id: StageId) {
        let Some(stage) = self.dag.stages.get(id).filter(|s| s.barrier) else { return };
        let tasks = stage.graph.nodes[stage.node].partitions as usize;
        if let StageKind::ShuffleMap { shuffle, .. } = stage.kind
            && self.missing_outputs(stage).len() < tasks
        {
            self.outputs.unregister_all(shuffle);
        }
    }

    /// Keeps a result of a barrier stage until all are there, which are returned then: an attempt may fail after some of
    /// its tasks have succeeded.
    pub(super) fn hold_result(&mut self, id: StageId, index: u32, result: HeldResult) -> BTreeMap<u32, HeldResult> {
        let Some(stage) = self.dag.stages.get_mut(id) else { return BTreeMap::new() };
        stage.held.insert(index, result);
        if stage.held.len() < stage.graph.nodes[stage.node].partitions as usize {
            return BTreeMap::new();
        }
        std::mem::take(&mut stage.held)
    }
}

/// How long a barrier stage may wait for as many slots as it needs.
pub(super) fn barrier_patience(config: &SchedulerConfig) -> Duration {
    config.barrier_check_interval.saturating_mul(config.barrier_check_failures)
}
