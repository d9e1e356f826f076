//! Jobs on threads of this process: the operators, their failures, and how a Context behaves among others.

#![allow(clippy::unwrap_used, reason = "a test")]

use firesteel::{Error, JobError, TaskFailure, prelude::*};

fn context(threads: u32) -> Context {
    Context::builder().app_name("test").master(&format!("local[{threads}]")).build().unwrap()
}

fn sorted<T: Ord>(mut v: Vec<T>) -> Vec<T> {
    v.sort();
    v
}

#[test]
fn elements_pass_through_narrow_operators() {
    let sc = context(2);
    let rdd = sc.partitioned(5).parallelize(0..100u64);
    assert_eq!(rdd.num_partitions(), 5);
    assert_eq!(
        rdd.map(|x| x * 2).filter(|x| x % 3 == 0).collect().unwrap(),
        (0..100).map(|x| x * 2).filter(|x| x % 3 == 0).collect::<Vec<_>>()
    );
    assert_eq!(rdd.flat_map(|x| vec![x; (x % 3) as usize]).count().unwrap(), (0..100).map(|x| x % 3).sum::<u64>());
    assert_eq!(rdd.map_partitions(|it| [it.sum::<u64>()]).collect().unwrap().iter().sum::<u64>(), 4950);
    let indexed = rdd.map_partitions_with_index(|i, it| it.map(move |x| (i, x)).collect::<Vec<_>>());
    assert_eq!(indexed.keys().distinct().count().unwrap(), 5);
    assert_eq!(rdd.union(&rdd.map(|x| x + 100)).collect().unwrap(), (0..200).collect::<Vec<_>>());
    assert_eq!(rdd.coalesce(2).num_partitions(), 2);
    assert_eq!(rdd.coalesce(2).collect().unwrap(), (0..100).collect::<Vec<_>>());
}

#[test]
fn an_environment_reaches_the_closure() {
    let sc = context(2);
    let names = vec!["zero".to_string(), "one".to_string()];
    let got =
        sc.parallelize(0..4usize).with(names).map(|names, i| names.get(i % 2).cloned().unwrap()).collect().unwrap();
    assert_eq!(got, ["zero", "one", "zero", "one"]);
    assert_eq!(sc.range(0..10u64).with(3u64).filter(|n, x| x % n == 0).collect().unwrap(), [0, 3, 6, 9]);
}

#[test]
fn actions_give_what_they_say() {
    let sc = context(3);
    let rdd = sc.partitioned(7).range(0..1000i64);
    assert_eq!(rdd.count().unwrap(), 1000);
    assert_eq!(rdd.first().unwrap(), 0);
    assert_eq!(rdd.take(250).unwrap(), (0..250).collect::<Vec<_>>());
    assert_eq!(rdd.reduce(|a, b| a + b).unwrap(), 499_500);
    assert_eq!(rdd.fold(0, |a, b| a.max(b)).unwrap(), 999);
    assert_eq!(
        rdd.aggregate((0i64, 0u32), |(s, n), x| (s + x, n + 1), |a, b| (a.0 + b.0, a.1 + b.1)).unwrap(),
        (499_500, 1000)
    );
    assert_eq!(rdd.top(3).unwrap(), [999, 998, 997]);
    assert_eq!(rdd.take_ordered(3).unwrap(), [0, 1, 2]);
    assert!(matches!(sc.range(0..0u64).first(), Err(Error::Empty("first"))));
    assert!(matches!(sc.range(0..0u64).reduce(|a, b| a + b), Err(Error::Empty("reduce"))));
    assert!(sc.parallelize(Vec::<u8>::new()).is_empty().unwrap());
}

#[test]
fn pairs_shuffle() {
    let sc = context(2);
    let pairs = sc.partitioned(4).range(0..1000u64).map(|x| (x % 10, x));
    let sums = sorted(pairs.reduce_by_key(|a, b| a + b).collect().unwrap());
    assert_eq!(sums, (0..10).map(|k| (k, (0..1000).filter(|x| x % 10 == k).sum())).collect::<Vec<_>>());
    let groups = pairs.partitioned(3).group_by_key();
    assert_eq!(groups.num_partitions(), 3);
    assert!(groups.collect().unwrap().iter().all(|(k, vs)| vs.len() == 100 && vs.iter().all(|v| v % 10 == *k)));
    let means = pairs.aggregate_by_key((0u64, 0u64), |(s, n), v| (s + v, n + 1), |a, b| (a.0 + b.0, a.1 + b.1));
    assert_eq!(means.count().unwrap(), 10);
    assert_eq!(pairs.count_by_key().unwrap()[&3], 100);
    assert_eq!(sorted(sums_of(&pairs).lookup(&7).unwrap()).len(), 1);
    assert_eq!(pairs.keys().distinct().count().unwrap(), 10);
}

fn sums_of(pairs: &Rdd<(u64, u64)>) -> Rdd<(u64, u64)> {
    pairs.reduce_by_key(|a, b| a + b)
}

