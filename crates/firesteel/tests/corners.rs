//! Corners of the operators: nothing, one thing, the same thing twice, far too much.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::{
    fs,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use firesteel::{Error, Lazy, SortKey, prelude::*};
use firesteel_testing::until;
use serde::{Deserialize, Serialize, Serializer};

fn context() -> Context {
    Context::builder().app_name("corners").master("local[2]").build().unwrap()
}

fn sorted<T: Ord>(mut v: Vec<T>) -> Vec<T> {
    v.sort();
    v
}

#[test]
fn an_rdd_without_partitions_goes_through_everything() {
    let sc = context();
    let dir = tempfile::tempdir().unwrap();
    let none = sc.text_file(dir.path().to_str().unwrap()).unwrap();
    assert_eq!(none.num_partitions(), 0, "as in Spark");
    assert_eq!(sc.union::<String>(&[]).count().unwrap(), 0);
    assert_eq!((none.count().unwrap(), none.collect().unwrap(), none.take(3).unwrap()), (0, vec![], vec![]));
    assert!(matches!(none.first(), Err(Error::Empty("first"))));
    assert!(matches!(none.reduce(|a, _| a), Err(Error::Empty("reduce"))));
    assert_eq!(none.fold("zero".into(), |a, _| a).unwrap(), "zero");
    assert_eq!(none.coalesce(3).count().unwrap(), 0);
    assert_eq!(none.repartition(3).count().unwrap(), 0);
    assert_eq!(none.distinct().count().unwrap(), 0);
    none.foreach(|_| ()).unwrap();
    let pairs = none.map(|s| (s, 1u32));
    assert_eq!(pairs.reduce_by_key(|a, b| a + b).collect().unwrap(), []);
    assert_eq!(pairs.partitioned(4).group_by_key().count().unwrap(), 0);
    assert_eq!(pairs.sort_by_key(true).unwrap().count().unwrap(), 0);
    assert_eq!(pairs.partitioned(5).sort_by_key(false).unwrap().collect().unwrap(), []);
    assert_eq!(pairs.count_by_key().unwrap().len(), 0);
    assert_eq!(pairs.lookup(&"a".to_string()).unwrap(), [0u32; 0]);
    let some = sc.parallelize(vec![("a".to_string(), 5u8)]);
    assert_eq!(some.join(&pairs).count().unwrap(), 0);
    assert_eq!(some.left_outer_join(&pairs).collect().unwrap(), [("a".to_string(), (5, None))]);
    assert_eq!(none.union(&some.keys()).collect().unwrap(), ["a"]);
    pairs.save_as_text_file(dir.path().join("out")).unwrap();
    assert_eq!(fs::read_dir(dir.path().join("out")).unwrap().count(), 1, "_SUCCESS alone");
}

#[test]
fn take_looks_past_empty_partitions() {
    let sc = context();
    let sparse = sc.partitioned(300).range(0..300u64).filter(|x| x % 97 == 96);
    assert_eq!(sparse.take(2).unwrap(), [96, 193]);
    assert_eq!(sparse.take(100).unwrap(), [96, 193, 290]);
    assert_eq!(sparse.take(0).unwrap(), [0u64; 0]);
    assert_eq!(sparse.take(usize::MAX).unwrap().len(), 3);
    assert_eq!(sparse.top(usize::MAX).unwrap(), [290, 193, 96]);
    assert!(sc.partitioned(300).range(0..300u64).filter(|_| false).is_empty().unwrap());
}

