//! Kept partitions on several executors: read from each other, copied, and not computed again as long as one has them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use firesteel::{StorageLevel, prelude::*};
use firesteel_testing::until;

const PARTITIONS: u32 = 6;
const ELEMENTS: u64 = 90_000;

fn cluster(workers: u32, wait: &str, dir: &Path) -> Context {
    let master = format!("local-cluster[{workers},1,48]");
    // A pool of 21.6 MiB an executor.
    let builder = Context::builder().app_name("copies").master(&master).set("spark.locality.wait", wait);
    let sc = builder.set("spark.local.dir", dir.to_str().unwrap()).build().unwrap();
    until("all executors are there", || executors(&sc).len() as u32 == workers);
    sc
}

/// The executors that take part in a job: process ids and their directories.
fn executors(sc: &Context) -> BTreeMap<u32, PathBuf> {
    let here = |_: &u32| (std::process::id(), std::env::current_dir().unwrap().to_string_lossy().into_owned());
    let found = sc.partitioned(64).parallelize(0..64u32).map_ref(here).collect().unwrap();
    found.into_iter().map(|(pid, dir)| (pid, PathBuf::from(dir))).collect()
}

fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    until("the executor is gone", || !Path::new(&format!("/proc/{pid}")).exists());
}

/// About 18 MB of texts; each partition that is computed leaves a byte in `made`.
fn texts(sc: &Context, made: &Path) -> Rdd<(u64, String)> {
    let texts = sc.partitioned(PARTITIONS).range(0..ELEMENTS).map(|i| (i, format!("{i:0150}")));
    texts.with(made.to_str().unwrap().to_owned()).map_partitions(|made, texts| {
        let file = std::fs::File::options().append(true).create(true).open(made);
        file.and_then(|mut f| f.write_all(b"x")).unwrap();
        texts
    })
}

fn times(made: &Path) -> u64 {
    std::fs::metadata(made).map_or(0, |m| m.len())
}

fn sums(rdd: &Rdd<(u64, String)>) -> (u64, u64) {
    rdd.map(|(i, text)| (i, text.len() as u64)).reduce(|a, b| (a.0 + b.0, a.1 + b.1)).unwrap()
}

fn expected() -> (u64, u64) {
    ((0..ELEMENTS).sum(), ELEMENTS * 150)
}

/// Files of kept partitions below `dir`, but for those of the executors `gone`, whose directories go a little later.
fn files(dir: &Path, gone: &[OsString]) -> usize {
    // Directories may go meanwhile.
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path());
    let is_block = |p: &Path| {
        let name = p.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("rdd_") && !name.contains('.')
    };
    let entries = entries.filter(|p| p.file_name().is_none_or(|name| gone.iter().all(|g| g != name)));
    entries.map(|p| if p.is_dir() { files(&p, gone) } else { usize::from(is_block(&p)) }).sum()
}

#[test]
fn every_level_gives_the_same_answers_on_two_executors() {
    let dir = tempfile::tempdir().unwrap();
    let sc = cluster(2, "0s", dir.path());
    for (name, level) in StorageLevel::ALL.iter().filter(|(_, level)| level.is_kept()) {
        let made = dir.path().join(name);
        let rdd = texts(&sc, &made).persist(*level);
        for round in 0..3 {
            assert_eq!(sums(&rdd), expected(), "{name}, round {round}");
            // With disk all are kept. No task waits for its executor here: those elsewhere were read from the other.
            if level.use_disk() {
                assert_eq!(times(&made), u64::from(PARTITIONS), "{name}, round {round}");
            }
        }
        assert!(files(dir.path(), &[]) > 0 || level.use_memory(), "{name}");
        rdd.unpersist();
        until("the files are removed", || files(dir.path(), &[]) == 0);
    }
}

#[test]
fn copies_outlive_an_executor_that_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    for level in [StorageLevel::MEMORY_ONLY_2, StorageLevel::MEMORY_AND_DISK_SER_2, StorageLevel::DISK_ONLY_2] {
        let sc = cluster(2, "3s", dir.path());
        let made = dir.path().join(level.to_string());
        // Small enough that both copies fit into memory.
        let rdd = texts(&sc, &made).filter(|(i, _)| i.is_multiple_of(4)).persist(level);
        let before = sums(&rdd);
        assert_eq!(times(&made), u64::from(PARTITIONS), "{level}");
        let pid = *executors(&sc).keys().next().unwrap();
        kill(pid);
        assert_eq!(sums(&rdd), before, "{level}");
        assert_eq!(times(&made), u64::from(PARTITIONS), "{level}: nothing was computed again");
        sc.stop();
    }
}

