//! Rules of `executor.proto`.

use super::{
    BadField, Checked, LAST_PID, address, at_most, block_id, each, executor_id, host, nested, none_or, number,
    optional, optional_box, or_none, path, rules, said, up_to,
};
use crate::proto::executor::{
    AccumulatorUpdate, BarrierAnswer, BarrierSync, BarrierTask, BlockPeer, BlockUpdate, BlockUpdates, BroadcastLost,
    BroadcastRef, CachedPartitionDamaged, CachedPlace, CheckpointUnreadable, DecommissionExecutor, ExceptionFailure,
    ExecutorFiles, ExecutorHeartbeat, FetchFailed, GivenBack, KillTask, LaunchTasks, MapOutput, MapOutputMoved,
    MapStatus, PartitionData, Payload, RecallTasks, RegisterExecutor, RegisterExecutorFailed, RegisteredExecutor,
    RemoveBroadcast, RemoveRdd, RemoveShuffle, ReplicateBlock, ResultBlock, ResultLost, Running, ShuffleOutputs,
    StageBinary, StageData, StageKey, StatusUpdate, StatusUpdates, StopExecutor, TaskDescription, TaskFailure,
    TaskKilled, TaskMetrics, TaskReport, ToDriver, ToExecutor, payload::Place, status_update, task_failure::Reason,
    to_driver, to_executor,
};

/// Bytes of the word that tells one start of a host from the next.
const BOOT_ID: usize = 64;

rules! {
    ToDriver { message: optional(nested) }
    ToExecutor { message: optional(nested) }

    RegisterExecutor {
        protocol_version: number,
        executor_id: executor_id,
        host: host,
        block_address: or_none(address),
        cores: number,
        build_hash: none_or(32),
        pid: up_to(LAST_PID.into()),
        shuffle_service_address: or_none(address),
        boot_id: at_most(BOOT_ID),
        local_dirs: each(path),
    }
    // Each key has its own check where it is read.
    RegisteredExecutor { conf: said }
    RegisterExecutorFailed { reason: said }
    ExecutorHeartbeat {}
    StopExecutor {}
    RemoveRdd { rdd_id: number }
    RemoveBroadcast { broadcast_id: number }
    RemoveShuffle { shuffle_id: number }

    Payload { place: optional(nested) }
    BroadcastRef {
        broadcast_id: number,
        size: number,
        piece_bytes: number,
        checksums: number,
        address: or_none(address),
    }

    StageBinary { stage_id: number, stage_attempt: number, data: optional(nested) }
    StageData { lineage: said, shuffles: each(nested), files: each(nested), properties: said }
    ExecutorFiles { executor_id: executor_id, boot_id: at_most(BOOT_ID), local_dirs: each(path) }
    ShuffleOutputs { shuffle_id: number, reducers: number, maps: each(nested) }
    MapStatus {
        map_task_id: number,
        executor_id: executor_id,
        block_address: or_none(address),
        sizes: said,
    }
    LaunchTasks { stages: each(nested), tasks: each(nested), ended: each(nested) }
    StageKey { stage_id: number, stage_attempt: number }
    TaskDescription {
        task_id: number,
        stage_id: number,
        stage_attempt: number,
        partition: number,
        attempt_number: number,
        inputs: each(nested),
        cached: each(nested),
        peers: each(nested),
        barrier: each(nested),
        measure: number,
    }
    BarrierTask { host: or_none(host), address: or_none(address) }
    BarrierSync { task_id: number, call: number, gathers: number, message: said }
    BarrierAnswer { task_id: number, call: number, messages: said, error: said }
    CachedPlace { rdd_id: number, partition: number, addresses: each(or_none(address)) }
    BlockPeer { executor_id: executor_id, address: or_none(address) }
    ReplicateBlock {
        rdd_id: number,
        partition: number,
        level: up_to(u16::MAX.into()),
        copies: number,
        peers: each(nested),
    }
    DecommissionExecutor { peers: each(nested), map_outputs: number }
    MapOutputMoved { shuffle_id: number, map_task_id: number, to_executor_id: executor_id }
    PartitionData { rdd_id: number, partition: number, data: optional(nested) }
    KillTask { task_id: number, reason: said }
    RecallTasks { task_ids: number }

    StatusUpdates { updates: each(nested) }
    StatusUpdate {
        task_id: number,
        outcome: optional(nested),
        blocks: each(nested),
        run_nanos: number,
        report: optional_box(nested),
    }
    TaskReport { metrics: optional(nested), accumulators: each(nested) }
    Running {}
    GivenBack {}
    ResultBlock { block_id: block_id, size: number }
    MapOutput { map_task_id: number, sizes: said, checksum: number }
    BlockUpdates { blocks: each(nested) }
    BlockUpdate { rdd_id: number, partition: number, stored: number, memory_bytes: number, replicas: each(executor_id) }
    TaskFailure { reason: optional(nested) }
    FetchFailed {
        shuffle_id: number,
        map_index: number,
        map_task_id: number,
        reduce_id: number,
        executor_id: executor_id,
        block_address: or_none(address),
        message: said,
    }
    AccumulatorUpdate { id: number, value: said }
    TaskMetrics {
        queued_nanos: number,
        deserialize_nanos: number,
        deserialize_cpu_nanos: number,
        run_nanos: number,
        cpu_nanos: number,
        result_serialization_nanos: number,
        result_bytes: number,
        peak_memory: number,
        spilled_memory_bytes: number,
        spilled_disk_bytes: number,
        input_bytes: number,
        input_records: number,
        output_bytes: number,
        output_records: number,
        remote_blocks: number,
        local_blocks: number,
        remote_bytes: number,
        local_bytes: number,
        fetch_wait_nanos: number,
        shuffle_records_read: number,
        shuffle_bytes_written: number,
        shuffle_records_written: number,
        shuffle_write_nanos: number,
    }
    ExceptionFailure { message: said, location: said, panic: number }
    TaskKilled { reason: said }
    ResultLost { message: said }
    BroadcastLost { broadcast_id: number, message: said }
    CachedPartitionDamaged { rdd_id: number, partition: number, block_address: or_none(address), message: said }
    CheckpointUnreadable { rdd_id: number, partition: number, path: said, message: said }
}

