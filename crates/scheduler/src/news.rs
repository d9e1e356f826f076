//! What the schedulers tell of what happens, beside their effects: [`AppEvent`]s, for whoever listens.
//!
//! While nobody listens this is a bool that is looked at; nothing is made or remembered. Whoever begins to listen hears of
//! no end of what had begun before.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    sync::Arc,
    time::Duration,
};

use firesteel_common::{CallSite, ExecutorId, JobId, RddId, StageAttempt, TaskFailure, TaskId, Tick};
use firesteel_events::{
    AccumulatorUpdate, AppEvent, JobEnd, RddInfo, StageInfo, TaskEnd, TaskInfo, TaskKind, TaskLocality,
};

use crate::{
    dag::{stage::Stage, submission::Walker},
    driver_core::DriverCore,
    effect::{DriverEffect, StageKind},
    graph::JobGraph,
    tasks::task_set::Locality,
};

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

    fn time(&self, at: Tick) -> u64 {
        self.epoch + at.0 / 1_000_000
    }

    /// Says what `event` makes of the present time, if anybody listens.
    #[inline]
    pub(crate) fn say(&mut self, event: impl FnOnce(u64) -> AppEvent) {
        if self.on {
            let event = event(self.time(self.now));
            self.said.push(event);
        }
    }

    /// Who was said to have begun, and not to have ended, has not.
    pub(crate) fn check(
        &self,
        runs: impl Fn(TaskId) -> bool,
        submitted: impl Fn(StageAttempt) -> bool,
        active: impl Fn(JobId) -> bool,
    ) -> Result<(), String> {
        let task = self.tasks.keys().find(|task| !runs(**task)).map(ToString::to_string);
        let stage = self.stages.keys().find(|attempt| !submitted(**attempt)).map(ToString::to_string);
        let job = self.jobs.iter().find(|job| !active(**job)).map(ToString::to_string);
        match task.or(stage).or(job) {
            Some(over) => Err(format!("{over} is over and nobody was told")),
            None => Ok(()),
        }
    }
}

impl DriverCore {
    /// Tells of what happens from now on, or not any more. `epoch` is the wall clock at `Tick::ZERO`, in milliseconds
    /// since 1970.
    pub fn listen(&mut self, on: bool, epoch: u64) {
        if self.news.on != on {
            self.news = News { on, epoch, now: self.news.now, ..News::default() };
        }
    }

    /// Whether what happens is told.
    pub fn is_listened_to(&self) -> bool {
        self.news.on
    }

    /// What happened since this was last called, in order; nothing while nobody listens.
    pub fn take_news(&mut self) -> Vec<AppEvent> {
        std::mem::take(&mut self.news.said)
    }

    pub(crate) fn tell_job_started(&mut self, job: JobId) {
        if !self.news.on {
            return;
        }
        let Some(known) = self.dag.jobs.get(&job) else { return };
        let stages = known.stages.iter().filter_map(|id| self.dag.stages.get(id));
        let stages = stages.map(|stage| self.describe(stage, stage.next_attempt, self.all_outputs(stage))).collect();
        let (name, properties) = (format!("{:#}", known.site), Arc::new(known.properties.local.clone()));
        self.news.jobs.insert(job);
        self.news.say(|time| AppEvent::JobStart { job, time, name, stages, properties });
    }

    /// A job without anything to do is over at once.
    pub(crate) fn tell_empty_job(&mut self, job: JobId, site: CallSite, properties: &BTreeMap<String, String>) {
        if self.news.on {
            let (name, properties) = (format!("{site:#}"), Arc::new(properties.clone()));
            self.news.say(|time| AppEvent::JobStart { job, time, name, stages: Vec::new(), properties });
            self.news.say(|time| AppEvent::JobEnd { job, time, result: JobEnd::Succeeded });
        }
    }

