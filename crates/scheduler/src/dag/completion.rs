//! Task success: map outputs and results are recorded once each, and stages and jobs end.

use std::fmt::Display;

use bytes::Bytes;
use firesteel_common::{ExecutorId, JobId, StageId, TaskFailure, TaskId, Tick};
use firesteel_events::{AccumulatorUpdate, TaskEnd};
use firesteel_protocol::{MapOutput, TaskOutcome, TaskUpdate};

use super::{
    handler::DagHandler,
    stage::{HeldResult, StageState},
};
use crate::{
    effect::{DriverEffect, MapLocation, StageKind},
    error::JobError,
    map_outputs::{Generations, conflict},
    tasks::executor::Executor,
};

/// What a task made.
enum Output {
    Map(MapOutput),
    Result(Bytes),
}

impl DagHandler<'_> {
    pub(crate) fn task_updated(
        &mut self,
        now: Tick,
        executor: ExecutorId,
        mut update: TaskUpdate,
        out: &mut Vec<DriverEffect>,
    ) {
        if !update.blocks.is_empty() {
            self.kept().updated(executor, Some(update.task), &update.blocks);
        }
        let task = update.task;
        let Some(running) = self.tasks.find(executor, task) else { return };
        if !running.has_slot {
            // It ended before; what repeats that is no news.
            return;
        }
        self.tasks.ran(executor, update.ran);
        if update.outcome != TaskOutcome::GivenBack {
            self.news.task_began(task, update.ran);
        }
        if let Some(report) = update.report.take() {
            self.news.report(task, report);
        }
        match update.outcome {
            TaskOutcome::Running => self.tasks.begun(now, task),
            TaskOutcome::GivenBack => {
                self.news.given_back(task);
                self.tasks.give_back(task);
            }
            TaskOutcome::Result(bytes) => self.task_succeeded(now, task, Output::Result(bytes), out),
            TaskOutcome::MapOutput(output) => self.task_succeeded(now, task, Output::Map(output), out),
            TaskOutcome::ResultInBlock { .. } if !self.tasks.is_wanted(task) => {
                self.tasks.end(task);
                self.news.task_ended(task, unwanted());
            }
            TaskOutcome::ResultInBlock { block_id, size } => {
                self.tasks.await_result(task);
                self.news.getting_result(task);
                let index = self.tasks.index_of(task).unwrap_or(u32::MAX);
                if self.account_result(running.set.1.stage, index, size, out) {
                    let known = self.tasks.executor(executor);
                    let block_address = known.map_or_else(|| "".into(), |e| e.block_address().clone());
                    out.push(DriverEffect::FetchResult { executor, block_address, task, block_id, size });
                } else {
                    self.tasks.end(task);
                    self.news.task_ended(task, unwanted());
                }
            }
            TaskOutcome::Failed(failure) => self.task_failed(now, task, failure, out),
        }
    }

    pub(crate) fn result_fetched(
        &mut self,
        now: Tick,
        task: TaskId,
        result: Result<Bytes, String>,
        out: &mut Vec<DriverEffect>,
    ) {
        if self.tasks.running(task).is_none_or(|r| r.has_slot) {
            return;
        }
        match result {
            Ok(bytes) => self.task_succeeded(now, task, Output::Result(bytes), out),
            Err(message) => self.task_failed(now, task, TaskFailure::ResultLost { message }, out),
        }
    }

    /// Counts a result's bytes towards `spark.driver.maxResultSize`. False when the job is over, or just failed for it.
    fn account_result(&mut self, stage: StageId, index: u32, size: u64, out: &mut Vec<DriverEffect>) -> bool {
        let kind = self.dag.stages.get(stage).map(|s| s.kind);
        let Some(StageKind::Result { job: id }) = kind else { return false };
        let Some(job) = self.dag.jobs.get_mut(&id) else { return false };
        job.results.set(index, size);
        let limit = self.config.max_result_size;
        let (total, tasks) = (job.results.total(), job.results.tasks());
        if limit == 0 || total <= limit {
            return true;
        }
        let error = JobError::ResultTooLarge { total, limit, tasks };
        self.fail_job(id, error, out);
        false
    }

    fn task_succeeded(&mut self, now: Tick, task: TaskId, output: Output, out: &mut Vec<DriverEffect>) {
        if let Some(failure) = self.lost_as_it_came(task, &output) {
            return self.task_failed(now, task, failure, out);
        }
        let ended = self.tasks.end(task).filter(|e| e.wanted);
        let accumulated = self.news.task_ended(task, ended.map_or_else(unwanted, |_| TaskEnd::Success));
        let Some(ended) = ended else { return };
        let attempt = ended.set.1;
        let Some(stage) = self.dag.stages.get(attempt.stage) else { return };
        let (id, kind, current) = (stage.id, stage.kind, stage.running_attempt() == Some(attempt.attempt));
        let barrier = stage.barrier;
        let info = stage.attempts.get(&attempt.attempt);
        let reads = info.map(|a| a.reads.clone()).unwrap_or_default();
        if let Some(direct) = info.map(|a| &a.direct).filter(|direct| !direct.is_empty()) {
            let present = self.outputs.generations(direct.keys().copied());
            if conflict(direct, &present).is_some() {
                // What it read has been replaced by something else meanwhile: its output fits nothing.
                self.discount_result(&ended);
                if current {
                    self.give_up_attempt(now, id, &"what it reads has been replaced", out);
                }
                return;
            }
        }
        match (kind, output) {
            (StageKind::ShuffleMap { shuffle, .. }, Output::Map(output)) => {
                let Some(executor) = self.tasks.executor(ended.executor) else { return };
                let location = MapLocation {
                    map_task: output.map_task,
                    executor: ended.executor,
                    block_address: self.outputs.service_of(ended.executor).unwrap_or(executor.block_address()).clone(),
                    sizes: output.sizes,
                };
                // Whoever makes an output that is there is told so before, and its news are not wanted.
                self.dag.doubles += u32::from(self.outputs.has(shuffle, ended.index));
                let registered = self.outputs.register(shuffle, ended.index, location, output.checksum, &reads);
                self.compare(shuffle, ended.index, registered, out);
                accumulate(accumulated, out);
            }
            (StageKind::Result { job }, Output::Result(bytes)) => {
                if !self.account_result(id, ended.index, bytes.len() as u64, out) {
                    return;
                }
                let result = HeldResult { bytes, accumulated };
                if barrier {
                    let results = self.hold_result(id, ended.index, result);
                    if !results.is_empty() {
                        self.set_succeeded(now, ended.set, out);
                    }
                    for (index, result) in results {
                        if !self.take_result(job, index, result, &reads, out) {
                            return;
                        }
                    }
                } else {
                    if self.dag.jobs.get(&job).is_some_and(|j| j.remaining == 1) {
                        self.set_succeeded(now, ended.set, out);
                    }
                    if !self.take_result(job, ended.index, result, &reads, out) {
                        return;
                    }
                }
            }
            (StageKind::ShuffleMap { .. }, Output::Result(_)) | (StageKind::Result { .. }, Output::Map(_)) => {
                let message = "the executor reported an output of the wrong kind".to_owned();
                let failure = TaskFailure::Exception { message, location: String::new(), panic: false };
                self.task_ended_badly(now, ended, task, failure, out);
                return;
            }
        }
        self.tasks.note_success(now, &ended);
        self.tasks.complete(ended.set.0, id, ended.index, out);
        if barrier {
            self.barriers.leave(attempt, ended.position, out);
        }
        self.check_stage_end(now, id, out);
    }

    /// A map output that was on its way while its executor was given back lies where nobody is sent to any more, unless a
    /// shuffle service serves it.
    fn lost_as_it_came(&self, task: TaskId, output: &Output) -> Option<TaskFailure> {
        let (Output::Map(_), Some(running)) = (output, self.tasks.running(task)) else { return None };
        let executor = running.executor;
        let is_served = self.outputs.service_of(executor).is_some();
        if is_served || self.tasks.executor(executor).is_some_and(Executor::is_connected) {
            return None;
        }
        let message = "it was given back before it had written its map output".to_owned();
        Some(TaskFailure::ExecutorLost { executor, by_application: false, message })
    }

    /// Hands a result over. False when that ended the job, or it was there already.
    fn take_result(
        &mut self,
        id: JobId,
        index: u32,
        result: HeldResult,
        reads: &Generations,
        out: &mut Vec<DriverEffect>,
    ) -> bool {
        let Some(job) = self.dag.jobs.get_mut(&id) else { return false };
        let Some(finished) = job.finished.get_mut(index as usize) else { return false };
        if std::mem::replace(finished, true) {
            self.dag.doubles += 1;
            return false;
        }
        debug_assert!(job.remaining > 0, "{id} has all of its results");
        job.remaining -= 1;
        job.computed_from.extend(reads.iter().map(|(s, g)| (*s, *g)));
        let HeldResult { bytes, accumulated } = result;
        if job.repeatable {
            job.accumulated.extend(accumulated);
        } else {
            accumulate(accumulated, out);
        }
        out.push(DriverEffect::JobResult { job: id, index, bytes });
        if job.remaining > 0 {
            return true;
        }
        accumulate(std::mem::take(&mut job.accumulated), out);
        out.push(DriverEffect::JobSucceeded { job: id });
        self.remove_job(id, None, out);
        self.news.job_ended(id, None);
        false
    }

    /// When the running attempt has nothing left to do: the stage is complete, or outputs got lost and it runs again.
    pub(crate) fn check_stage_end(&mut self, now: Tick, id: StageId, out: &mut Vec<DriverEffect>) {
        let Some(stage) = self.dag.stages.get(id) else { return };
        let Some(attempt) = stage.running_attempt() else { return };
        let key = stage.key(attempt);
        if !self.tasks.is_over(key) {
            return;
        }
        self.set_succeeded(now, key, out);
        let Some(stage) = self.dag.stages.get(id) else { return };
        if self.missing_outputs(stage).is_empty() {
            let next = self.stage_complete(id, out);
            self.submit_stages(now, next, out);
        } else {
            self.end_attempt(id, Some(&"output of it was lost"), out);
            self.submit_stages(now, vec![id], out);
        }
    }

    /// The stage's output is all there. Returns the stages that waited for it.
    pub(crate) fn stage_complete(&mut self, id: StageId, out: &mut Vec<DriverEffect>) -> Vec<StageId> {
        self.end_attempt(id, None, out);
        if let Some(stage) = self.dag.stages.get_mut(id) {
            stage.failed_attempts = 0;
        }
        let mut children = self.dag.stages.waiting_for(id);
        for child in &children {
            self.dag.stages.set_state(*child, StageState::Idle);
        }
        children.reverse();
        children
    }

    /// Ends the running attempt, if there is one, and leaves the stage idle. `failure` says why it was given up, if it was.
    pub(crate) fn end_attempt(&mut self, id: StageId, failure: Option<&dyn Display>, out: &mut Vec<DriverEffect>) {
        let Some(stage) = self.dag.stages.get(id) else { return };
        if let Some(attempt) = stage.running_attempt() {
            let (key, ended, barrier) = (stage.key(attempt), stage.attempt_id(attempt), stage.barrier);
            self.dag.remember_attempt(id, key, self.tasks);
            if barrier {
                self.end_barrier(key, out);
            } else {
                self.tasks.retire(key);
            }
            out.push(DriverEffect::StageEnded { attempt: ended });
            self.news.stage_completed(ended, failure);
        }
        self.dag.stages.set_state(id, StageState::Idle);
    }
}

/// The end of a task that made what nobody wants any more.
fn unwanted() -> TaskEnd {
    TaskEnd::Failed(TaskFailure::Killed { reason: "it finished, and nobody wanted its output any more".to_owned() })
}

/// Has updates added to their accumulators.
pub(super) fn accumulate(updates: Vec<AccumulatorUpdate>, out: &mut Vec<DriverEffect>) {
    if !updates.is_empty() {
        out.push(DriverEffect::Accumulate { updates });
    }
}
