//! The data of running stage attempts: encoded once, sent to each executor once.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use bytes::Bytes;
use firesteel_common::{BroadcastId, ExecutorId, RddId, ShuffleId, StageAttempt, TaskId};
use firesteel_protocol::{
    BarrierTask, BroadcastRef, LaunchTasks, PartitionData, Payload, RegisterExecutor, StageBinary, TaskDescription,
};
use firesteel_rdd::{
    Error,
    lineage::{Input, StageLineage},
    node::{AnyRdd, EncodedOp},
};
use firesteel_rpc::proto::executor as proto;
use firesteel_scheduler::{BarrierPlace, DriverCore, MapLocation, TaskSpec, addresses};
use firesteel_storage::BroadcastMeta;
use prost::Message as _;

use super::{DriverBlocks, copies};

/// What is larger travels in pieces of this size, as broadcast values do.
const PIECE_BYTES: u64 = 4 << 20;

/// What is larger travels as pieces, not in a message.
const INLINE_BYTES: usize = 512 << 10;

/// Executors hear of so many stage attempts that ended at the latest.
const MOST_ENDED: usize = 256;

/// One stage attempt that runs.
struct Attempt {
    lineage: StageLineage,
    data: Payload,
    sent_to: BTreeSet<ExecutorId>,
    /// Partitions of sources that are too large for a message: a task that is tried again finds its own.
    inputs: BTreeMap<(RddId, u32), Payload>,
    broadcasts: Vec<BroadcastId>,
    /// Whether it may read kept partitions.
    keeps: bool,
    /// The most copies that are wanted of a partition.
    copies: u32,
    /// Where the tasks of a barrier stage run.
    barrier: Vec<BarrierTask>,
}

/// All stage attempts that run.
pub struct Stages {
    attempts: BTreeMap<StageAttempt, Attempt>,
    /// Attempts whose data could not be made: their tasks fail with this.
    failed: BTreeMap<StageAttempt, Error>,
    /// Attempts that ended, and the executors that hold their data still.
    ended: BTreeMap<ExecutorId, Vec<StageAttempt>>,
    /// Where the files of executors are, also of those that are gone: a shuffle service may keep them.
    files: BTreeMap<ExecutorId, proto::ExecutorFiles>,
    blocks: DriverBlocks,
}

impl Stages {
    pub fn new(blocks: DriverBlocks) -> Self {
        Stages {
            attempts: BTreeMap::new(),
            failed: BTreeMap::new(),
            ended: BTreeMap::new(),
            files: BTreeMap::new(),
            blocks,
        }
    }

    /// An executor said where its files are.
    pub fn add_files(&mut self, register: &RegisterExecutor) {
        let RegisterExecutor { executor, boot_id, local_dirs, .. } = register;
        if !local_dirs.is_empty() {
            let (executor_id, boot_id, local_dirs) = (executor.0, boot_id.clone(), local_dirs.clone());
            self.files.insert(*executor, proto::ExecutorFiles { executor_id, boot_id, local_dirs });
        }
    }

    /// Encodes the data of a new attempt.
    pub fn start(
        &mut self,
        attempt: StageAttempt,
        root: Arc<dyn AnyRdd>,
        output: EncodedOp,
        shuffles: Vec<(ShuffleId, Arc<Vec<MapLocation>>)>,
        properties: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        let writers: BTreeSet<ExecutorId> =
            shuffles.iter().flat_map(|(_, maps)| maps.iter().map(|map| map.executor)).collect();
        let files = writers.iter().filter_map(|writer| self.files.get(writer).cloned()).collect();
        let shuffles = shuffles
            .into_iter()
            .map(|(shuffle, maps)| proto::ShuffleOutputs {
                shuffle_id: shuffle.0,
                reducers: maps.first().map_or(0, |m| m.sizes.len() as u32),
                maps: maps.iter().map(status_of).collect(),
            })
            .collect();
        let lineage = StageLineage::of(&root);
        let encoded = users_code("encoding a stage", || lineage.encode(output))?;
        let data = proto::StageData { lineage: encoded.into(), shuffles, files, properties: properties.clone() };
        let mut broadcasts = Vec::new();
        let data = self.payload(data.encode_to_vec().into(), &mut broadcasts)?;
        let (sent_to, inputs) = (BTreeSet::new(), BTreeMap::new());
        let kept = copies::kept_in_stage(&lineage);
        let copies = kept.iter().map(|level| level.replication()).max().unwrap_or(0);
        let keeps = !kept.is_empty();
        self.attempts.insert(
            attempt,
            Attempt { lineage, data, sent_to, inputs, broadcasts, keeps, copies, barrier: Vec::new() },
        );
        Ok(())
    }

    /// All tasks of a barrier stage attempt are launched next.
    pub fn start_barrier(&mut self, attempt: StageAttempt, places: &[BarrierPlace]) {
        if let Some(attempt) = self.attempts.get_mut(&attempt) {
            let task =
                |p: &BarrierPlace| BarrierTask { host: p.host.to_string(), address: p.block_address.to_string() };
            attempt.barrier = places.iter().map(task).collect();
        }
    }

    /// Remembers that an attempt has no data, for the error of its tasks.
    pub fn start_failed(&mut self, attempt: StageAttempt, error: Error) {
        self.failed.insert(attempt, error);
    }

    /// The message that launches `tasks` on `executor`, but for those that cannot be put into one.
    pub fn launch(
        &mut self,
        core: &DriverCore,
        executor: ExecutorId,
        tasks: &[TaskSpec],
    ) -> (LaunchTasks, Vec<(TaskId, Error)>) {
        let mut message = ended_message(self.ended.remove(&executor).unwrap_or_default());
        let mut refused = Vec::new();
        for spec in tasks {
            if let Err(e) = self.add_task(&mut message, core, executor, spec) {
                refused.push((spec.task, e));
            }
        }
        (message, refused)
    }

