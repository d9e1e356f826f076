//! What must hold between any two events of jobs and stages.

use firesteel_common::{JobId, StageAttempt};

use super::{dag_scheduler::DagScheduler, job::Job, stage::StageState};
use crate::{
    barrier::Barriers, effect::StageKind, invariants::hold, map_outputs::MapOutputTracker,
    tasks::task_scheduler::TaskScheduler,
};

impl DagScheduler {
    /// Checks all that these tables alone can tell; the error says what does not hold. Takes time in proportion to all that
    /// is known.
    pub(crate) fn check(&self) -> Result<(), String> {
        hold!(self.doubles == 0, "{} outputs were counted twice", self.doubles);
        self.stages.check()?;
        self.past.check()?;
        self.releases.check(|shuffle| self.stages.writer_of(shuffle).is_some())?;
        for stage in self.stages.iter() {
            let knows = |job: &JobId| self.jobs.get(job).is_some_and(|job| job.stages.contains(&stage.id));
            hold!(stage.jobs.iter().all(knows), "{} is kept for a job that does not know it", stage.id);
        }
        for (id, job) in &self.jobs {
            job.check(*id)?;
            let result = self.stages.get(job.result_stage);
            hold!(result.is_some_and(|s| s.state != StageState::Idle), "{id} runs and its result stage is idle");
            hold!(!self.held.contains_key(id), "{id} runs and is held back");
        }
        Ok(())
    }

    /// Stages, the tasks that run for them and the barriers of these belong together.
    pub(crate) fn check_tasks(
        &self,
        tasks: &TaskScheduler,
        outputs: &MapOutputTracker,
        barriers: &Barriers,
    ) -> Result<(), String> {
        for (_, attempt) in tasks.sets() {
            hold!(self.stages.get(attempt.stage).is_some(), "{attempt} is scheduled and its stage is gone");
        }
        for attempt in barriers.attempts() {
            hold!(self.runs(attempt), "{attempt} is over and its barrier is not");
        }
        for stage in self.stages.iter() {
            let Some(attempt) = stage.running_attempt() else { continue };
            let (id, key) = (stage.id, stage.key(attempt));
            hold!(!tasks.is_over(key) && !tasks.is_retired(key), "{id} runs without tasks to do");
            if let StageKind::Result { .. } = stage.kind {
                let covered = |index: &u32| stage.held.contains_key(index) || tasks.makes(key, *index);
                let all = self.missing_outputs(stage, outputs).iter().all(covered);
                hold!(all, "{id} lacks a result that nobody computes");
            }
        }
        Ok(())
    }

    /// Whether it is the attempt of its stage that launches tasks now.
    pub(crate) fn runs(&self, attempt: StageAttempt) -> bool {
        self.stages.get(attempt.stage).and_then(|s| s.running_attempt()) == Some(attempt.attempt)
    }

    /// Whether the job has been planned and is not over.
    pub(crate) fn has_job(&self, job: JobId) -> bool {
        self.jobs.contains_key(&job)
    }
}

impl Job {
    fn check(&self, id: JobId) -> Result<(), String> {
        let left = self.finished.iter().filter(|f| !**f).count();
        hold!(left == self.remaining as usize && left > 0, "{id} counts {} results to come, {left} do", self.remaining);
        Ok(())
    }
}
