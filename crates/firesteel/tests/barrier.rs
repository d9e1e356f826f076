//! Barrier stages on threads and on executors that are processes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use firesteel::{BarrierError, Context, ContextBuilder};
use firesteel_testing::until;

/// Lets the task go on that has kept another one waiting.
static RELEASED: AtomicBool = AtomicBool::new(false);

fn builder(master: &str) -> ContextBuilder {
    Context::builder().app_name("barrier").master(master)
}

/// Each partition's sum as all tasks see it, with a barrier before and a shuffle behind.
fn sums(sc: &Context) {
    let all = sc.partitioned(4).range(0..100u64).barrier().try_map_partitions(|ctx, numbers| {
        let mine: u64 = numbers.sum();
        ctx.barrier()?;
        let all = ctx.all_gather(format!("{}:{mine}", ctx.partition_id()))?;
        let infos = ctx.task_infos().len();
        Ok::<_, BarrierError>([(infos, (ctx.attempt_number(), all))])
    });
    let expected: Vec<String> = [(0, 300), (1, 925), (2, 1550), (3, 2175)].map(|(p, n)| format!("{p}:{n}")).into();
    assert_eq!(all.collect().unwrap(), vec![(4, (0, expected.clone())); 4]);
    let texts = all.flat_map(|(_, (_, all))| all).map(|text| (text, 1u64)).reduce_by_key(|a, b| a + b);
    let mut texts = texts.collect().unwrap();
    texts.sort_unstable();
    assert_eq!(texts, expected.into_iter().map(|t| (t, 4)).collect::<Vec<_>>());
    let bytes = sc.partitioned(4).range(0..4u64).with(7u8).barrier().map_partitions_with_index(|seven, p, ctx, _| {
        ctx.all_gather_bytes(vec![*seven, p as u8]).unwrap().into_iter().map(|m| m.to_vec()).collect::<Vec<_>>()
    });
    assert_eq!(bytes.collect().unwrap()[12..], [[7, 0], [7, 1], [7, 2], [7, 3]]);
}

#[test]
fn tasks_on_threads_wait_for_one_another_and_pass_messages() {
    sums(&builder("local[4]").build().unwrap());
}

#[test]
fn tasks_in_processes_wait_for_one_another_and_pass_messages() {
    let sc = builder("local-cluster[2,2,512]").build().unwrap();
    sums(&sc);
    let pids = sc
        .partitioned(4)
        .range(0..4u64)
        .barrier()
        .map_partitions(|ctx, _| [ctx.all_gather(std::process::id().to_string()).unwrap()]);
    let pids: BTreeSet<Vec<String>> = pids.collect().unwrap().into_iter().collect();
    assert_eq!(pids.len(), 1, "all have heard the same");
    assert_eq!(pids.into_iter().flatten().collect::<BTreeSet<_>>().len(), 2, "of both executors");
}

#[test]
fn a_task_that_ends_without_the_barrier_is_named() {
    let sc = builder("local[4]").build().unwrap();
    let uneven = sc.partitioned(4).range(0..4u64).barrier().try_map_partitions(|ctx, _| {
        if ctx.partition_id() != 2 {
            ctx.barrier()?;
        }
        Ok::<_, BarrierError>([0u8])
    });
    let error = uneven.collect().unwrap_err().to_string();
    assert!(error.contains("partitions 2 of") && error.contains("ended without call 0"), "{error}");
    let late = builder("local[2]").set("spark.barrier.sync.timeout", "1s").build().unwrap();
    let stuck = late.partitioned(2).range(0..2u64).barrier().try_map_partitions(|ctx, _| {
        // Until the other one has heard that nobody comes.
        while ctx.partition_id() == 1 && !RELEASED.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
        ctx.barrier()?;
        Ok::<_, BarrierError>([0u8])
    });
    let error = stuck.collect().unwrap_err().to_string();
    RELEASED.store(true, Ordering::Relaxed);
    assert!(error.contains("spark.barrier.sync.timeout") && error.contains("did not: 1"), "{error}");
}

#[test]
fn too_few_slots_are_a_clear_error() {
    let sc = builder("local[2]")
        .set("spark.scheduler.barrier.maxConcurrentTasksCheck.interval", "1s")
        .set("spark.scheduler.barrier.maxConcurrentTasksCheck.maxFailures", "1")
        .build()
        .unwrap();
    let error = sc.partitioned(3).range(0..9u64).barrier().map_partitions(|_, n| n).count().unwrap_err().to_string();
    assert!(error.contains("needs 3 slots at once and the cluster has 2"), "{error}");
    let error = sc.partitioned(2).range(0..9u64).barrier().map_partitions(|_, n| n).take(1).unwrap_err().to_string();
    assert!(error.contains("a barrier stage cannot run like this"), "{error}");
    assert_eq!(sc.partitioned(2).range(0..9u64).barrier().map_partitions(|_, n| n).count().unwrap(), 9);
}

#[test]
fn a_failed_task_starts_all_of_them_again() {
    let sc = builder("local[3,2]").build().unwrap();
    let flaky = sc.partitioned(3).range(0..3u64).barrier().try_map_partitions(|ctx, _| {
        if ctx.stage_attempt_number() == 0 && ctx.partition_id() == 1 {
            return Err("not yet".to_owned());
        }
        ctx.barrier().map_err(|e| e.to_string())?;
        Ok([ctx.stage_attempt_number()])
    });
    assert_eq!(flaky.collect().unwrap(), [1, 1, 1]);
}

#[test]
fn a_killed_executor_starts_all_of_them_again() {
    let dir = tempfile::tempdir().unwrap();
    let sc = builder("local-cluster[2,1,512]").build().unwrap();
    let path = dir.path().to_str().unwrap().to_owned();
    let work = sc.partitioned(2).range(0..2u64).with(path.clone()).barrier().try_map_partitions(|dir, ctx, _| {
        let name = |what: &str| PathBuf::from(dir).join(format!("{what}-{}", ctx.stage_attempt_number()));
        if ctx.stage_attempt_number() == 0 && ctx.partition_id() == 1 {
            std::fs::write(name("part"), std::process::id().to_string()).map_err(|e| e.to_string())?;
            std::fs::rename(name("part"), name("pid")).map_err(|e| e.to_string())?;
            // Until it is killed; the other one waits at the barrier.
            loop {
                std::thread::park();
            }
        }
        let pids = ctx.all_gather(std::process::id().to_string()).map_err(|e| e.to_string())?;
        Ok::<_, String>([(ctx.stage_attempt_number(), pids)])
    });
    let job = std::thread::spawn(move || work.collect());
    let file = Path::new(&path).join("pid-0");
    until("the task runs", || file.exists());
    let pid = std::fs::read_to_string(file).unwrap();
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    let results = job.join().unwrap().unwrap();
    assert!(results.iter().all(|(attempt, pids)| *attempt == 1 && pids.len() == 2), "{results:?}");
    assert!(results[0].1.iter().all(|other| *other != pid));
}
