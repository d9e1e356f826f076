//! What the schedulers tell of what happens, beside their effects: [`AppEvent`]s, for whoever listens.
//!
//! While nobody listens this is a bool that is looked at; nothing is made or remembered. Whoever begins to listen hears of
//! no end of what had begun before. What executors report of their tasks is kept here in any case: it is told with a task's
//! end, and what the task added to accumulators is wanted also while nobody listens.
//!
//! Told by the DAGScheduler's files and by [`crate::DriverCore`]; calls nobody.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    sync::Arc,
    time::Duration,
};

use firesteel_common::{CallSite, ExecutorId, JobId, RddId, StageAttempt, TaskFailure, TaskId, Tick};
use firesteel_events::{AccumulatorUpdate, AppEvent, JobEnd, StageInfo, TaskEnd, TaskInfo, TaskKind, TaskReport};

/// A task that was launched while somebody listened.
#[derive(Debug)]
struct LaunchedTask {
    stage: StageAttempt,
    kind: TaskKind,
    info: TaskInfo,
    /// It was said to have started.
    told: bool,
}

/// What happened since it was last asked for, and what has begun and not ended.
#[derive(Debug, Default)]
pub(crate) struct News {
    on: bool,
    /// Milliseconds since 1970 at `Tick::ZERO`.
    epoch: u64,
    now: Tick,
    said: Vec<AppEvent>,
    jobs: BTreeSet<JobId>,
    stages: BTreeMap<StageAttempt, StageInfo>,
    tasks: BTreeMap<TaskId, LaunchedTask>,
    /// What executors said of tasks that are not over.
    reports: BTreeMap<TaskId, Box<TaskReport>>,
}