    /// `error` is None where the job succeeded.
    pub(crate) fn tell_job_ended(&mut self, job: JobId, error: Option<&str>) {
        if self.news.jobs.remove(&job) {
            let failed = |error: &str| JobEnd::Failed { error: error.to_owned() };
            let result = error.map_or(JobEnd::Succeeded, failed);
            self.news.say(|time| AppEvent::JobEnd { job, time, result });
        }
    }

    pub(crate) fn tell_stage_submitted(&mut self, attempt: StageAttempt, tasks: u32) {
        if !self.news.on {
            return;
        }
        let Some(stage) = self.dag.stages.get(&attempt.stage) else { return };
        let mut info = self.describe(stage, attempt.attempt, tasks);
        info.submitted = Some(self.news.time(self.news.now));
        let job = stage.jobs.iter().find_map(|job| self.dag.jobs.get(job));
        let properties = Arc::new(job.map(|job| job.properties.local.clone()).unwrap_or_default());
        self.news.stages.insert(attempt, info.clone());
        self.news.say(|_| AppEvent::StageSubmitted { info, properties });
    }

    /// `failure` is None where the attempt did what it was to do.
    pub(crate) fn tell_stage_completed(&mut self, attempt: StageAttempt, failure: Option<&dyn Display>) {
        if let Some(mut info) = self.news.stages.remove(&attempt) {
            info.completed = Some(self.news.time(self.news.now));
            info.failure = failure.map(|f| f.to_string());
            self.news.say(|_| AppEvent::StageCompleted { info });
        }
    }

    /// Tells of the tasks that are launched by `effects`.
    pub(crate) fn tell_launched(&mut self, effects: &[DriverEffect]) {
        if !self.news.on {
            return;
        }
        let time = self.news.time(self.news.now);
        for effect in effects {
            let DriverEffect::LaunchTasks { executor, tasks } = effect else { continue };
            let host = self.tasks.executors.host_of(*executor).map_or_else(String::new, |host| host.to_string());
            for spec in tasks {
                let Some(running) = self.tasks.running.get(&spec.task) else { continue };
                let info = TaskInfo {
                    task: spec.task,
                    index: self.tasks.index_of(spec.task).unwrap_or_default(),
                    attempt_number: spec.attempt_number,
                    partition: spec.partition,
                    launched: time,
                    executor: *executor,
                    host: host.clone(),
                    locality: locality(running.locality),
                    speculative: spec.speculative,
                    getting_result: None,
                    finished: None,
                };
                let kind = self.dag.stages.get(&spec.stage.stage).map_or(TaskKind::Result, |stage| kind(stage.kind));
                let ahead = running.ahead;
                let launched = LaunchedTask { stage: spec.stage, kind, info, told: false };
                self.news.tasks.insert(spec.task, launched);
                if !ahead {
                    self.tell_task_started(spec.task, time);
                }
            }
        }
    }

    /// The task began at `time`, unless that was said before.
    fn tell_task_started(&mut self, task: TaskId, time: u64) {
        let Some(known) = self.news.tasks.get_mut(&task).filter(|known| !known.told) else { return };
        known.told = true;
        known.info.launched = time;
        let (stage, info) = (known.stage, known.info.clone());
        self.news.say(|_| AppEvent::TaskStart { stage, info });
    }

    /// A task that had waited at its executor has begun, and has `ran` so long since.
    #[inline]
    pub(crate) fn tell_task_began(&mut self, task: TaskId, ran: Duration) {
        if self.news.on {
            let began = Tick(self.news.now.0.saturating_sub(ran.as_nanos() as u64));
            self.tell_task_started(task, self.news.time(began));
        }
    }

    /// A task came back before it had begun. Nobody hears of it, unless it was said to have started.
    pub(crate) fn tell_given_back(&mut self, task: TaskId) {
        if self.news.tasks.get(&task).is_some_and(|known| known.told) {
            let failure = TaskFailure::Killed { reason: "it was called back before it had begun".to_owned() };
            self.tell_task_ended(task, TaskEnd::Failed(failure));
        } else {
            self.news.tasks.remove(&task);
        }
    }