    /// Adds a task and, where `executor` lacks it, the stage's data; on an error nothing is added.
    fn add_task(
        &mut self,
        message: &mut LaunchTasks,
        core: &DriverCore,
        executor: ExecutorId,
        spec: &TaskSpec,
    ) -> Result<(), Error> {
        let Some(attempt) = self.attempts.get(&spec.stage) else {
            let unknown = || Error::InvalidArgument(format!("{} has no data", spec.stage));
            return Err(self.failed.get(&spec.stage).cloned().unwrap_or_else(unknown));
        };
        let inputs = users_code("encoding the input of a task", || attempt.lineage.inputs_of(spec.partition))?;
        let (mut broadcasts, mut large) = (Vec::new(), Vec::new());
        let inputs = inputs.into_iter().map(|Input { rdd, partition, data }| {
            let data = match attempt.inputs.get(&(rdd, partition)) {
                Some(sent) => sent.clone(),
                None => self.payload(data, &mut broadcasts)?,
            };
            if matches!(data, Payload::Broadcast(_)) {
                large.push(((rdd, partition), data.clone()));
            }
            Ok(PartitionData { rdd, partition, data })
        });
        let inputs = inputs.collect::<Result<Vec<_>, Error>>();
        let Some(attempt) = self.attempts.get_mut(&spec.stage) else { return Ok(()) };
        attempt.broadcasts.append(&mut broadcasts);
        attempt.inputs.extend(large);
        let inputs = inputs?;
        let cached = match attempt.keeps {
            true => copies::held_elsewhere(core, &attempt.lineage, spec.partition, executor),
            false => Vec::new(),
        };
        let peers = match attempt.copies {
            0 | 1 => Vec::new(),
            _ => addresses(&core.peers_of(executor, spec.partition)),
        };
        if attempt.sent_to.insert(executor) {
            message.stages.push(StageBinary { stage: spec.stage, data: attempt.data.clone() });
        }
        message.tasks.push(TaskDescription {
            task: spec.task,
            stage: spec.stage,
            partition: spec.partition,
            attempt_number: spec.attempt_number,
            inputs,
            cached,
            peers,
            barrier: attempt.barrier.clone(),
            measure: core.is_listened_to(),
        });
        Ok(())
    }

    /// Drops what an attempt needed; executors are told with their next tasks.
    pub fn end(&mut self, attempt: StageAttempt) {
        self.failed.remove(&attempt);
        let Some(ended) = self.attempts.remove(&attempt) else { return };
        for executor in ended.sent_to {
            self.ended.entry(executor).or_default().push(attempt);
        }
        for broadcast in ended.broadcasts {
            // Executors drop theirs with the stage.
            self.blocks.manager.remove_broadcast(broadcast);
        }
    }

    /// Whether some executor does not know yet of a stage attempt that ended.
    pub fn any_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// Whether some executor got no task for so long that its list is too long to wait for one.
    pub fn many_ended(&self) -> bool {
        self.ended.values().any(|ended| ended.len() >= MOST_ENDED)
    }

    /// For each executor that does not know yet of stage attempts that ended, the message that says so.
    pub fn take_ended(&mut self) -> Vec<(ExecutorId, LaunchTasks)> {
        std::mem::take(&mut self.ended).into_iter().map(|(executor, ended)| (executor, ended_message(ended))).collect()
    }

    /// Takes an executor out of the books.
    pub fn forget_executor(&mut self, executor: ExecutorId) {
        self.ended.remove(&executor);
        for attempt in self.attempts.values_mut() {
            attempt.sent_to.remove(&executor);
        }
    }

    /// `bytes`, or a reference to pieces of them that the driver holds.
    fn payload(&self, bytes: Bytes, broadcasts: &mut Vec<BroadcastId>) -> Result<Payload, Error> {
        Ok(match &self.blocks.address {
            Some(address) if bytes.len() > INLINE_BYTES => {
                let (id, size) = (BroadcastId::fresh(), bytes.len() as u64);
                let starts = (0..size).step_by(PIECE_BYTES as usize);
                let piece = |start: u64| bytes.slice(start as usize..(start + PIECE_BYTES).min(size) as usize);
                let pieces: Vec<Bytes> = starts.map(piece).collect();
                let meta = BroadcastMeta::of(id, size, PIECE_BYTES, &pieces, true, address);
                let put = self.blocks.manager.put_broadcast(&meta, pieces);
                put.map_err(|e| Error::InvalidArgument(format!("cannot hold {size} bytes for the executors: {e}")))?;
                broadcasts.push(id);
                let BroadcastMeta { piece_bytes, checksums, source: address, .. } = meta;
                Payload::Broadcast(BroadcastRef { broadcast: id, size, piece_bytes, checksums, address })
            }
            _ => Payload::Inline(bytes),
        })
    }
}

/// Runs what calls the `Serialize` of users' types: a panic there is an error of their job, not the end of the event
/// loop and with it of all jobs.
pub fn users_code<T>(what: &str, f: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Err(Error::InvalidArgument(format!("{what} panicked: {}", text.unwrap_or("no message"))))
    })
}

fn ended_message(ended: Vec<StageAttempt>) -> LaunchTasks {
    LaunchTasks { ended, ..LaunchTasks::default() }
}

fn status_of(map: &MapLocation) -> proto::MapStatus {
    proto::MapStatus {
        map_task_id: map.map_task.0,
        executor_id: map.executor.0,
        block_address: map.block_address.to_string(),
        sizes: map.sizes.clone().into(),
    }
}
