//! Which executors hold which cached partitions (the driver's half of Spark's BlockManagerMaster).
//!
//! Fed by block updates that come with task news; read by the DAGScheduler for locality and to see which parents need
//! not be computed. Calls nobody.

use std::collections::{BTreeMap, BTreeSet};

use firesteel_common::{ExecutorId, RddId, ShuffleId};

use crate::map_outputs::Generations;

#[derive(Debug, Default)]
struct RddBlocks {
    /// Holders of each partition that has one.
    holders: BTreeMap<u32, Vec<ExecutorId>>,
    computed_from: Generations,
    /// The shuffles that the stages read which stored them.
    read: BTreeSet<ShuffleId>,
}

/// Locations of all cached partitions of a Context.
#[derive(Debug, Default)]
pub(crate) struct BlockLocations {
    rdds: BTreeMap<RddId, RddBlocks>,
    by_executor: BTreeMap<ExecutorId, BTreeSet<(RddId, u32)>>,
}

impl BlockLocations {
    /// A partition was stored by a task of a stage that reads the shuffles `read`, of the generations `from` as far as these
    /// count.
    pub(crate) fn stored(
        &mut self,
        executor: ExecutorId,
        rdd: RddId,
        partition: u32,
        from: &Generations,
        read: impl IntoIterator<Item = ShuffleId>,
    ) {
        let blocks = self.rdds.entry(rdd).or_default();
        blocks.read.extend(read);
        blocks.computed_from.extend(from.iter().map(|(s, g)| (*s, *g)));
        let holders = blocks.holders.entry(partition).or_default();
        if !holders.contains(&executor) {
            holders.push(executor);
        }
        self.by_executor.entry(executor).or_default().insert((rdd, partition));
    }

    pub(crate) fn dropped(&mut self, executor: ExecutorId, rdd: RddId, partition: u32) {
        if let Some(held) = self.by_executor.get_mut(&executor) {
            held.remove(&(rdd, partition));
        }
        let Some(blocks) = self.rdds.get_mut(&rdd) else { return };
        if let Some(holders) = blocks.holders.get_mut(&partition) {
            holders.retain(|e| *e != executor);
            debug_assert!(holders.iter().all(|e| self.by_executor.contains_key(e)), "{rdd} is held by nobody known");
            if holders.is_empty() {
                blocks.holders.remove(&partition);
            }
        }
        if blocks.holders.is_empty() {
            self.rdds.remove(&rdd);
        }
    }

    pub(crate) fn remove_executor(&mut self, executor: ExecutorId) {
        for (rdd, partition) in self.by_executor.remove(&executor).unwrap_or_default() {
            self.dropped(executor, rdd, partition);
        }
    }

    pub(crate) fn remove_rdd(&mut self, rdd: RddId) {
        if self.rdds.remove(&rdd).is_some() {
            for held in self.by_executor.values_mut() {
                held.retain(|(r, _)| *r != rdd);
            }
        }
    }

    /// Whether the executor holds a cached partition.
    pub(crate) fn holds_any(&self, executor: ExecutorId) -> bool {
        self.by_executor.get(&executor).is_some_and(|held| !held.is_empty())
    }

    pub(crate) fn holders(&self, rdd: RddId, partition: u32) -> &[ExecutorId] {
        self.rdds.get(&rdd).and_then(|b| b.holders.get(&partition)).map_or(&[], Vec::as_slice)
    }

    /// The partitions that are held somewhere.
    pub(crate) fn partitions(&self, rdd: RddId) -> Vec<u32> {
        self.rdds.get(&rdd).map_or_else(Vec::new, |b| b.holders.keys().copied().collect())
    }

    /// Whether every one of `partitions` partitions is held somewhere.
    pub(crate) fn is_complete(&self, rdd: RddId, partitions: u32) -> bool {
        self.count(rdd) == partitions as usize
    }

    /// How many partitions are held somewhere.
    pub(crate) fn count(&self, rdd: RddId) -> usize {
        self.rdds.get(&rdd).map_or(0, |b| b.holders.len())
    }

    /// What the held partitions were computed from, as far as it is indeterminate.
    pub(crate) fn computed_from(&self, rdd: RddId) -> Option<&Generations> {
        self.rdds.get(&rdd).map(|b| &b.computed_from)
    }

    /// Notes for each RDD that has partitions what `old` says of the shuffles that they were made from.
    pub(crate) fn note_sources(&mut self, old: impl Fn(&BTreeSet<ShuffleId>) -> Generations) {
        for blocks in self.rdds.values_mut() {
            for (shuffle, generation) in old(&blocks.read) {
                blocks.computed_from.entry(shuffle).or_insert(generation);
            }
        }
    }

    /// Both directions agree, and every holder is one of `executors`.
    pub(crate) fn check(&self, executors: &BTreeSet<ExecutorId>) -> Result<(), String> {
        let mut count = 0;
        for (rdd, blocks) in &self.rdds {
            for (partition, holders) in &blocks.holders {
                count += holders.len();
                if let Some(e) = holders.iter().find(|e| !executors.contains(e)) {
                    return Err(format!("partition {partition} of {rdd} is cached on {e}, which is gone"));
                }
                if holders.iter().any(|e| !self.by_executor.get(e).is_some_and(|h| h.contains(&(*rdd, *partition)))) {
                    return Err(format!("partition {partition} of {rdd}: the executor's list lacks it"));
                }
            }
        }
        if count == self.by_executor.values().map(BTreeSet::len).sum::<usize>() {
            Ok(())
        } else {
            Err("cached partitions: the two directions disagree".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_executor_holds_nothing_and_others_keep_theirs() {
        let (mut b, rdd, none) = (BlockLocations::default(), RddId(3), Generations::new());
        b.stored(ExecutorId(1), rdd, 0, &none, []);
        b.stored(ExecutorId(2), rdd, 0, &none, []);
        b.stored(ExecutorId(1), rdd, 1, &none, []);
        assert!(b.is_complete(rdd, 2));
        b.remove_executor(ExecutorId(1));
        assert_eq!(b.holders(rdd, 0), [ExecutorId(2)]);
        assert!(b.holders(rdd, 1).is_empty());
        b.check(&BTreeSet::from([ExecutorId(2)])).unwrap();
        b.remove_rdd(rdd);
        assert_eq!(b.count(rdd), 0);
        b.check(&BTreeSet::new()).unwrap();
    }
}