    pub(crate) fn tell_getting_result(&mut self, task: TaskId) {
        if !self.news.on {
            return;
        }
        let time = self.news.time(self.news.now);
        if let Some(known) = self.news.tasks.get_mut(&task) {
            known.info.getting_result = Some(time);
            let (stage, info) = (known.stage, known.info.clone());
            self.news.say(|_| AppEvent::TaskGettingResult { stage, info });
        }
    }

    /// The task is over. Returns what it added to accumulators.
    pub(crate) fn tell_task_ended(&mut self, task: TaskId, end: TaskEnd) -> Vec<AccumulatorUpdate> {
        let report = self.reports.remove(&task).map(|report| *report).unwrap_or_default();
        if self.news.on {
            self.tell_task_started(task, self.news.time(self.news.now));
            if let Some(LaunchedTask { stage, kind, mut info, .. }) = self.news.tasks.remove(&task) {
                info.finished = Some(self.news.time(self.news.now));
                let metrics = report.metrics.map(Box::new);
                self.news.say(|_| AppEvent::TaskEnd { stage, kind, end, info, metrics });
            }
        }
        report.accumulators
    }

    /// A kept partition is there and takes so many bytes, or is there no longer.
    pub(crate) fn tell_block(&mut self, executor: ExecutorId, rdd: RddId, partition: u32, bytes: Option<u64>) {
        let (stored, memory_bytes) = (bytes.is_some(), bytes.unwrap_or(0));
        self.news.say(|_| AppEvent::BlockUpdated { executor, rdd, partition, stored, memory_bytes });
    }

    /// How many outputs the stage has in all.
    fn all_outputs(&self, stage: &Stage) -> u32 {
        match stage.kind {
            StageKind::ShuffleMap { .. } => stage.graph.nodes[stage.node].partitions,
            StageKind::Result { job } => self.dag.jobs.get(&job).map_or(0, |job| job.partitions.len() as u32),
        }
    }

    /// What is known of an attempt before it starts.
    fn describe(&self, stage: &Stage, attempt: u32, tasks: u32) -> StageInfo {
        let site = stage.site;
        StageInfo {
            attempt: stage.attempt_id(attempt),
            name: format!("{site:#}"),
            details: site.to_string(),
            tasks,
            kind: kind(stage.kind),
            rdds: rdds(&stage.graph, stage.node),
            parents: stage.parents.iter().map(|(_, parent)| *parent).collect(),
            submitted: None,
            completed: None,
            failure: None,
        }
    }
}

fn kind(kind: StageKind) -> TaskKind {
    match kind {
        StageKind::ShuffleMap { .. } => TaskKind::ShuffleMap,
        StageKind::Result { .. } => TaskKind::Result,
    }
}

fn locality(locality: Locality) -> TaskLocality {
    match locality {
        Locality::Process => TaskLocality::Process,
        Locality::Node => TaskLocality::Node,
        Locality::NoPreference => TaskLocality::NoPreference,
        Locality::Rack => TaskLocality::Rack,
        Locality::Any => TaskLocality::Any,
    }
}

/// The RDDs between a stage's and the shuffles that it reads.
fn rdds(graph: &JobGraph, node: usize) -> Vec<RddInfo> {
    let info = |i: &usize| {
        let node = &graph.nodes[*i];
        RddInfo {
            rdd: node.rdd,
            name: node.name.as_deref().unwrap_or(node.operator).to_owned(),
            call_site: format!("{:#}", node.site()),
            partitions: node.partitions,
            parents: node.deps.iter().map(|dep| graph.nodes[dep.parent()].rdd).collect::<Vec<RddId>>(),
            cached: node.cached,
            barrier: node.barrier,
            level: node.level,
        }
    };
    Walker::new(graph).stage(node).nodes.iter().map(info).collect()
}
