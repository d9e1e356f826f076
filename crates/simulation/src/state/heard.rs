//! What a driver's schedulers have told of what happens, held against what can be: everything ends once, what has begun,
//! and within what it belongs to.

use std::collections::{BTreeMap, BTreeSet};

use firesteel_common::{ExecutorId, JobId, StageAttempt, StageId, TaskId};
use firesteel_events::{AppEvent, JobEnd};

/// What was told of one application.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) jobs: BTreeMap<JobId, BTreeSet<StageId>>,
    /// How each job ended.
    pub(crate) over: BTreeMap<JobId, bool>,
    /// The attempt of each stage that is submitted.
    pub(crate) stages: BTreeMap<StageId, u32>,
    pub(crate) completed: BTreeSet<StageAttempt>,
    /// Tasks that run, and where.
    pub(crate) tasks: BTreeMap<TaskId, (StageAttempt, ExecutorId)>,
    pub(crate) ended: BTreeSet<TaskId>,
    pub(crate) executors: BTreeSet<ExecutorId>,
}

impl Heard {
    /// Takes an event; the error says why it cannot be.
    pub(crate) fn take(&mut self, event: &AppEvent) -> Result<(), String> {
        match event {
            AppEvent::JobStart { job, stages, .. } => {
                let stages = stages.iter().map(|s| s.attempt.stage).collect();
                let news = !self.over.contains_key(job) && self.jobs.insert(*job, stages).is_none();
                ensure(news, || format!("{job} starts twice"))
            }
            AppEvent::JobEnd { job, result, .. } => {
                let succeeded = *result == JobEnd::Succeeded;
                let stages = self.jobs.remove(job).ok_or(format!("{job} ends and does not run"))?;
                self.over.insert(*job, succeeded);
                let others: BTreeSet<&StageId> = self.jobs.values().flatten().collect();
                let left = stages.iter().find(|s| !others.contains(s) && self.stages.contains_key(s));
                ensure(left.is_none(), || format!("{job} ends before its stage {left:?}"))
            }
            AppEvent::StageSubmitted { info, .. } => {
                let StageAttempt { stage, attempt } = info.attempt;
                ensure(self.jobs.values().any(|s| s.contains(&stage)), || format!("{stage} is of no job"))?;
                ensure(!self.completed.contains(&info.attempt), || format!("{} starts again", info.attempt))?;
                let before = self.stages.insert(stage, attempt);
                ensure(before.is_none(), || format!("{} starts beside attempt {before:?}", info.attempt))
            }
            AppEvent::StageCompleted { info } => {
                let StageAttempt { stage, attempt } = info.attempt;
                let known = self.stages.remove(&stage) == Some(attempt) && self.completed.insert(info.attempt);
                ensure(known, || format!("{} ends and does not run", info.attempt))
            }
            AppEvent::TaskStart { stage, info } => {
                let known = self.completed.contains(stage) || self.stages.get(&stage.stage) == Some(&stage.attempt);
                ensure(known, || format!("{} starts before {stage}", info.task))?;
                let here = self.executors.contains(&info.executor);
                ensure(here, || format!("{} starts on {}, which is not there", info.task, info.executor))?;
                let news = !self.ended.contains(&info.task);
                let news = self.tasks.insert(info.task, (*stage, info.executor)).is_none() && news;
                ensure(news, || format!("{} starts twice", info.task))
            }
            AppEvent::TaskGettingResult { info, .. } => {
                ensure(self.tasks.contains_key(&info.task), || format!("{} has a result and does not run", info.task))
            }
            AppEvent::TaskEnd { stage, info, .. } => {
                let runs = self.tasks.remove(&info.task) == Some((*stage, info.executor));
                ensure(runs && self.ended.insert(info.task), || format!("{} ends and does not run", info.task))
            }
            AppEvent::ExecutorAdded { executor, .. } => {
                ensure(self.executors.insert(*executor), || format!("{executor} comes twice"))
            }
            AppEvent::ExecutorRemoved { executor, .. } => {
                ensure(self.executors.contains(executor), || format!("{executor} goes and was not there"))
            }
            _ => Ok(()),
        }
    }
}

pub(crate) fn ensure(holds: bool, text: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(text()) }
}
