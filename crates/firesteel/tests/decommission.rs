//! Executors that leave in order: what they hold is with others afterwards, and nothing is computed again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use firesteel::{ContextBuilder, StorageLevel, prelude::*};
use firesteel_testing::{gone, until};

const PARTITIONS: u32 = 6;
const MAPS: u32 = 5;

fn builder(workers: u32, dir: &Path) -> ContextBuilder {
    // A pool of 21.6 MiB an executor.
    let master = format!("local-cluster[{workers},1,48]");
    let builder = Context::builder().app_name("leave").master(&master);
    builder.set("spark.local.dir", dir.to_str().unwrap()).set("spark.decommission.enabled", true)
}

fn cluster(workers: u32, dir: &Path) -> Context {
    let sc = builder(workers, dir).build().unwrap();
    until("all executors are there", || executors(&sc).len() as u32 == workers);
    sc
}

/// The processes that take part in a job.
fn executors(sc: &Context) -> BTreeSet<u32> {
    sc.partitioned(64).parallelize(0..64u32).map_ref(|_| std::process::id()).collect().unwrap().into_iter().collect()
}

/// Leaves a byte in `file`.
fn mark(file: &str) {
    File::options().append(true).create(true).open(file).and_then(|mut f| f.write_all(b"x")).unwrap();
}

fn times(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |m| m.len())
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Texts of about 150 bytes; each partition that is computed leaves a byte in `made`.
fn texts(sc: &Context, elements: u64, made: &Path) -> Rdd<(u64, String)> {
    let texts = sc.partitioned(PARTITIONS).range(0..elements).map(|i| (i, format!("{i:0150}")));
    texts.with(text(made)).map_partitions(|made, texts| {
        mark(made);
        texts
    })
}

fn sums(rdd: &Rdd<(u64, String)>) -> (u64, u64) {
    rdd.map(|(i, text)| (i, text.len() as u64)).reduce(|a, b| (a.0 + b.0, a.1 + b.1)).unwrap()
}

/// Sums by key behind a shuffle; each map task leaves a byte in `maps`.
fn by_key(sc: &Context, maps: &Path) -> Rdd<(u64, u64)> {
    let pairs = sc.partitioned(MAPS).range(0..30_000u64).with(text(maps)).map_partitions(|maps, numbers| {
        mark(maps);
        numbers.map(|i| (i % 1000, i)).collect::<Vec<_>>()
    });
    pairs.partitioned(3).reduce_by_key(|a, b| a + b)
}

fn sorted(rdd: &Rdd<(u64, u64)>) -> Vec<(u64, u64)> {
    let mut all = rdd.collect().unwrap();
    all.sort_unstable();
    all
}

/// One of the executors leaves. Returns when its process has ended; the others live.
fn one_leaves(sc: &Context) {
    let before = executors(sc);
    let ids = sc.executor_ids().unwrap();
    assert_eq!(ids.len(), before.len());
    assert_eq!(sc.decommission_executors(&ids[..1]).unwrap(), ids[..1]);
    until("the executor is gone", || before.iter().any(|pid| gone(*pid)));
    assert_eq!(before.iter().filter(|pid| !gone(**pid)).count(), before.len() - 1);
    until("the driver knows", || !sc.executor_ids().unwrap().contains(&ids[0]));
}

#[test]
fn what_a_leaving_executor_holds_is_with_another_one_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    // The second one does not fit into the memory of both, the first one into that of one.
    for (level, elements) in [
        (StorageLevel::MEMORY_ONLY, 20_000),
        (StorageLevel::MEMORY_AND_DISK, 300_000),
        (StorageLevel::DISK_ONLY, 20_000),
    ] {
        let sc = cluster(2, dir.path());
        let (made, maps) = (dir.path().join(format!("{level}.made")), dir.path().join(format!("{level}.maps")));
        let cached = texts(&sc, elements, &made).persist(level);
        let counts = by_key(&sc, &maps);
        let before = (sums(&cached), sorted(&counts));
        assert_eq!((times(&made), times(&maps)), (u64::from(PARTITIONS), u64::from(MAPS)), "{level}");
        one_leaves(&sc);
        assert_eq!((sums(&cached), sorted(&counts)), before, "{level}");
        assert_eq!((times(&made), times(&maps)), (u64::from(PARTITIONS), u64::from(MAPS)), "{level}: computed again");
        sc.stop();
    }
}