#[test]
fn sorting_keeps_the_order_of_equal_keys_both_ways() {
    let sc = context();
    let data: Vec<(u32, u32)> = (0..2000).map(|i| (i % 3, i)).collect();
    let rdd = sc.partitioned(5).parallelize(data.clone());
    for up in [true, false] {
        let mut expected = data.clone();
        expected.sort_by(|a, b| if up { a.0.cmp(&b.0) } else { b.0.cmp(&a.0) });
        let sorted = rdd.partitioned(4).sort_by_key(up).unwrap();
        assert!(sorted.num_partitions() <= 4);
        assert_eq!(sorted.collect().unwrap(), expected);
        assert_eq!(rdd.partitioned(1).sort_by_key(up).unwrap().collect().unwrap(), expected);
    }
    let equal = sc.partitioned(4).parallelize(vec![(7u8, 'x'); 100]).sort_by_key(true).unwrap();
    assert_eq!(equal.collect().unwrap(), vec![(7, 'x'); 100]);
    assert_eq!(sc.parallelize(Vec::<(u8, u8)>::new()).sort_by_key(true).unwrap().collect().unwrap(), []);
}

#[test]
fn unions_and_coalesces_of_odd_numbers() {
    let sc = context();
    let rdd = sc.partitioned(3).range(0..10u64);
    assert_eq!(sc.union(std::slice::from_ref(&rdd)).collect().unwrap(), (0..10).collect::<Vec<_>>());
    assert_eq!(rdd.coalesce(0).num_partitions(), 1);
    assert_eq!(rdd.coalesce(100).num_partitions(), 3);
    assert_eq!(rdd.repartition(0).num_partitions(), 1);
    assert_eq!(rdd.coalesce(0).collect().unwrap(), (0..10).collect::<Vec<_>>());
    assert_eq!(rdd.union(&rdd).union(&rdd).coalesce(2).count().unwrap(), 30);
    assert_eq!(sc.partitioned(0).range(5..5u64).num_partitions(), 1);
    assert_eq!(sc.range(i64::MAX - 2..i64::MAX).collect().unwrap(), [i64::MAX - 2, i64::MAX - 1]);
    assert_eq!(sc.partitioned(3).range(0..u64::MAX).take(2).unwrap(), [0, 1]);
}

#[test]
fn repartition_deals_by_position_the_same_way_each_time_and_evenly_whatever_the_elements_are() {
    let sc = context();
    let rdd = sc.partitioned(2).range(0..5000u64).map(|x| x % 700);
    let once = rdd.repartition(5).collect_partitions().unwrap();
    assert_eq!(rdd.repartition(5).collect_partitions().unwrap(), once);
    // Of equal elements as many, and where an element goes depends on nothing that it is.
    let equal = rdd.map(|_| 7u64).repartition(5).collect_partitions().unwrap();
    let sizes = |parts: &[Vec<u64>]| parts.iter().map(Vec::len).collect::<Vec<_>>();
    assert_eq!(sizes(&equal), sizes(&once));
    assert_eq!(sizes(&once), [1000; 5]);
    assert_eq!(sorted(once.concat()), sorted(rdd.collect().unwrap()));
}

#[test]
fn rdds_without_bytes_are_counted() {
    let sc = context();
    let rdd = sc.partitioned(3).parallelize(vec![(); 10_000]);
    assert_eq!(rdd.collect().unwrap().len(), 10_000);
    assert_eq!(rdd.repartition(4).count().unwrap(), 10_000);
    assert_eq!(rdd.distinct().count().unwrap(), 1);
    assert_eq!(rdd.map(|()| ((), ())).group_by_key().collect().unwrap(), [((), vec![(); 10_000])]);
    assert_eq!(rdd.cache().count().unwrap(), 10_000);
    assert_eq!(rdd.count().unwrap(), 10_000);
}

