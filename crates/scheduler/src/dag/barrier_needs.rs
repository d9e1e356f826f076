//! What a job with barrier stages needs, and whether it can be had at all.

use std::collections::BTreeSet;

use firesteel_common::ShuffleId;

use super::walker::Walker;
use crate::{error::JobError, graph::JobGraph, map_outputs::MapOutputTracker};

/// The most slots that a barrier stage of this job needs at once, 0 without such a stage. The error says what is not
/// possible. `allocates`: dynamic allocation is on.
pub(super) fn barrier_needs(
    graph: &JobGraph,
    partitions: &[u32],
    outputs: &MapOutputTracker,
    allocates: bool,
) -> Result<u32, JobError> {
    if graph.nodes.iter().all(|n| !n.barrier) {
        return Ok(0);
    }
    let unsupported = |message: String| Err(JobError::BarrierUnsupported { message });
    let mut walker = Walker::new(graph);
    let (mut todo, mut most) = (vec![(None, graph.root)], 0);
    let mut known: BTreeSet<ShuffleId> = BTreeSet::new();
    while let Some((shuffle, node)) = todo.pop() {
        let found = walker.stage(node);
        for (shuffle, parent, _) in &found.shuffles {
            if known.insert(*shuffle) {
                todo.push((Some(*shuffle), *parent));
            }
        }
        let tasks = graph.nodes[node].partitions;
        if !found.barrier || shuffle.is_some_and(|s| outputs.is_available(s)) {
            continue;
        }
        if shuffle.is_none() && !(0..tasks).eq(partitions.iter().copied()) {
            return unsupported(
                "an action that computes only some partitions (take, first) cannot follow a barrier stage: collect \
                 all of them, or put a shuffle between"
                    .to_owned(),
            );
        }
        if let Some(other) = found.nodes.iter().map(|i| &graph.nodes[*i]).find(|n| n.partitions != tasks) {
            return unsupported(format!(
                "within a barrier stage every RDD must have the same number of partitions, but {} has {} and {} has \
                 {tasks}: no union or coalesce can be there",
                other.rdd, other.partitions, graph.nodes[node].rdd
            ));
        }
        most = most.max(tasks);
    }
    if most > 0 && allocates {
        return unsupported("dynamic allocation is on (spark.dynamicAllocation.enabled): switch it off".to_owned());
    }
    Ok(most)
}