#[test]
fn lost_copies_are_made_again() {
    let dir = tempfile::tempdir().unwrap();
    let sc = cluster(3, "3s", dir.path());
    let made = dir.path().join("made");
    let rdd = texts(&sc, &made).persist(StorageLevel::DISK_ONLY_2);
    assert_eq!(sums(&rdd), expected());
    let (mut found, mut gone) = (executors(&sc), Vec::new());
    assert_eq!(files(dir.path(), &[]), 2 * PARTITIONS as usize);
    for _ in 0..2 {
        // Those that were there from the start hold the copies.
        let (pid, here) = found.pop_first().unwrap();
        gone.push(here.file_name().unwrap().to_owned());
        kill(pid);
        until("there are two copies again", || files(dir.path(), &gone) == 2 * PARTITIONS as usize);
    }
    assert_eq!(sums(&rdd), expected());
    assert_eq!(times(&made), u64::from(PARTITIONS));
}

#[test]
fn what_is_lost_without_a_copy_is_computed_again() {
    let dir = tempfile::tempdir().unwrap();
    let sc = cluster(2, "3s", dir.path());
    let made = dir.path().join("made");
    let rdd = texts(&sc, &made).persist(StorageLevel::MEMORY_AND_DISK);
    assert_eq!(sums(&rdd), expected());
    kill(*executors(&sc).keys().next().unwrap());
    assert_eq!(sums(&rdd), expected());
    let times = times(&made);
    assert!(times > u64::from(PARTITIONS) && times <= 2 * u64::from(PARTITIONS), "{times}");
}

#[test]
fn a_damaged_partition_of_another_executor_is_read_once_and_then_computed() {
    let dir = tempfile::tempdir().unwrap();
    let sc = cluster(2, "0s", dir.path());
    let place = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let rdd = sc.partitioned(1).range(0..100_000u64).with(place("made")).map_partitions(|made, elements| {
        let mut file = std::fs::File::options().append(true).create(true).open(made).unwrap();
        file.write_all(format!("{}\n", std::process::id()).as_bytes()).unwrap();
        elements
    });
    let rdd = rdd.persist(StorageLevel::DISK_ONLY);
    let makers = || std::fs::read_to_string(place("made")).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(rdd.count().unwrap(), 100_000);
    let holder = makers().remove(0);
    let file = find(dir.path(), &format!("rdd_{}_0", rdd.id())).unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();

    // The executor that has it is busy, so that the other one has to read it.
    let busy =
        sc.partitioned(2).range(0..2u64).with(dir.path().to_str().unwrap().to_owned()).foreach_async(|dir, _| {
            std::fs::write(format!("{dir}/busy-{}", std::process::id()), "").unwrap();
            until("the test says go", || Path::new(&format!("{dir}/go-{}", std::process::id())).exists());
        });
    let busy = busy.unwrap();
    let pids = executors_at(dir.path(), 2);
    let other = pids.iter().find(|pid| **pid != holder).unwrap();
    std::fs::write(place(&format!("go-{other}")), "").unwrap();
    assert_eq!(rdd.count().unwrap(), 100_000);
    assert_eq!(makers(), [holder.clone(), other.clone()]);
    std::fs::write(place(&format!("go-{holder}")), "").unwrap();
    busy.wait().unwrap();
    assert_eq!((rdd.count().unwrap(), makers().len()), (100_000, 2));
}

/// The file of that name somewhere below `dir`.
fn find(dir: &Path, name: &str) -> Option<PathBuf> {
    std::fs::read_dir(dir).into_iter().flatten().map(|e| e.unwrap().path()).find_map(|path| match path.is_dir() {
        true => find(&path, name),
        false => path.ends_with(name).then_some(path),
    })
}

/// The process ids of `n` executors that have said in `dir` that they are busy.
fn executors_at(dir: &Path, n: usize) -> Vec<String> {
    let mut pids = Vec::new();
    until("the executors are busy", || {
        let names = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        pids = names.filter_map(|name| name.strip_prefix("busy-").map(str::to_owned)).collect();
        pids.len() == n
    });
    pids
}
