//! What user code learns of the task that it runs in, and hears of its end.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use firesteel::{TaskContext, prelude::*};
use firesteel_testing::until;

fn heard(heard: &'static Mutex<Vec<String>>) -> Vec<String> {
    heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn hear(heard: &'static Mutex<Vec<String>>, what: String) {
    heard.lock().unwrap_or_else(PoisonError::into_inner).push(what);
}

#[test]
fn a_task_knows_which_it_is_and_the_driver_is_none() {
    assert!(TaskContext::get().is_none());
    let sc = Context::builder().master("local[2]").app_name("task context").build().unwrap();
    let mut told = sc
        .partitioned(3)
        .range(0..3u64)
        .map(|x| {
            let context = TaskContext::get().expect("a task has a context");
            let lone = std::thread::spawn(|| TaskContext::get().is_none()).join().unwrap();
            let ids = (context.stage_id(), context.stage_attempt_number(), context.attempt_number());
            (x, context.partition_id(), ids, context.task_attempt_id(), context.is_interrupted(), lone)
        })
        .collect()
        .unwrap();
    told.sort_unstable();
    let attempts: BTreeSet<u64> = told.iter().map(|(_, _, _, attempt, ..)| *attempt).collect();
    assert_eq!(attempts.len(), 3);
    for (x, partition, (_, stage_attempt, attempt), _, interrupted, lone) in told {
        assert_eq!((u64::from(partition), stage_attempt, attempt, interrupted, lone), (x, 0, 0, false, true));
    }
}

#[test]
fn listeners_hear_of_the_end_the_last_one_first_and_of_failures_before() {
    static HEARD: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let sc = Context::builder().master("local[1, 2]").app_name("listeners").build().unwrap();
    let sum = sc
        .partitioned(1)
        .range(0..10u64)
        .map_partitions(|numbers| {
            let context = TaskContext::get().expect("a task has a context");
            context.on_completion(|c| hear(&HEARD, format!("first, attempt {}", c.attempt_number())));
            context.on_completion(|_| hear(&HEARD, "second".to_owned()));
            context.on_failure(|_, e| hear(&HEARD, format!("failed: {}", e.to_string().contains("once"))));
            assert!(context.attempt_number() > 0, "once");
            hear(&HEARD, "computed".to_owned());
            [numbers.sum::<u64>()]
        })
        .reduce(|a, b| a + b)
        .unwrap();
    assert_eq!(sum, 45);
    assert_eq!(heard(&HEARD), ["failed: true", "second", "first, attempt 0", "computed", "second", "first, attempt 1"]);
}

#[test]
fn a_listener_that_panics_fails_its_task() {
    let sc = Context::builder().master("local[1]").app_name("listeners").build().unwrap();
    let failed = sc.partitioned(1).range(0..10u64).map(|x| {
        if x == 0 {
            TaskContext::get().expect("a task has a context").on_completion(|_| panic!("the lock was not given back"));
        }
        x
    });
    let error = failed.count().unwrap_err().to_string();
    assert!(error.contains("the lock was not given back"), "{error}");
}

/// What the task of this call finds set, with the stage that it is of.
fn found() -> (u32, Option<String>) {
    let context = TaskContext::get().expect("a task has a context");
    (context.stage_id(), context.local_property("tenant").map(str::to_owned))
}

/// Tasks of both stages of a job find what their thread had set when it submitted the job, and nothing of other threads'.
fn tasks_find_local_properties(master: &str) {
    let sc = Context::builder().master(master).app_name("properties").build().unwrap();
    let job = |sc: &Context| {
        let maps = sc.partitioned(2).range(0..4u64).map(|x| (x % 2, vec![found()]));
        let sides = maps.reduce_by_key(|mut a, b| {
            a.extend(b);
            a
        });
        let all = sides.flat_map(|(_, mut of_maps)| {
            of_maps.push(found());
            of_maps
        });
        let all = all.collect().unwrap();
        let stages: BTreeSet<u32> = all.iter().map(|(stage, _)| *stage).collect();
        assert_eq!(stages.len(), 2);
        all.into_iter().map(|(_, tenant)| tenant).collect::<BTreeSet<_>>()
    };
    assert_eq!(job(&sc), [None].into());
    sc.set_local_property("tenant", "reports");
    assert_eq!(job(&sc), [Some("reports".to_owned())].into());
    let other = sc.clone();
    std::thread::scope(|threads| {
        let unset = threads.spawn(|| job(&other));
        assert_eq!(unset.join().unwrap(), [None].into());
    });
    sc.set_local_property("tenant", "bills, \"and\"\nmore");
    assert_eq!(job(&sc), [Some("bills, \"and\"\nmore".to_owned())].into());
    sc.set_local_property("tenant", None);
    assert_eq!(job(&sc), [None].into());
    sc.set_job_group("group", "what for");
    let group = sc.partitioned(1).range(0..1u64).map(|_| {
        TaskContext::get().expect("a task has a context").local_property("spark.jobGroup.id").map(str::to_owned)
    });
    assert_eq!(group.collect().unwrap(), [Some("group".to_owned())]);
}

#[test]
fn tasks_on_threads_find_local_properties() {
    tasks_find_local_properties("local[2]");
}

#[test]
fn tasks_in_processes_find_local_properties() {
    tasks_find_local_properties("local-cluster[2,1,512]");
}

/// A job keeps the properties that it was submitted with, also in attempts that come after the thread has set others.
fn later_attempts_find_the_same(master: &str, dir: PathBuf) {
    let sc = Context::builder().master(master).app_name("properties").build().unwrap();
    sc.set_local_property("tenant", "reports");
    let tried = sc.partitioned(1).range(0..1u64).with(dir.clone()).map(|dir, _| {
        let (_, tenant) = found();
        let attempt = TaskContext::get().expect("a task has a context").attempt_number();
        if attempt == 0 {
            until("the thread has set another", || dir.join("changed").exists());
            panic!("once");
        }
        (attempt, tenant)
    });
    let running = tried.collect_async().unwrap();
    sc.set_local_property("tenant", "bills");
    std::fs::write(dir.join("changed"), "").unwrap();
    assert_eq!(running.wait().unwrap(), [(1, Some("reports".to_owned()))]);
}

#[test]
fn later_attempts_on_threads_find_the_same_local_properties() {
    let dir = tempfile::tempdir().unwrap();
    later_attempts_find_the_same("local[1, 2]", dir.path().to_owned());
}

#[test]
fn later_attempts_in_processes_find_the_same_local_properties() {
    let dir = tempfile::tempdir().unwrap();
    later_attempts_find_the_same("local-cluster[1,1,512]", dir.path().to_owned());
}

#[test]
fn tasks_of_a_barrier_stage_find_local_properties() {
    for master in ["local[2]", "local-cluster[2,1,512]"] {
        let sc = Context::builder().master(master).app_name("properties").build().unwrap();
        sc.set_local_property("tenant", "reports");
        let found = sc.partitioned(2).range(0..2u64).barrier().try_map_partitions(|ctx, _| {
            ctx.barrier()?;
            Ok::<_, firesteel::BarrierError>([found().1])
        });
        assert_eq!(found.collect().unwrap(), vec![Some("reports".to_owned()); 2], "{master}");
    }
}

#[test]
fn a_task_knows_what_it_has_read_so_far() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("text");
    std::fs::write(&path, "a line\n".repeat(1000)).unwrap();
    for master in ["local[2]", "local-cluster[1,2,512]"] {
        let sc = Context::builder().master(master).app_name("metrics").build().unwrap();
        let metrics = || TaskContext::get().expect("a task has a context").metrics();
        let lines = sc.text_file(path.to_str().unwrap()).unwrap();
        let read = lines.map_partitions(move |mut lines| {
            let before = metrics();
            assert_eq!((before.input.bytes, before.run), (0, std::time::Duration::ZERO));
            let count = lines.by_ref().count() as u64;
            [(count, metrics().input.bytes)]
        });
        let read = read.collect().unwrap();
        assert_eq!(read.iter().map(|(lines, _)| lines).sum::<u64>(), 1000, "{master}");
        assert!(read.iter().map(|(_, bytes)| bytes).sum::<u64>() >= 7000, "{master}: {read:?}");

        let pairs = sc.partitioned(2).range(0..100u64).map(|x| (x % 10, x)).group_by_key();
        let shuffled = pairs.map_partitions(move |groups| {
            let groups = groups.count();
            let read = metrics().shuffle_read;
            [(groups, read.local_blocks + read.remote_blocks, read.local_bytes + read.remote_bytes)]
        });
        for (groups, blocks, bytes) in shuffled.collect().unwrap() {
            assert!(
                groups == 0 || (blocks > 0 && bytes > 0),
                "{master}: {groups} groups, {blocks} blocks, {bytes} bytes"
            );
        }
    }
}