#[test]
fn tasks_end_where_they_run_and_their_output_is_not_lost() {
    let dir = tempfile::tempdir().unwrap();
    let sc = cluster(2, dir.path());
    let before = executors(&sc);
    let (begun, go) = (dir.path().join("begun"), dir.path().join("go"));
    let sums = sc
        .partitioned(8)
        .range(0..8_000u64)
        .with((text(&begun), text(&go)))
        .map_partitions(|(begun, go), numbers| {
            mark(begun);
            let deadline = Instant::now() + Duration::from_secs(60);
            while !Path::new(go).exists() {
                assert!(Instant::now() < deadline, "nobody says go");
                std::thread::sleep(Duration::from_millis(5));
            }
            numbers.map(|i| (i % 7, i)).collect::<Vec<_>>()
        })
        .partitioned(4)
        .reduce_by_key(|a, b| a + b);
    std::thread::scope(|scope| {
        let job = scope.spawn(|| sorted(&sums));
        until("both executors are at work", || times(&begun) == 2);
        let ids = sc.executor_ids().unwrap();
        assert_eq!(sc.decommission_executors(&ids[1..]).unwrap(), ids[1..]);
        assert_eq!(sc.decommission_executors(&ids[1..]).unwrap(), ids[1..], "again, which changes nothing");
        assert!(before.iter().all(|pid| !gone(*pid)));
        fs::write(&go, "").unwrap();
        let expected: Vec<(u64, u64)> = (0..7).map(|k| (k, (0..8_000).filter(|i| i % 7 == k).sum())).collect();
        assert_eq!(job.join().unwrap(), expected);
    });
    until("one executor is gone", || before.iter().any(|pid| gone(*pid)));
    assert_eq!(sorted(&sums).len(), 7);
    assert_eq!(times(&begun), 8, "no map task ran twice");
}

#[test]
fn with_nobody_else_there_a_job_goes_on_after_a_replacement_and_computes_again() {
    let dir = tempfile::tempdir().unwrap();
    let sc = cluster(1, dir.path());
    let (made, maps) = (dir.path().join("made"), dir.path().join("maps"));
    let (cached, counts) = (texts(&sc, 20_000, &made).cache(), by_key(&sc, &maps));
    let before = (sums(&cached), sorted(&counts));
    one_leaves(&sc);
    assert_eq!((sums(&cached), sorted(&counts)), before);
    assert_eq!((times(&made), times(&maps)), (2 * u64::from(PARTITIONS), 2 * u64::from(MAPS)));
}

#[test]
fn without_storage_decommission_nothing_is_moved() {
    let dir = tempfile::tempdir().unwrap();
    let sc = builder(2, dir.path()).set("spark.storage.decommission.enabled", false).build().unwrap();
    until("all executors are there", || executors(&sc).len() == 2);
    let made = dir.path().join("made");
    let cached = texts(&sc, 20_000, &made).cache();
    let before = sums(&cached);
    one_leaves(&sc);
    assert_eq!(sums(&cached), before);
    assert!(times(&made) > u64::from(PARTITIONS), "its partitions were computed again");
}

#[test]
fn one_that_does_not_leave_in_time_is_killed_and_its_task_runs_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let sc = builder(2, dir.path()).set("spark.executor.decommission.forceKillTimeout", "1s");
    // A task of it that is lost is nobody's failure.
    let sc = sc.set("spark.task.maxFailures", 1).build().unwrap();
    until("all executors are there", || executors(&sc).len() == 2);
    let begun = dir.path().join("begun");
    let job = sc.partitioned(2).range(0..2u64).with(text(&begun)).map(|begun, x| {
        mark(begun);
        // Whoever runs first runs until another one does.
        let deadline = Instant::now() + Duration::from_secs(60);
        while fs::metadata(begun).unwrap().len() < 3 {
            assert!(Instant::now() < deadline, "nobody runs it again");
            std::thread::sleep(Duration::from_millis(5));
        }
        x
    });
    std::thread::scope(|scope| {
        let job = scope.spawn(|| job.collect().unwrap());
        until("both executors are at work", || times(&begun) == 2);
        let ids = sc.executor_ids().unwrap();
        sc.decommission_executors(&ids[..1]).unwrap();
        assert_eq!(job.join().unwrap(), [0, 1]);
    });
    assert_eq!(times(&begun), 3);
}

