//! Broadcast variables on threads and on executors of their own.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_types, reason = "tests")]

use std::{
    collections::{BTreeSet, HashMap},
    sync::atomic::{AtomicU32, Ordering},
};

use firesteel::{JobError, TaskFailure, prelude::*};
use firesteel_testing::until;
use serde::{Deserialize, Deserializer, Serialize};

fn context(master: &str) -> Context {
    Context::builder().app_name("broadcast").master(master).set("spark.broadcast.blockSize", "256k").build().unwrap()
}

const MASTERS: [&str; 2] = ["local[2]", "local-cluster[2,1,512]"];

#[derive(Clone, Serialize, Deserialize)]
struct Tables {
    names: Broadcast<HashMap<u64, String>>,
    offset: u64,
}

#[test]
fn closures_get_a_value_by_itself_in_tuples_and_in_structs() {
    for master in MASTERS {
        let sc = context(master);
        let names: HashMap<u64, String> = (0..1000).map(|i| (i, format!("n{i}"))).collect();
        let names = sc.broadcast(names).unwrap();
        assert_eq!(names.value()[&7], "n7");
        let numbers = sc.partitioned(6).range(0..1000u64);
        let alone = numbers.with(names.clone()).map(|names, x| names.value()[&x].clone());
        assert_eq!(alone.collect().unwrap()[999], "n999");
        let weights = sc.broadcast(vec![0.5f64; 2000]).unwrap();
        let both = numbers
            .with((names.clone(), weights))
            .map(|(names, weights), x| names.value()[&x].len() as f64 * weights.value()[x as usize]);
        assert_eq!(both.reduce(|a, b| a + b).unwrap(), (10 * 2 + 90 * 3 + 900 * 4) as f64 / 2.0);
        let tables = Tables { names, offset: 500 };
        let of_struct =
            numbers.filter(|x| *x < 500).with(tables).map(|t, x| (x % 2, t.names.value()[&(x + t.offset)].len()));
        let mut sums = of_struct.reduce_by_key(|a, b| a + b).collect().unwrap();
        sums.sort();
        assert_eq!(sums, [(0, 1000), (1, 1000)]);
    }
}

#[test]
fn values_larger_than_a_message_arrive_whole() {
    let sc = context("local-cluster[2,1,512]");
    let numbers: Vec<u64> = (0..3_000_000u64).map(|x| x.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    let sum = numbers.iter().fold(0u64, |a, b| a.wrapping_add(*b));
    let texts: Vec<String> = (0..400_000).map(|i| format!("the text number {i}")).collect();
    let (numbers, texts) = (sc.broadcast(numbers).unwrap(), sc.broadcast(texts).unwrap());
    let check = sc.partitioned(8).range(0..8u64).with((numbers, texts)).map(|(numbers, texts), x| {
        let last = texts.value().last().unwrap().clone();
        (x, numbers.value().iter().fold(0u64, |a, b| a.wrapping_add(*b)), last)
    });
    let results = check.collect().unwrap();
    assert_eq!(results.len(), 8);
    assert!(results.iter().all(|(_, s, last)| *s == sum && last == "the text number 399999"));
}

/// Counts how often it is decoded in a process.
#[derive(Clone, Serialize)]
struct Counted(u64);

static DECODED: AtomicU32 = AtomicU32::new(0);

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        DECODED.fetch_add(1, Ordering::SeqCst);
        u64::deserialize(deserializer).map(Counted)
    }
}

/// How often each executor has decoded it by now.
fn decoded(sc: &Context, value: &Broadcast<Counted>) -> BTreeSet<(u32, u32)> {
    let look = sc.partitioned(16).range(0..16u64).with(value.clone()).map(|value, _| {
        assert_eq!(value.value().0, 42);
        (std::process::id(), DECODED.load(Ordering::SeqCst))
    });
    look.collect().unwrap().into_iter().collect()
}

#[test]
fn an_executor_decodes_a_value_once_and_again_after_unpersist() {
    let sc = context("local-cluster[2,2,512]");
    let value = sc.broadcast(Counted(42)).unwrap();
    for _ in 0..5 {
        let counts = decoded(&sc, &value);
        assert!(counts.iter().all(|(_, n)| *n == 1), "{counts:?}");
    }
    value.unpersist();
    until("every executor has decoded it a second time", || decoded(&sc, &value).iter().all(|(_, n)| *n == 2));
}

#[test]
fn using_a_destroyed_value_is_an_error_that_says_so() {
    for master in MASTERS {
        let sc = context(master);
        let value = sc.broadcast(vec![1u64; 100_000]).unwrap();
        let rdd = sc.partitioned(4).range(0..4u64).with(value.clone()).map(|value, x| value.value()[x as usize]);
        assert_eq!(rdd.reduce(|a, b| a + b).unwrap(), 4);
        value.destroy();
        let error = rdd.collect().unwrap_err().to_string();
        assert!(error.contains("destroyed at") && error.contains("broadcast.rs"), "{error}");
        let look = std::panic::AssertUnwindSafe(|| value.value().len());
        let panic = std::panic::catch_unwind(look).unwrap_err();
        assert!(panic.downcast_ref::<String>().unwrap().contains("destroyed at"));
        assert_eq!(sc.partitioned(4).range(0..4u64).count().unwrap(), 4);
    }
}

fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|l| l.starts_with("RssAnon")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

#[test]
fn dropped_values_are_freed_on_the_executors() {
    const VALUE: u64 = 16 << 20;
    let sc = context("local-cluster[1,1,512]");
    let round = |seed: u64| {
        let value: Vec<u64> = (0..VALUE / 8).map(|x| (x + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        let last = *value.last().unwrap();
        let value = sc.broadcast(value).unwrap();
        let look =
            sc.partitioned(1).range(0..1u64).with(value).map(|v, _| (std::process::id(), *v.value().last().unwrap()));
        let (pid, seen) = look.collect().unwrap()[0];
        assert_eq!(seen, last);
        pid
    };
    let pid = round(0);
    (1..30).for_each(|seed| assert_eq!(round(seed), pid));
    // 30 values would be 480 MiB.
    until("at most four values are there", || resident(pid) < 4 * VALUE + (32 << 20));
}

#[test]
fn an_executor_that_is_killed_while_it_fetches_is_replaced() {
    let sc = context("local-cluster[2,1,512]");
    let marker = tempfile::tempdir().unwrap();
    let marker = marker.path().join("killed").to_str().unwrap().to_owned();
    let value = sc.broadcast((0..4_000_000u64).map(|x| x.wrapping_mul(77)).collect::<Vec<_>>()).unwrap();
    let job = sc.partitioned(6).range(0..6u64).with((marker, value)).map(|(marker, value), x| {
        if std::fs::File::create_new(marker).is_ok() {
            // While another thread of this process fetches.
            std::thread::spawn(|| {
                let me = std::process::id().to_string();
                std::process::Command::new("kill").args(["-9", &me]).status().unwrap();
            });
        }
        value.value()[x as usize]
    });
    let mut seen = job.collect().unwrap();
    seen.sort();
    assert_eq!(seen, [0, 77, 154, 231, 308, 385]);
}

/// The environment is the stage's own data: it goes with the stage, and larger ones in pieces.
#[test]
fn large_environments_and_partitions_travel_in_pieces_and_leave_nothing() {
    let sc = context("local-cluster[2,1,512]");
    let noise =
        |seed: u64| -> Vec<u64> { (0..1_500_000u64).map(|x| (x + seed).wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect() };
    for round in 0..30 {
        let table = noise(round);
        let expected: Vec<u64> = (0..6).map(|x| table[x * 1000]).collect();
        let looked_up = sc.partitioned(6).range(0..6u64).with(table).map(|table, x| table[x as usize * 1000]);
        assert_eq!(looked_up.collect().unwrap(), expected);
    }
    let elements = noise(99);
    let sum = elements.iter().fold(0u64, |a, b| a.wrapping_add(*b));
    assert_eq!(sc.partitioned(2).parallelize(elements).reduce(|a, b| a.wrapping_add(b)).unwrap(), sum);
    let pids: BTreeSet<u32> =
        sc.partitioned(16).range(0..16u64).map(|_| std::process::id()).collect().unwrap().into_iter().collect();
    // The stages have 12 MiB each, 360 together; the allocator keeps some of what was freed.
    until("executors hold at most a few", || pids.iter().all(|pid| resident(*pid) < 200 << 20));
}

#[test]
fn a_broadcast_after_stop_and_a_result_that_holds_one_are_errors() {
    let sc = context("local[2]");
    let value = sc.broadcast(5u64).unwrap();
    let carried = sc.partitioned(2).range(0..2u64).with(value).map(|value, _| value.clone());
    let error = carried.collect().err().unwrap().to_string();
    assert!(error.contains("outside of a task"), "{error}");
    sc.stop();
    assert!(matches!(sc.broadcast(1u8), Err(Error::Stopped)));
}

#[test]
fn a_value_that_nobody_has_any_more_fails_the_task_with_a_reason_of_its_own() {
    let builder = Context::builder().app_name("broadcast").master("local-cluster[2,1,512]");
    let sc = builder.set("spark.task.maxFailures", 2).build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (value, files) = (sc.broadcast(vec![7u64; 100_000]).unwrap(), (file("started"), file("go")));
    let look = sc.partitioned(1).range(0..1u64).with((value.clone(), files)).map(|(value, (started, go)), x| {
        std::fs::write(started, "").unwrap();
        until("the test says go", || std::fs::exists(go).unwrap());
        value.value()[x as usize]
    });
    let job = look.collect_async().unwrap();
    until("the task has started", || std::fs::exists(file("started")).unwrap());
    value.destroy();
    // The driver hears of it before it hears of this job.
    assert_eq!(sc.partitioned(1).range(0..1u64).count().unwrap(), 1);
    std::fs::write(file("go"), "").unwrap();
    let error = job.wait().unwrap_err();
    let Error::Job { reason, .. } = &error else { panic!("{error}") };
    let Some(JobError::TaskFailed { failure, .. }) = reason.downcast_ref() else { panic!("{error}") };
    let TaskFailure::BroadcastLost { broadcast, .. } = failure else { panic!("{failure:?}") };
    assert_eq!(broadcast.0, value.id());
    assert!(error.to_string().contains(&format!("could not fetch {broadcast}")), "{error}");
}
