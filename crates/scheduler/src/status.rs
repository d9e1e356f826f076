//! How jobs and stages stand, for those who ask: Spark's status tracker. Of those that are over the last ones are
//! remembered; that costs no walk over tasks and no copy.

use std::collections::VecDeque;

use firesteel_common::{CallSite, JobId, StageAttempt, StageId, Tick};

use crate::{
    dag::{Job, stage::Stage},
    driver_core::DriverCore,
    tasks::SetKey,
};

/// So many jobs, and stage attempts, that are over are remembered: Spark's `spark.ui.retainedJobs`.
const REMEMBERED: usize = 1000;

/// How a job stands. Spark: `JobExecutionStatus`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobState {
    /// It is not over.
    Running,
    /// All results were handed over.
    Succeeded,
    /// It failed or was cancelled.
    Failed,
}

/// A job. Spark: `SparkJobInfo`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobStatus {
    /// The job's number within the Context.
    pub job: JobId,
    /// The action, and where it was called.
    pub site: CallSite,
    /// The group that it is cancelled with.
    pub group: Option<String>,
    /// The stages that it may need, ascending.
    pub stages: Vec<StageId>,
    /// How it stands.
    pub state: JobState,
}

/// The latest attempt of a stage that was started. Spark: `SparkStageInfo`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StageStatus {
    /// Which attempt of which stage.
    pub attempt: StageAttempt,
    /// What names it: an action, or the operator whose output is shuffled.
    pub site: CallSite,
    /// When its tasks were first offered slots.
    pub submitted: Tick,
    /// Its tasks.
    pub tasks: u32,
    /// Tasks of which an attempt is with an executor.
    pub active: u32,
    /// Tasks that have made their output.
    pub completed: u32,
    /// Attempts of tasks that failed; those that were killed do not count.
    pub failed: u32,
}

/// What is over.
#[derive(Debug, Default)]
pub(crate) struct Past {
    jobs: VecDeque<JobStatus>,
    stages: VecDeque<StageStatus>,
}

fn remember<T>(past: &mut VecDeque<T>, one: T) {
    if past.len() == REMEMBERED {
        past.pop_front();
    }
    past.push_back(one);
}

impl DriverCore {
    /// Jobs that are not over, ascending.
    pub fn active_job_ids(&self) -> Vec<JobId> {
        let mut jobs: Vec<JobId> = self.dag.jobs.keys().chain(self.dag.held.keys()).copied().collect();
        jobs.sort_unstable();
        jobs
    }

    /// Stages whose tasks are offered slots, ascending.
    pub fn active_stage_ids(&self) -> Vec<StageId> {
        self.dag.stages.values().filter(|s| s.running_attempt().is_some()).map(|s| s.id).collect()
    }

    /// Jobs of a group, or those in none, that run or are remembered, ascending.
    pub fn jobs_of_group(&self, group: Option<&str>) -> Vec<JobId> {
        let past = self.past.jobs.iter().map(|j| (j.job, j.group.as_deref()));
        let held = self.dag.held.iter().map(|(id, held)| (*id, held.wanted.properties.group.as_deref()));
        let running = self.dag.jobs.iter().map(|(id, job)| (*id, job.properties.group.as_deref()));
        let mut jobs: Vec<JobId> =
            past.chain(held).chain(running).filter(|(_, of)| *of == group).map(|(id, _)| id).collect();
        jobs.sort_unstable();
        jobs
    }

    /// How a job stands; None when it is not known, or any more.
    pub fn job_status(&self, job: JobId) -> Option<JobStatus> {
        let status = |site, group: &Option<String>, stages| {
            Some(JobStatus { job, site, group: group.clone(), stages, state: JobState::Running })
        };
        if let Some(running) = self.dag.jobs.get(&job) {
            return status(running.site, &running.properties.group, running.stages.iter().copied().collect());
        }
        if let Some(held) = self.dag.held.get(&job) {
            return status(held.wanted.site, &held.wanted.properties.group, Vec::new());
        }
        self.past.jobs.iter().rfind(|past| past.job == job).cloned()
    }

    /// How the latest attempt of a stage stands; None when none was started, or it is not known any more.
    pub fn stage_status(&self, stage: StageId) -> Option<StageStatus> {
        let known = self.dag.stages.get(&stage);
        let running = known.and_then(|stage| self.attempt_status(stage, stage.key(stage.running_attempt()?)));
        running.or_else(|| self.past.stages.iter().rfind(|past| past.attempt.stage == stage).copied())
    }

    fn attempt_status(&self, stage: &Stage, key: SetKey) -> Option<StageStatus> {
        let set = self.tasks.sets.get(&key)?;
        Some(StageStatus {
            attempt: key.1,
            site: stage.site,
            submitted: set.submitted,
            tasks: set.tasks.len() as u32,
            active: set.running,
            completed: set.over,
            failed: set.failed,
        })
    }

    /// An attempt launches nothing more; called while its task set is there.
    pub(crate) fn remember_attempt(&mut self, stage: StageId, key: SetKey) {
        let status = self.dag.stages.get(&stage).and_then(|stage| self.attempt_status(stage, key));
        if let Some(status) = status {
            // What runs of it counts for nothing, or is reported to the next attempt.
            remember(&mut self.past.stages, StageStatus { active: 0, ..status });
        }
    }

    pub(crate) fn remember_job(&mut self, job: JobId, ended: Job, succeeded: bool) {
        let Job { site, properties, stages, .. } = ended;
        let state = if succeeded { JobState::Succeeded } else { JobState::Failed };
        let (group, stages) = (properties.group, stages.into_iter().collect());
        remember(&mut self.past.jobs, JobStatus { job, site, group, stages, state });
    }
}