#[test]
fn what_a_shuffle_service_serves_stays_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let sc = builder(2, dir.path()).set("spark.shuffle.service.enabled", true).build().unwrap();
    until("all executors are there", || executors(&sc).len() == 2);
    let maps = dir.path().join("maps");
    let counts = by_key(&sc, &maps);
    let before = sorted(&counts);
    let files = |dir: &Path| outputs(dir).len();
    assert_eq!(files(dir.path()), MAPS as usize);
    one_leaves(&sc);
    assert_eq!(files(dir.path()), MAPS as usize, "none was copied");
    assert_eq!(sorted(&counts), before);
    assert_eq!(times(&maps), u64::from(MAPS), "computed again");
}

/// The names of the map outputs below `dir`.
fn outputs(dir: &Path) -> Vec<String> {
    // Directories may go meanwhile.
    let entries = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    let found = entries.map(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() { outputs(&path) } else { name.ends_with(".index").then_some(name).into_iter().collect() }
    });
    found.flatten().collect()
}

#[test]
fn large_results_of_a_leaving_executor_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let sc = builder(2, dir.path()).set("spark.task.maxDirectResultSize", "1k").set("spark.task.maxFailures", 1);
    let sc = sc.build().unwrap();
    until("all executors are there", || executors(&sc).len() == 2);
    let (begun, go) = (dir.path().join("begun"), dir.path().join("go"));
    let job = sc.partitioned(4).range(0..4u64).with((text(&begun), text(&go))).map(|(begun, go), x| {
        mark(begun);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !Path::new(go).exists() {
            assert!(Instant::now() < deadline, "nobody says go");
            std::thread::sleep(Duration::from_millis(5));
        }
        vec![x; 50_000]
    });
    let ids = sc.executor_ids().unwrap();
    std::thread::scope(|scope| {
        let job = scope.spawn(|| job.collect().unwrap());
        until("both executors are at work", || times(&begun) == 2);
        sc.decommission_executors(&ids[..1]).unwrap();
        fs::write(&go, "").unwrap();
        assert_eq!(job.join().unwrap(), (0..4).map(|x| vec![x; 50_000]).collect::<Vec<Vec<u64>>>());
    });
    assert_eq!(times(&begun), 4, "no task ran twice");
    until("the executor is gone", || !sc.executor_ids().unwrap().contains(&ids[0]));
}

#[test]
fn idle_executors_leave_what_they_hold_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [
        ("spark.dynamicAllocation.enabled", "true"),
        ("spark.dynamicAllocation.initialExecutors", "2"),
        ("spark.dynamicAllocation.minExecutors", "1"),
        ("spark.dynamicAllocation.schedulerBacklogTimeout", "100ms"),
        ("spark.dynamicAllocation.executorIdleTimeout", "2s"),
        ("spark.dynamicAllocation.cachedExecutorIdleTimeout", "2s"),
        ("spark.dynamicAllocation.shuffleTracking.timeout", "2s"),
    ];
    let with = |b: ContextBuilder, (key, value): (&str, &str)| b.set(key, value);
    let sc = settings.into_iter().fold(builder(2, dir.path()), with).build().unwrap();
    until("both executors are there", || sc.executor_ids().unwrap().len() == 2);
    let (made, maps) = (dir.path().join("made"), dir.path().join("maps"));
    let (cached, counts) = (texts(&sc, 20_000, &made).cache(), by_key(&sc, &maps));
    let before = (sums(&cached), sorted(&counts));
    until("an idle executor has left", || sc.executor_ids().unwrap().len() == 1);
    assert_eq!((sums(&cached), sorted(&counts)), before);
    assert_eq!((times(&made), times(&maps)), (u64::from(PARTITIONS), u64::from(MAPS)), "computed again");
}

#[test]
fn what_cannot_leave_is_said() {
    let sc = Context::builder().app_name("t").master("local[1]").build().unwrap();
    let error = sc.decommission_executors(&[0]).unwrap_err().to_string();
    assert!(error.contains("spark.decommission.enabled"), "{error}");
    let sc = Context::builder().app_name("t").master("local[1]").set("spark.decommission.enabled", true).build();
    let sc = sc.unwrap();
    let error = sc.decommission_executors(&[0]).unwrap_err().to_string();
    assert!(error.contains("local[N]"), "{error}");
    assert_eq!(sc.executor_ids().unwrap(), [0]);
    sc.stop();
    assert!(sc.executor_ids().is_err());
}
