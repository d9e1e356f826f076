//! One attempt of one task, on its thread: from the description to the update that the driver gets.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use firesteel_common::{ExecutorId, RddId, StageAttempt, TaskFailure, TaskId};
use firesteel_rdd::barrier::BarrierSync;
use firesteel_rdd::task::{CacheUpdate, KillFlag, TaskContext, TaskError, TaskOutput};
use firesteel_rdd::task_env::{self, TaskEnv};
use firesteel_rpc::convert::failure_to_proto;
use firesteel_rpc::metrics::metrics_to_proto;
use firesteel_rpc::proto::executor::{
    AccumulatorUpdate, BlockPeer, BlockRef, BlockUpdate, CachedPlace, MapStatus, PartitionData, Payload, StatusUpdate,
    Success, TaskReport, payload::Place, status_update::State, success::Output,
};
use firesteel_storage::{BlockId, BlockWriter};

use crate::config::ExecutorConfig;
use crate::meter::Meter;
use crate::panics::{self, BeforeAbort};
use crate::stage::{StageSlot, fetch};

/// Longest failure message that travels; a longer one is cut, so that an update always fits a message.
const LONGEST_MESSAGE: usize = 64 << 10;

/// What a task added to accumulators, encoded.
type Accumulated = Vec<(u64, Vec<u8>)>;

/// A task as the driver sent it.
pub(crate) struct Attempt {
    pub task: TaskId,
    pub stage: StageAttempt,
    pub partition: u32,
    pub attempt_number: u32,
    pub inputs: Vec<PartitionData>,
    pub cached: Vec<CachedPlace>,
    pub peers: Vec<BlockPeer>,
    /// When it came, where the driver wants to know what it costs.
    pub arrived: Option<Instant>,
    pub kill: Arc<KillFlag>,
    pub slot: Arc<StageSlot>,
    pub barrier: Option<Arc<BarrierSync>>,
}

/// What the driver is told of an attempt, and whether its result lies here in a block.
pub(crate) struct Ended {
    pub update: StatusUpdate,
    pub result_block: Option<BlockId>,
}

impl Attempt {
    /// Runs it to its end, whatever that is.
    pub fn run(&self, config: &ExecutorConfig, before_abort: Option<BeforeAbort>) -> Ended {
        let mut meter = self.arrived.map(Meter::begin);
        let mut context = None;
        let result = panics::catch(before_abort, || self.compute(config, &mut context, &mut meter));
        let result = result.and_then(|result| result.map_err(TaskError::into_failure));
        meter.iter_mut().for_each(Meter::ran);
        // What a killed task failed of does not matter: it was told to.
        let result = result.map_err(|failure| match self.kill.check() {
            Err(killed) => killed.into_failure(),
            Ok(()) => failure,
        });
        let mut result_block = None;
        let (state, accumulated) = match result {
            Ok((output, accumulated)) => (self.success(output, config, &mut result_block), accumulated),
            Err(failure) => (failed(failure), Vec::new()),
        };
        let memory = context.as_ref().map(|c: &Arc<TaskContext>| &*c.memory);
        let metrics = meter.map(|meter| metrics_to_proto(&meter.metrics(memory, result_bytes(&state))));
        let accumulators = accumulated.into_iter().map(|(id, value)| AccumulatorUpdate { id, value }).collect();
        let report = TaskReport { metrics, accumulators };
        let says_something = report.metrics.is_some() || !report.accumulators.is_empty();
        let report = says_something.then(|| Box::new(report));
        let blocks = context.map(|c| c.take_cache_updates()).unwrap_or_default();
        let blocks = blocks.into_iter().map(block_update).collect();
        let state = Some(state);
        // How long it ran is known to whose thread it had.
        let update = StatusUpdate { task_id: self.task.0, state, blocks, report, ..StatusUpdate::default() };
        Ended { update, result_block }
    }

    fn compute(
        &self,
        config: &ExecutorConfig,
        context: &mut Option<Arc<TaskContext>>,
        meter: &mut Option<Meter>,
    ) -> Result<(TaskOutput, Accumulated), TaskError> {
        self.kill.check()?;
        let _entered = task_env::enter(TaskEnv { services: config.services.clone(), kill: self.kill.clone() });
        let stage = self.slot.get(config, &self.kill)?;
        let mut inputs = BTreeMap::new();
        for input in &self.inputs {
            let Some(data) = &input.data else { continue };
            let bytes = fetch(data, config, false, &self.kill)?;
            inputs.insert((RddId(input.rdd_id), input.partition), bytes);
        }
        let cached = self.cached.iter().map(|c| ((RddId(c.rdd_id), c.partition), c.addresses.clone()));
        let peers = self.peers.iter().map(|p| (ExecutorId(p.executor_id), p.address.clone()));
        let ctx = TaskContext::new(
            self.task,
            self.stage,
            self.partition,
            self.attempt_number,
            self.kill.clone(),
            stage.shuffles.clone(),
            inputs,
            config.services.clone(),
        );
        let ctx = context.insert(Arc::new(
            ctx.with_cached(cached.collect(), peers.collect())
                .in_barrier(self.barrier.clone())
                .returning(config.settings.results)
                .measured(self.arrived.is_some()),
        ));
        meter.iter_mut().for_each(Meter::decoded);
        let output = stage.task.run(self.partition, ctx)?;
        Ok((output, task_env::take_accumulated()?))
    }