impl Checked for to_driver::Message {
    fn check(&self) -> Result<(), BadField> {
        use to_driver::Message;
        match self {
            Message::Handshake(m) => m.check(),
            // The driver answers it with what is wrong.
            Message::RegisterExecutor(_) => Ok(()),
            Message::StatusUpdates(m) => m.check(),
            Message::Heartbeat(m) => m.check(),
            Message::BlockUpdates(m) => m.check(),
            Message::MapOutputMoved(m) => m.check(),
            Message::BarrierSync(m) => m.check(),
        }
    }
}

impl Checked for to_executor::Message {
    fn check(&self) -> Result<(), BadField> {
        use to_executor::Message;
        match self {
            Message::Handshake(m) => m.check(),
            Message::RegisteredExecutor(m) => m.check(),
            Message::RegisterExecutorFailed(m) => m.check(),
            Message::LaunchTasks(m) => m.check(),
            Message::KillTask(m) => m.check(),
            Message::StopExecutor(m) => m.check(),
            Message::RemoveRdd(m) => m.check(),
            Message::RemoveShuffle(m) => m.check(),
            Message::RecallTasks(m) => m.check(),
            Message::RemoveBroadcast(m) => m.check(),
            Message::ReplicateBlock(m) => m.check(),
            Message::DecommissionExecutor(m) => m.check(),
            Message::BarrierAnswer(m) => m.check(),
        }
    }
}

impl Checked for Place {
    fn check(&self) -> Result<(), BadField> {
        match self {
            Place::Inline(_) => Ok(()),
            Place::Broadcast(m) => m.check().and_then(|()| pieces(m)),
        }
    }
}

/// Whoever fetches the pieces makes room for all of them, and looks each one's checksum up.
fn pieces(m: &BroadcastRef) -> Result<(), BadField> {
    let pieces = m.size.checked_div(m.piece_bytes).map(|whole| whole + u64::from(whole * m.piece_bytes < m.size));
    if pieces.unwrap_or(0) == m.checksums.len() as u64 && (m.piece_bytes > 0 || m.size == 0) {
        return Ok(());
    }
    let (size, piece, sums) = (m.size, m.piece_bytes, m.checksums.len());
    let reason = format!("{sums} checksums for {size} bytes in pieces of {piece}");
    Err(BadField { message: "BroadcastRef", field: "checksums", reason })
}

impl Checked for status_update::Outcome {
    fn check(&self) -> Result<(), BadField> {
        use status_update::Outcome;
        match self {
            Outcome::Running(m) => m.check(),
            Outcome::GivenBack(m) => m.check(),
            Outcome::Result(_) => Ok(()),
            Outcome::ResultBlock(m) => m.check(),
            Outcome::MapOutput(m) => m.check(),
            Outcome::Failure(m) => m.check(),
        }
    }
}

impl Checked for Reason {
    fn check(&self) -> Result<(), BadField> {
        match self {
            Reason::FetchFailed(m) => m.check(),
            Reason::Exception(m) => m.check(),
            Reason::Killed(m) => m.check(),
            Reason::ResultLost(m) => m.check(),
            Reason::BroadcastLost(m) => m.check(),
            Reason::CachedPartitionDamaged(m) => m.check(),
            Reason::CheckpointUnreadable(m) => m.check(),
        }
    }
}
