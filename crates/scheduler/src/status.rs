//! How jobs and stages stand, for those who ask: Spark's status tracker. Of those that are over the last ones are
//! remembered; that costs no walk over tasks and no copy. `dag/standing.rs` answers of those that run.

use std::collections::VecDeque;

use firesteel_common::{CallSite, JobId, StageAttempt, StageId, Tick};

use crate::invariants::hold;

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

/// Jobs and stage attempts that are over, as far as they are remembered.
#[derive(Debug, Default)]
pub(crate) struct Past {
    jobs: VecDeque<JobStatus>,
    stages: VecDeque<StageStatus>,
}

impl Past {
    /// A job is over.
    pub(crate) fn remember_job(&mut self, job: JobStatus) {
        remember(&mut self.jobs, job);
    }

    /// An attempt launches nothing more.
    pub(crate) fn remember_attempt(&mut self, attempt: StageStatus) {
        remember(&mut self.stages, attempt);
    }

    /// The jobs that are remembered, in the order of their ends.
    pub(crate) fn jobs(&self) -> impl Iterator<Item = &JobStatus> {
        self.jobs.iter()
    }

    /// A job that is over.
    pub(crate) fn job(&self, job: JobId) -> Option<&JobStatus> {
        self.jobs.iter().rfind(|past| past.job == job)
    }

    /// The attempt of a stage that ended last.
    pub(crate) fn stage(&self, stage: StageId) -> Option<&StageStatus> {
        self.stages.iter().rfind(|past| past.attempt.stage == stage)
    }

    /// No more is remembered than is said.
    pub(crate) fn check(&self) -> Result<(), String> {
        let (jobs, stages) = (self.jobs.len(), self.stages.len());
        hold!(jobs <= REMEMBERED && stages <= REMEMBERED, "{jobs} jobs and {stages} attempts are remembered");
        Ok(())
    }
}

fn remember<T>(past: &mut VecDeque<T>, one: T) {
    if past.len() == REMEMBERED {
        past.pop_front();
    }
    past.push_back(one);
    debug_assert!(past.len() <= REMEMBERED);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_ones_are_remembered() {
        let mut past = Past::default();
        for job in 0..=REMEMBERED as u32 {
            let (site, stages) = (CallSite::default(), Vec::new());
            past.remember_job(JobStatus { job: JobId(job), site, group: None, stages, state: JobState::Failed });
        }
        past.check().unwrap();
        assert_eq!(past.job(JobId(0)), None);
        assert_eq!(past.job(JobId(1)).map(|j| j.job), Some(JobId(1)));
        assert_eq!(past.jobs().count(), REMEMBERED);
    }
}
