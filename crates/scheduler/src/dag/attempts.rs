//! Stages start when their parents' outputs are there, as attempts of what is missing.

use std::collections::BTreeSet;

use firesteel_common::{ShuffleId, StageId, Tick};

use super::{
    handler::DagHandler,
    job::Job,
    locality::Locality,
    stage::{AttemptInfo, Stage, StageState},
};
use crate::{
    effect::{DriverEffect, StageKind},
    graph::GraphDep,
    tasks::task_set::NewTask,
};

impl DagHandler<'_> {
    /// Starts the stages, or first the parents whose output they miss. A loop, as lineages are long.
    pub(crate) fn submit_stages(&mut self, now: Tick, mut todo: Vec<StageId>, out: &mut Vec<DriverEffect>) {
        while let Some(id) = todo.pop() {
            let Some(stage) = self.dag.stages.get(id) else { continue };
            if stage.state != StageState::Idle {
                continue;
            }
            let missing = self.missing_parents(stage);
            if missing.is_empty() {
                self.start_attempt(now, id, &mut todo, out);
            } else {
                self.dag.stages.set_state(id, StageState::Waiting);
                todo.extend(missing.into_iter().rev());
            }
        }
    }

    /// Parents whose output is needed and not all there. What lies behind a fully cached RDD is not needed, unless a
    /// task has found that it is.
    fn missing_parents(&self, stage: &Stage) -> Vec<StageId> {
        let lacks = |shuffle: &ShuffleId| !self.outputs.is_available(*shuffle);
        let candidates: Vec<&(ShuffleId, StageId)> = stage.parents.iter().filter(|(s, _)| lacks(s)).collect();
        if candidates.is_empty() {
            return Vec::new();
        }
        let graph = &stage.graph;
        let complete = |i: &usize| self.blocks.is_complete(graph.nodes[*i].rdd, graph.nodes[*i].partitions);
        let cut: BTreeSet<usize> = stage.cached_nodes.iter().copied().filter(complete).collect();
        if cut.is_empty() {
            return candidates.iter().map(|(_, id)| *id).collect();
        }
        let mut needed: BTreeSet<ShuffleId> = stage.required.clone();
        let (mut seen, mut stack) = (BTreeSet::new(), vec![stage.node]);
        while let Some(i) = stack.pop() {
            if cut.contains(&i) || !seen.insert(i) {
                continue;
            }
            for dep in &graph.nodes[i].deps {
                match dep {
                    GraphDep::Narrow { parent, .. } => stack.push(*parent),
                    GraphDep::Shuffle { shuffle, .. } => {
                        needed.insert(*shuffle);
                    }
                }
            }
        }
        candidates.iter().filter(|(s, _)| needed.contains(s)).map(|(_, id)| *id).collect()
    }

    /// Outputs of the stage that are not there, ascending.
    pub(super) fn missing_outputs(&self, stage: &Stage) -> Vec<u32> {
        self.dag.missing_outputs(stage, self.outputs)
    }

    /// The first job that still needs the stage: its properties are those of the stage's tasks.
    fn active_job(&self, stage: StageId) -> Option<&Job> {
        self.dag.stages.get(stage)?.jobs.iter().find_map(|job| self.dag.jobs.get(job))
    }

    /// All parents are there: starts an attempt of what is missing. Stages that may go on are added to `todo`.
    fn start_attempt(&mut self, now: Tick, id: StageId, todo: &mut Vec<StageId>, out: &mut Vec<DriverEffect>) {
        let Some(stage) = self.dag.stages.get(id) else { return };
        let missing = self.missing_outputs(stage);
        if missing.is_empty() {
            todo.extend(self.stage_complete(id, out));
            return;
        }
        if !self.clear_the_way(now, id, out) {
            // Some parent may be missing now, or the job is over and others want this stage all the same.
            todo.push(id);
            return;
        }
        self.forget_part(id);
        let Some(stage) = self.dag.stages.get(id) else { return };
        let barrier = stage.barrier;
        let missing = self.missing_outputs(stage);
        let (kind, rdd, number) = (stage.kind, stage.rdd, stage.next_attempt);
        let attempt = stage.attempt_id(number);
        let key = stage.key(number);
        let parents: Vec<ShuffleId> = stage.parents.iter().map(|(s, _)| *s).collect();
        let partitions: Vec<u32> = match kind {
            StageKind::ShuffleMap { .. } => missing.clone(),
            StageKind::Result { job } => {
                let all = self.dag.jobs.get(&job).map_or(&[][..], |j| &j.partitions);
                missing.iter().filter_map(|i| all.get(*i as usize).copied()).collect()
            }
        };
        let locality = Locality { executors: self.tasks.executors(), blocks: self.blocks };
        let preferences = locality.preferences(stage, &partitions);
        let tasks: Vec<NewTask> = missing
            .iter()
            .zip(&partitions)
            .zip(preferences)
            .map(|((index, partition), preference)| NewTask { index: *index, partition: *partition, preference })
            .collect();
        let direct = self.outputs.generations(parents.iter().copied());
        let reads = self.outputs.sources(parents.iter().copied());
        let info = AttemptInfo { epoch: self.outputs.epoch(), direct, reads };
        let shuffles = parents.iter().filter_map(|s| Some((*s, self.outputs.locations(*s)?))).collect();
        if let Some(stage) = self.dag.stages.get_mut(id) {
            stage.next_attempt += 1;
            stage.attempts.insert(number, info);
        }
        self.dag.stages.set_state(id, StageState::Running { attempt: number });
        let said = self.active_job(id).map(|job| &job.properties);
        let pool = said.and_then(|said| said.pool.clone());
        let properties = said.map(|said| said.local.clone()).unwrap_or_default();
        out.push(DriverEffect::StageStarted { attempt, kind, rdd, tasks: tasks.len() as u32, shuffles, properties });
        if barrier {
            self.barriers.open(attempt, tasks.len() as u32);
        }
        self.telling().stage_submitted(attempt, tasks.len() as u32);
        self.tasks.submit(now, key, pool.as_deref(), tasks, barrier);
    }
}
