//! One attempt of one task, on its thread: from the description to the update that the driver gets.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use bytes::Bytes;
use firesteel_common::{StageAttempt, TaskFailure, TaskId};
use firesteel_events::{AccumulatorUpdate, TaskReport};
use firesteel_protocol::{BlockAddress, BlockUpdate, CachedPlace, MapOutput, PartitionData, TaskOutcome, TaskUpdate};
use firesteel_storage::{BlockId, BlockWriter};
use firesteel_task::{
    CacheUpdate, KillFlag, TaskContext, TaskError, TaskInfo, TaskOutput, barrier::BarrierSync, enter, take_accumulated,
};

use crate::{
    config::ExecutorConfig,
    meter::Meter,
    panics::{self, BeforeAbort},
    stage::{StageSlot, fetch},
};

/// Longest failure message that travels; a longer one is cut, so that an update always fits a message.
const LONGEST_MESSAGE: usize = 64 << 10;

/// What a task added to accumulators, encoded.
type Accumulated = Vec<AccumulatorUpdate>;

/// A task as the driver sent it.
pub(crate) struct Attempt {
    pub task: TaskId,
    pub stage: StageAttempt,
    pub partition: u32,
    pub attempt_number: u32,
    pub inputs: Vec<PartitionData>,
    pub cached: Vec<CachedPlace>,
    pub peers: Vec<BlockAddress>,
    /// When it came, where the driver wants to know what it costs.
    pub arrived: Option<Instant>,
    pub kill: Arc<KillFlag>,
    pub slot: Arc<StageSlot>,
    pub barrier: Option<Arc<BarrierSync>>,
}

/// What the driver is told of an attempt, and whether its result lies here in a block.
pub(crate) struct Ended {
    pub update: TaskUpdate,
    pub result_block: Option<BlockId>,
}

impl Attempt {
    /// Runs it to its end, whatever that is.
    pub fn run(&self, config: &ExecutorConfig, before_abort: Option<BeforeAbort>) -> Ended {
        let mut meter = self.arrived.map(Meter::begin);
        let context = self.context(config);
        let _entered = enter(context.clone());
        let result = panics::catch(before_abort.clone(), || self.compute(config, &context, &mut meter));
        let result = result.and_then(|result| result.map_err(TaskError::into_failure));
        let result = Self::tell_listeners(&context, result, before_abort);
        meter.iter_mut().for_each(Meter::ran);
        // What a killed task failed of does not matter: it was told to.
        let result = result.map_err(|failure| match self.kill.check() {
            Err(killed) => killed.into_failure(),
            Ok(()) => failure,
        });
        let mut result_block = None;
        let (outcome, accumulators) = match result {
            Ok((output, accumulated)) => (self.success(output, config, &mut result_block), accumulated),
            Err(failure) => (failed(failure), Vec::new()),
        };
        let metrics = meter.map(|meter| meter.metrics(context.memory(), result_bytes(&outcome)));
        let report = TaskReport { metrics, accumulators };
        let says_something = report.metrics.is_some() || !report.accumulators.is_empty();
        let report = says_something.then(|| Box::new(report));
        let blocks = context.take_cache_updates().into_iter().map(block_update).collect();
        // How long it ran is known to whose thread it had.
        Ended { update: TaskUpdate { blocks, report, ..TaskUpdate::of(self.task, outcome) }, result_block }
    }

    fn context(&self, config: &ExecutorConfig) -> Arc<TaskContext> {
        let Attempt { task, stage, partition, attempt_number, .. } = *self;
        let info = TaskInfo { task, stage, partition, attempt_number };
        let cached = self.cached.iter().map(|c| ((c.rdd, c.partition), c.addresses.clone()));
        let peers = self.peers.iter().map(|p| (p.executor, p.address.clone()));
        Arc::new(
            TaskContext::new(info, self.kill.clone(), config.services.clone())
                .with_cached(cached.collect(), peers.collect())
                .in_barrier(self.barrier.clone())
                .returning(config.settings.results)
                .measured(self.arrived.is_some()),
        )
    }