#[test]
fn joins_match_keys_on_both_sides() {
    let sc = context(2);
    let a =
        sc.partitioned(3).parallelize(vec![(1, "a".to_string()), (2, "b".into()), (2, "c".into()), (3, "d".into())]);
    let b = sc.partitioned(2).parallelize(vec![(2, 20), (3, 30), (3, 31), (4, 40)]);
    let joined = sorted(a.join(&b).collect().unwrap());
    let s = |x: &str| x.to_string();
    assert_eq!(joined, [(2, (s("b"), 20)), (2, (s("c"), 20)), (3, (s("d"), 30)), (3, (s("d"), 31))]);
    assert_eq!(a.left_outer_join(&b).filter(|(_, (_, r))| r.is_none()).keys().collect().unwrap(), [1]);
    assert_eq!(a.right_outer_join(&b).filter(|(_, (l, _))| l.is_none()).keys().collect().unwrap(), [4]);
    assert_eq!(a.full_outer_join(&b).count().unwrap(), 6);
    assert_eq!(a.subtract_by_key(&b).keys().collect().unwrap(), [1]);
    let spread = a.partition_by(HashPartitioner::new(4)).cache();
    let other = b.partition_by(HashPartitioner::new(4));
    assert_eq!(sorted(spread.join(&other).collect().unwrap()), joined);
}

#[test]
fn sorting_orders_across_partitions() {
    let sc = context(2);
    let mut expected: Vec<(i64, i64)> = (0..5000).map(|x| ((x * 7919) % 5003 - 2500, x)).collect();
    let rdd = sc.partitioned(6).parallelize(expected.clone());
    expected.sort();
    let up = rdd.sort_by_key(true).unwrap();
    assert!(up.num_partitions() > 1);
    assert_eq!(up.collect().unwrap(), expected);
    expected.reverse();
    assert_eq!(rdd.sort_by_key(false).unwrap().collect().unwrap(), expected);
    let floats = sc.partitioned(2).parallelize(vec![2.5f64, f64::NAN, -1.0, f64::INFINITY, 0.0]);
    let sorted = floats.sort_by(true, |x| *x).unwrap().collect().unwrap();
    assert_eq!(sorted[..4], [-1.0, 0.0, 2.5, f64::INFINITY]);
    assert!(sorted[4].is_nan());
}

#[test]
fn repartition_deals_evenly_and_loses_nothing() {
    let sc = context(2);
    let rdd = sc.partitioned(3).parallelize(vec![7u64; 10_000]).repartition(8);
    let sizes: Vec<usize> = rdd.collect_partitions().unwrap().iter().map(Vec::len).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 10_000);
    assert!(sizes.iter().all(|n| (1200..1300).contains(n)), "{sizes:?}");
    let distinct = sc.partitioned(3).range(0..10_000u64).repartition(8);
    let sizes: Vec<usize> = distinct.collect_partitions().unwrap().iter().map(Vec::len).collect();
    assert!(sizes.iter().all(|n| (1000..1500).contains(n)), "{sizes:?}");
    assert_eq!(sorted(distinct.collect().unwrap()), (0..10_000).collect::<Vec<_>>());
}

#[test]
fn a_kept_rdd_is_computed_once() {
    let sc = context(2);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap().to_string();
    let rdd = sc
        .partitioned(2)
        .range(0..100u64)
        .with(path.clone())
        .map_partitions(|path, it| {
            let name = format!(
                "{path}/{}",
                std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()
            );
            std::fs::write(name, "").unwrap();
            it.collect::<Vec<_>>()
        })
        .cache();
    let computed = || std::fs::read_dir(dir.path()).unwrap().count();
    assert_eq!((rdd.count().unwrap(), rdd.count().unwrap(), computed()), (100, 100, 2));
    rdd.unpersist();
    assert_eq!((rdd.count().unwrap(), computed()), (100, 4));
}

#[test]
fn a_panic_in_user_code_is_the_actions_error() {
    let sc = context(2);
    let e = sc.range(0..10u64).map(|x| if x == 7 { panic!("seven is bad") } else { x }).count().unwrap_err();
    let Error::Job { reason, site } = &e else { panic!("{e}") };
    let Some(JobError::TaskFailed { failure: TaskFailure::Exception { message, location, panic }, .. }) =
        reason.downcast_ref()
    else {
        panic!("{e}")
    };
    assert!(message.contains("seven is bad") && location.contains("tests/local.rs") && *panic, "{e}");
    assert!(site.contains("count at") && site.contains("tests/local.rs"), "{site}");
    assert_eq!(sc.range(0..10u64).count().unwrap(), 10, "the Context goes on");
}

