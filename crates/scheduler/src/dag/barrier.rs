//! Barrier stages: all tasks run at once or none, and with one that fails the attempt starts again as a whole.
//!
//! A job with a barrier stage that needs more slots than there are waits a bounded time for more; what is not possible at
//! all with barrier stages is refused when the job is submitted.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use firesteel_common::{ExecutorId, JobId, ShuffleId, StageAttempt, StageId, TaskFailure, Tick};
use firesteel_protocol::BarrierSync;

use super::{
    stage::HeldResult,
    submission::{Walker, WantedJob},
};
use crate::{
    barrier::Arrival,
    driver_core::DriverCore,
    effect::{DriverEffect, StageKind},
    error::JobError,
    graph::JobGraph,
    tasks::SetKey,
};

/// A job that waits for slots before it is planned.
#[derive(Debug)]
pub(crate) struct HeldJob {
    pub(crate) wanted: WantedJob,
    failed_checks: u32,
    check_at: Tick,
}

impl DriverCore {
    /// The most slots that a barrier stage of this job needs at once, 0 without such a stage. The error says what is not
    /// possible.
    fn barrier_needs(&self, graph: &JobGraph, partitions: &[u32]) -> Result<u32, JobError> {
        if graph.nodes.iter().all(|n| !n.barrier) {
            return Ok(0);
        }
        let unsupported = |message: String| Err(JobError::BarrierUnsupported { message });
        let mut walker = Walker::new(graph);
        let (mut todo, mut most) = (vec![(None, graph.root)], 0);
        let mut known: BTreeSet<ShuffleId> = BTreeSet::new();
        while let Some((shuffle, node)) = todo.pop() {
            let found = walker.stage(node);
            for (shuffle, parent, _) in &found.shuffles {
                if known.insert(*shuffle) {
                    todo.push((Some(*shuffle), *parent));
                }
            }
            let tasks = graph.nodes[node].partitions;
            if !found.barrier || shuffle.is_some_and(|s| self.outputs.is_available(s)) {
                continue;
            }
            if shuffle.is_none() && !(0..tasks).eq(partitions.iter().copied()) {
                return unsupported(
                    "an action that computes only some partitions (take, first) cannot follow a barrier stage: collect \
                     all of them, or put a shuffle between"
                        .to_owned(),
                );
            }
            if let Some(other) = found.nodes.iter().map(|i| &graph.nodes[*i]).find(|n| n.partitions != tasks) {
                return unsupported(format!(
                    "within a barrier stage every RDD must have the same number of partitions, but {} has {} and {} has \
                     {tasks}: no union or coalesce can be there",
                    other.rdd, other.partitions, graph.nodes[node].rdd
                ));
            }
            most = most.max(tasks);
        }
        if most > 0 && self.config.allocation.is_some() {
            return unsupported("dynamic allocation is on (spark.dynamicAllocation.enabled): switch it off".to_owned());
        }
        Ok(most)
    }

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
        let needed = match self.barrier_needs(&wanted.graph, &wanted.partitions) {
            Ok(needed) => needed,
            Err(error) => {
                out.push(DriverEffect::JobFailed { job, error });
                return None;
            }
        };
        let slots = if needed == 0 { 0 } else { self.tasks.executors.slots() };
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

    pub(crate) fn next_held(&self) -> Option<Tick> {
        let short = self.dag.short.values().map(|since| *since + self.barrier_patience());
        self.dag.held.values().map(|held| held.check_at).chain(short).min()
    }

    /// How long a barrier stage may wait for as many slots as it needs.
    fn barrier_patience(&self) -> Duration {
        self.config.barrier_check_interval.saturating_mul(self.config.barrier_check_failures)
    }

    /// Fails the jobs of barrier stages that need more slots at once than there are any more, once they have waited for
    /// others: executors may have gone for good since the job was planned.
    pub(crate) fn fail_short_barriers(&mut self, now: Tick, out: &mut Vec<DriverEffect>) {
        let before = std::mem::take(&mut self.dag.short);
        let slots = if self.barriers.is_empty() { 0 } else { self.tasks.executors.slots() };
        let attempts: Vec<StageAttempt> = self.barriers.attempts().collect();
        for attempt in attempts {
            let Some(stage) = self.dag.stages.get(&attempt.stage) else { continue };
            let needed = self.tasks.sets.get(&stage.key(attempt.attempt)).map_or(0, |set| set.waiting);
            if needed <= slots {
                continue;
            }
            let since = before.get(&attempt).copied().unwrap_or(now);
            if since + self.barrier_patience() <= now {
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
        let Some(stage) = self.dag.stages.get_mut(&id).filter(|s| s.barrier && s.running_attempt().is_some()) else {
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
        let Some(stage) = self.dag.stages.get_mut(&key.1.stage) else { return };
        stage.held.clear();
        if let StageKind::Result { job } = stage.kind
            && let Some(job) = self.dag.jobs.get_mut(&job)
        {
            job.results.clear_all();
        }
    }

    /// Output of a barrier stage is made as a whole: what is left of an earlier attempt does not count.
    pub(super) fn forget_part(&mut self, id: StageId) {
        let Some(stage) = self.dag.stages.get(&id).filter(|s| s.barrier) else { return };
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
        let Some(stage) = self.dag.stages.get_mut(&id) else { return BTreeMap::new() };
        stage.held.insert(index, result);
        if stage.held.len() < stage.graph.nodes[stage.node].partitions as usize {
            return BTreeMap::new();
        }
        std::mem::take(&mut stage.held)
    }
}
