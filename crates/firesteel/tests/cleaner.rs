//! What the program drops is freed on the driver, on every executor and on disk.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{collections::BTreeSet, fs, path::Path};

use firesteel::prelude::*;
use firesteel_testing::until;

fn start(master: &str, dir: &Path) -> Context {
    let builder = Context::builder().app_name("cleaner").master(master);
    builder.set("spark.local.dir", dir.to_str().unwrap()).build().unwrap()
}

/// Shuffle files and their bytes anywhere below `dir`.
fn shuffle_files(dir: &Path) -> (usize, u64) {
    let (mut files, mut bytes) = (0, 0);
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        // A directory may go while one looks at it.
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            let Ok(meta) = entry.metadata() else { continue };
            if meta.is_dir() {
                waiting.push(entry.path());
            } else if entry.path().components().any(|c| c.as_os_str().to_string_lossy().starts_with("shuffle_")) {
                files += 1;
                bytes += meta.len();
            }
        }
    }
    (files, bytes)
}

fn sums(sc: &Context, keys: u64) -> Rdd<(u64, u64)> {
    sc.partitioned(4).range(0..2_000u64).with(keys).map(|keys, x| (x % keys, x)).reduce_by_key(|a, b| a + b)
}

fn files_follow_the_handles(master: &str) {
    let dir = tempfile::tempdir().unwrap();
    let sc = start(master, dir.path());
    let kept = sums(&sc, 7);
    assert_eq!(kept.count().unwrap(), 7);
    let (files, _) = shuffle_files(dir.path());
    assert!(files >= 8, "{files} files");
    let doubled = kept.map(|(k, v)| (k, 2 * v));
    drop(kept);
    assert_eq!(sums(&sc, 5).count().unwrap(), 5);
    until("only the files of the RDD that is held are left", || shuffle_files(dir.path()).0 == files);
    assert_eq!(doubled.count().unwrap(), 7);
    drop(doubled);
    until("no file is left", || shuffle_files(dir.path()).0 == 0);
}

#[test]
fn files_of_a_shuffle_go_with_its_last_handle_in_local_mode() {
    files_follow_the_handles("local[2]");
}

#[test]
fn files_of_a_shuffle_go_with_its_last_handle_on_a_cluster() {
    files_follow_the_handles("local-cluster[2,1,256]");
}

#[test]
fn a_running_job_holds_its_shuffle_when_the_program_lets_it_go() {
    let dir = tempfile::tempdir().unwrap();
    let sc = start("local[2]", dir.path());
    let mut jobs = Vec::new();
    for keys in 1..20 {
        let rdd = sums(&sc, keys);
        jobs.push((keys, rdd.count_async().unwrap()));
        drop(rdd);
    }
    for (keys, job) in jobs {
        assert_eq!(job.wait().unwrap(), keys);
    }
    until("no file is left", || shuffle_files(dir.path()).0 == 0);
}

#[test]
fn one_thread_drops_what_another_still_submits() {
    let dir = tempfile::tempdir().unwrap();
    let sc = start("local[2]", dir.path());
    for _ in 0..50 {
        let mine = sums(&sc, 11);
        assert_eq!(mine.count().unwrap(), 11);
        let theirs = mine.map(|(k, _)| k);
        let thread = std::thread::spawn(move || theirs.count().unwrap());
        drop(mine);
        assert_eq!(thread.join().unwrap(), 11);
    }
    until("no file is left", || shuffle_files(dir.path()).0 == 0);
}

#[test]
fn a_cancelled_job_leaves_no_files() {
    let dir = tempfile::tempdir().unwrap();
    let sc = start("local[2]", dir.path());
    let began = dir.path().join("began");
    let slow = sc.partitioned(2).range(0..4_000_000u64).with(began.to_str().unwrap().to_owned()).map(|began, x| {
        if x.is_multiple_of(100_000) {
            fs::write(began, "").unwrap();
        }
        (x, x)
    });
    let slow = slow.reduce_by_key(|a, b| a + b);
    let job = slow.count_async().unwrap();
    drop(slow);
    until("the job has begun", || began.exists());
    job.cancel("no longer wanted");
    assert!(job.wait().is_err());
    // Whatever of it was written goes when its tasks have ended.
    assert_eq!(sums(&sc, 3).count().unwrap(), 3);
    until("no file is left", || shuffle_files(dir.path()).0 == 0);
}

#[test]
fn handles_may_outlive_the_context() {
    let dir = tempfile::tempdir().unwrap();
    let sc = start("local[2]", dir.path());
    let rdd = sums(&sc, 7).cache();
    assert_eq!(rdd.count().unwrap(), 7);
    sc.stop();
    drop(sc);
    drop(rdd);
}

/// Resident bytes of a process that are not backed by files, which may be shared.
fn resident(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let kb = |name: &str| -> u64 {
        let line = status.lines().find(|l| l.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (kb("RssAnon") + kb("RssShmem")) << 10
}

/// Tolerances: as many files after 1,000 jobs as after 200, and none when all is dropped; no process has grown by more
/// than 16 MiB, where the cached partitions of those 800 jobs alone come to 80 MB an executor.
#[test]
fn a_thousand_jobs_with_shuffles_and_cached_partitions_leave_disk_and_memory_flat() {
    let dir = tempfile::tempdir().unwrap();
    let sc = start("local-cluster[2,1,512]", dir.path());
    let held = sums(&sc, 13);
    assert_eq!(held.count().unwrap(), 13);
    let held_files = shuffle_files(dir.path());
    let round = |job: u64| {
        let keys = 1 + job % 17;
        if job.is_multiple_of(4) {
            // 400 kB an executor, computed and read again.
            let cached = sc.partitioned(2).range(0..100_000u64).with(keys).map(|k, x| x % k).cache();
            assert_eq!(cached.count().unwrap(), 100_000);
            assert_eq!(cached.map(|x| (x, 1u64)).reduce_by_key(|a, b| a + b).count().unwrap(), keys);
        } else {
            assert_eq!(sums(&sc, keys).count().unwrap(), keys);
        }
    };
    let pids = || -> BTreeSet<u32> {
        sc.partitioned(64).range(0..64u64).map(|_| std::process::id()).collect().unwrap().into_iter().collect()
    };
    let measure = || {
        until("only what is held lies on disk", || shuffle_files(dir.path()) == held_files);
        let mut processes = pids();
        processes.insert(std::process::id());
        processes.into_iter().map(|pid| (pid, resident(pid))).collect::<Vec<_>>()
    };
    (0..200).for_each(round);
    let early = measure();
    assert_eq!(early.len(), 3, "{early:?}");
    (200..1000).for_each(round);
    let late = measure();
    for ((pid, before), (same, after)) in early.iter().zip(&late) {
        assert_eq!(pid, same);
        println!("process {pid}: {} KiB after 200 jobs, {} KiB after 1,000", before >> 10, after >> 10);
        assert!(*after <= before + (16 << 20), "process {pid} has grown from {before} to {after} bytes");
    }
    assert_eq!(held.count().unwrap(), 13);
    drop(held);
    until("no file is left", || shuffle_files(dir.path()).0 == 0);
}
