//! Copies of kept partitions that were lost with their executors are made again, by executors that have one
//! (`spark.storage.replication.proactive`). Spark: `BlockManagerMasterEndpoint.removeBlockManager`.
//!
//! ```text
//!  executors came or went ─▶ too few holders, and somebody to take a copy ─▶ ReplicateBlock ─▶ BlockUpdates, also of failure
//! ```
//!
//! Called by [`crate::DriverCore`] when executors came or went, and fed with the jobs that are planned.

use std::collections::BTreeMap;

use firesteel_common::{ExecutorId, RddId};
use firesteel_protocol::{BlockUpdate, ReplicateBlock, ToExecutor};

use crate::{
    effect::DriverEffect,
    graph::{JobGraph, Replicated},
    places::{Places, addresses},
};

/// Which RDDs are kept with copies, and what is being copied.
#[derive(Debug, Default)]
pub(crate) struct Replication {
    /// Whether lost copies are made again at all.
    proactive: bool,
    kept: BTreeMap<RddId, Replicated>,
    /// Partitions that are being copied, and who was asked.
    asked: BTreeMap<(RddId, u32), ExecutorId>,
}

impl Replication {
    /// Nothing is kept so far. `proactive`: lost copies are made again.
    pub(crate) fn new(proactive: bool) -> Self {
        Replication { proactive, ..Replication::default() }
    }

    /// A job computes these.
    pub(crate) fn note(&mut self, graph: &JobGraph) {
        self.kept.extend(graph.nodes.iter().filter_map(|node| Some((node.rdd, node.replicated?))));
    }

    /// The RDD is kept no more.
    pub(crate) fn forget(&mut self, rdd: RddId) {
        self.kept.remove(&rdd);
        self.asked.retain(|(of, _), _| *of != rdd);
    }

    /// An executor says what became of partitions: who was asked has answered, also when nobody took a copy.
    pub(crate) fn heard(&mut self, executor: ExecutorId, updates: &[BlockUpdate]) {
        for update in updates {
            let partition = (update.rdd, update.partition);
            if self.asked.get(&partition) == Some(&executor) {
                self.asked.remove(&partition);
            }
        }
    }

    /// Executors came or went: has partitions copied that have fewer copies than their level asks for.
    pub(crate) fn copy_again(&mut self, places: Places<'_>, out: &mut Vec<DriverEffect>) {
        self.asked.retain(|_, asked| places.executors.is_connected(*asked));
        if !self.proactive {
            return;
        }
        let mut wanted = Vec::new();
        for (&rdd, &Replicated { copies, level }) in &self.kept {
            for partition in places.blocks.partitions(rdd) {
                let holders = places.holders_of(rdd, partition);
                let missing = copies.saturating_sub(holders.len() as u32);
                let Some(holder) = holders.first().filter(|_| missing > 0) else { continue };
                let mut others = places.peers_of(holder.executor, partition);
                others.retain(|peer| holders.iter().all(|h| h.executor != peer.executor));
                if !others.is_empty() && !self.asked.contains_key(&(rdd, partition)) {
                    let peers = addresses(&others);
                    wanted.push((holder.executor, ReplicateBlock { rdd, partition, level, copies: missing, peers }));
                }
            }
        }
        for (executor, block) in wanted {
            self.asked.insert((block.rdd, block.partition), executor);
            out.push(DriverEffect::Tell { executor, message: ToExecutor::ReplicateBlock(block) });
        }
    }

    /// Whoever was asked can still answer.
    pub(crate) fn check(&self, is_connected: impl Fn(ExecutorId) -> bool) -> Result<(), String> {
        match self.asked.iter().find(|(_, asked)| !is_connected(**asked)) {
            None => Ok(()),
            Some(((rdd, partition), asked)) => {
                Err(format!("{asked}, which was asked to copy partition {partition} of {rdd}, is not there"))
            }
        }
    }
}
