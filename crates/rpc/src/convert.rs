//! `ToDriver` and `ToExecutor`, from and to the messages of `executor.proto`. Nothing else knows both.
//!
//! What comes has passed the rules of `checked`; what lacks a part without which it means nothing is refused here with the
//! same error. Called where a stream begins and ends: `executor` and `firesteel`.

use std::{sync::Arc, time::Duration};

use firesteel_common::{BroadcastId, ExecutorId, RddId, ShuffleId, StageAttempt, StageId, TaskId};
use firesteel_events::{AccumulatorUpdate, TaskReport};
use firesteel_protocol::{
    BarrierAnswer, BarrierSync, BarrierTask, BlockAddress, BlockUpdate, BroadcastRef, CachedPlace,
    DecommissionExecutor, KillTask, LaunchTasks, MapOutput, MapOutputMoved, PartitionData, Payload, RegisterExecutor,
    ReplicateBlock, StageBinary, TaskDescription, TaskOutcome, TaskUpdate, ToDriver, ToExecutor,
};

use crate::{
    checked::{BadField, Checked},
    failure::{failure_from_proto, failure_to_proto},
    metrics::{metrics_from_proto, metrics_to_proto, nanos},
    proto::executor as pb,
};

/// The messages of a vector.
fn all<A, B: From<A>>(values: Vec<A>) -> Vec<B> {
    values.into_iter().map(B::from).collect()
}

/// What the messages of a vector say.
fn try_all<A, B: TryFrom<A>>(values: Vec<A>) -> Result<Vec<B>, B::Error> {
    values.into_iter().map(B::try_from).collect()
}

// ---- to the driver ----

impl From<ToDriver> for pb::ToDriver {
    fn from(message: ToDriver) -> pb::ToDriver {
        use pb::to_driver::Message;
        let message = match message {
            ToDriver::RegisterExecutor(register) => Message::RegisterExecutor((*register).into()),
            ToDriver::StatusUpdates(updates) => {
                Message::StatusUpdates(pb::StatusUpdates { updates: updates.into_iter().map(Into::into).collect() })
            }
            ToDriver::BlockUpdates(blocks) => Message::BlockUpdates(pb::BlockUpdates { blocks: all(blocks) }),
            ToDriver::MapOutputMoved(MapOutputMoved { shuffle, map_task, to }) => {
                let (shuffle_id, map_task_id, to_executor_id) = (shuffle.0, map_task.0, to.0);
                Message::MapOutputMoved(pb::MapOutputMoved { shuffle_id, map_task_id, to_executor_id })
            }
            ToDriver::BarrierSync(BarrierSync { task, call, gathers, message }) => {
                Message::BarrierSync(pb::BarrierSync { task_id: task.0, call, gathers, message: message.into() })
            }
            ToDriver::Heartbeat => Message::Heartbeat(pb::ExecutorHeartbeat {}),
        };
        pb::ToDriver { message: Some(message) }
    }
}

impl TryFrom<pb::ToDriver> for ToDriver {
    type Error = BadField;

    fn try_from(message: pb::ToDriver) -> Result<ToDriver, BadField> {
        use pb::to_driver::Message;
        Ok(match message.message.ok_or(BadField::missing("ToDriver", "message"))? {
            Message::RegisterExecutor(register) => ToDriver::RegisterExecutor(Box::new(register.try_into()?)),
            Message::StatusUpdates(m) => ToDriver::StatusUpdates(try_all(m.updates)?),
            Message::Heartbeat(pb::ExecutorHeartbeat {}) => ToDriver::Heartbeat,
            Message::BlockUpdates(m) => ToDriver::BlockUpdates(all(m.blocks)),
            Message::MapOutputMoved(m) => ToDriver::MapOutputMoved(MapOutputMoved {
                shuffle: ShuffleId(m.shuffle_id),
                map_task: TaskId(m.map_task_id),
                to: ExecutorId(m.to_executor_id),
            }),
            Message::BarrierSync(pb::BarrierSync { task_id, call, gathers, message }) => {
                ToDriver::BarrierSync(BarrierSync { task: TaskId(task_id), call, gathers, message: message.into() })
            }
            Message::Handshake(_) => return Err(late_handshake("ToDriver")),
        })
    }
}

