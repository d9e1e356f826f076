//! Where a task would best run: with its cached partition, else where its input lies.

use std::{collections::BTreeSet, sync::Arc};

use firesteel_common::ExecutorId;

use super::stage::Stage;
use crate::{
    block_locations::BlockLocations,
    graph::GraphDep,
    tasks::{executors::Executors, locality::Preference},
};

/// The executors, and what is cached at them.
pub(super) struct Locality<'a> {
    pub(super) executors: &'a Executors,
    pub(super) blocks: &'a BlockLocations,
}

impl Locality<'_> {
    /// The preference of each of `partitions` of the stage's RDD.
    pub(super) fn preferences(&self, stage: &Stage, partitions: &[u32]) -> Vec<Preference> {
        let nodes = &stage.graph.nodes;
        let cached_somewhere = stage.cached_nodes.iter().any(|i| self.blocks.count(nodes[*i].rdd) > 0);
        let only_cached = stage.has_places && nodes.iter().all(|n| n.preferred.is_empty());
        if !stage.has_places || (only_cached && !cached_somewhere) {
            return vec![Preference::default(); partitions.len()];
        }
        partitions.iter().map(|p| self.preference(stage, *p)).collect()
    }

    /// The first places found on the way from the stage's RDD up its narrow dependencies.
    fn preference(&self, stage: &Stage, partition: u32) -> Preference {
        let nodes = &stage.graph.nodes;
        let (mut seen, mut stack) = (BTreeSet::new(), vec![(stage.node, partition)]);
        while let Some((i, partition)) = stack.pop() {
            if !seen.insert((i, partition)) {
                continue;
            }
            let node = &nodes[i];
            let holders = if node.cached { self.blocks.holders(node.rdd, partition) } else { &[] };
            if !holders.is_empty() {
                let mut hosts: Vec<Arc<str>> = holders.iter().filter_map(|e| self.executors.host_of(*e)).collect();
                hosts.dedup();
                return self.with_racks(holders.to_vec(), hosts);
            }
            if let Some(hosts) = node.preferred.get(partition as usize).filter(|h| !h.is_empty()) {
                let hosts = hosts.iter().map(|h| Arc::from(h.as_str())).collect();
                return self.with_racks(Vec::new(), hosts);
            }
            let above = stack.len();
            for dep in &node.deps {
                if let GraphDep::Narrow { parent, partitions } = dep {
                    stack.extend(partitions.parents_of(partition).map(|p| (*parent, p)));
                }
            }
            // The first dependency is looked at first.
            stack[above..].reverse();
        }
        Preference::default()
    }

    fn with_racks(&self, executors: Vec<ExecutorId>, hosts: Vec<Arc<str>>) -> Preference {
        let mut racks: Vec<Arc<str>> = hosts.iter().filter_map(|h| self.executors.rack_of(h)).cloned().collect();
        racks.dedup();
        Preference { executors, hosts, racks }
    }
}
