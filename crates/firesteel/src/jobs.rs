//! What a [`Context`] offers to steer jobs: local properties, groups, tags, cancellation.

use std::collections::BTreeSet;

use firesteel_common::StageId;
use firesteel_scheduler::{DriverEvent, JobSelection};

use crate::{
    Context, Error, LocalProperties, Result,
    driver::Message,
    properties::{self, DESCRIPTION, GROUP, TAGS},
};

impl Context {
    /// Sets a property of the jobs that this thread submits from now on, or removes it (`None`):
    /// `sc.set_local_property("spark.scheduler.pool", "reports")` puts them into a pool. Their tasks find it by
    /// [`TaskContext::local_property`](crate::TaskContext::local_property).
    ///
    /// Another thread has properties of its own, none to begin with: give it those of [`Context::local_properties`].
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// sc.set_local_property("spark.scheduler.pool", "reports");
    /// assert_eq!(sc.range(0..100u64).count()?, 100);
    ///
    /// sc.set_local_property("spark.scheduler.pool", None);
    /// assert_eq!(sc.local_property("spark.scheduler.pool"), None);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "setLocalProperty")]
    pub fn set_local_property<'a>(&self, key: &str, value: impl Into<Option<&'a str>>) {
        properties::edit(self.serial(), |p| p.set(key, value.into()));
    }

    /// A property that this thread has set.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// sc.set_local_property("spark.scheduler.pool", "reports");
    /// assert_eq!(sc.local_property("spark.scheduler.pool").as_deref(), Some("reports"));
    ///
    /// let other = sc.clone();
    /// let elsewhere = std::thread::spawn(move || other.local_property("spark.scheduler.pool"));
    /// assert_eq!(elsewhere.join().unwrap(), None);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "getLocalProperty")]
    pub fn local_property(&self, key: &str) -> Option<String> {
        properties::edit(self.serial(), |p| p.get(key).map(str::to_owned))
    }

    /// All properties that this thread has set, to be handed to another thread.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// sc.set_local_property("spark.scheduler.pool", "reports");
    /// let (context, properties) = (sc.clone(), sc.local_properties());
    /// let count = std::thread::spawn(move || {
    ///     context.set_local_properties(properties);
    ///     context.range(0..100u64).count()
    /// });
    /// assert_eq!(count.join().unwrap()?, 100);
    /// # Ok(()) }
    /// ```
    pub fn local_properties(&self) -> LocalProperties {
        properties::edit(self.serial(), |p| p.clone())
    }

    /// Replaces all properties of this thread.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// use firesteel::LocalProperties;
    ///
    /// let mut properties = LocalProperties::default();
    /// properties.set("spark.scheduler.pool", Some("reports"));
    /// sc.set_local_properties(properties);
    /// assert_eq!(sc.local_property("spark.scheduler.pool").as_deref(), Some("reports"));
    /// # Ok(()) }
    /// ```
    pub fn set_local_properties(&self, properties: LocalProperties) {
        properties::edit(self.serial(), |p| *p = properties);
    }

    /// Puts the jobs that this thread submits from now on into a group, which [`Context::cancel_job_group`] cancels.
    /// A cancelled task is asked to end, and ends at its next chunk of records; no thread is interrupted.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// sc.set_job_group("reports", "all reports of the day");
    /// assert_eq!(sc.range(0..100u64).count()?, 100);
    /// assert_eq!(sc.status_tracker().job_ids_for_group(Some("reports"))?.len(), 1);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "setJobGroup")]
    pub fn set_job_group(&self, group: &str, description: &str) {
        properties::edit(self.serial(), |p| {
            p.set(GROUP, Some(group));
            p.set(DESCRIPTION, Some(description));
        });
    }

    /// Says what the jobs that this thread submits from now on are for.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// sc.set_job_description("counts the visitors of the day");
    /// assert_eq!(sc.range(0..100u64).count()?, 100);
    /// assert_eq!(sc.local_property("spark.job.description").as_deref(), Some("counts the visitors of the day"));
    /// # Ok(()) }
    /// ```
    #[doc(alias = "setJobDescription")]
    pub fn set_job_description<'a>(&self, description: impl Into<Option<&'a str>>) {
        self.set_local_property(DESCRIPTION, description);
    }

    /// The jobs that this thread submits from now on are in no group and have no description.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// sc.set_job_group("reports", "all reports of the day");
    /// sc.clear_job_group();
    /// assert_eq!(sc.range(0..100u64).count()?, 100);
    /// assert!(sc.status_tracker().job_ids_for_group(Some("reports"))?.is_empty());
    /// # Ok(()) }
    /// ```
    #[doc(alias = "clearJobGroup")]
    pub fn clear_job_group(&self) {
        properties::edit(self.serial(), |p| {
            p.set(GROUP, None);
            p.set(DESCRIPTION, None);
        });
    }

    /// Gives the jobs that this thread submits from now on a tag, besides those that they have.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// sc.add_job_tag("nightly")?;
    /// assert!(sc.job_tags().contains("nightly"));
    /// assert!(sc.add_job_tag("nightly,weekly").is_err());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when the tag is empty or has a comma.
    #[doc(alias = "addJobTag")]
    pub fn add_job_tag(&self, tag: &str) -> Result<()> {
        check_tag(tag)?;
        self.edit_tags(|tags| _ = tags.insert(tag.to_owned()));
        Ok(())
    }

    /// Takes a tag from the jobs that this thread submits from now on.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// sc.add_job_tag("nightly")?;
    /// sc.add_job_tag("reports")?;
    /// sc.remove_job_tag("nightly")?;
    /// assert!(sc.job_tags().into_iter().eq(["reports"]));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when the tag is empty or has a comma.
    #[doc(alias = "removeJobTag")]
    pub fn remove_job_tag(&self, tag: &str) -> Result<()> {
        check_tag(tag)?;
        self.edit_tags(|tags| _ = tags.remove(tag));
        Ok(())
    }

    /// The tags of the jobs that this thread submits now.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// sc.add_job_tag("reports")?;
    /// sc.add_job_tag("nightly")?;
    /// assert!(sc.job_tags().into_iter().eq(["nightly", "reports"]));
    /// # Ok(()) }
    /// ```
    #[doc(alias = "getJobTags")]
    pub fn job_tags(&self) -> BTreeSet<String> {
        properties::edit(self.serial(), |p| properties::tags(p).map(str::to_owned).collect())
    }

    /// Takes all tags from the jobs that this thread submits from now on.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// sc.add_job_tag("nightly")?;
    /// sc.clear_job_tags();
    /// assert!(sc.job_tags().is_empty());
    /// # Ok(()) }
    /// ```
    #[doc(alias = "clearJobTags")]
    pub fn clear_job_tags(&self) {
        self.set_local_property(TAGS, None);
    }

    fn edit_tags(&self, change: impl FnOnce(&mut BTreeSet<String>)) {
        let mut tags = self.job_tags();
        change(&mut tags);
        let text = tags.into_iter().collect::<Vec<_>>().join(",");
        self.set_local_property(TAGS, (!text.is_empty()).then_some(text.as_str()));
    }

    /// Fails the running jobs of a group with [`crate::JobError::Cancelled`].
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// sc.set_job_group("reports", "all reports of the day");
    /// let report = sc.range(0..u64::MAX).foreach_async(|_| ())?;
    /// sc.cancel_job_group("reports")?;
    /// assert!(report.wait().unwrap_err().to_string().contains("its group reports was cancelled"));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Stopped`].
    #[doc(alias = "cancelJobGroup")]
    pub fn cancel_job_group(&self, group: &str) -> Result<()> {
        let which = JobSelection::Group { group: group.to_owned(), future: false };
        self.cancel_jobs(which, format!("its group {group} was cancelled"))
    }

    /// As [`Context::cancel_job_group`], and every job that will be submitted in the group. The last 1,000 groups are
    /// remembered.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// sc.set_job_group("reports", "all reports of the day");
    /// sc.cancel_job_group_and_future_jobs("reports")?;
    /// assert!(sc.range(0..100u64).count().unwrap_err().to_string().contains("its group reports was cancelled"));
    ///
    /// sc.clear_job_group();
    /// assert_eq!(sc.range(0..100u64).count()?, 100);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Stopped`].
    #[doc(alias = "cancelJobGroupAndFutureJobs")]
    pub fn cancel_job_group_and_future_jobs(&self, group: &str) -> Result<()> {
        let which = JobSelection::Group { group: group.to_owned(), future: true };
        self.cancel_jobs(which, format!("its group {group} was cancelled"))
    }

    /// Fails the running jobs that have a tag with [`crate::JobError::Cancelled`].
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// sc.add_job_tag("nightly")?;
    /// let report = sc.range(0..u64::MAX).foreach_async(|_| ())?;
    /// sc.clear_job_tags();
    /// let count = sc.range(0..100u64).count_async()?;
    /// sc.cancel_jobs_with_tag("nightly")?;
    /// assert!(report.wait().unwrap_err().to_string().contains("the jobs with tag nightly were cancelled"));
    /// assert_eq!(count.wait()?, 100);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when the tag is empty or has a comma, [`Error::Stopped`].
    #[doc(alias = "cancelJobsWithTag")]
    pub fn cancel_jobs_with_tag(&self, tag: &str) -> Result<()> {
        check_tag(tag)?;
        self.cancel_jobs(JobSelection::Tag(tag.to_owned()), format!("the jobs with tag {tag} were cancelled"))
    }

    /// Fails all running jobs with [`crate::JobError::Cancelled`].
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let endless = sc.range(0..u64::MAX);
    /// let jobs = [endless.foreach_async(|_| ())?, endless.foreach_async(|_| ())?];
    /// sc.cancel_all_jobs()?;
    /// for job in jobs {
    ///     assert!(job.wait().unwrap_err().to_string().contains("all jobs were cancelled"));
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Stopped`].
    #[doc(alias = "cancelAllJobs")]
    pub fn cancel_all_jobs(&self) -> Result<()> {
        self.cancel_jobs(JobSelection::All, "all jobs were cancelled".to_owned())
    }

    /// Fails the running jobs that need the stage of this number, as logs and errors call it. Does nothing when there is
    /// none.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// use std::sync::mpsc;
    /// use firesteel::events::AppEvent;
    ///
    /// let (submitted, stages) = mpsc::channel();
    /// sc.add_listener(move |event: &AppEvent| {
    ///     if let AppEvent::StageSubmitted { info, .. } = event {
    ///         submitted.send(info.attempt.stage.0).unwrap();
    ///     }
    /// })?;
    /// let report = sc.range(0..u64::MAX).foreach_async(|_| ())?;
    /// let stage = stages.recv().unwrap();
    /// sc.cancel_stage(stage)?;
    /// assert!(report.wait().unwrap_err().to_string().contains(&format!("stage {stage} was cancelled")));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Stopped`].
    #[doc(alias = "cancelStage")]
    pub fn cancel_stage(&self, stage: u32) -> Result<()> {
        let (stage, reason) = (StageId(stage), format!("stage {stage} was cancelled"));
        self.tell(Message::Event(DriverEvent::CancelStage { stage, reason }))
    }

    fn cancel_jobs(&self, which: JobSelection, reason: String) -> Result<()> {
        self.tell(Message::Event(DriverEvent::CancelJobs { which, reason }))
    }
}

fn check_tag(tag: &str) -> Result<()> {
    if tag.is_empty() || tag.contains(',') {
        return Err(Error::InvalidArgument(format!("a job's tag must not be empty nor contain a comma: {tag:?}")));
    }
    Ok(())
}