#[test]
fn an_rdd_meets_itself() {
    let sc = context();
    let base = sc.partitioned(4).range(0..100u64).map(|x| (x % 10, x)).cache();
    let sums = base.reduce_by_key(|a, b| a + b);
    let grouped = sorted(sums.cogroup(&sums).collect().unwrap());
    assert_eq!(grouped.len(), 10);
    assert!(grouped.iter().all(|(_, (a, b))| a.len() == 1 && a == b));
    assert_eq!(base.join(&base).count().unwrap(), 1000);
    assert_eq!(
        base.partitioned(3)
            .cogroup(&base)
            .map_values(|(a, b)| a.len() + b.len())
            .values()
            .reduce(|a, b| a + b)
            .unwrap(),
        200
    );
    let diamond = base.filter(|(k, _)| k % 2 == 0).union(&base.filter(|(k, _)| k % 2 == 1)).union(&base);
    assert_eq!(diamond.map_values(|_| 1u32).reduce_by_key(|a, b| a + b).values().collect().unwrap(), [20; 10]);
    let deep = sums.join(&sums.map_values(|v| v + 1)).join(&sums.filter(|(k, _)| *k < 3));
    assert_eq!(sorted(deep.keys().collect().unwrap()), [0, 1, 2]);
}

#[test]
fn rdds_of_two_contexts_mix() {
    let (one, other) = (context(), context());
    let a = one.partitioned(2).range(0..10u64).map(|x| (x % 5, x));
    let b = other.partitioned(3).range(100..110u64).map(|x| (x % 5, x));
    let union = a.union(&b).values();
    assert_eq!(union.collect().unwrap(), (0..10).chain(100..110).collect::<Vec<_>>());
    assert_eq!(a.join(&b).count().unwrap(), 20);
}

#[test]
fn co_partitioned_rdds_join_where_they_lie() {
    let dir = tempfile::tempdir().unwrap();
    let sc = Context::builder().master("local[2]").set("spark.local.dir", dir.path().display()).build().unwrap();
    let shuffles = || {
        let scratch = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
        let names = fs::read_dir(scratch).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("shuffle_")).count()
    };
    let spread = sc.partitioned(5).range(0..100u64).map(|x| (x % 20, x)).partition_by(HashPartitioner::new(3)).cache();
    let other = spread.filter(|(k, _)| k % 2 == 0).map_values(|v| v + 1).flat_map_values(|v| [v, v]);
    assert_eq!(spread.count().unwrap(), 100);
    // A join through a shuffle of its own would spread into five partitions or more.
    let joined = spread.join(&other);
    assert_eq!(joined.num_partitions(), 3);
    assert_eq!(joined.count().unwrap(), 10 * 5 * 10);
    assert_eq!(shuffles(), 1, "the one that spread");
    assert_eq!(other.reduce_by_key(|a, b| a + b).num_partitions(), 3);
    assert_eq!(spread.map(|kv| kv).reduce_by_key(|a, b| a + b).num_partitions(), 3, "as many as the parent has");
    let key_of_other_place = spread.map(|(k, v)| (k + 1, v)).lookup(&1).unwrap();
    assert_eq!(key_of_other_place.len(), 5, "map forgets where keys lie");

    let ranges =
        sc.partitioned(5).parallelize((0..100u32).map(|x| (x % 20, x)).collect::<Vec<_>>()).sort_by_key(true).unwrap();
    let n = ranges.num_partitions();
    let sums = ranges.reduce_by_key(|a, b| a + b);
    assert_eq!((sums.num_partitions(), sums.count().unwrap()), (n, 20));
    let before = shuffles();
    assert_eq!(ranges.join(&sums).count().unwrap(), 100);
    assert_eq!(shuffles(), before, "by ranges as well");
    assert_eq!(sorted(ranges.lookup(&7).unwrap()), [7, 27, 47, 67, 87]);
}

#[test]
fn a_lazy_is_made_once_for_all_stages() {
    let sc = context();
    static MADE: AtomicU32 = AtomicU32::new(0);
    for _ in 0..3 {
        let lazy = Lazy::new(|| MADE.fetch_add(1, Ordering::Relaxed) + 100);
        assert_eq!(
            sc.partitioned(6).range(0..6u32).with(lazy).map(|base, x| **base + x).collect().unwrap(),
            [100, 101, 102, 103, 104, 105]
        );
    }
    assert_eq!(MADE.load(Ordering::Relaxed), 1);
}