fn late_handshake(message: &'static str) -> BadField {
    BadField { message, field: "handshake", reason: "the handshake is over".to_owned() }
}

impl From<RegisterExecutor> for pb::RegisterExecutor {
    fn from(r: RegisterExecutor) -> pb::RegisterExecutor {
        pb::RegisterExecutor {
            protocol_version: r.protocol_version,
            executor_id: r.executor.0,
            host: r.host,
            block_address: r.block_address,
            cores: r.cores,
            build_hash: r.build_hash,
            pid: r.pid,
            shuffle_service_address: r.shuffle_service.unwrap_or_default(),
            boot_id: r.boot_id,
            local_dirs: r.local_dirs,
        }
    }
}

/// Also holds it against the rules: the stream lets registrations through, so that they can be answered.
impl TryFrom<pb::RegisterExecutor> for RegisterExecutor {
    type Error = BadField;

    fn try_from(r: pb::RegisterExecutor) -> Result<RegisterExecutor, BadField> {
        r.check()?;
        Ok(RegisterExecutor {
            protocol_version: r.protocol_version,
            executor: ExecutorId(r.executor_id),
            host: r.host,
            block_address: r.block_address,
            cores: r.cores,
            build_hash: r.build_hash,
            pid: r.pid,
            shuffle_service: (!r.shuffle_service_address.is_empty()).then_some(r.shuffle_service_address),
            boot_id: r.boot_id,
            local_dirs: r.local_dirs,
        })
    }
}

impl From<TaskUpdate> for pb::StatusUpdate {
    fn from(update: TaskUpdate) -> pb::StatusUpdate {
        use pb::status_update::Outcome;
        let outcome = match update.outcome {
            TaskOutcome::Running => Outcome::Running(pb::Running {}),
            TaskOutcome::GivenBack => Outcome::GivenBack(pb::GivenBack {}),
            TaskOutcome::Result(bytes) => Outcome::Result(bytes),
            TaskOutcome::ResultInBlock { block_id, size } => Outcome::ResultBlock(pb::ResultBlock { block_id, size }),
            TaskOutcome::MapOutput(MapOutput { map_task, sizes, checksum }) => {
                Outcome::MapOutput(pb::MapOutput { map_task_id: map_task.0, sizes: sizes.into(), checksum })
            }
            TaskOutcome::Failed(failure) => Outcome::Failure(failure_to_proto(failure)),
        };
        let report = update.report.map(|report| {
            let TaskReport { metrics, accumulators } = *report;
            let accumulators = accumulators.into_iter();
            let update = |AccumulatorUpdate { id, value }| pb::AccumulatorUpdate { id, value: value.into() };
            let (metrics, accumulators) = (metrics.as_ref().map(metrics_to_proto), accumulators.map(update).collect());
            Box::new(pb::TaskReport { metrics, accumulators })
        });
        let (task_id, blocks, run_nanos) = (update.task.0, all(update.blocks), nanos(update.ran));
        pb::StatusUpdate { task_id, outcome: Some(outcome), blocks, run_nanos, report }
    }
}

impl TryFrom<pb::StatusUpdate> for TaskUpdate {
    type Error = BadField;