    /// A large result that is one value, put where its bytes need not be in memory.
    fn written(&self, bytes: Vec<u8>, config: &ExecutorConfig) -> Result<TaskOutput, TaskError> {
        if config.settings.results.exceeded_by(bytes.len() as u64) {
            return Ok(TaskOutput::TooLarge(bytes.len() as u64));
        }
        let mut out = BlockWriter::new(&config.services.blocks, BlockId::TaskResult(self.task), 0);
        out.write(|buffer| {
            *buffer = bytes;
            Ok::<(), TaskError>(())
        })?;
        Ok(match out.finish()? {
            Ok(bytes) => TaskOutput::Result(bytes),
            Err(block) => TaskOutput::Written(block),
        })
    }

    fn success(&self, output: TaskOutput, config: &ExecutorConfig, result_block: &mut Option<BlockId>) -> State {
        let output = match output {
            TaskOutput::Result(bytes) if bytes.len() as u64 <= config.settings.results.direct => {
                Output::Result(Payload { place: Some(Place::Inline(bytes.into())) })
            }
            TaskOutput::Result(bytes) => match self.written(bytes, config) {
                Ok(output) => return self.success(output, config, result_block),
                Err(e) => return failed(e.into_failure()),
            },
            TaskOutput::Written(block) => {
                let (id, size) = (block.id(), block.len());
                block.keep(&config.services.blocks);
                *result_block = Some(id);
                Output::Result(in_block(id, size, config))
            }
            // The driver ends the job when it hears of the size, and fetches nothing.
            TaskOutput::TooLarge(size) => Output::Result(in_block(BlockId::TaskResult(self.task), size, config)),
            TaskOutput::Map(map) => Output::MapStatus(MapStatus {
                map_task_id: map.map_task.0,
                executor_id: config.executor.0,
                block_address: config.block_address.clone(),
                sizes: map.sizes,
                checksum: map.checksum,
            }),
        };
        State::Success(Success { output: Some(output) })
    }
}

/// The size of what a task made for its driver.
fn result_bytes(state: &State) -> u64 {
    let State::Success(Success { output: Some(output) }) = state else { return 0 };
    match output {
        Output::Result(Payload { place: Some(Place::Inline(bytes)) }) => bytes.len() as u64,
        Output::Result(Payload { place: Some(Place::Block(block)) }) => block.size,
        Output::Result(_) => 0,
        Output::MapStatus(status) => status.sizes.len() as u64,
    }
}

/// Where the driver finds a result.
fn in_block(id: BlockId, size: u64, config: &ExecutorConfig) -> Payload {
    let block = BlockRef { block_id: id.to_string(), size, address: config.block_address.clone() };
    Payload { place: Some(Place::Block(block)) }
}

/// The state of a task that failed, with its texts cut to a length that travels.
pub(crate) fn failed(mut failure: TaskFailure) -> State {
    match &mut failure {
        TaskFailure::Exception { message, location, .. } => {
            cut(message);
            cut(location);
        }
        TaskFailure::FetchFailed { message, .. }
        | TaskFailure::ExecutorLost { message, .. }
        | TaskFailure::ResultLost { message }
        | TaskFailure::BroadcastLost { message, .. }
        | TaskFailure::CachedPartitionDamaged { message, .. } => cut(message),
        TaskFailure::Killed { reason } => cut(reason),
    }
    State::Failure(failure_to_proto(&failure))
}

fn cut(text: &mut String) {
    if text.len() > LONGEST_MESSAGE {
        let total = text.len();
        text.truncate(text.floor_char_boundary(LONGEST_MESSAGE));
        text.push_str(&format!("… ({total} bytes in all)"));
    }
}

fn block_update(update: CacheUpdate) -> BlockUpdate {
    let CacheUpdate { rdd, partition, stored, memory_bytes, replicas } = update;
    let replicas = replicas.into_iter().map(|e| e.0).collect();
    BlockUpdate { rdd_id: rdd.0, partition, stored, memory_bytes, replicas }
}
