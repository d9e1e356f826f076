//! A task at work: the model of user code, with the shuffle files and cached partitions of virtual executors.

use bytes::Bytes;
use firesteel_common::{ExecutorId, RddId, ShuffleId, TaskFailure, TaskId};
use firesteel_executor::departure::Item;
use firesteel_protocol::{BlockAddress, BlockUpdate, MapOutput, TaskDescription, TaskOutcome};
use firesteel_scheduler::StageKind;

use crate::{
    cluster::Cluster,
    editions::{checksum, encode_result},
    model::{self, Record, World},
    state::{network::Process, stage::StageInfo},
};

struct AtWork<'a> {
    cluster: &'a mut Cluster,
    here: Process,
    stage: &'a StageInfo,
    peers: &'a [BlockAddress],
    updates: Vec<BlockUpdate>,
}

impl AtWork<'_> {
    /// Has peers keep copies of what was stored, as many as are wanted and taken.
    fn copies(&mut self, rdd: RddId, partition: u32) -> Vec<ExecutorId> {
        let node = self.stage.graph.nodes.iter().find(|n| n.rdd == rdd);
        let wanted = node.and_then(|n| n.replicated).map_or(0, |r| r.copies as usize - 1);
        let mut replicas = Vec::new();
        for peer in self.peers {
            if replicas.len() < wanted && self.cluster.give(self.here, peer, Item::Cached(rdd, partition)) {
                replicas.push(peer.executor);
            }
        }
        replicas
    }
}

impl World for AtWork<'_> {
    fn read(&mut self, shuffle: ShuffleId, reduce: u32) -> Result<Vec<Record>, TaskFailure> {
        let failed = |map_index, map_task, executor, message: &str| TaskFailure::FetchFailed {
            shuffle,
            map_index,
            map_task,
            reduce,
            executor,
            message: message.to_owned(),
        };
        let Some(maps) = self.stage.shuffles.get(&shuffle) else {
            return Err(failed(u32::MAX, TaskId(0), ExecutorId(self.here.executor), "its place was not told"));
        };
        let mut records = Vec::new();
        for (map, l) in (0u32..).zip(maps.iter()) {
            let read = self.cluster.read_block(self.here, shuffle, l, reduce);
            records.extend(read.map_err(|why| failed(map, l.map_task, l.executor, why))?);
        }
        Ok(records)
    }

    fn cached(&mut self, rdd: RddId, partition: u32) -> Option<Vec<Record>> {
        self.cluster.executors.get(&self.here)?.store.cache.get(&(rdd, partition)).cloned()
    }

    fn store(&mut self, rdd: RddId, partition: u32, records: &[Record]) {
        let room = self.cluster.faults.cache_blocks;
        if let Some(here) = self.cluster.executors.get_mut(&self.here) {
            let old = here.store.cache.keys().find(|(r, _)| *r != rdd).copied();
            if let Some(old) = old.filter(|_| here.store.cache.len() >= room) {
                here.store.cache.remove(&old);
                self.updates.push(BlockUpdate::dropped(old.0, old.1));
            } else if here.store.cache.len() >= room {
                return;
            }
            here.store.cache.insert((rdd, partition), records.to_vec());
            let replicas = self.copies(rdd, partition);
            let bytes = records.len() as u64;
            self.updates.push(BlockUpdate { replicas, ..BlockUpdate::stored(rdd, partition, bytes) });
        }
    }

    fn salt(&mut self) -> u32 {
        self.cluster.rng.draw() as u32
    }
}

impl Cluster {
    /// Does a task's work; what it leaves behind is in the executor's store.
    pub(crate) fn work(
        &mut self,
        here: Process,
        task: &TaskDescription,
        stage: &StageInfo,
    ) -> (TaskOutcome, Vec<BlockUpdate>) {
        let sick = here.pid % 4 == 1 && self.chance(self.faults.sick_executor);
        if self.chance(self.faults.fail_task) || sick {
            let (message, location) = ("bad luck".to_owned(), "src/main.rs:7:9".to_owned());
            let failure = TaskFailure::Exception { message, location, panic: true };
            return (TaskOutcome::Failed(failure), Vec::new());
        }
        let mut at_work = AtWork { cluster: self, here, stage, peers: &task.peers, updates: Vec::new() };
        let made = model::compute(&stage.graph, stage.node, task.partition, &mut at_work);
        let updates = at_work.updates;
        let large = self.rng.chance(20);
        let outcome = match (made, self.executors.get_mut(&here)) {
            (Err(failure), _) => TaskOutcome::Failed(failure),
            (Ok(_), None) => TaskOutcome::Running,
            (Ok(records), Some(executor)) => match stage.kind {
                StageKind::ShuffleMap { shuffle, reducers } => {
                    let mut blocks = vec![Vec::new(); reducers as usize];
                    records.iter().for_each(|r| blocks[model::reducer(*r, reducers) as usize].push(*r));
                    let sizes: Vec<u8> = blocks.iter().map(|b| b.len().min(255) as u8).collect();
                    let checksum = Some(checksum(&blocks));
                    if !executor.store.dropped.contains(&shuffle) {
                        self.keep_output(here, shuffle, task.task, blocks);
                    }
                    TaskOutcome::MapOutput(MapOutput { map_task: task.task, sizes: sizes.into(), checksum })
                }
                StageKind::Result { .. } => {
                    let bytes: Bytes = encode_result(task.stage, &records).into();
                    if large {
                        let size = bytes.len() as u64;
                        executor.store.results.insert(task.task, bytes);
                        TaskOutcome::ResultInBlock { block_id: format!("taskresult_{}", task.task.0), size }
                    } else {
                        TaskOutcome::Result(bytes)
                    }
                }
            },
        };
        (outcome, updates)
    }
}