#[test]
fn an_err_fails_the_task_with_its_text() {
    let sc = context(2);
    let rdd = sc.parallelize(vec!["1", "x"].into_iter().map(str::to_string).collect::<Vec<_>>());
    let e = rdd.try_map(|s| s.parse::<u32>()).collect().unwrap_err().to_string();
    assert!(e.contains("invalid digit"), "{e}");
    let e = rdd.try_foreach_partition(|_| Err::<(), _>("no room")).unwrap_err().to_string();
    assert!(e.contains("no room"), "{e}");
}

#[test]
fn text_files_are_split_at_line_ends_and_saved_whole() {
    let sc = context(2);
    let dir = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (0..5000).map(|i| format!("line {i} {}", "ä".repeat(i % 40))).collect();
    std::fs::write(dir.path().join("a.txt"), lines[..2000].join("\n") + "\n").unwrap();
    std::fs::write(dir.path().join("b.txt"), lines[2000..].join("\r\n")).unwrap();
    std::fs::write(dir.path().join("_hidden"), "no").unwrap();
    for n in [1, 2, 7, 100] {
        let rdd = sc.partitioned(n).text_file(dir.path().to_str().unwrap()).unwrap();
        assert_eq!(rdd.collect().unwrap(), lines, "{n} partitions");
    }
    let glob = format!("{}/*.txt", dir.path().display());
    assert_eq!(sc.text_file(&glob).unwrap().count().unwrap(), 5000);
    assert!(matches!(sc.text_file("/no/such/file"), Err(Error::InputMissing(_))));

    let out = dir.path().join("out");
    let pairs = sc.partitioned(3).range(0..10u64).map(|x| (x, x as f64 / 2.0));
    pairs.save_as_text_file(&out).unwrap();
    let mut files: Vec<String> =
        std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, ["_SUCCESS", "part-00000", "part-00001", "part-00002"]);
    assert_eq!(std::fs::read_to_string(out.join("part-00000")).unwrap(), "(0,0.0)\n(1,0.5)\n(2,1.0)\n");
    assert!(matches!(pairs.save_as_text_file(&out), Err(Error::OutputExists(_))));
    let failed = dir.path().join("failed");
    assert!(sc.range(0..4u64).try_map(|_| Err::<u64, _>("bad")).save_as_text_file(&failed).is_err());
    assert!(!failed.exists(), "a failed save leaves nothing");
}

#[test]
fn deep_lineages_overflow_no_stack() {
    let sc = context(2);
    let mut rdd = sc.partitioned(1).range(0..4u64);
    for _ in 0..10_000 {
        rdd = rdd.map(|x| x + 1);
    }
    assert_eq!(rdd.collect().unwrap(), [10_000, 10_001, 10_002, 10_003]);
    let one = sc.partitioned(1).range(0..1u64);
    let mut union = one.clone();
    for _ in 0..2_000 {
        union = union.union(&one);
    }
    assert_eq!(union.count().unwrap(), 2_001);
}

#[test]
fn contexts_run_side_by_side() {
    let run = |n: u64| {
        let sc = context(2);
        sc.range(0..n).map(|x| (x % 5, 1u64)).reduce_by_key(|a, b| a + b).values().reduce(|a, b| a + b).unwrap()
    };
    let threads: Vec<_> = (1..5).map(|i| std::thread::spawn(move || run(i * 1000))).collect();
    let got: Vec<u64> = threads.into_iter().map(|t| t.join().unwrap()).collect();
    assert_eq!(got, [1000, 2000, 3000, 4000]);
}

#[tokio::test]
async fn a_context_works_and_drops_inside_an_async_runtime() {
    let sc = context(2);
    assert_eq!(sc.range(0..100u64).map(|x| (x % 3, x)).reduce_by_key(|a, b| a + b).count().unwrap(), 3);
    drop(sc);
}

#[test]
fn an_action_after_the_end_is_an_error() {
    let sc = context(1);
    let rdd = sc.range(0..10u64);
    sc.stop();
    assert!(matches!(rdd.count(), Err(Error::Stopped)));
    let orphan = context(1).range(0..10u64);
    assert!(matches!(orphan.count(), Err(Error::Stopped)));
}

#[test]
fn jobs_of_several_threads_share_a_context() {
    let sc = context(2);
    std::thread::scope(|scope| {
        for i in 0..8u64 {
            let sc = sc.clone();
            scope.spawn(move || {
                let n = sc
                    .partitioned(4)
                    .range(0..1000u64)
                    .with(i)
                    .map(|i, x| (x % (i + 1), x))
                    .group_by_key()
                    .count()
                    .unwrap();
                assert_eq!(n, i + 1);
            });
        }
    });
}

#[test]
fn bad_settings_are_errors_that_name_the_key() {
    let e = Context::builder().master("local[0]").build().err().unwrap().to_string();
    assert!(e.contains("local[0]") && e.contains("at least 1"), "{e}");
    let e = Context::builder().master("local").set("spark.task.maxFailures", "many").build().err().unwrap().to_string();
    assert!(e.contains("spark.task.maxFailures") && e.contains("many"), "{e}");
}
