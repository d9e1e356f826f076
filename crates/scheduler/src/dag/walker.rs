//! Which nodes of a graph make up a stage: those between an RDD and the shuffles that it reads.

use firesteel_common::ShuffleId;

use crate::graph::{GraphDep, JobGraph};

/// A shuffle that is read somewhere: its id, the index of the RDD that is shuffled, and its reducers.
pub(super) type ShuffleEdge = (ShuffleId, usize, u32);

/// Finds the nodes of one stage after another without visiting a node of the same stage twice.
pub(super) struct Walker<'a> {
    graph: &'a JobGraph,
    seen: Vec<u32>,
    round: u32,
}

/// What lies between a stage's RDD and the shuffles that it reads.
pub(super) struct StageNodes {
    pub(super) shuffles: Vec<ShuffleEdge>,
    pub(super) nodes: Vec<usize>,
    pub(super) barrier: bool,
    pub(super) cached: Vec<usize>,
    pub(super) indeterminate: bool,
    pub(super) has_places: bool,
}

impl<'a> Walker<'a> {
    pub(super) fn new(graph: &'a JobGraph) -> Self {
        Walker { graph, seen: vec![0; graph.nodes.len()], round: 0 }
    }

    pub(super) fn stage(&mut self, from: usize) -> StageNodes {
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
