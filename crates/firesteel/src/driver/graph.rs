//! A job's lineage as the schedulers see it.

use std::{collections::BTreeMap, sync::Arc};

use firesteel_common::{RddId, ShuffleId};
use firesteel_rdd::{
    StorageLevel, determinism,
    lineage::{self, Step},
    node::{AnyRdd, AnyShuffle, Dep},
};
use firesteel_scheduler::{GraphDep, GraphNode, JobGraph, Replicated};

/// The graph of all that `root` is computed from, and the shuffles in it.
pub fn of(root: &Arc<dyn AnyRdd>) -> (JobGraph, BTreeMap<ShuffleId, Arc<dyn AnyShuffle>>) {
    let order = lineage::topological(root, true);
    let index: BTreeMap<RddId, usize> = order.iter().enumerate().map(|(i, step)| (step.node.meta().id, i)).collect();
    let mut shuffles = BTreeMap::new();
    let mut levels = BTreeMap::new();
    let mut nodes: Vec<GraphNode> = Vec::with_capacity(order.len());
    for step in order {
        let level = determinism::level_of(&step, &levels);
        let Step { node, body, deps: of } = step;
        let meta = node.meta();
        levels.insert(meta.id, level);
        let mut deps = Vec::new();
        for dep in of {
            let (id, dep): (RddId, Box<dyn FnOnce(usize) -> GraphDep>) = match dep {
                Dep::Narrow { parent, map } => {
                    (parent.meta().id, Box::new(move |parent| GraphDep::Narrow { parent, partitions: map }))
                }
                Dep::Shuffle(shuffle) => {
                    let (id, shuffle_id, reducers) = (shuffle.parent().meta().id, shuffle.id(), shuffle.reducers());
                    shuffles.insert(shuffle_id, shuffle);
                    (id, Box::new(move |parent| GraphDep::Shuffle { shuffle: shuffle_id, parent, reducers }))
                }
            };
            // Parents stand before their children in the order, so the index is there.
            if let Some(&parent) = index.get(&id) {
                deps.push(dep(parent));
            }
        }
        nodes.push(GraphNode {
            rdd: meta.id,
            partitions: meta.partitions,
            deps,
            operator: meta.name,
            name: meta.given_name(),
            location: meta.location,
            level,
            barrier: meta.barrier(),
            cached: meta.level().is_kept(),
            replicated: replicated(meta.level()),
            preferred: body.preferred_hosts(),
        });
    }
    let root = nodes.len().saturating_sub(1);
    (JobGraph { nodes, root }, shuffles)
}

/// With how many copies a level keeps, where one is not enough.
fn replicated(level: StorageLevel) -> Option<Replicated> {
    let copies = level.replication();
    (level.is_kept() && copies > 1).then(|| Replicated { copies, level: level.to_bits() })
}