#[test]
fn each_executor_process_makes_a_lazy_of_its_own() {
    let sc = Context::builder().master("local-cluster[2,1,512]").build().unwrap();
    let lazy = Lazy::new(|| (std::process::id(), AtomicU32::new(0)));
    let rdd = sc
        .partitioned(200)
        .range(0..200u32)
        .with(lazy.clone())
        .map(|lazy, _| (lazy.0, lazy.1.fetch_add(1, Ordering::Relaxed)));
    let (first, second) = (rdd.collect().unwrap(), rdd.collect().unwrap());
    let here = std::process::id();
    assert!(first.iter().all(|(pid, _)| *pid != here), "made where it is used");
    let mut used: std::collections::BTreeMap<u32, Vec<u32>> = Default::default();
    first.into_iter().chain(second).for_each(|(pid, n)| used.entry(pid).or_default().push(n));
    for counts in used.into_values() {
        let all = 0..counts.len() as u32;
        assert!(sorted(counts).into_iter().eq(all), "one counter for both jobs of a process");
    }
    assert_eq!((lazy.0, lazy.1.load(Ordering::Relaxed)), (here, 0));
}

#[test]
fn an_element_may_have_more_results_than_memory() {
    let sc = context();
    let many = sc.partitioned(1).parallelize(vec![0u64, 7]).flat_map(|x| x..u64::MAX);
    assert_eq!(many.take(5000).unwrap(), (0..5000).collect::<Vec<_>>());
    let valued = sc.partitioned(1).parallelize(vec![(1u8, 0u64)]).flat_map_values(|v| v..);
    assert_eq!(valued.take(2).unwrap(), [(1, 0), (1, 1)]);
    let mixed = sc.partitioned(1).range(0..3000u64).flat_map(|x| 0..(x % 10) * 1000);
    let expected: u64 = (0..3000).map(|x| (x % 10) * 1000).sum();
    assert_eq!(mixed.count().unwrap(), expected);
    let job = many.count_async().unwrap();
    job.cancel("enough");
    assert!(job.wait().unwrap_err().to_string().contains("enough"));
    assert_eq!(sc.range(0..5u64).count().unwrap(), 5, "the slots are free again");
    let job = sc.partitioned(2).range(0..2u64).map_partitions(|_| std::iter::repeat(1u8)).count_async().unwrap();
    job.cancel("enough");
    assert!(job.wait().is_err());
    assert_eq!(sc.range(0..5u64).count().unwrap(), 5);
}

#[test]
fn floats_fold_and_reduce_in_the_order_of_the_partitions() {
    let sc = context();
    let rdd = sc.partitioned(7).parallelize((0..1000).map(|i| 1.0 / f64::from(i + 1)).collect::<Vec<f64>>());
    let once = rdd.fold(0.0, |a, b| a + b).unwrap();
    assert!((0..20).all(|_| rdd.fold(0.0, |a, b| a + b).unwrap().to_bits() == once.to_bits()));
    let words = sc.partitioned(6).parallelize(('a'..='z').map(String::from).collect::<Vec<_>>());
    assert_eq!(words.reduce(|a, b| a + &b).unwrap(), ('a'..='z').collect::<String>());
    assert_eq!(sc.parallelize(vec![f64::NAN, 1.0, -0.0, 0.0]).min().unwrap().to_bits(), (-0.0f64).to_bits());
    assert_eq!(
        sorted(sc.parallelize(vec![vec![1, 2], vec![], vec![1, 2]]).distinct().collect().unwrap()),
        [vec![], vec![1, 2]]
    );
    assert!(f64::NAN.cmp_key(&1.0).is_gt());
}

