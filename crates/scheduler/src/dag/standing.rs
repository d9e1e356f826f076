//! How jobs and stages stand: of those that run it is looked up, of those that are over it is remembered.

use firesteel_common::{JobId, StageId, Tick};

use super::{barrier::barrier_patience, dag_scheduler::DagScheduler, job::Job, stage::Stage};
use crate::{
    config::SchedulerConfig,
    deadline::min_some,
    effect::StageKind,
    map_outputs::MapOutputTracker,
    status::{JobState, JobStatus, StageStatus},
    tasks::{set_key::SetKey, task_scheduler::TaskScheduler},
};

impl DagScheduler {
    /// Jobs that are not over.
    pub(crate) fn active_jobs(&self) -> usize {
        self.jobs.len() + self.held.len()
    }

    /// Jobs that are not over, ascending.
    pub(crate) fn active_job_ids(&self) -> Vec<JobId> {
        let mut jobs: Vec<JobId> = self.jobs.keys().chain(self.held.keys()).copied().collect();
        jobs.sort_unstable();
        jobs
    }

    /// Stages whose tasks are offered slots, ascending.
    pub(crate) fn active_stage_ids(&self) -> Vec<StageId> {
        self.stages.iter().filter(|s| s.running_attempt().is_some()).map(|s| s.id).collect()
    }

    /// Jobs of a group, or those in none, that run or are remembered, ascending.
    pub(crate) fn jobs_of_group(&self, group: Option<&str>) -> Vec<JobId> {
        let past = self.past.jobs().map(|j| (j.job, j.group.as_deref()));
        let held = self.held.iter().map(|(id, held)| (*id, held.wanted.properties.group.as_deref()));
        let running = self.jobs.iter().map(|(id, job)| (*id, job.properties.group.as_deref()));
        let mut jobs: Vec<JobId> =
            past.chain(held).chain(running).filter(|(_, of)| *of == group).map(|(id, _)| id).collect();
        jobs.sort_unstable();
        jobs
    }

    /// How a job stands; None when it is not known, or any more.
    pub(crate) fn job_status(&self, job: JobId) -> Option<JobStatus> {
        let status = |site, group: &Option<String>, stages| {
            Some(JobStatus { job, site, group: group.clone(), stages, state: JobState::Running })
        };
        if let Some(running) = self.jobs.get(&job) {
            return status(running.site, &running.properties.group, running.stages.iter().copied().collect());
        }
        if let Some(held) = self.held.get(&job) {
            return status(held.wanted.site, &held.wanted.properties.group, Vec::new());
        }
        self.past.job(job).cloned()
    }

    /// How the latest attempt of a stage stands; None when none was started, or it is not known any more.
    pub(crate) fn stage_status(&self, stage: StageId, tasks: &TaskScheduler) -> Option<StageStatus> {
        let known = self.stages.get(stage);
        let running = known.and_then(|stage| attempt_status(stage, stage.key(stage.running_attempt()?), tasks));
        running.or_else(|| self.past.stage(stage).copied())
    }

    /// An attempt launches nothing more; called while its task set is there.
    pub(super) fn remember_attempt(&mut self, stage: StageId, key: SetKey, tasks: &TaskScheduler) {
        if let Some(status) = self.stages.get(stage).and_then(|stage| attempt_status(stage, key, tasks)) {
            // What runs of it counts for nothing, or is reported to the next attempt.
            self.past.remember_attempt(StageStatus { active: 0, ..status });
        }
    }

    /// A job is over.
    pub(super) fn remember_job(&mut self, job: JobId, ended: Job, succeeded: bool) {
        let Job { site, properties, stages, .. } = ended;
        let state = if succeeded { JobState::Succeeded } else { JobState::Failed };
        let (group, stages) = (properties.group, stages.into_iter().collect());
        self.past.remember_job(JobStatus { job, site, group, stages, state });
    }

    /// When something is to be done although nothing happens.
    pub(crate) fn next_deadline(&self, config: &SchedulerConfig) -> Option<Tick> {
        let short = self.short.values().map(|since| *since + barrier_patience(config));
        let held = self.held.values().map(|held| held.check_at).chain(short).min();
        min_some(self.stages.next_resubmission(), held)
    }

    /// Outputs of the stage that are not there, ascending.
    pub(super) fn missing_outputs(&self, stage: &Stage, outputs: &MapOutputTracker) -> Vec<u32> {
        match stage.kind {
            StageKind::ShuffleMap { shuffle, .. } => outputs.missing(shuffle),
            StageKind::Result { job } => {
                let finished = self.jobs.get(&job).map_or(&[][..], |j| &j.finished);
                (0u32..).zip(finished).filter(|(_, f)| !**f).map(|(i, _)| i).collect()
            }
        }
    }
}

fn attempt_status(stage: &Stage, key: SetKey, tasks: &TaskScheduler) -> Option<StageStatus> {
    let set = tasks.progress(key)?;
    Some(StageStatus {
        attempt: key.1,
        site: stage.site,
        submitted: set.submitted,
        tasks: set.tasks,
        active: set.running,
        completed: set.over,
        failed: set.failed,
    })
}
