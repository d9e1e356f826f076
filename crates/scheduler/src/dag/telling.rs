//! What the DAGScheduler knows of jobs, stages and tasks, as listeners are told of it.

use firesteel_common::{JobId, RddId, StageAttempt};
use firesteel_events::{RddInfo, StageInfo, TaskInfo, TaskKind, TaskLocality};

use super::{dag_scheduler::DagScheduler, stage::Stage, walker::Walker};
use crate::{
    effect::{DriverEffect, StageKind},
    graph::JobGraph,
    news::News,
    tasks::{locality::Locality, task_scheduler::TaskScheduler},
};

/// Looks up what listeners are to be told.
#[derive(Debug)]
pub(crate) struct Telling<'a> {
    pub(super) dag: &'a DagScheduler,
    pub(super) tasks: &'a TaskScheduler,
    pub(super) news: &'a mut News,
}

impl Telling<'_> {
    pub(super) fn job_started(&mut self, job: JobId) {
        if !self.news.is_on() {
            return;
        }
        let Some(known) = self.dag.jobs.get(&job) else { return };
        let stages = known.stages.iter().filter_map(|id| self.dag.stages.get(*id));
        let describe = |stage: &Stage| describe(stage, stage.next_attempt, self.dag.all_outputs(stage));
        self.news.job_started(job, known.site, stages.map(describe).collect(), &known.properties.local);
    }

    pub(super) fn stage_submitted(&mut self, attempt: StageAttempt, tasks: u32) {
        if !self.news.is_on() {
            return;
        }
        let Some(stage) = self.dag.stages.get(attempt.stage) else { return };
        let job = stage.jobs.iter().find_map(|job| self.dag.jobs.get(job));
        let properties = job.map(|job| job.properties.local.clone()).unwrap_or_default();
        self.news.stage_submitted(describe(stage, attempt.attempt, tasks), properties);
    }

    /// Tells of the tasks that are launched by `effects`.
    pub(crate) fn launched(&mut self, effects: &[DriverEffect]) {
        if !self.news.is_on() {
            return;
        }
        let time = self.news.present();
        for effect in effects {
            let DriverEffect::LaunchTasks { executor, tasks } = effect else { continue };
            let host = self.tasks.executors().host_of(*executor).map_or_else(String::new, |host| host.to_string());
            for spec in tasks {
                let Some(running) = self.tasks.running(spec.task) else { continue };
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
                let kind = self.dag.stages.get(spec.stage.stage).map_or(TaskKind::Result, |stage| kind(stage.kind));
                self.news.task_launched(spec.stage, kind, info, running.ahead);
            }
        }
    }
}

impl DagScheduler {
    /// How many outputs the stage has in all.
    fn all_outputs(&self, stage: &Stage) -> u32 {
        match stage.kind {
            StageKind::ShuffleMap { .. } => stage.graph.nodes[stage.node].partitions,
            StageKind::Result { job } => self.jobs.get(&job).map_or(0, |job| job.partitions.len() as u32),
        }
    }
}

/// What is known of an attempt before it starts.
fn describe(stage: &Stage, attempt: u32, tasks: u32) -> StageInfo {
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
