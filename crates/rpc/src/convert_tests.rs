//! Every message comes back as it was, through its bytes.

use std::collections::BTreeMap;

use bytes::Bytes;
use firesteel_common::TaskFailure;
use firesteel_events::TaskMetrics;
use prost::Message as _;

use super::*;
use crate::checked::decode;

fn to_driver(message: ToDriver) {
    let bytes = pb::ToDriver::from(message.clone()).encode_to_vec();
    assert_eq!(ToDriver::try_from(decode::<pb::ToDriver>(&*bytes).unwrap()), Ok(message));
}

fn to_executor(message: ToExecutor) {
    let bytes = pb::ToExecutor::from(message.clone()).encode_to_vec();
    assert_eq!(ToExecutor::try_from(decode::<pb::ToExecutor>(&*bytes).unwrap()), Ok(message));
}

#[test]
fn what_an_executor_says_comes_back_as_it_was() {
    let register = RegisterExecutor {
        protocol_version: 1,
        executor: ExecutorId(2),
        host: "h".into(),
        block_address: "h:3".into(),
        cores: 4,
        build_hash: vec![5; 32],
        pid: 6,
        shuffle_service: Some("h:7".into()),
        boot_id: "boot".into(),
        local_dirs: vec!["/a".into(), "/b".into()],
    };
    to_driver(ToDriver::RegisterExecutor(Box::new(RegisterExecutor { shuffle_service: None, ..register.clone() })));
    to_driver(ToDriver::RegisterExecutor(Box::new(register)));
    to_driver(ToDriver::Heartbeat);
    let (shuffle, map_task, to) = (ShuffleId(1), TaskId(2), ExecutorId(3));
    to_driver(ToDriver::MapOutputMoved(MapOutputMoved { shuffle, map_task, to }));
    let message = Bytes::from_static(b"all");
    to_driver(ToDriver::BarrierSync(BarrierSync { task: TaskId(1), call: 2, gathers: true, message }));
    let block = |stored, replicas| BlockUpdate { rdd: RddId(1), partition: 2, stored, bytes: 3, replicas };
    let blocks = vec![block(true, vec![]), block(false, vec![ExecutorId(4), ExecutorId(5)])];
    to_driver(ToDriver::BlockUpdates(blocks.clone()));
    let (sizes, checksum) = (Bytes::from_static(&[1, 0]), Some(9));
    let (metrics, accumulators) =
        (Some(TaskMetrics::default()), vec![AccumulatorUpdate { id: 1, value: Bytes::from_static(b"2") }]);
    let outcomes = [
        TaskOutcome::Running,
        TaskOutcome::GivenBack,
        TaskOutcome::Result(Bytes::from_static(b"r")),
        TaskOutcome::Result(Bytes::new()),
        TaskOutcome::ResultInBlock { block_id: "taskresult_1".into(), size: 7 },
        TaskOutcome::MapOutput(MapOutput { map_task: TaskId(8), sizes, checksum }),
        TaskOutcome::Failed(TaskFailure::Killed { reason: "why".into() }),
    ];
    let whole = |outcome| TaskUpdate {
        blocks: blocks.clone(),
        ran: Duration::from_nanos(11),
        report: Some(Box::new(TaskReport { metrics: metrics.clone(), accumulators: accumulators.clone() })),
        ..TaskUpdate::of(TaskId(10), outcome)
    };
    let mut updates: Vec<TaskUpdate> = outcomes.map(whole).into();
    updates.push(TaskUpdate::of(TaskId(12), TaskOutcome::Running));
    to_driver(ToDriver::StatusUpdates(updates));
}

#[test]
fn what_a_driver_says_comes_back_as_it_was() {
    let (stage, address) = (StageAttempt { stage: StageId(1), attempt: 2 }, "h:1".to_owned());
    let peers = vec![BlockAddress { executor: ExecutorId(3), address: address.clone() }];
    to_executor(ToExecutor::RegisteredExecutor(BTreeMap::from([("spark.a".into(), "1".into())])));
    to_executor(ToExecutor::RegisterExecutorFailed("unknown".into()));
    to_executor(ToExecutor::KillTask(KillTask { task: TaskId(1), reason: "why".into() }));
    to_executor(ToExecutor::RecallTasks(vec![TaskId(1), TaskId(2)]));
    to_executor(ToExecutor::StopExecutor);
    to_executor(ToExecutor::RemoveRdd(RddId(1)));
    to_executor(ToExecutor::RemoveShuffle(ShuffleId(2)));
    to_executor(ToExecutor::RemoveBroadcast(BroadcastId(3)));
    to_executor(ToExecutor::DecommissionExecutor(DecommissionExecutor { peers: peers.clone(), map_outputs: true }));
    let (rdd, partition) = (RddId(4), 5);
    to_executor(ToExecutor::ReplicateBlock(ReplicateBlock {
        rdd,
        partition,
        level: 6,
        copies: 7,
        peers: peers.clone(),
    }));
    for result in [Ok(Arc::new(vec![Bytes::new(), Bytes::from_static(b"a")])), Ok(Arc::default()), Err("no".into())] {
        to_executor(ToExecutor::BarrierAnswer(BarrierAnswer { task: TaskId(8), call: 9, result }));
    }
    let payloads = [
        Payload::Inline(Bytes::from_static(b"data")),
        Payload::Broadcast(BroadcastRef {
            broadcast: BroadcastId(1),
            size: 8,
            piece_bytes: 4,
            checksums: vec![5, 6],
            address: address.clone(),
        }),
    ];
    let task = TaskDescription {
        task: TaskId(10),
        stage,
        partition: 11,
        attempt_number: 12,
        inputs: payloads.iter().map(|data| PartitionData { rdd, partition, data: data.clone() }).collect(),
        cached: vec![CachedPlace { rdd, partition, addresses: vec![address.clone(), "h:2".into()] }],
        peers,
        barrier: vec![BarrierTask { host: "h".into(), address }],
        measure: true,
    };
    let stages = payloads.into_iter().map(|data| StageBinary { stage, data }).collect();
    let tasks = vec![task, TaskDescription { task: TaskId(13), ..TaskDescription::default() }];
    to_executor(ToExecutor::LaunchTasks(LaunchTasks { stages, tasks, ended: vec![stage] }));
}

#[test]
fn what_means_nothing_is_refused_by_name() {
    let refused = |message: pb::to_driver::Message| {
        ToDriver::try_from(pb::ToDriver { message: Some(message) }).unwrap_err().to_string()
    };
    assert!(ToDriver::try_from(pb::ToDriver { message: None }).is_err());
    assert!(ToExecutor::try_from(pb::ToExecutor { message: None }).is_err());
    let updates = vec![pb::StatusUpdate::default()];
    let text = refused(pb::to_driver::Message::StatusUpdates(pb::StatusUpdates { updates }));
    assert!(text.contains("outcome of a StatusUpdate"), "{text}");
    let register = pb::RegisterExecutor { host: "a b".into(), ..Default::default() };
    let text = refused(pb::to_driver::Message::RegisterExecutor(register));
    assert!(text.contains("host of a RegisterExecutor"), "{text}");
    let text = refused(pb::to_driver::Message::Handshake(Default::default()));
    assert!(text.contains("handshake"), "{text}");
}
