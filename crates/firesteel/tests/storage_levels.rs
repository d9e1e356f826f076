//! Persisted RDDs: the same answers at every level, whatever fits, and nothing left behind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU64, Ordering},
};

use firesteel::{JobError, StorageLevel, TaskFailure, prelude::*};

const PARTITIONS: u32 = 8;
const ELEMENTS: u64 = 60_000;

fn context(dir: &Path, memory: &str) -> Context {
    let builder = Context::builder().app_name("levels").master("local[2]");
    builder.set("spark.driver.memory", memory).set("spark.local.dir", dir.to_str().unwrap()).build().unwrap()
}

/// Files of cached partitions below `dir`.
fn files(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).into_iter().flatten().map(|e| e.unwrap().path());
    entries.map(|p| if p.is_dir() { files(&p) } else { usize::from(p.to_string_lossy().contains("rdd_")) }).sum()
}

/// About 12 MB of texts as values, whose making is counted.
fn texts(sc: &Context) -> Rdd<(u64, String)> {
    let texts = sc.partitioned(PARTITIONS).range(0..ELEMENTS).map(|i| (i, format!("{i:0150}")));
    texts.map_partitions(|texts| {
        MADE.fetch_add(1, Ordering::Relaxed);
        texts
    })
}

/// Partitions that were made; local executors share it with the test. One test uses it at a time.
static MADE: AtomicU64 = AtomicU64::new(0);
static ONE_AT_A_TIME: std::sync::Mutex<()> = std::sync::Mutex::new(());

fn expected() -> (u64, u64) {
    ((0..ELEMENTS).sum(), ELEMENTS * 150)
}

fn sums(rdd: &Rdd<(u64, String)>) -> (u64, u64) {
    rdd.map(|(i, text)| (i, text.len() as u64)).reduce(|a, b| (a.0 + b.0, a.1 + b.1)).unwrap()
}

#[test]
fn every_level_gives_the_same_answers_when_little_fits() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
    let dir = tempfile::tempdir().unwrap();
    // A pool of 5.4 MiB.
    let sc = context(dir.path(), "12m");
    for (name, level) in StorageLevel::ALL {
        let rdd = texts(&sc);
        rdd.persist(*level);
        assert_eq!(rdd.storage_level(), *level);
        MADE.store(0, Ordering::Relaxed);
        for round in 1..=3 {
            assert_eq!(sums(&rdd), expected(), "{name}, round {round}");
            let made = MADE.load(Ordering::Relaxed);
            if level.use_disk() {
                assert_eq!(made, u64::from(PARTITIONS), "{name}, round {round}");
            } else if !level.is_kept() {
                assert_eq!(made, u64::from(PARTITIONS) * round, "{name}");
            }
        }
        if level.is_kept() && !level.use_disk() {
            let made = MADE.load(Ordering::Relaxed);
            assert!((u64::from(PARTITIONS) + 1..3 * u64::from(PARTITIONS)).contains(&made), "{name}: some fit: {made}");
        }
        assert_eq!(files(dir.path()) > 0, level.use_disk(), "{name}");
        rdd.unpersist();
        // The message went before the job's tasks, so it has been heard when they have run.
        assert_eq!(sums(&rdd), expected());
        assert_eq!(files(dir.path()), 0, "{name}");
    }
    sc.stop();
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn partitions_of_another_rdd_move_to_disk_and_are_read_from_there() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
    let dir = tempfile::tempdir().unwrap();
    // A pool of 14.4 MiB: one of them fits, not both.
    let sc = context(dir.path(), "32m");
    MADE.store(0, Ordering::Relaxed);
    let first = texts(&sc).persist(StorageLevel::MEMORY_AND_DISK);
    assert_eq!(sums(&first), expected());
    assert_eq!(files(dir.path()), 0);
    let second = texts(&sc).mem_sized().persist(StorageLevel::MEMORY_AND_DISK_SER);
    assert_eq!(sums(&second), expected());
    assert!(files(dir.path()) > 0);
    for _ in 0..3 {
        assert_eq!((sums(&first), sums(&second)), (expected(), expected()));
    }
    assert_eq!(MADE.load(Ordering::Relaxed), 2 * u64::from(PARTITIONS));
}

/// Run by the test below, under a limit on the size of files.
#[test]
#[ignore = "run by a_disk_that_is_full_keeps_nothing_and_loses_nothing"]
fn child_with_a_full_disk() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let dir = tempfile::tempdir().unwrap();
    let sc = context(dir.path(), "12m");
    for level in [StorageLevel::DISK_ONLY, StorageLevel::MEMORY_AND_DISK, StorageLevel::MEMORY_AND_DISK_SER] {
        let rdd = texts(&sc).coalesce(2).persist(level);
        for _ in 0..2 {
            assert_eq!(sums(&rdd), expected(), "{level}");
        }
        // Order and content, too.
        let all = rdd.map(|(n, text)| (n, text == format!("{n:0150}"))).collect().unwrap();
        assert!(all.into_iter().eq((0..ELEMENTS).map(|n| (n, true))), "{level}");
        assert_eq!(files(dir.path()), 0, "{level}");
    }
}

#[test]
fn a_disk_that_is_full_keeps_nothing_and_loses_nothing() {
    // A write beyond the limit fails as one to a full disk does; the signal that comes with it is ignored.
    let script = "trap '' XFSZ; ulimit -f 2048; exec \"$0\" --exact child_with_a_full_disk --ignored --nocapture";
    let output = Command::new("sh").arg("-c").arg(script).arg(std::env::current_exe().unwrap()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed") && text.contains("the partition is not kept on disk"), "{text}");
}

/// The first file of a kept partition below `dir`.
fn some_file(dir: &Path) -> Option<PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().map(|e| e.unwrap().path()).find_map(|path| match path.is_dir() {
        true => some_file(&path),
        false => path.to_string_lossy().contains("rdd_").then_some(path),
    })
}

fn flip_a_bit(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_damaged_partition_is_named_and_dropped_and_one_whose_file_is_gone_is_computed_at_once() {
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
    let partitions = u64::from(PARTITIONS);
    for retries in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let builder = Context::builder().app_name("damage").master(if retries { "local[2,2]" } else { "local[2]" });
        let sc = builder.set("spark.local.dir", dir.path().to_str().unwrap()).build().unwrap();
        let rdd = texts(&sc).persist(StorageLevel::DISK_ONLY);
        MADE.store(0, Ordering::Relaxed);
        assert_eq!(sums(&rdd), expected());
        flip_a_bit(&some_file(dir.path()).unwrap());
        if !retries {
            let error = rdd.count().unwrap_err();
            let Error::Job { reason, .. } = &error else { panic!("{error}") };
            let Some(JobError::TaskFailed { failure, .. }) = reason.downcast_ref() else { panic!("{error}") };
            let TaskFailure::CachedPartitionDamaged { rdd: damaged, partition, .. } = failure else {
                panic!("{error}")
            };
            assert!(damaged.0 == rdd.id() && *partition < PARTITIONS, "{failure}");
            assert!(error.to_string().contains(&format!("partition {partition} of")), "{error}");
        }
        assert_eq!(sums(&rdd), expected());
        assert_eq!(MADE.load(Ordering::Relaxed), partitions + 1, "with retries: {retries}");

        std::fs::remove_file(some_file(dir.path()).unwrap()).unwrap();
        assert_eq!(sums(&rdd), expected());
        assert_eq!(MADE.load(Ordering::Relaxed), partitions + 2);
        assert_eq!(files(dir.path()), PARTITIONS as usize);
    }
}