    fn try_from(update: pb::StatusUpdate) -> Result<TaskUpdate, BadField> {
        use pb::status_update::Outcome;
        let outcome = match update.outcome.ok_or(BadField::missing("StatusUpdate", "outcome"))? {
            Outcome::Running(pb::Running {}) => TaskOutcome::Running,
            Outcome::GivenBack(pb::GivenBack {}) => TaskOutcome::GivenBack,
            Outcome::Result(bytes) => TaskOutcome::Result(bytes),
            Outcome::ResultBlock(pb::ResultBlock { block_id, size }) => TaskOutcome::ResultInBlock { block_id, size },
            Outcome::MapOutput(pb::MapOutput { map_task_id, sizes, checksum }) => {
                TaskOutcome::MapOutput(MapOutput { map_task: TaskId(map_task_id), sizes: sizes.into(), checksum })
            }
            Outcome::Failure(failure) => TaskOutcome::Failed(failure_from_proto(failure)?),
        };
        let report = update.report.map(|report| {
            let update = |u: pb::AccumulatorUpdate| AccumulatorUpdate { id: u.id, value: u.value.into() };
            let accumulators = report.accumulators.into_iter().map(update).collect();
            Box::new(TaskReport { metrics: report.metrics.as_ref().map(metrics_from_proto), accumulators })
        });
        let (task, ran) = (TaskId(update.task_id), Duration::from_nanos(update.run_nanos));
        Ok(TaskUpdate { task, outcome, blocks: all(update.blocks), ran, report })
    }
}

impl From<BlockUpdate> for pb::BlockUpdate {
    fn from(u: BlockUpdate) -> pb::BlockUpdate {
        let replicas = u.replicas.into_iter().map(|e| e.0).collect();
        let BlockUpdate { rdd: RddId(rdd_id), partition, stored, bytes: memory_bytes, .. } = u;
        pb::BlockUpdate { rdd_id, partition, stored, memory_bytes, replicas }
    }
}

impl From<pb::BlockUpdate> for BlockUpdate {
    fn from(u: pb::BlockUpdate) -> BlockUpdate {
        let replicas = u.replicas.into_iter().map(ExecutorId).collect();
        let pb::BlockUpdate { rdd_id, partition, stored, memory_bytes: bytes, .. } = u;
        BlockUpdate { rdd: RddId(rdd_id), partition, stored, bytes, replicas }
    }
}

// ---- to the executor ----

impl From<ToExecutor> for pb::ToExecutor {
    fn from(message: ToExecutor) -> pb::ToExecutor {
        use pb::to_executor::Message;
        let message = match message {
            ToExecutor::RegisteredExecutor(conf) => Message::RegisteredExecutor(pb::RegisteredExecutor { conf }),
            ToExecutor::RegisterExecutorFailed(reason) => {
                Message::RegisterExecutorFailed(pb::RegisterExecutorFailed { reason })
            }
            ToExecutor::LaunchTasks(LaunchTasks { stages, tasks, ended }) => {
                Message::LaunchTasks(pb::LaunchTasks { stages: all(stages), tasks: all(tasks), ended: all(ended) })
            }
            ToExecutor::KillTask(KillTask { task, reason }) => {
                Message::KillTask(pb::KillTask { task_id: task.0, reason })
            }
            ToExecutor::RecallTasks(tasks) => {
                Message::RecallTasks(pb::RecallTasks { task_ids: tasks.into_iter().map(|t| t.0).collect() })
            }
            ToExecutor::StopExecutor => Message::StopExecutor(pb::StopExecutor {}),
            ToExecutor::DecommissionExecutor(DecommissionExecutor { peers, map_outputs }) => {
                Message::DecommissionExecutor(pb::DecommissionExecutor { peers: all(peers), map_outputs })
            }
            ToExecutor::ReplicateBlock(ReplicateBlock { rdd: RddId(rdd_id), partition, level, copies, peers }) => {
                let (level, peers) = (level.into(), all(peers));
                Message::ReplicateBlock(pb::ReplicateBlock { rdd_id, partition, level, copies, peers })
            }
            ToExecutor::BarrierAnswer(BarrierAnswer { task: TaskId(task_id), call, result }) => {
                let (messages, error) = match result {
                    Ok(messages) => (messages.iter().map(|m| m.to_vec()).collect(), String::new()),
                    Err(error) => (Vec::new(), error),
                };
                Message::BarrierAnswer(pb::BarrierAnswer { task_id, call, messages, error })
            }
            ToExecutor::RemoveRdd(RddId(rdd_id)) => Message::RemoveRdd(pb::RemoveRdd { rdd_id }),
            ToExecutor::RemoveShuffle(ShuffleId(shuffle_id)) => {
                Message::RemoveShuffle(pb::RemoveShuffle { shuffle_id })
            }
            ToExecutor::RemoveBroadcast(BroadcastId(broadcast_id)) => {
                Message::RemoveBroadcast(pb::RemoveBroadcast { broadcast_id })
            }
        };
        pb::ToExecutor { message: Some(message) }
    }
}