#[test]
fn text_files_are_found_by_name_by_pattern_and_in_lists() {
    let sc = context();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    for (name, text) in [
        ("a.txt", "a\n"),
        ("b.txt", "b"),
        ("[x].txt", "brackets"),
        ("x.txt", "plain x"),
        (".b.txt", "hidden"),
        ("e", ""),
    ] {
        fs::write(at(name), text).unwrap();
    }
    let lines = |path: String| sc.text_file(&path).map(|rdd| rdd.collect().unwrap());
    assert_eq!(lines(at("[x].txt")).unwrap(), ["brackets"], "what is there by that name is meant");
    assert_eq!(lines(at("[xy].txt")).unwrap(), ["plain x"]);
    assert_eq!(lines(at("{b,a,c}.txt")).unwrap(), ["a", "b"], "a pattern gives files in their order");
    assert_eq!(lines(format!("{}, file://{}", at("b.txt"), at("a.txt"))).unwrap(), ["b", "a"]);
    assert_eq!(lines(at("?.txt")).unwrap(), ["a", "b", "plain x"]);
    assert_eq!(lines(at("e")).unwrap(), [""; 0]);
    assert_eq!(sc.partitioned(5).text_file(&at("e")).unwrap().num_partitions(), 1);
    assert_eq!(sc.partitioned(100).text_file(&at("x.txt")).unwrap().num_partitions(), 7);
    assert_eq!(sc.partitioned(4).text_file(&at("x.txt")).unwrap().num_partitions(), 4);
    for missing in [at("none"), at("*.none"), at("{c,d}"), format!("{},{}", at("a.txt"), at("none"))] {
        let error = sc.text_file(&missing).err().unwrap();
        assert!(matches!(error, Error::InputMissing(_)), "{missing}: {error}");
    }
    assert!(sc.text_file("hdfs://host/file").err().unwrap().to_string().contains("hdfs"));
    fs::create_dir(at("sub")).unwrap();
    assert!(
        sc.text_file(dir.path().to_str().unwrap()).err().unwrap().to_string().contains("sub"),
        "as Spark's \"Not a file\""
    );
    let gone = sc.text_file(&at("a.txt")).unwrap();
    fs::remove_file(at("a.txt")).unwrap();
    assert!(gone.count().unwrap_err().to_string().contains("a.txt"));
}

#[test]
fn a_save_that_is_cancelled_or_has_no_permission_leaves_nothing() {
    let sc = context();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let endless = sc.partitioned(2).range(0..2u64).flat_map(|_| 0..u64::MAX);
    std::thread::scope(|scope| {
        let save = scope.spawn(|| endless.save_as_text_file(&out));
        let staged = |dir: &std::path::Path| fs::read_dir(dir).map(|d| d.count()).unwrap_or(0);
        until("a part file", || {
            let staging = fs::read_dir(out.join("_temporary")).ok().and_then(|mut d| d.next()?.ok());
            staging.is_some_and(|s| staged(&s.path()) > 0)
        });
        sc.stop();
        assert!(save.join().unwrap().is_err());
    });
    assert!(!out.exists());

    let sc = context();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let rdd = sc.range(0..4u64);
    assert!(matches!(rdd.save_as_text_file(&file), Err(Error::OutputExists(_))));
    let e = rdd.save_as_text_file(file.join("below")).unwrap_err();
    assert!(matches!(e, Error::Io { .. }) && e.to_string().contains("file"), "{e}");
    let e = rdd.save_as_text_file("/proc/firesteel/out").unwrap_err();
    assert!(e.to_string().contains("/proc/firesteel"), "{e}");
    rdd.map(|x| (x, "é".to_string(), Some(vec![x]))).coalesce(1).save_as_text_file(&out).unwrap();
    let text = fs::read_to_string(out.join("part-00000")).unwrap();
    assert_eq!(text.lines().next(), Some("(0,é,Some([0]))"));
}

#[test]
fn failed_attempts_do_not_show_in_what_is_saved() {
    let sc = Context::builder().master("local[2,3]").build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    static TRIES: AtomicU32 = AtomicU32::new(0);
    let flaky = sc
        .partitioned(2)
        .range(0..5000u64)
        .try_map(|x| if x == 4999 && TRIES.fetch_add(1, Ordering::Relaxed) < 2 { Err("not yet") } else { Ok(x) });
    flaky.save_as_text_file(&out).unwrap();
    assert_eq!(TRIES.load(Ordering::Relaxed), 3);
    assert_eq!(sc.text_file(out.to_str().unwrap()).unwrap().count().unwrap(), 5000);
    assert_eq!(fs::read_dir(&out).unwrap().count(), 3);
}

