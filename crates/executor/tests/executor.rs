//! The executor in one process, with tasks that are closures of the test.

use std::sync::{
    Arc, Barrier, Mutex,
    atomic::{AtomicBool, AtomicU32, Ordering},
    mpsc,
};

use bytes::Bytes;
use firesteel_common::{RddId, ShuffleId, StageId, TaskFailure, TaskId};
use firesteel_protocol::{BlockUpdate, KillTask, LaunchTasks, PartitionData, TaskOutcome, ToExecutor};
use firesteel_shuffle::MapOutput;
use firesteel_storage::{BlockId, BlockSource};
use firesteel_task::{CacheUpdate, TaskAbort, TaskError, TaskOutput};
use firesteel_testing::until;
use support::{End, inline, kind, launch, result, rig, stage, stage_data, stage_ended, task};

mod support;

fn kill(task: u64, reason: &str) -> ToExecutor {
    ToExecutor::KillTask(KillTask { task: TaskId(task), reason: reason.to_owned() })
}

#[test]
fn a_task_computes_its_partition_and_its_result_comes_inline() {
    let rig = rig(1);
    kind("partition", |p, ctx| {
        assert_eq!((ctx.info().task, ctx.info().stage.stage, ctx.partition_id()), (TaskId(7), StageId(4), p));
        result(&[p as u8])
    });
    rig.executor.handle(launch(4, "partition", [7]));
    assert_eq!(rig.next_end(), (7, End::Result(Bytes::from_static(&[0]))));
}

#[test]
fn a_map_output_names_its_task_and_says_how_large_its_blocks_are() {
    let rig = rig(1);
    kind("map", |_, ctx| {
        Ok(TaskOutput::Map(MapOutput { map_task: ctx.info().task, sizes: vec![1, 0, 2], checksum: Some(9) }))
    });
    rig.executor.handle(launch(1, "map", [7]));
    let TaskOutcome::MapOutput(m) = rig.next_outcome() else { panic!("no map output") };
    assert_eq!((m.map_task, &*m.sizes, m.checksum), (TaskId(7), &[1, 0, 2][..], Some(9)));
}

#[test]
fn failures_keep_their_types() {
    let rig = rig(1);
    let place = Arc::new(AtomicU32::new(0));
    let line = place.clone();
    kind("panics", move |p, _| {
        line.store(line!() + 1, Ordering::SeqCst);
        panic!("no luck with {p}")
    });
    let End::Panic(message, location) = rig.run_one("panics") else { panic!("no panic") };
    let expected = format!("tests/executor.rs:{}:", place.load(Ordering::SeqCst));
    assert!(message == "no luck with 0" && location.contains(&expected), "{message} at {location}");

    kind("fails", |_, _| Err(TaskError::failed("not today")));
    assert_eq!(rig.run_one("fails"), End::Error("not today".into()));

    kind("input fails", |_, _| {
        let failure = TaskFailure::FetchFailed {
            shuffle: ShuffleId(5),
            map_index: 1,
            map_task: TaskId(2),
            reduce: 0,
            executor: firesteel_common::ExecutorId(9),
            message: "gone".into(),
        };
        std::panic::resume_unwind(Box::new(TaskAbort(failure.into())))
    });
    assert!(
        matches!(rig.run_one("input fails"), End::Other(text) if text.contains("FetchFailed") && text.contains("gone"))
    );
}

#[test]
fn a_huge_panic_message_is_cut_so_that_it_travels() {
    let rig = rig(1);
    kind("talks", |_, _| panic!("{}", "ä".repeat(5 << 20)));
    let End::Panic(message, _) = rig.run_one("talks") else { panic!("no panic") };
    assert!(message.len() < 70_000 && message.ends_with("(10485760 bytes in all)"));
}

#[test]
fn a_running_task_is_killed_with_the_reason_whatever_it_then_fails_of() {
    let rig = rig(1);
    let (begun, has_begun) = mpsc::channel();
    kind("loops", move |_, ctx| {
        begun.send(()).unwrap();
        while ctx.kill().check().is_ok() {
            std::thread::yield_now();
        }
        Err(TaskError::failed("my file was half written"))
    });
    rig.executor.handle(launch(1, "loops", [1, 2]));
    has_begun.recv().unwrap();
    rig.executor.handle(kill(2, "not needed"));
    assert_eq!(rig.next_end(), (2, End::Killed("not needed".into())), "it was still waiting");
    rig.executor.handle(kill(1, "another attempt succeeded"));
    assert_eq!(rig.next_end(), (1, End::Killed("another attempt succeeded".into())));
    assert_eq!(rig.executor.tasks(), 0);
}

