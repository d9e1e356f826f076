//! Job submission: a graph is cut into stages at its shuffles.

use std::{collections::BTreeSet, sync::Arc};

use firesteel_common::{CallSite, JobId, ShuffleId, StageId, Tick};

use super::{
    Job,
    result_sizes::ResultSizes,
    stage::{Stage, StageState},
};
use crate::{
    driver_core::DriverCore,
    effect::{DriverEffect, StageKind},
    error::JobError,
    graph::{GraphDep, JobGraph},
    properties::JobProperties,
};

/// A job that is valid and not planned yet.
#[derive(Debug)]
pub(crate) struct WantedJob {
    pub(crate) site: CallSite,
    pub(crate) graph: JobGraph,
    pub(crate) partitions: Vec<u32>,
    pub(crate) properties: JobProperties,
    pub(crate) repeatable: bool,
}

/// A shuffle that is read somewhere: its id, the index of the RDD that is shuffled, and its reducers.
type ShuffleEdge = (ShuffleId, usize, u32);

/// Finds the nodes of one stage after another without visiting a node of the same stage twice.
pub(crate) struct Walker<'a> {
    graph: &'a JobGraph,
    seen: Vec<u32>,
    round: u32,
}

/// What lies between a stage's RDD and the shuffles that it reads.
pub(crate) struct StageNodes {
    pub(super) shuffles: Vec<ShuffleEdge>,
    pub(crate) nodes: Vec<usize>,
    pub(super) barrier: bool,
    cached: Vec<usize>,
    indeterminate: bool,
    has_places: bool,
}

impl<'a> Walker<'a> {
    pub(crate) fn new(graph: &'a JobGraph) -> Self {
        Walker { graph, seen: vec![0; graph.nodes.len()], round: 0 }
    }

    pub(crate) fn stage(&mut self, from: usize) -> StageNodes {
        self.round += 1;
        let mut found = StageNodes {
            shuffles: Vec::new(),
            nodes: Vec::new(),
            barrier: false,
            cached: Vec::new(),
            indeterminate: false,
            has_places: false,
        };
        let mut stack = vec![from];
        while let Some(i) = stack.pop() {
            if std::mem::replace(&mut self.seen[i], self.round) == self.round {
                continue;
            }
            let node = &self.graph.nodes[i];
            found.nodes.push(i);
            found.barrier |= node.barrier;
            found.indeterminate |= node.is_indeterminate();
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
    pub(crate) fn submit_job(&mut self, now: Tick, job: JobId, wanted: WantedJob, out: &mut Vec<DriverEffect>) {
        if let Err(error) = self.check_submission(job, &wanted.graph, &wanted.partitions, &wanted.properties) {
            out.push(DriverEffect::JobFailed { job, error });
            return;
        }
        if wanted.partitions.is_empty() {
            self.tell_empty_job(job, wanted.site, &wanted.properties.local);
            out.push(DriverEffect::JobSucceeded { job });
            return;
        }
        self.plan_job(now, job, wanted, 0, out);
    }

    /// Cuts a job into stages and starts it, unless it has to wait for slots.
    pub(super) fn plan_job(
        &mut self,
        now: Tick,
        job: JobId,
        wanted: WantedJob,
        failed_checks: u32,
        out: &mut Vec<DriverEffect>,
    ) {
        let admitted = self.admit_barrier(now, job, wanted, failed_checks, out);
        let Some(WantedJob { site, graph, partitions, properties, repeatable }) = admitted else { return };
        let graph = Arc::new(graph);
        self.replication.note(&graph);
        let (result_stage, stages) = self.cut_stages(job, site, &graph, out);
        let count = partitions.len();
        self.dag.jobs.insert(
            job,
            Job {
                site,
                result_stage,
                partitions,
                finished: vec![false; count],
                remaining: count as u32,
                results: ResultSizes::new(count),
                repeatable,
                accumulated: Vec::new(),
                computed_from: Default::default(),
                stages,
                properties,
            },
        );
        self.tell_job_started(job);
        self.submit_stages(now, vec![result_stage], out);
    }

    fn check_submission(
        &self,
        job: JobId,
        graph: &JobGraph,
        partitions: &[u32],
        properties: &JobProperties,
    ) -> Result<(), JobError> {
        if let Some(error) = &self.dag.closed {
            return Err(error.clone());
        }
        if let Some(group) = properties.group.as_ref().filter(|g| self.dag.cancelled_groups.contains(g)) {
            return Err(JobError::Cancelled { reason: format!("its group {group} was cancelled, with all to come") });
        }
        let invalid = |message| Err(JobError::InvalidGraph { message });
        if self.dag.jobs.contains_key(&job) || self.dag.held.contains_key(&job) {
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
        site: CallSite,
        graph: &Arc<JobGraph>,
        out: &mut Vec<DriverEffect>,
    ) -> (StageId, BTreeSet<StageId>) {
        let mut walker = Walker::new(graph);
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
                    let parents = nodes.shuffles.iter().map(|(s, ..)| *s).collect();
                    self.outputs.ensure(shuffle, &graph.nodes[node], nodes.indeterminate, parents);
                    let kind = StageKind::ShuffleMap { shuffle, reducers };
                    let stage = self.new_stage(job, graph, node, kind, graph.nodes[node].site(), nodes);
                    self.dag.map_stages.insert(shuffle, stage);
                    if self.outputs.is_available(shuffle) {
                        out.push(DriverEffect::StageSkipped { stage, shuffle, job });
                    }
                    stage
                }
            };
            self.need_stage(job, stage, &mut stages);
        }
        let result_stage = self.new_stage(job, graph, graph.root, StageKind::Result { job }, site, result);
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
        site: CallSite,
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
            site,
            parents,
            jobs: BTreeSet::from([job]),
            priority: job,
            state: StageState::Idle,
            next_attempt: 0,
            failed_attempts: 0,
            attempts: Default::default(),
            required: BTreeSet::new(),
            cached_nodes: nodes.cached,
            barrier: nodes.barrier,
            held: Default::default(),
            has_places: nodes.has_places,
        };
        self.dag.stages.insert(id, stage);
        id
    }
}
