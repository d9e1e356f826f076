//! A job's lineage as the schedulers see it: pure data, without code. The driver library makes it from its RDDs;
//! the DAGScheduler cuts it into stages at the shuffle dependencies.

use std::{panic::Location, sync::Arc};

use firesteel_common::{CallSite, DeterministicLevel, NarrowMap, RddId, ShuffleId};

/// The RDDs that a job's result is computed from.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JobGraph {
    /// In topological order: what a node depends on stands before it.
    pub nodes: Vec<GraphNode>,
    /// Index of the RDD on which the action was called.
    pub root: usize,
}

/// One RDD.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GraphNode {
    /// Which RDD.
    pub rdd: RddId,
    /// The operator that made it, for errors.
    pub operator: &'static str,
    /// What the user calls it, if anything.
    pub name: Option<Arc<str>>,
    /// Where the user called it; None where nobody knows.
    pub location: Option<&'static Location<'static>>,
    /// How many partitions it has.
    pub partitions: u32,
    /// What it is computed from.
    pub deps: Vec<GraphDep>,
    /// What computing a partition twice gives, its parents' partitions, too.
    pub level: DeterministicLevel,
    /// Its partitions are kept once computed, so executors that hold them are preferred.
    pub cached: bool,
    /// With how many copies; None where one is enough.
    pub replicated: Option<Replicated>,
    /// Its partitions are computed by tasks that wait for one another: all of its stage's tasks run at once.
    pub barrier: bool,
    /// Hosts on which a partition is read best, by partition; empty, or one list a partition.
    pub preferred: Vec<Vec<String>>,
}

/// How the partitions of an RDD are kept that are kept at several executors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replicated {
    /// How many executors keep each partition, at least 2.
    pub copies: u32,
    /// The bits of the storage level.
    pub level: u16,
}

/// A dependency of one RDD on another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GraphDep {
    /// Each partition needs few partitions of the parent and is computed in the same task as they are.
    Narrow {
        /// Index of the parent in [`JobGraph::nodes`].
        parent: usize,
        /// Which partitions of the parent a partition needs.
        partitions: NarrowMap,
    },
    /// Each partition needs all partitions of the parent: a stage ends here.
    Shuffle {
        /// Names the shuffle; a second job with the same shuffle finds its outputs.
        shuffle: ShuffleId,
        /// Index of the parent in [`JobGraph::nodes`].
        parent: usize,
        /// How many partitions the shuffle writes.
        reducers: u32,
    },
}

impl GraphDep {
    /// Index of the parent in [`JobGraph::nodes`].
    pub fn parent(&self) -> usize {
        match self {
            GraphDep::Narrow { parent, .. } | GraphDep::Shuffle { parent, .. } => *parent,
        }
    }
}

impl GraphNode {
    /// The operator, and where it was called.
    pub fn site(&self) -> CallSite {
        CallSite { operator: self.operator, location: self.location }
    }

    /// Whether computing a partition twice may give other records.
    pub fn is_indeterminate(&self) -> bool {
        self.level == DeterministicLevel::Indeterminate
    }
}

impl JobGraph {
    /// Whether the graph is what it says: parents stand before children and every index is in range. The text says
    /// what is wrong.
    pub fn validate(&self) -> Result<(), String> {
        if self.root >= self.nodes.len() {
            return Err(format!("the root {} is none of the {} nodes", self.root, self.nodes.len()));
        }
        for (i, node) in self.nodes.iter().enumerate() {
            if !node.preferred.is_empty() && node.preferred.len() != node.partitions as usize {
                return Err(format!("{} has preferred hosts for another number of partitions", node.rdd));
            }
            for dep in &node.deps {
                if dep.parent() >= i {
                    return Err(format!("{} depends on a node that does not stand before it", node.rdd));
                }
                match dep {
                    GraphDep::Shuffle { shuffle, reducers, .. } if *reducers != node.partitions => {
                        let readers = node.partitions;
                        return Err(format!("{shuffle} writes {reducers} partitions, its reader has {readers}"));
                    }
                    GraphDep::Narrow { parent, partitions } => {
                        let parent = &self.nodes[*parent];
                        if !partitions.fits(node.partitions, parent.partitions) {
                            return Err(format!("{} needs partitions that {} does not have", node.rdd, parent.rdd));
                        }
                    }
                    GraphDep::Shuffle { .. } => {}
                }
            }
        }
        Ok(())
    }
}