#[test]
fn no_more_tasks_run_than_there_are_slots_and_all_run() {
    let rig = rig(3);
    let (now, most) = (AtomicU32::new(0), Arc::new(AtomicU32::new(0)));
    let high = most.clone();
    let meet = Barrier::new(3);
    kind("counted", move |p, _| {
        high.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        if p < 3 {
            meet.wait();
        }
        now.fetch_sub(1, Ordering::SeqCst);
        result(&[])
    });
    rig.executor.handle(launch(1, "counted", 0..300));
    let mut ended: Vec<u64> = Vec::new();
    let mut announced: Vec<u64> = Vec::new();
    while ended.len() < 300 {
        let update = rig.next_update();
        match update.outcome {
            TaskOutcome::Running => {
                assert!(!ended.contains(&update.task.0), "an end comes after the beginning");
                announced.push(update.task.0);
            }
            _ => ended.push(update.task.0),
        }
    }
    ended.sort_unstable();
    assert!(ended.iter().copied().eq(0..300));
    assert_eq!(most.load(Ordering::SeqCst), 3);
    assert!(announced.iter().all(|task| *task >= 3), "what has not waited is not announced: {announced:?}");
}

#[test]
fn the_end_of_a_short_task_does_not_wait_for_the_long_one_behind_it() {
    let rig = rig(1);
    let (go_on, told) = mpsc::channel();
    let told = Mutex::new(told);
    kind("second waits", move |p, _| {
        if p == 1 {
            told.lock().unwrap().recv().unwrap();
        }
        result(&[])
    });
    rig.executor.handle(launch(1, "second waits", [0, 1, 2]));
    assert_eq!(rig.next_update().task, TaskId(0));
    let begun = rig.next_update();
    assert!(begun.task == TaskId(1) && begun.outcome == TaskOutcome::Running, "{begun:?}");
    rig.executor.handle(ToExecutor::RecallTasks([0, 1, 2].map(TaskId).into()));
    let back = rig.next_update();
    assert!(back.task == TaskId(2) && back.outcome == TaskOutcome::GivenBack, "{back:?}");
    go_on.send(()).unwrap();
    assert_eq!(rig.next_end().0, 1);
    assert_eq!(rig.executor.tasks(), 0);
}

#[test]
fn a_stage_is_decoded_once_and_dropped_after_its_end() {
    let rig = rig(2);
    let kind = kind("shared", |_, _| result(&[]));
    rig.executor.handle(launch(1, "shared", 0..50));
    (0..50).for_each(|_| drop(rig.next_end()));
    rig.executor.handle(launch(1, "shared", 50..51));
    rig.next_end();
    assert_eq!((kind.decoded.load(Ordering::SeqCst), kind.dropped.load(Ordering::SeqCst)), (1, 0));
    rig.executor.handle(stage_ended(1));
    until("the stage is dropped", || kind.dropped.load(Ordering::SeqCst) == 1);
}

#[test]
fn a_large_result_lies_in_a_block_until_its_stage_ends() {
    let rig = rig(1);
    kind("large", |_, _| result(&[7; 1001]));
    rig.executor.handle(launch(1, "large", [12]));
    assert_eq!(rig.next_end(), (12, End::Block("taskresult_12".into(), 1001)));
    let id = BlockId::TaskResult(TaskId(12));
    assert_eq!(rig.services.blocks.get(&id).unwrap(), [7; 1001][..]);
    rig.executor.handle(stage_ended(1));
    assert_eq!(rig.services.blocks.get(&id), None);

    kind("larger than memory", |_, _| result(&vec![8; 65 << 20]));
    rig.executor.handle(launch(2, "larger than memory", [13]));
    assert_eq!(rig.next_end(), (13, End::Block("taskresult_13".into(), 65 << 20)));
    let id = BlockId::TaskResult(TaskId(13));
    assert!(rig.services.blocks.read(&id).unwrap() == vec![8; 65 << 20], "it lies in a file");
    rig.executor.handle(stage_ended(2));
    assert!(rig.services.blocks.open(&id).is_err());
}

#[test]
fn of_a_result_that_the_driver_would_not_take_only_the_size_is_told() {
    let rig = rig(1);
    kind("too large", |_, _| result(&vec![0; 81 << 20]));
    rig.executor.handle(launch(1, "too large", [12]));
    assert_eq!(rig.next_end(), (12, End::Block("taskresult_12".into(), 81 << 20)));
    assert!(rig.services.blocks.open(&BlockId::TaskResult(TaskId(12))).is_err(), "nothing is kept of it");
}

