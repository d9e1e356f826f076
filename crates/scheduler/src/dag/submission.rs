//! Job submission: a graph is cut into stages at its shuffles; stages start when their parents' outputs are there.

use std::{collections::BTreeSet, sync::Arc};

use firesteel_common::{JobId, ShuffleId, StageId, Tick};

use super::{
    Job,
    stage::{AttemptInfo, Stage, StageState},
};
use crate::{
    driver_core::DriverCore,
    effect::{DriverEffect, StageKind},
    error::JobError,
    graph::{GraphDep, JobGraph},
    map_outputs::{Generations, conflict},
    tasks::task_set::NewTask,
};

/// A shuffle that is read somewhere: its id, the index of the RDD that is shuffled, and its reducers.
type ShuffleEdge = (ShuffleId, usize, u32);

/// Finds the nodes of one stage after another without visiting a node of the same stage twice.
struct Walker<'a> {
    graph: &'a JobGraph,
    seen: Vec<u32>,
    round: u32,
}

/// What lies between a stage's RDD and the shuffles that it reads.
struct StageNodes {
    shuffles: Vec<ShuffleEdge>,
    cached: Vec<usize>,
    indeterminate: bool,
    has_places: bool,
}

impl Walker<'_> {
    fn stage(&mut self, from: usize) -> StageNodes {
        self.round += 1;
        let mut found =
            StageNodes { shuffles: Vec::new(), cached: Vec::new(), indeterminate: false, has_places: false };
        let mut stack = vec![from];
        while let Some(i) = stack.pop() {
            if std::mem::replace(&mut self.seen[i], self.round) == self.round {
                continue;
            }
            let node = &self.graph.nodes[i];
            found.indeterminate |= node.indeterminate;
            found.has_places |= node.cached || !node.preferred.is_empty();
            if node.cached {
                found.cached.push(i);
            }
            for dep in &node.deps {
                match dep {
                    GraphDep::Narrow { parent, .. } => stack.push(*parent),
                    GraphDep::Shuffle { shuffle, parent, reducers } => {
                        if !found.shuffles.iter().any(|(s, ..)| s == shuffle) {
                            found.shuffles.push((*shuffle, *parent, *reducers));
                        }
                    }
                }
            }
        }
        found
    }
}

impl DriverCore {
    pub(crate) fn submit_job(
        &mut self,
        now: Tick,
        job: JobId,
        graph: JobGraph,
        partitions: Vec<u32>,
        out: &mut Vec<DriverEffect>,
    ) {
        if let Err(error) = self.check_submission(job, &graph, &partitions) {
            out.push(DriverEffect::JobFailed { job, error });
            return;
        }
        if partitions.is_empty() {
            out.push(DriverEffect::JobSucceeded { job });
            return;
        }
        let graph = Arc::new(graph);
        let (result_stage, stages) = self.cut_stages(job, &graph, out);
        let count = partitions.len();
        self.dag.jobs.insert(
            job,
            Job {
                result_stage,
                partitions,
                finished: vec![false; count],
                remaining: count as u32,
                result_bytes: 0,
                computed_from: Default::default(),
                stages,
            },
        );
        self.submit_stages(now, vec![result_stage], out);
    }

    fn check_submission(&self, job: JobId, graph: &JobGraph, partitions: &[u32]) -> Result<(), JobError> {
        if let Some(error) = &self.dag.closed {
            return Err(error.clone());
        }
        let invalid = |message| Err(JobError::InvalidGraph { message });
        if self.dag.jobs.contains_key(&job) {
            return invalid(format!("{job} runs already"));
        }
        if let Err(message) = graph.validate() {
            return invalid(message);
        }
        let root = &graph.nodes[graph.root];
        match partitions.iter().find(|p| **p >= root.partitions) {
            Some(p) => invalid(format!("partition {p} was asked of {}, which has {}", root.rdd, root.partitions)),
            None => Ok(()),
        }
    }