impl TryFrom<pb::ToExecutor> for ToExecutor {
    type Error = BadField;

    fn try_from(message: pb::ToExecutor) -> Result<ToExecutor, BadField> {
        use pb::to_executor::Message;
        Ok(match message.message.ok_or(BadField::missing("ToExecutor", "message"))? {
            Message::RegisteredExecutor(m) => ToExecutor::RegisteredExecutor(m.conf),
            Message::RegisterExecutorFailed(m) => ToExecutor::RegisterExecutorFailed(m.reason),
            Message::LaunchTasks(pb::LaunchTasks { stages, tasks, ended }) => {
                let (stages, tasks) = (try_all(stages)?, try_all(tasks)?);
                ToExecutor::LaunchTasks(LaunchTasks { stages, tasks, ended: all(ended) })
            }
            Message::KillTask(m) => ToExecutor::KillTask(KillTask { task: TaskId(m.task_id), reason: m.reason }),
            Message::RecallTasks(m) => ToExecutor::RecallTasks(m.task_ids.into_iter().map(TaskId).collect()),
            Message::StopExecutor(pb::StopExecutor {}) => ToExecutor::StopExecutor,
            Message::DecommissionExecutor(pb::DecommissionExecutor { peers, map_outputs }) => {
                ToExecutor::DecommissionExecutor(DecommissionExecutor { peers: all(peers), map_outputs })
            }
            Message::ReplicateBlock(m) => ToExecutor::ReplicateBlock(ReplicateBlock {
                rdd: RddId(m.rdd_id),
                partition: m.partition,
                level: u16::try_from(m.level).unwrap_or(u16::MAX),
                copies: m.copies,
                peers: all(m.peers),
            }),
            Message::BarrierAnswer(pb::BarrierAnswer { task_id, call, messages, error }) => {
                let messages = || Arc::new(messages.into_iter().map(Into::into).collect());
                let result = if error.is_empty() { Ok(messages()) } else { Err(error) };
                ToExecutor::BarrierAnswer(BarrierAnswer { task: TaskId(task_id), call, result })
            }
            Message::RemoveRdd(m) => ToExecutor::RemoveRdd(RddId(m.rdd_id)),
            Message::RemoveShuffle(m) => ToExecutor::RemoveShuffle(ShuffleId(m.shuffle_id)),
            Message::RemoveBroadcast(m) => ToExecutor::RemoveBroadcast(BroadcastId(m.broadcast_id)),
            Message::Handshake(_) => return Err(late_handshake("ToExecutor")),
        })
    }
}

impl From<StageAttempt> for pb::StageKey {
    fn from(stage: StageAttempt) -> pb::StageKey {
        pb::StageKey { stage_id: stage.stage.0, stage_attempt: stage.attempt }
    }
}

impl From<pb::StageKey> for StageAttempt {
    fn from(key: pb::StageKey) -> StageAttempt {
        StageAttempt { stage: StageId(key.stage_id), attempt: key.stage_attempt }
    }
}

impl From<StageBinary> for pb::StageBinary {
    fn from(StageBinary { stage, data }: StageBinary) -> pb::StageBinary {
        pb::StageBinary { stage_id: stage.stage.0, stage_attempt: stage.attempt, data: Some(data.into()) }
    }
}

impl TryFrom<pb::StageBinary> for StageBinary {
    type Error = BadField;

