//! [`StatusTracker`]: how jobs and stages stand. Asks the driver's event loop, which costs it nothing until somebody asks.

use std::sync::mpsc;

use firesteel_common::{CallSite, JobId, StageId};
use firesteel_scheduler::{DriverCore, JobState, StageStatus};

use crate::{Context, Error, Result, driver::Message};

/// Says how the jobs and stages of a Context stand, as Spark's `SparkStatusTracker` does: for a program that shows their
/// progress. What it says is of one moment. Of jobs and stage attempts that are over the last 1,000 are remembered.
///
/// ```
/// # fn main() -> firesteel::Result<()> {
/// # let sc = firesteel::Context::builder().master("local[2]").build()?;
/// sc.set_job_group("reports", "all reports");
/// sc.range(0..100u64).count()?;
/// let tracker = sc.status_tracker();
/// let jobs = tracker.job_ids_for_group(Some("reports"))?;
/// let job = tracker.job_info(jobs[0])?.unwrap();
/// let stage = tracker.stage_info(job.stages[0])?.unwrap();
/// assert!(job.name.starts_with("count at"));
/// assert_eq!((stage.tasks, stage.completed, stage.failed), (2, 2, 0));
/// assert!(tracker.active_job_ids()?.is_empty() && tracker.active_stage_ids()?.is_empty());
/// # Ok(()) }
/// ```
#[doc(alias = "SparkStatusTracker")]
#[derive(Clone)]
pub struct StatusTracker(Context);

/// A job. Spark: `SparkJobInfo`.
#[doc(alias = "SparkJobInfo")]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JobInfo {
    /// Its number.
    pub job: u32,
    /// The action and where it was called, as `count at main.rs:12`.
    pub name: String,
    /// The numbers of the stages that it may need.
    pub stages: Vec<u32>,
    /// How it stands.
    pub state: JobState,
}

/// The latest attempt of a stage. Spark: `SparkStageInfo`.
#[doc(alias = "SparkStageInfo")]
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StageCounts {
    /// The stage's number.
    pub stage: u32,
    /// Which attempt.
    pub attempt: u32,
    /// When its tasks were first offered slots, in milliseconds since 1970.
    pub submitted: u64,
    /// The operator or action that it ends with, as `map at main.rs:12`.
    pub name: String,
    /// Its tasks.
    pub tasks: u32,
    /// Tasks of which an attempt is with an executor.
    pub active: u32,
    /// Tasks that have made their output.
    pub completed: u32,
    /// Attempts of tasks that failed; those that were killed do not count.
    pub failed: u32,
}

impl Context {
    /// Says how jobs and stages stand.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// use firesteel::JobState;
    ///
    /// sc.range(0..100u64).count()?;
    /// let tracker = sc.status_tracker();
    /// let jobs = tracker.job_ids_for_group(None)?;
    /// assert_eq!(tracker.job_info(jobs[0])?.unwrap().state, JobState::Succeeded);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "statusTracker")]
    pub fn status_tracker(&self) -> StatusTracker {
        StatusTracker(self.clone())
    }
}

impl StatusTracker {
    /// The numbers of the jobs that run, in order.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    #[doc(alias = "getActiveJobIds")]
    pub fn active_job_ids(&self) -> Result<Vec<u32>> {
        self.ask(|core, _| core.active_job_ids().into_iter().map(|job| job.0).collect())
    }

    /// The numbers of the stages whose tasks run or wait for slots, in order.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    #[doc(alias = "getActiveStageIds")]
    pub fn active_stage_ids(&self) -> Result<Vec<u32>> {
        self.ask(|core, _| core.active_stage_ids().into_iter().map(|stage| stage.0).collect())
    }

    /// The numbers of the jobs of a group, or of those in none, that run or are remembered, in order.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    #[doc(alias = "getJobIdsForGroup")]
    pub fn job_ids_for_group(&self, group: Option<&str>) -> Result<Vec<u32>> {
        let group = group.map(str::to_owned);
        self.ask(move |core, _| core.jobs_of_group(group.as_deref()).into_iter().map(|job| job.0).collect())
    }

    /// How a job stands; None when it is not known, or any more.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    #[doc(alias = "getJobInfo")]
    pub fn job_info(&self, job: u32) -> Result<Option<JobInfo>> {
        let status = self.ask(move |core, _| core.job_status(JobId(job)))?;
        Ok(status.map(|status| JobInfo {
            job,
            name: name(status.site),
            stages: status.stages.into_iter().map(|stage| stage.0).collect(),
            state: status.state,
        }))
    }

    /// How the latest attempt of a stage stands; None when none was started, or it is not known any more.
    ///
    /// # Errors
    /// [`Error::Stopped`].
    #[doc(alias = "getStageInfo")]
    pub fn stage_info(&self, stage: u32) -> Result<Option<StageCounts>> {
        let status = self.ask(move |core, epoch| core.stage_status(StageId(stage)).map(|status| (status, epoch)))?;
        Ok(status.map(|(StageStatus { attempt, site, submitted, tasks, active, completed, failed }, epoch)| {
            StageCounts {
                stage,
                attempt: attempt.attempt,
                submitted: epoch + submitted.0 / 1_000_000,
                name: name(site),
                tasks,
                active,
                completed,
                failed,
            }
        }))
    }

    fn ask<R: Send + 'static>(&self, question: impl FnOnce(&DriverCore, u64) -> R + Send + 'static) -> Result<R> {
        let (reply, answer) = mpsc::channel();
        // Whoever asked may have given up.
        let look = Box::new(move |core: &DriverCore, epoch| _ = reply.send(question(core, epoch)));
        self.0.tell(Message::Look(look))?;
        answer.recv().map_err(|_| Error::Stopped)
    }
}

fn name(site: CallSite) -> String {
    format!("{site:#}")
}