    /// Has the listeners of an attempt hear of its end; one that panics is why it failed, where it had not.
    fn tell_listeners<T>(
        context: &TaskContext,
        result: Result<T, TaskFailure>,
        before_abort: Option<BeforeAbort>,
    ) -> Result<T, TaskFailure> {
        if !context.has_listeners() {
            return result;
        }
        let failed = result.as_ref().err().map(|failure| TaskError::from(failure.clone()));
        let told = panics::catch(before_abort, || context.ended(failed.as_ref().map_or(Ok(()), Err)));
        result.and_then(|output| told.map(|()| output))
    }

    fn compute(
        &self,
        config: &ExecutorConfig,
        context: &Arc<TaskContext>,
        meter: &mut Option<Meter>,
    ) -> Result<(TaskOutput, Accumulated), TaskError> {
        self.kill.check()?;
        let stage = self.slot.get(config, &self.kill)?;
        let mut inputs = BTreeMap::new();
        for input in &self.inputs {
            inputs.insert((input.rdd, input.partition), fetch(&input.data, config, false, &self.kill)?);
        }
        context.begin(stage.shuffles.clone(), stage.properties.clone(), inputs);
        meter.iter_mut().for_each(Meter::decoded);
        let output = stage.task.run(self.partition, context)?;
        let accumulated = take_accumulated()?.into_iter();
        Ok((output, accumulated.map(|(id, value)| AccumulatorUpdate { id, value: value.into() }).collect()))
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

    fn success(&self, output: TaskOutput, config: &ExecutorConfig, result_block: &mut Option<BlockId>) -> TaskOutcome {
        match output {
            TaskOutput::Result(bytes) if bytes.len() as u64 <= config.settings.results.direct => {
                TaskOutcome::Result(bytes.into())
            }
            TaskOutput::Result(bytes) => match self.written(bytes, config) {
                Ok(output) => self.success(output, config, result_block),
                Err(e) => failed(e.into_failure()),
            },
            TaskOutput::Written(block) => {
                let (id, size) = (block.id(), block.len());
                block.keep(&config.services.blocks);
                *result_block = Some(id);
                TaskOutcome::ResultInBlock { block_id: id.to_string(), size }
            }
            // The driver ends the job when it hears of the size, and fetches nothing.
            TaskOutput::TooLarge(size) => {
                TaskOutcome::ResultInBlock { block_id: BlockId::TaskResult(self.task).to_string(), size }
            }
            TaskOutput::Map(map) => {
                let (map_task, sizes, checksum) = (map.map_task, Bytes::from(map.sizes), map.checksum);
                TaskOutcome::MapOutput(MapOutput { map_task, sizes, checksum })
            }
        }
    }
}

/// The size of what a task made for its driver.
fn result_bytes(outcome: &TaskOutcome) -> u64 {
    match outcome {
        TaskOutcome::Result(bytes) => bytes.len() as u64,
        TaskOutcome::ResultInBlock { size, .. } => *size,
        TaskOutcome::MapOutput(output) => output.sizes.len() as u64,
        TaskOutcome::Running | TaskOutcome::GivenBack | TaskOutcome::Failed(_) => 0,
    }
}

/// The outcome of a task that failed, with its texts cut to a length that travels.
pub(crate) fn failed(mut failure: TaskFailure) -> TaskOutcome {
    match &mut failure {
        TaskFailure::Exception { message, location, .. } => {
            cut(message);
            cut(location);
        }
        TaskFailure::FetchFailed { message, .. }
        | TaskFailure::ExecutorLost { message, .. }
        | TaskFailure::ResultLost { message }
        | TaskFailure::BroadcastLost { message, .. }
        | TaskFailure::CachedPartitionDamaged { message, .. }
        | TaskFailure::CheckpointUnreadable { message, .. } => cut(message),
        TaskFailure::Killed { reason } => cut(reason),
    }
    TaskOutcome::Failed(failure)
}

fn cut(text: &mut String) {
    if text.len() > LONGEST_MESSAGE {
        let total = text.len();
        text.truncate(text.floor_char_boundary(LONGEST_MESSAGE));
        text.push_str(&format!("… ({total} bytes in all)"));
    }
}

fn block_update(update: CacheUpdate) -> BlockUpdate {
    let CacheUpdate { rdd, partition, stored, memory_bytes: bytes, replicas } = update;
    BlockUpdate { rdd, partition, stored, bytes, replicas }
}