    /// Makes the job's stages, or finds those that other jobs already have, and returns the result stage and all.
    fn cut_stages(
        &mut self,
        job: JobId,
        graph: &Arc<JobGraph>,
        out: &mut Vec<DriverEffect>,
    ) -> (StageId, BTreeSet<StageId>) {
        let mut walker = Walker { graph, seen: vec![0; graph.nodes.len()], round: 0 };
        let result = walker.stage(graph.root);
        let mut to_walk: Vec<ShuffleEdge> = result.shuffles.clone();
        let mut maps: Vec<(ShuffleEdge, StageNodes)> = Vec::new();
        let mut known = BTreeSet::new();
        while let Some(edge) = to_walk.pop() {
            if known.insert(edge.0) {
                let nodes = walker.stage(edge.1);
                to_walk.extend(&nodes.shuffles);
                maps.push((edge, nodes));
            }
        }
        // Parents get lower numbers: a node stands behind what it depends on.
        maps.sort_by_key(|((shuffle, node, _), _)| (*node, *shuffle));
        let mut stages = BTreeSet::new();
        for ((shuffle, node, reducers), nodes) in maps {
            let stage = match self.dag.map_stages.get(&shuffle) {
                Some(stage) => *stage,
                None => {
                    let rdd = &graph.nodes[node];
                    self.outputs.ensure(shuffle, rdd.partitions, nodes.indeterminate);
                    let kind = StageKind::ShuffleMap { shuffle, reducers };
                    let stage = self.new_stage(job, graph, node, kind, nodes);
                    self.dag.map_stages.insert(shuffle, stage);
                    if self.outputs.is_available(shuffle) {
                        out.push(DriverEffect::StageSkipped { stage, shuffle, job });
                    }
                    stage
                }
            };
            self.need_stage(job, stage, &mut stages);
        }
        let result_stage = self.new_stage(job, graph, graph.root, StageKind::Result { job }, result);
        stages.insert(result_stage);
        (result_stage, stages)
    }

    /// Notes that a job needs a stage and all that it may need, also where its own graph does not show that.
    fn need_stage(&mut self, job: JobId, stage: StageId, stages: &mut BTreeSet<StageId>) {
        let mut todo = vec![stage];
        while let Some(id) = todo.pop() {
            if stages.insert(id)
                && let Some(s) = self.dag.stages.get_mut(&id)
            {
                s.jobs.insert(job);
                todo.extend(s.parents.iter().map(|(_, parent)| *parent));
            }
        }
    }

    fn new_stage(
        &mut self,
        job: JobId,
        graph: &Arc<JobGraph>,
        node: usize,
        kind: StageKind,
        nodes: StageNodes,
    ) -> StageId {
        let id = StageId(self.dag.next_stage);
        self.dag.next_stage += 1;
        let parents = nodes.shuffles.iter().filter_map(|(s, ..)| Some((*s, *self.dag.map_stages.get(s)?))).collect();
        let rdd = &graph.nodes[node];
        let stage = Stage {
            id,
            kind,
            graph: graph.clone(),
            node,
            rdd: rdd.rdd,
            parents,
            jobs: BTreeSet::from([job]),
            priority: job,
            state: StageState::Idle,
            next_attempt: 0,
            failed_attempts: 0,
            attempts: Default::default(),
            required: BTreeSet::new(),
            cached_nodes: nodes.cached,
            has_places: nodes.has_places,
        };
        self.dag.stages.insert(id, stage);
        id
    }

    /// Starts the stages, or first the parents whose output they miss. A loop, as lineages are long.
    pub(crate) fn submit_stages(&mut self, now: Tick, mut todo: Vec<StageId>, out: &mut Vec<DriverEffect>) {
        while let Some(id) = todo.pop() {
            let Some(stage) = self.dag.stages.get(&id) else { continue };
            if stage.state != StageState::Idle {
                continue;
            }
            let missing = self.missing_parents(stage);
            if missing.is_empty() {
                self.start_attempt(now, id, &mut todo, out);
            } else {
                self.set_state(id, StageState::Waiting);
                todo.extend(missing.into_iter().rev());
            }
        }
    }

