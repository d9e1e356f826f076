//! Map tasks that run again after a loss and do not give the same bytes, the same order or the same values: no element is
//! lost or doubled, no two editions are mixed, and what cannot be taken back fails with an error that names the RDD.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_types, reason = "tests")]

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fs::{self, File},
    path::Path,
    time::SystemTime,
};

use firesteel::{Data, prelude::*};
use firesteel_testing::until;

const ELEMENTS: u64 = 4000;
const MAPS: u32 = 4;
const REDUCERS: u32 = 8;

/// Two executors of one core each. As on two hosts, what an executor wrote goes with it.
fn cluster() -> Context {
    let builder = Context::builder().app_name("unrepeatable").master("local-cluster[2,1,512]");
    let sc =
        builder.set("spark.shuffle.readHostLocalDisk", "false").set("spark.shuffle.io.maxRetries", 0).build().unwrap();
    until("both executors are there", || sc.executor_ids().unwrap().len() == 2);
    sc
}

fn named(dir: &str, prefix: &str) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with(prefix)).collect()
}

/// Map tasks run on both executors: the first ones wait for each other.
fn on_both<T: Data>(made: &Rdd<T>, dir: &str) -> Rdd<T> {
    made.with(dir.to_owned()).map_partitions_with_index(|dir, p, elements| {
        let me = std::process::id();
        File::create(format!("{dir}/map-{me}-{p}-{}", named(dir, "map-").len())).unwrap();
        until("another executor runs a map task", || {
            named(dir, "map-").iter().any(|name| !name.starts_with(&format!("map-{me}-")))
        });
        elements
    })
}

/// The executor of the last reducer ends for once, when the others are done.
fn dies_once<T: Data>(dealt: &Rdd<T>, dir: &str) -> Rdd<T> {
    dealt.with(dir.to_owned()).map_partitions_with_index(|dir, p, elements| {
        let all: Vec<T> = elements.collect();
        if p == REDUCERS - 1 && !Path::new(&format!("{dir}/died")).exists() {
            until("the others are done", || named(dir, "done-").len() as u32 == REDUCERS - 1);
            File::create(format!("{dir}/died")).unwrap();
            std::process::abort();
        }
        if p < REDUCERS - 1 {
            File::create(format!("{dir}/done-{p}")).unwrap();
        }
        all
    })
}

/// All elements, after a loss in the middle of the last stage.
fn after_a_loss<T: Data>(made: &Rdd<T>, deal: impl Fn(&Rdd<T>) -> Rdd<T>) -> Vec<T> {
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().to_str().unwrap();
    let all = dies_once(&deal(&on_both(made, dir)), dir).collect().unwrap();
    let ran = named(dir, "map-").len() as u32;
    assert!(ran > MAPS, "no map task ran again: the test tests nothing");
    all
}

fn check_ids(what: &str, ids: impl IntoIterator<Item = u64>) {
    let ids: Vec<u64> = ids.into_iter().collect();
    let different = ids.iter().collect::<BTreeSet<_>>().len();
    assert_eq!((ids.len() as u64, different as u64), (ELEMENTS, ELEMENTS), "{what}");
}

/// The stamp of each map partition: there must be one for all of its elements.
fn check_stamps<S: Ord + std::fmt::Debug>(what: &str, all: Vec<(u64, S)>) {
    let mut stamps: BTreeMap<u64, BTreeSet<S>> = BTreeMap::new();
    for (i, stamp) in all {
        stamps.entry(i / (ELEMENTS / u64::from(MAPS))).or_default().insert(stamp);
    }
    assert!(stamps.values().all(|stamps| stamps.len() == 1), "{what}: two editions are mixed: {stamps:?}");
}

fn stamped(sc: &Context) -> Rdd<(u64, SystemTime)> {
    sc.partitioned(MAPS).range(0..ELEMENTS).map_partitions(|numbers| {
        let now = SystemTime::now();
        numbers.map(move |i| (i, now))
    })
}

#[test]
fn elements_that_differ_each_time_are_repartitioned_exactly_once() {
    let sc = cluster();
    let numbers = sc.partitioned(MAPS).range(0..ELEMENTS);
    let deal = |rdd: &Rdd<_>| rdd.repartition(REDUCERS);

    let maps = numbers
        .map(|i| HashMap::from([("id".to_owned(), i), ("a".into(), i % 7), ("b".into(), i % 5), ("c".into(), 1)]));
    check_ids("HashMap", after_a_loss(&maps, deal).iter().map(|m| m["id"]));

    let deal = |rdd: &Rdd<_>| rdd.repartition(REDUCERS);
    let sets = numbers.map(|i| (i, Some(vec![(0..9).map(|k| i + k).collect::<HashSet<u64>>()])));
    let got = after_a_loss(&sets, deal);
    assert!(got.iter().all(|(i, sets)| sets.as_ref().unwrap()[0].contains(&(i + 8))));
    check_ids("HashSet", got.iter().map(|(i, _)| *i));

    let deal = |rdd: &Rdd<u64>| rdd.repartition(REDUCERS);
    let in_any_order = numbers.map_partitions(|numbers| numbers.collect::<HashSet<u64>>());
    check_ids("another order", after_a_loss(&in_any_order, deal));

    let deal = |rdd: &Rdd<_>| rdd.repartition(REDUCERS);
    let got = after_a_loss(&stamped(&sc), deal);
    check_ids("time", got.iter().map(|(i, _)| *i));
    check_stamps("time", got);
}

#[test]
fn results_are_of_one_edition_also_behind_other_shuffles() {
    let sc = cluster();
    let by_key = |rdd: &Rdd<(u64, SystemTime)>| rdd.partition_by(HashPartitioner::new(REDUCERS));
    let got = after_a_loss(&stamped(&sc), by_key);
    check_ids("partition_by", got.iter().map(|(i, _)| *i));
    check_stamps("partition_by", got);

    let reduced = |rdd: &Rdd<(u64, SystemTime)>| rdd.partitioned(REDUCERS).reduce_by_key(|a, b| a.max(b));
    let got = after_a_loss(&stamped(&sc), reduced);
    check_ids("reduce_by_key", got.iter().map(|(i, _)| *i));
    check_stamps("reduce_by_key", got);
}

#[test]
fn an_action_with_effects_fails_with_the_name_of_the_rdd_instead_of_mixing() {
    let sc = cluster();
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().to_str().unwrap();
    let dealt = on_both(&stamped(&sc), dir).repartition(REDUCERS);
    let error = dies_once(&dealt, dir).foreach(|_| ()).unwrap_err().to_string();
    for part in ["(map_partitions_with_index)", "gave other records", "indeterminate()"] {
        assert!(error.contains(part), "{part}: {error}");
    }
    // A new job of the same RDD begins anew.
    assert_eq!(dealt.count().unwrap(), ELEMENTS);
}
