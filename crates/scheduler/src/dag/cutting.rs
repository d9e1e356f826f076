//! A graph is cut into stages at its shuffles.

use std::{collections::BTreeSet, sync::Arc};

use firesteel_common::{CallSite, JobId, StageId};

use super::{
    stage::{Stage, StageState},
    stages::Stages,
    walker::{ShuffleEdge, StageNodes, Walker},
};
use crate::{
    effect::{DriverEffect, StageKind},
    graph::JobGraph,
    map_outputs::MapOutputTracker,
};

impl Stages {
    /// Makes the job's stages, or finds those that other jobs already have, and returns the result stage and all.
    pub(super) fn cut(
        &mut self,
        job: JobId,
        site: CallSite,
        graph: &Arc<JobGraph>,
        outputs: &mut MapOutputTracker,
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
            let stage = match self.writer_of(shuffle) {
                Some(stage) => stage,
                None => {
                    let parents = nodes.shuffles.iter().map(|(s, ..)| *s).collect();
                    outputs.ensure(shuffle, &graph.nodes[node], nodes.indeterminate, parents);
                    let kind = StageKind::ShuffleMap { shuffle, reducers };
                    let stage = self.new_stage(job, graph, node, kind, graph.nodes[node].site(), nodes);
                    if outputs.is_available(shuffle) {
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
                && let Some(s) = self.get_mut(id)
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
        let id = self.next_id();
        let parents = nodes.shuffles.iter().filter_map(|(s, ..)| Some((*s, self.writer_of(*s)?))).collect();
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
        self.insert(stage);
        id
    }
}