#[test]
fn a_task_gets_the_data_that_came_with_it() {
    let rig = rig(1);
    kind("reads", |_, ctx| result(ctx.input(RddId(5), 2)?));
    let mut t = task(1, 1, 2);
    t.inputs = vec![PartitionData { rdd: RddId(5), partition: 2, data: inline(&b"words"[..]) }];
    let stages = vec![stage(1, inline(stage_data("reads")))];
    rig.executor.handle(ToExecutor::LaunchTasks(LaunchTasks { stages, tasks: vec![t.clone()], ended: vec![] }));
    assert_eq!(rig.next_end(), (1, End::Result(Bytes::from_static(b"words"))));

    (t.task, t.inputs[0].partition) = (TaskId(2), 3);
    rig.executor.handle(ToExecutor::LaunchTasks(LaunchTasks { stages: vec![], tasks: vec![t], ended: vec![] }));
    let (_, end) = rig.next_end();
    assert!(matches!(&end, End::Error(text) if text.contains("without the data of")), "{end:?}");
}

#[test]
fn a_stage_that_is_missing_or_damaged_fails_its_task_with_a_reason() {
    let rig = rig(1);
    let only_task = LaunchTasks { stages: vec![], tasks: vec![task(1, 77, 0)], ended: vec![] };
    rig.executor.handle(ToExecutor::LaunchTasks(only_task));
    assert!(matches!(rig.next_end(), (1, End::Error(text)) if text.contains("has not sent")));
    for (id, data) in [(2, &b"\xff\xff\xff"[..]), (3, &b""[..]), (4, &b"\x0a\x03abc"[..])] {
        let stages = vec![stage(id as u32, inline(data))];
        let launch = LaunchTasks { stages, tasks: vec![task(id, id as u32, 0)], ended: vec![] };
        rig.executor.handle(ToExecutor::LaunchTasks(launch));
        let (_, end) = rig.next_end();
        assert!(matches!(&end, End::Error(text) if text.contains("cannot")), "{end:?}");
    }
    kind("fine", |_, _| result(b"ok"));
    assert_eq!(rig.run_one("fine"), End::Result(Bytes::from_static(b"ok")));
}

#[test]
fn cached_partitions_are_reported_also_by_a_task_that_then_panics() {
    let rig = rig(1);
    kind("caches", |_, ctx| {
        ctx.cache_updated(CacheUpdate { rdd: RddId(1), partition: 2, stored: true, memory_bytes: 3, replicas: vec![] });
        panic!("afterwards")
    });
    rig.executor.handle(launch(1, "caches", [1]));
    let update = rig.next_update();
    assert_eq!(update.blocks, [BlockUpdate::stored(RddId(1), 2, 3)]);
}

#[test]
fn a_task_may_use_a_deep_stack() {
    fn deep(n: u32) -> u64 {
        let here = std::hint::black_box([u64::from(n); 64]);
        if n == 0 { here[1] } else { deep(n - 1) + here[2] }
    }
    let rig = rig(1);
    kind("deep", |_, _| result(&deep(20_000).to_le_bytes()));
    assert_eq!(rig.run_one("deep"), End::Result(Bytes::copy_from_slice(&200_010_000u64.to_le_bytes())));
}

#[test]
fn dropping_the_executor_asks_running_tasks_to_end() {
    let rig = rig(1);
    let ended = Arc::new(AtomicBool::new(false));
    let (flag, (begun, has_begun)) = (ended.clone(), mpsc::channel());
    kind("outlives", move |_, ctx| {
        begun.send(()).unwrap();
        while !ctx.kill().is_set() {
            std::thread::yield_now();
        }
        flag.store(true, Ordering::SeqCst);
        result(&[])
    });
    rig.executor.handle(launch(1, "outlives", [1]));
    has_begun.recv().unwrap();
    drop(rig);
    until("the task ends", || ended.load(Ordering::SeqCst));
}

#[test]
fn a_panic_while_a_stage_is_dropped_does_not_keep_the_next_task_from_running() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("of a user's Drop");
        }
    }
    let rig = rig(1);
    let bomb = Bomb;
    // Lives in the stage alone: the registry of kinds is emptied of it below.
    kind("bomb", move |_, _| {
        let _held = &bomb;
        result(&[])
    });
    rig.executor.handle(launch(1, "bomb", [1]));
    rig.next_end();
    kind("bomb", |_, _| result(&[1]));
    rig.executor.handle(stage_ended(1));
    rig.executor.handle(launch(2, "bomb", [2]));
    assert_eq!(rig.next_end(), (2, End::Result(Bytes::from_static(&[1]))));
}
