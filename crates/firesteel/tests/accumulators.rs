//! Accumulators: what tasks add counts once, whatever becomes of attempts, executors and stages.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::BTreeSet,
    fs::File,
    path::{Path, PathBuf},
};

use firesteel::{Accumulate, Accumulator, LongSum, prelude::*};
use serde::{Deserialize, Serialize};

fn context(master: &str) -> Context {
    Context::builder().app_name("accumulators").master(master).build().unwrap()
}

/// True for the first that asks.
fn first(mark: &Path) -> bool {
    File::create_new(mark).is_ok()
}

/// A kind of the program's own.
#[derive(Default, Serialize, Deserialize)]
struct Distinct(BTreeSet<u64>);

impl Accumulate for Distinct {
    type In = u64;
    type Out = usize;

    fn add(&mut self, x: u64) {
        self.0.insert(x);
    }

    fn merge(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    fn value(&self) -> usize {
        self.0.len()
    }
}

#[test]
fn every_kind_counts_what_tasks_add_on_threads_and_on_a_cluster() {
    for master in ["local[2]", "local-cluster[2,1,512]"] {
        let sc = context(master);
        let (sum, half) = (sc.long_accumulator("sum"), sc.double_accumulator(None));
        let all = sc.collection_accumulator::<u64>("all");
        let distinct: Accumulator<Distinct> = sc.accumulator("distinct");
        let kinds = (sum.clone(), half.clone(), all.clone(), distinct.clone());
        sc.partitioned(4)
            .range(0..1000u64)
            .with(kinds)
            .foreach(|(sum, half, all, distinct), x| {
                sum.add(x as i64);
                half.add(0.5);
                if x % 100 == 0 {
                    all.add(x);
                }
                distinct.add(x % 7);
            })
            .unwrap();
        assert_eq!((sum.value().unwrap(), sum.count().unwrap()), (499_500, 1000));
        assert_eq!((half.sum().unwrap(), half.avg().unwrap()), (500.0, 0.5));
        let mut all = all.value().unwrap();
        all.sort_unstable();
        assert_eq!(all, (0..10).map(|x| x * 100).collect::<Vec<_>>());
        assert_eq!(distinct.value().unwrap(), 7);
        assert_eq!((sum.name(), half.name()), (Some("sum"), None));
        sum.add(500);
        assert_eq!(sum.value().unwrap(), 500_000);
        sum.reset().unwrap();
        assert_eq!(sum.value().unwrap(), 0);
    }
}

#[test]
fn what_failed_tasks_add_counts_not_and_what_is_tried_again_counts_once() {
    let sc = context("local[2,4]");
    let dir = tempfile::tempdir().unwrap();
    let counter = sc.long_accumulator("records");
    let env = (counter.clone(), dir.path().to_path_buf());
    let failing = sc.partitioned(10).range(0..1000u64).with(env.clone()).try_map(|(counter, dir), x| {
        counter.add(1);
        // The last of each second partition, once.
        if x % 200 == 99 && first(&dir.join(x.to_string())) { Err("once") } else { Ok(x) }
    });
    assert_eq!(failing.count().unwrap(), 1000);
    assert_eq!(counter.value().unwrap(), 1000);
    assert_eq!(failing.collect().unwrap().len(), 1000);
    assert_eq!(counter.value().unwrap(), 2000, "an action computes again what is not kept");
}

/// Counts in a stage of results behind a shuffle whose executors end now and then.
fn counts_with_kills(sc: &Context, kills: u32) -> (Accumulator<LongSum>, Accumulator<LongSum>) {
    let dir = tempfile::tempdir().unwrap();
    let (maps, results) = (sc.long_accumulator("maps"), sc.long_accumulator("results"));
    let pairs = sc.partitioned(6).range(0..1000u64).with(maps.clone()).map(|maps, x| {
        maps.add(1);
        (x, 1u64)
    });
    let env: (Accumulator<LongSum>, PathBuf, u32) = (results.clone(), dir.path().to_path_buf(), kills);
    let sums = pairs.partitioned(8).reduce_by_key(|a, b| a + b).with(env);
    sums.foreach(|(results, dir, kills), (x, _)| {
        results.add(1);
        if x % 100 == 7 && x / 100 < u64::from(*kills) && first(&dir.join(x.to_string())) {
            std::process::abort();
        }
    })
    .unwrap();
    (maps, results)
}

#[test]
fn results_count_once_although_executors_end_and_stages_are_tried_again() {
    let sc = Context::builder()
        .app_name("accumulators")
        .master("local-cluster[2,1,512]")
        .set("spark.task.maxFailures", 10)
        .set("spark.stage.maxConsecutiveAttempts", 20)
        .build()
        .unwrap();
    let (maps, results) = counts_with_kills(&sc, 2);
    assert_eq!(results.value().unwrap(), 1000);
    // As Spark's: a map output that is lost and made again counts again.
    assert!(maps.value().unwrap() > 1000, "{:?}", maps.value());
}

#[test]
fn a_copy_of_a_slow_task_adds_nothing_of_its_own() {
    let sc = Context::builder()
        .app_name("accumulators")
        .master("local-cluster[2,2,512]")
        .set("spark.speculation", true)
        .set("spark.speculation.interval", "20ms")
        .set("spark.speculation.quantile", "0.5")
        .set("spark.speculation.minTaskRuntime", "50ms")
        .build()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let counter = sc.long_accumulator("records");
    let env = (counter.clone(), dir.path().to_path_buf());
    sc.partitioned(8)
        .range(0..80u64)
        .with(env)
        .foreach(|(counter, dir), x| {
            counter.add(1);
            // The first attempt of one task waits until its copy is there.
            if x == 75 && first(&dir.join("slow")) {
                while !dir.join("copy").exists() {
                    std::thread::yield_now();
                }
            } else if x == 75 {
                File::create(dir.join("copy")).unwrap();
            }
        })
        .unwrap();
    assert!(dir.path().join("copy").exists(), "there was no copy");
    assert_eq!(counter.value().unwrap(), 80);
}

#[test]
fn the_value_is_on_the_driver_only_and_an_error_says_so() {
    for master in ["local[1]", "local-cluster[1,1,512]"] {
        let sc = context(master);
        let counter = sc.long_accumulator("hidden");
        let text =
            sc.partitioned(1).range(0..1u64).with(counter).map(|counter, _| counter.value().unwrap_err().to_string());
        let text = text.collect().unwrap().remove(0);
        assert!(text.contains("on the driver only"), "{text}");
    }
}

#[test]
fn what_tasks_of_a_failed_job_added_and_had_succeeded_counts() {
    let sc = context("local[1]");
    let counter = sc.long_accumulator("records");
    let failed = sc.partitioned(3).range(0..30u64).with(counter.clone()).try_map(|counter, x| {
        counter.add(1);
        if x == 29 { Err("at the end") } else { Ok(x) }
    });
    assert!(failed.collect().is_err());
    assert_eq!(counter.value().unwrap(), 20);
}