#[test]
fn persist_applies_from_the_next_job_on() {
    let sc = context();
    static COMPUTED: AtomicU32 = AtomicU32::new(0);
    let rdd = sc.partitioned(2).range(0..10u64).map_partitions(|it| {
        COMPUTED.fetch_add(1, Ordering::Relaxed);
        it
    });
    let computed = || COMPUTED.load(Ordering::Relaxed);
    assert_eq!((rdd.count().unwrap(), computed()), (10, 2));
    rdd.persist(StorageLevel::MEMORY_ONLY);
    assert_eq!((rdd.count().unwrap(), rdd.clone().count().unwrap(), computed()), (10, 10, 4));
    let child = rdd.map(|x| x + 1);
    assert_eq!((child.count().unwrap(), computed()), (10, 4));
    // While a job runs.
    let slow = child.map(|x| {
        std::thread::sleep(Duration::from_millis(2));
        x
    });
    let job = slow.count_async().unwrap();
    rdd.unpersist();
    assert_eq!(job.wait().unwrap(), 10);
    let before = computed();
    assert_eq!((child.count().unwrap(), computed()), (10, before + 2));
}

/// Cannot travel: says so, or panics, when it is encoded.
#[derive(Clone, Deserialize)]
struct Stubborn(u8);

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            0 => panic!("stubborn panic"),
            1 => Err(serde::ser::Error::custom("stubborn error")),
            n => n.serialize(serializer),
        }
    }
}

#[test]
fn what_cannot_be_encoded_fails_its_own_job_only() {
    let sc = context();
    let busy = sc.partitioned(200).range(0..200u64).map(|x| {
        std::thread::sleep(Duration::from_millis(1));
        x
    });
    let other = busy.count_async().unwrap();
    for (kind, word) in [(0, "stubborn panic"), (1, "stubborn error")] {
        let e = sc.partitioned(2).parallelize(vec![Stubborn(7), Stubborn(kind)]).count().unwrap_err().to_string();
        assert!(e.contains(word), "partition: {e}");
        let e = sc.range(0..4u64).with(Stubborn(kind)).map(|_, x| x).count().unwrap_err().to_string();
        assert!(e.contains(word), "environment: {e}");
        let pairs = sc.range(0..4u64).map(|x| (x, x)).with(Stubborn(kind)).reduce_by_key(|_, a, _| a);
        let e = pairs.count().unwrap_err().to_string();
        assert!(e.contains(word), "shuffle: {e}");
        let e = sc.range(0..4u64).with(kind).map(|kind, _| Stubborn(*kind)).collect().err().unwrap().to_string();
        assert!(e.contains(word), "result: {e}");
    }
    assert_eq!(other.wait().unwrap(), 200);
}

#[test]
fn an_error_names_the_action_that_was_called() {
    let sc = context();
    let bad = sc.range(0..4u64).try_map(|_| Err::<(u8, u8), _>("no"));
    let errors = [
        ("foreach at", bad.foreach(|_| ()).unwrap_err()),
        ("foreach_partition at", bad.foreach_partition(|it| it.for_each(drop)).unwrap_err()),
        ("first at", bad.first().unwrap_err()),
        ("is_empty at", bad.is_empty().unwrap_err()),
        ("count_by_key at", bad.count_by_key().unwrap_err()),
        ("sort_by_key at", bad.partitioned(2).sort_by_key(true).err().unwrap()),
        ("max at", bad.max().unwrap_err()),
    ];
    for (action, error) in errors {
        let text = error.to_string();
        assert!(text.starts_with(action) && text.contains("tests/corners.rs"), "{text}");
    }
}
