//! Jobs that fail, are cancelled or end, and what goes with them: a stage goes with the last job that needs it.

use firesteel_common::{JobId, StageId};

use super::{completion::accumulate, handler::DagHandler};
use crate::{
    effect::{DriverEffect, StageKind},
    error::JobError,
    event::JobSelection,
    properties::JobProperties,
};

/// Of so many groups it is known that their future jobs are cancelled, as in Spark.
const GROUPS_REMEMBERED: usize = 1000;

impl DagHandler<'_> {
    pub(crate) fn cancel_job(&mut self, job: JobId, reason: String, out: &mut Vec<DriverEffect>) {
        self.fail_job(job, JobError::Cancelled { reason }, out);
    }

    pub(crate) fn cancel_jobs(&mut self, which: &JobSelection, reason: &str, out: &mut Vec<DriverEffect>) {
        let chosen = |properties: &JobProperties| match which {
            JobSelection::All => true,
            JobSelection::Group { group, .. } => properties.group.as_ref() == Some(group),
            JobSelection::Tag(tag) => properties.tags.contains(tag),
        };
        let running = self.dag.jobs.iter().map(|(id, job)| (*id, &job.properties));
        let held = self.dag.held.iter().map(|(id, held)| (*id, &held.wanted.properties));
        let jobs: Vec<JobId> = running.chain(held).filter(|(_, p)| chosen(p)).map(|(id, _)| id).collect();
        for job in jobs {
            self.cancel_job(job, reason.to_owned(), out);
        }
        if let JobSelection::Group { group, future: true } = which
            && !self.dag.cancelled_groups.contains(group)
        {
            self.dag.cancelled_groups.push_back(group.clone());
            if self.dag.cancelled_groups.len() > GROUPS_REMEMBERED {
                self.dag.cancelled_groups.pop_front();
            }
        }
    }

    /// Fails every job, and every one that will be submitted.
    pub(crate) fn close(&mut self, error: JobError, out: &mut Vec<DriverEffect>) {
        let jobs: Vec<JobId> = self.dag.jobs.keys().chain(self.dag.held.keys()).copied().collect();
        for job in jobs {
            self.fail_job(job, error.clone(), out);
        }
        self.dag.closed = Some(error);
    }

    /// Fails every job that needs the stage.
    pub(crate) fn abort_stage(&mut self, stage: StageId, error: &JobError, out: &mut Vec<DriverEffect>) {
        let jobs = self.dag.stages.get(stage).map(|s| s.jobs.clone()).unwrap_or_default();
        for job in jobs {
            self.fail_job(job, error.clone(), out);
        }
    }

    pub(crate) fn fail_job(&mut self, job: JobId, error: JobError, out: &mut Vec<DriverEffect>) {
        if self.dag.held.remove(&job).is_some() {
            out.push(DriverEffect::JobFailed { job, error });
        } else if let Some(failed) = self.dag.jobs.get_mut(&job) {
            // These tasks have succeeded, whatever became of the job.
            accumulate(std::mem::take(&mut failed.accumulated), out);
            let reason = error.to_string();
            out.push(DriverEffect::JobFailed { job, error });
            self.remove_job(job, Some(&reason), out);
            self.news.job_ended(job, Some(&reason));
        }
    }

    /// Forgets a job and the stages that no other job needs; tasks that still run for them are killed. `error` is None
    /// where it has its results.
    pub(crate) fn remove_job(&mut self, id: JobId, error: Option<&str>, out: &mut Vec<DriverEffect>) {
        let Some(job) = self.dag.jobs.remove(&id) else { return };
        let reason = error.unwrap_or("the job has its results");
        for &stage_id in &job.stages {
            let Some(stage) = self.dag.stages.get_mut(stage_id) else { continue };
            stage.jobs.remove(&id);
            if !stage.jobs.is_empty() {
                continue;
            }
            let done = error.is_none() && stage_id == job.result_stage;
            self.end_attempt(stage_id, (!done).then_some(&reason), out);
            let Some(stage) = self.dag.stages.remove(stage_id) else { continue };
            self.tasks.cancel(stage.priority, stage_id, reason, out);
            self.dag.releases.note_leftover(&stage, self.tasks);
            if let StageKind::ShuffleMap { shuffle, .. } = stage.kind
                && self.dag.releases.take_let_go(shuffle)
            {
                self.dropping().shuffle_removed(shuffle, out);
            }
        }
        self.dag.remember_job(id, job, error.is_none());
    }
}