    pub(crate) fn set_state(&mut self, id: StageId, state: StageState) {
        let Some(stage) = self.dag.stages.get_mut(&id) else { return };
        stage.state = state;
        match state {
            StageState::Failed { .. } => self.dag.failed.insert(id),
            _ => self.dag.failed.remove(&id),
        };
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
    pub(crate) fn missing_outputs(&self, stage: &Stage) -> Vec<u32> {
        match stage.kind {
            StageKind::ShuffleMap { shuffle, .. } => self.outputs.missing(shuffle),
            StageKind::Result { job } => {
                let finished = self.dag.jobs.get(&job).map_or(&[][..], |j| &j.finished);
                (0u32..).zip(finished).filter(|(_, f)| !**f).map(|(i, _)| i).collect()
            }
        }
    }

    /// All parents are there: starts an attempt of what is missing. Stages that may go on are added to `todo`.
    fn start_attempt(&mut self, now: Tick, id: StageId, todo: &mut Vec<StageId>, out: &mut Vec<DriverEffect>) {
        let Some(stage) = self.dag.stages.get(&id) else { return };
        let missing = self.missing_outputs(stage);
        if missing.is_empty() {
            todo.extend(self.stage_complete(id, out));
            return;
        }
        if let Some((reader, shuffle)) = self.indeterminate_conflict(stage) {
            self.forget_mixed(reader, out);
            self.abort_stage(reader, &JobError::Indeterminate { stage: reader, shuffle }, out);
            // Other jobs may want this stage all the same.
            todo.push(id);
            return;
        }
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
        let preferences = self.preferences(stage, &partitions);
        let tasks: Vec<NewTask> = missing
            .iter()
            .zip(&partitions)
            .zip(preferences)
            .map(|((index, partition), preference)| NewTask { index: *index, partition: *partition, preference })
            .collect();
        let reads = self.outputs.generations(parents.iter().copied());
        let info = AttemptInfo { epoch: self.outputs.epoch(), reads };
        let shuffles = parents.iter().filter_map(|s| Some((*s, self.outputs.locations(*s)?))).collect();
        if let Some(stage) = self.dag.stages.get_mut(&id) {
            stage.next_attempt += 1;
            stage.attempts.insert(number, info);
        }
        self.set_state(id, StageState::Running { attempt: number });
        out.push(DriverEffect::StageStarted { attempt, kind, rdd, tasks: tasks.len() as u32, shuffles });
        self.tasks.submit(now, key, tasks);
    }

    /// Whether an attempt of this stage would mix what was computed from different outputs of an indeterminate
    /// shuffle: its own finished part, its readers' finished parts, or cached partitions that it reads. Says who had
    /// read what.
    fn indeterminate_conflict(&self, stage: &Stage) -> Option<(StageId, ShuffleId)> {
        let reads = self.outputs.generations(stage.parents.iter().map(|(s, _)| *s));
        if let Some(shuffle) = self.finished_from(stage).and_then(|old| conflict(old, &reads)) {
            return Some((stage.id, shuffle));
        }
        for i in &stage.cached_nodes {
            let cached = self.blocks.computed_from(stage.graph.nodes[*i].rdd);
            if let Some(shuffle) = cached.and_then(|old| conflict(old, &reads)) {
                return Some((stage.id, shuffle));
            }
        }
        let StageKind::ShuffleMap { shuffle, .. } = stage.kind else { return None };
        if !self.outputs.would_replace(shuffle) {
            return None;
        }
        let has_read = |reader: &&Stage| {
            reader.parents.iter().any(|(s, _)| *s == shuffle)
                && !self.missing_outputs(reader).is_empty()
                && self.finished_from(reader).is_some_and(|from| from.contains_key(&shuffle))
        };
        self.dag.stages.values().find(has_read).map(|reader| (reader.id, shuffle))
    }

    /// After a conflict: what is finished of the stage and what is cached in it is of no use to a later job either.
    fn forget_mixed(&mut self, id: StageId, out: &mut Vec<DriverEffect>) {
        let Some(stage) = self.dag.stages.get(&id) else { return };
        if let StageKind::ShuffleMap { shuffle, .. } = stage.kind {
            self.outputs.unregister_all(shuffle);
        }
        for i in &stage.cached_nodes {
            let rdd = stage.graph.nodes[*i].rdd;
            self.blocks.remove_rdd(rdd);
            out.push(DriverEffect::DropRdd { rdd });
        }
    }

    /// What the finished part of a stage was computed from; None when nothing is finished.
    fn finished_from(&self, stage: &Stage) -> Option<&Generations> {
        match stage.kind {
            StageKind::ShuffleMap { shuffle, .. } => self.outputs.computed_from(shuffle),
            StageKind::Result { job } => {
                self.dag.jobs.get(&job).filter(|j| (j.remaining as usize) < j.finished.len()).map(|j| &j.computed_from)
            }
        }
    }
}