    fn try_from(binary: pb::StageBinary) -> Result<StageBinary, BadField> {
        let data = binary.data.ok_or(BadField::missing("StageBinary", "data"))?.try_into()?;
        let stage = StageAttempt { stage: StageId(binary.stage_id), attempt: binary.stage_attempt };
        Ok(StageBinary { stage, data })
    }
}

impl From<TaskDescription> for pb::TaskDescription {
    fn from(t: TaskDescription) -> pb::TaskDescription {
        pb::TaskDescription {
            task_id: t.task.0,
            stage_id: t.stage.stage.0,
            stage_attempt: t.stage.attempt,
            partition: t.partition,
            attempt_number: t.attempt_number,
            inputs: all(t.inputs),
            cached: all(t.cached),
            peers: all(t.peers),
            barrier: all(t.barrier),
            measure: t.measure,
        }
    }
}

impl TryFrom<pb::TaskDescription> for TaskDescription {
    type Error = BadField;

    fn try_from(t: pb::TaskDescription) -> Result<TaskDescription, BadField> {
        Ok(TaskDescription {
            task: TaskId(t.task_id),
            stage: StageAttempt { stage: StageId(t.stage_id), attempt: t.stage_attempt },
            partition: t.partition,
            attempt_number: t.attempt_number,
            inputs: try_all(t.inputs)?,
            cached: all(t.cached),
            peers: all(t.peers),
            barrier: all(t.barrier),
            measure: t.measure,
        })
    }
}

impl From<PartitionData> for pb::PartitionData {
    fn from(PartitionData { rdd: RddId(rdd_id), partition, data }: PartitionData) -> pb::PartitionData {
        pb::PartitionData { rdd_id, partition, data: Some(data.into()) }
    }
}

impl TryFrom<pb::PartitionData> for PartitionData {
    type Error = BadField;

    fn try_from(pb::PartitionData { rdd_id, partition, data }: pb::PartitionData) -> Result<PartitionData, BadField> {
        let data = data.ok_or(BadField::missing("PartitionData", "data"))?.try_into()?;
        Ok(PartitionData { rdd: RddId(rdd_id), partition, data })
    }
}

/// Structs of the same fields, of which some are numbers of a kind.
macro_rules! alike {
    ($($name:ident as $message:ident { $($id:ident: $kind:ident = $raw:ident,)* $(..$field:ident,)* })*) => {
        $(impl From<$name> for pb::$message {
            fn from($name { $($id: $kind($id),)* $($field,)* }: $name) -> pb::$message {
                pb::$message { $($raw: $id,)* $($field,)* }
            }
        }

        impl From<pb::$message> for $name {
            fn from(pb::$message { $($raw: $id,)* $($field,)* }: pb::$message) -> $name {
                $name { $($id: $kind($id),)* $($field,)* }
            }
        })*
    };
}

alike! {
    CachedPlace as CachedPlace { rdd: RddId = rdd_id, ..partition, ..addresses, }
    BlockAddress as BlockPeer { executor: ExecutorId = executor_id, ..address, }
    BarrierTask as BarrierTask { ..host, ..address, }
    BroadcastRef as BroadcastRef { broadcast: BroadcastId = broadcast_id, ..size, ..piece_bytes, ..checksums, ..address, }
}

impl From<Payload> for pb::Payload {
    fn from(payload: Payload) -> pb::Payload {
        use pb::payload::Place;
        let place = match payload {
            Payload::Inline(bytes) => Place::Inline(bytes),
            Payload::Broadcast(pieces) => Place::Broadcast(pieces.into()),
        };
        pb::Payload { place: Some(place) }
    }
}

impl TryFrom<pb::Payload> for Payload {
    type Error = BadField;

    fn try_from(payload: pb::Payload) -> Result<Payload, BadField> {
        use pb::payload::Place;
        Ok(match payload.place.ok_or(BadField::missing("Payload", "place"))? {
            Place::Inline(bytes) => Payload::Inline(bytes),
            Place::Broadcast(pieces) => Payload::Broadcast(pieces.into()),
        })
    }
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;
