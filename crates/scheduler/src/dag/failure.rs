//! Tasks that fail: retries up to the limit, fetch failures, and the resubmission of stages that could not fetch.

use std::fmt::Display;

use firesteel_common::{StageId, TaskFailure, TaskId, Tick};
use firesteel_events::TaskEnd;

use super::{handler::DagHandler, stage::StageState};
use crate::{
    effect::{DriverEffect, StageKind},
    error::JobError,
    tasks::running::EndedTask,
};

impl DagHandler<'_> {
    pub(crate) fn task_failed(&mut self, now: Tick, task: TaskId, failure: TaskFailure, out: &mut Vec<DriverEffect>) {
        if let TaskFailure::CachedPartitionDamaged { rdd, partition, address, .. } = &failure {
            self.kept().forget_damaged(*rdd, *partition, address);
        }
        let ended = self.tasks.end(task).filter(|e| e.wanted);
        if self.news.is_on() {
            self.news.task_ended(task, TaskEnd::Failed(failure.clone()));
        } else {
            self.news.forget_report(task);
        }
        let Some(ended) = ended else { return };
        if !matches!(failure, TaskFailure::Killed { .. }) {
            self.tasks.note_failed(&ended);
        }
        if let TaskFailure::FetchFailed { .. } = failure {
            self.fetch_failed(now, ended, task, failure, out);
        } else {
            self.task_ended_badly(now, ended, task, failure, out);
        }
    }

    /// Tries the task again, or fails the jobs of its stage after the last allowed failure.
    pub(crate) fn task_ended_badly(
        &mut self,
        now: Tick,
        ended: EndedTask,
        task: TaskId,
        failure: TaskFailure,
        out: &mut Vec<DriverEffect>,
    ) {
        self.discount_result(&ended);
        let counts = self.counts(&ended, &failure);
        if counts {
            self.tasks.blame(&ended);
        }
        let failures = self.tasks.retry(&ended, counts);
        tell(&ended, task, failures, &failure, out);
        if counts && failures >= self.config.max_task_failures {
            let (stage, partition) = (ended.set.1.stage, ended.partition);
            self.abort_stage(stage, &JobError::TaskFailed { stage, partition, attempts: failures, failure }, out);
        } else if !ended.zombie {
            self.restart_barrier(now, ended.set.1.stage, failure, out);
        }
    }

    /// A large result that did not arrive takes no room.
    pub(crate) fn discount_result(&mut self, ended: &EndedTask) {
        let kind = self.dag.stages.get(ended.set.1.stage).map(|s| s.kind);
        if ended.in_block
            && let Some(StageKind::Result { job }) = kind
            && let Some(job) = self.dag.jobs.get_mut(&job)
            && job.finished.get(ended.index as usize) == Some(&false)
        {
            job.results.clear(ended.index);
        }
    }

    /// The attempt ends; what was to be fetched counts as lost, with all else of that executor. Many failures of one
    /// attempt lead to one resubmission.
    fn fetch_failed(
        &mut self,
        now: Tick,
        ended: EndedTask,
        task: TaskId,
        failure: TaskFailure,
        out: &mut Vec<DriverEffect>,
    ) {
        let TaskFailure::FetchFailed { shuffle, map_index, map_task, executor, .. } = &failure else { return };
        let (shuffle, map_index, map_task, executor) = (*shuffle, *map_index, *map_task, *executor);
        tell(&ended, task, 0, &failure, out);
        let attempt = ended.set.1;
        let Some(stage) = self.dag.stages.get_mut(attempt.stage) else { return };
        if attempt.attempt + 1 != stage.next_attempt {
            // News of an attempt that has a successor, which has been given newer locations.
            return;
        }
        let id = stage.id;
        let left = self.tasks.executors().was_decommissioned(executor);
        let epoch = stage.attempts.get(&attempt.attempt).map_or(0, |a| a.epoch);
        stage.required.insert(shuffle);
        self.outputs.unregister(shuffle, map_index, map_task, executor);
        if map_index != u32::MAX {
            if !left {
                self.blame_for_fetch(now, executor, out);
            }
            let dropped = if self.config.unregister_output_on_host {
                self.outputs.unregister_beside(executor, epoch)
            } else {
                self.outputs.unregister_executor(executor, epoch)
            };
            self.redo_lost(now, &dropped, failure.clone(), out);
        }
        if self.reader_failed(id, shuffle, out) {
            return;
        }
        let Some(stage) = self.dag.stages.get_mut(id) else { return };
        if stage.running_attempt() != Some(attempt.attempt) {
            return;
        }
        // What was on its way elsewhere is there the next time, or computed; nothing can leave for ever.
        stage.failed_attempts += u32::from(!left);
        if !left && stage.failed_attempts >= self.config.max_stage_attempts {
            let attempts = stage.failed_attempts;
            self.abort_stage(id, &JobError::FetchFailedTooOften { stage: id, attempts, failure }, out);
        } else {
            self.give_up_attempt(now, id, &failure, out);
        }
    }

    /// Ends the running attempt; the stage is submitted again a little later, so that more losses are known then.
    pub(crate) fn give_up_attempt(&mut self, now: Tick, id: StageId, why: &dyn Display, out: &mut Vec<DriverEffect>) {
        self.end_attempt(id, Some(why), out);
        self.dag.stages.set_state(id, StageState::Failed { resubmit_at: now + self.config.resubmit_delay });
    }

    /// Submits the failed stages whose time has come.
    pub(super) fn resubmit_due(&mut self, now: Tick, out: &mut Vec<DriverEffect>) {
        let due = self.dag.stages.due(now);
        for id in &due {
            self.dag.stages.set_state(*id, StageState::Idle);
        }
        self.submit_stages(now, due, out);
    }
}

fn tell(ended: &EndedTask, task: TaskId, failures: u32, failure: &TaskFailure, out: &mut Vec<DriverEffect>) {
    out.push(DriverEffect::TaskFailed {
        task,
        stage: ended.set.1,
        partition: ended.partition,
        executor: ended.executor,
        failures,
        failure: failure.clone(),
    });
}