impl News {
    /// It is `now`.
    #[inline]
    pub(crate) fn at(&mut self, now: Tick) {
        self.now = now;
    }

    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.on
    }

    /// Tells of what happens from now on, or not any more. `epoch` is the wall clock at `Tick::ZERO`, in milliseconds since
    /// 1970.
    pub(crate) fn listen(&mut self, on: bool, epoch: u64) {
        if self.on != on {
            let reports = std::mem::take(&mut self.reports);
            *self = News { on, epoch, now: self.now, reports, ..News::default() };
        }
    }

    /// What happened since this was last called, in order.
    pub(crate) fn take(&mut self) -> Vec<AppEvent> {
        std::mem::take(&mut self.said)
    }

    fn time(&self, at: Tick) -> u64 {
        self.epoch + at.0 / 1_000_000
    }

    /// Milliseconds since 1970, now.
    pub(crate) fn present(&self) -> u64 {
        self.time(self.now)
    }

    /// Says what `event` makes of the present time, if anybody listens.
    #[inline]
    pub(crate) fn say(&mut self, event: impl FnOnce(u64) -> AppEvent) {
        if self.on {
            let event = event(self.present());
            self.said.push(event);
        }
    }

    /// A job runs from now on; called only while somebody listens.
    pub(crate) fn job_started(
        &mut self,
        job: JobId,
        site: CallSite,
        stages: Vec<StageInfo>,
        properties: &Arc<BTreeMap<String, String>>,
    ) {
        let (name, properties) = (format!("{site:#}"), properties.clone());
        self.jobs.insert(job);
        self.say(|time| AppEvent::JobStart { job, time, name, stages, properties });
    }

    /// A job without anything to do is over at once.
    pub(crate) fn empty_job(&mut self, job: JobId, site: CallSite, properties: &Arc<BTreeMap<String, String>>) {
        if self.on {
            let (name, properties) = (format!("{site:#}"), properties.clone());
            self.say(|time| AppEvent::JobStart { job, time, name, stages: Vec::new(), properties });
            self.say(|time| AppEvent::JobEnd { job, time, result: JobEnd::Succeeded });
        }
    }

    /// `error` is None where the job succeeded.
    pub(crate) fn job_ended(&mut self, job: JobId, error: Option<&str>) {
        if self.jobs.remove(&job) {
            let failed = |error: &str| JobEnd::Failed { error: error.to_owned() };
            let result = error.map_or(JobEnd::Succeeded, failed);
            self.say(|time| AppEvent::JobEnd { job, time, result });
        }
    }

    /// The tasks of an attempt wait for slots from now on; called only while somebody listens.
    pub(crate) fn stage_submitted(&mut self, mut info: StageInfo, properties: Arc<BTreeMap<String, String>>) {
        info.submitted = Some(self.present());
        self.stages.insert(info.attempt, info.clone());
        self.say(|_| AppEvent::StageSubmitted { info, properties });
    }

    /// `failure` is None where the attempt did what it was to do.
    pub(crate) fn stage_completed(&mut self, attempt: StageAttempt, failure: Option<&dyn Display>) {
        if let Some(mut info) = self.stages.remove(&attempt) {
            info.completed = Some(self.present());
            info.failure = failure.map(|f| f.to_string());
            self.say(|_| AppEvent::StageCompleted { info });
        }
    }

    /// A task was sent to its executor, `ahead` of a slot or into a free one; called only while somebody listens.
    pub(crate) fn task_launched(&mut self, stage: StageAttempt, kind: TaskKind, info: TaskInfo, ahead: bool) {
        let (task, time) = (info.task, info.launched);
        let before = self.tasks.insert(task, LaunchedTask { stage, kind, info, told: false });
        debug_assert!(before.is_none(), "{task} was launched before");
        if !ahead {
            self.task_started(task, time);
        }
    }

    /// The task began at `time`, unless that was said before.
    fn task_started(&mut self, task: TaskId, time: u64) {
        let Some(known) = self.tasks.get_mut(&task).filter(|known| !known.told) else { return };
        known.told = true;
        known.info.launched = time;
        let (stage, info) = (known.stage, known.info.clone());
        self.say(|_| AppEvent::TaskStart { stage, info });
    }

    /// A task that had waited at its executor has begun, and has `ran` so long since.
    #[inline]
    pub(crate) fn task_began(&mut self, task: TaskId, ran: Duration) {
        if self.on {
            let began = Tick(self.now.0.saturating_sub(ran.as_nanos() as u64));
            self.task_started(task, self.time(began));
        }
    }

    /// A task came back before it had begun. Nobody hears of it, unless it was said to have started.
    pub(crate) fn given_back(&mut self, task: TaskId) {
        if self.tasks.get(&task).is_some_and(|known| known.told) {
            let failure = TaskFailure::Killed { reason: "it was called back before it had begun".to_owned() };
            self.task_ended(task, TaskEnd::Failed(failure));
        } else {
            self.tasks.remove(&task);
        }
    }

    /// The task's large result is being fetched.
    pub(crate) fn getting_result(&mut self, task: TaskId) {
        if !self.on {
            return;
        }
        let time = self.present();
        if let Some(known) = self.tasks.get_mut(&task) {
            known.info.getting_result = Some(time);
            let (stage, info) = (known.stage, known.info.clone());
            self.say(|_| AppEvent::TaskGettingResult { stage, info });
        }
    }

    /// What an executor says of a task that is not over.
    #[inline]
    pub(crate) fn report(&mut self, task: TaskId, report: Box<TaskReport>) {
        self.reports.insert(task, report);
    }

    /// The task is over without success, and what it reported counts for nothing unless somebody listens.
    pub(crate) fn forget_report(&mut self, task: TaskId) {
        self.reports.remove(&task);
    }

    /// The task is over. Returns what it added to accumulators.
    #[inline]
    pub(crate) fn task_ended(&mut self, task: TaskId, end: TaskEnd) -> Vec<AccumulatorUpdate> {
        let report = self.reports.remove(&task).map(|report| *report).unwrap_or_default();
        if self.on {
            self.task_started(task, self.present());
            if let Some(LaunchedTask { stage, kind, mut info, .. }) = self.tasks.remove(&task) {
                info.finished = Some(self.present());
                let metrics = report.metrics.map(Box::new);
                self.say(|_| AppEvent::TaskEnd { stage, kind, end, info, metrics });
            }
        }
        report.accumulators
    }

    /// A kept partition is there and takes so many bytes, or is there no longer.
    pub(crate) fn block(&mut self, executor: ExecutorId, rdd: RddId, partition: u32, bytes: Option<u64>) {
        let (stored, memory_bytes) = (bytes.is_some(), bytes.unwrap_or(0));
        self.say(|_| AppEvent::BlockUpdated { executor, rdd, partition, stored, memory_bytes });
    }

    /// Who was said to have begun, and not to have ended, has not; and nothing is kept of who has.
    pub(crate) fn check(
        &self,
        runs: impl Fn(TaskId) -> bool,
        submitted: impl Fn(StageAttempt) -> bool,
        active: impl Fn(JobId) -> bool,
    ) -> Result<(), String> {
        if let Some(stray) = self.reports.keys().find(|task| !runs(**task)) {
            return Err(format!("{stray} is over and what its executor said of it is kept"));
        }
        let task = self.tasks.keys().find(|task| !runs(**task)).map(ToString::to_string);
        let stage = self.stages.keys().find(|attempt| !submitted(**attempt)).map(ToString::to_string);
        let job = self.jobs.iter().find(|job| !active(**job)).map(ToString::to_string);
        match task.or(stage).or(job) {
            Some(over) => Err(format!("{over} is over and nobody was told")),
            None => Ok(()),
        }
    }
}
