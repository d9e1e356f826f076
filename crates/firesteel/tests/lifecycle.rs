//! How a Context starts, stops and goes: what it leaves behind, and what becomes of those who wait for it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::{
    fs,
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use firesteel::{Error, prelude::*};
use firesteel_testing::until;

/// The tests count the threads of this process: one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn context(dir: &Path) -> Context {
    Context::builder().master("local[2]").set("spark.local.dir", dir.display()).build().unwrap()
}

/// Threads of this process whose names begin as ours do.
fn threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    tasks.filter(|t| fs::read_to_string(t.path().join("comm")).unwrap_or_default().starts_with("firesteel")).count()
}

fn files(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

/// Holds tasks until the test lets them go.
static HOLD: AtomicBool = AtomicBool::new(false);
static HELD: AtomicU32 = AtomicU32::new(0);

fn held(sc: &Context) -> Rdd<(u64, u64)> {
    HOLD.store(true, Ordering::SeqCst);
    HELD.store(0, Ordering::SeqCst);
    sc.partitioned(4).range(0..4u64).map(|x| {
        HELD.fetch_add(1, Ordering::SeqCst);
        while HOLD.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        (x, x)
    })
}

fn release() {
    HOLD.store(false, Ordering::SeqCst);
}

#[test]
fn a_local_directory_that_a_cleaner_removed_is_made_again_and_goes_with_its_context() {
    let _alone = alone();
    let parent = tempfile::tempdir().unwrap();
    let sc = Context::builder().master("local[2]").set("spark.local.dir", parent.path().display()).build().unwrap();
    let sums = || sc.partitioned(4).range(0..1000u64).map(|x| (x % 10, x)).partitioned(3).reduce_by_key(|a, b| a + b);
    let before = sums();
    assert_eq!(before.count().unwrap(), 10);
    for entry in std::fs::read_dir(parent.path()).unwrap() {
        std::fs::remove_dir_all(entry.unwrap().path()).unwrap();
    }
    assert_eq!(sums().count().unwrap(), 10, "a new shuffle");
    assert_eq!(before.count().unwrap(), 10, "one that was there");
    let kept = sc.partitioned(2).range(0..100u64).map(|x| x + 1).persist(StorageLevel::DISK_ONLY);
    assert_eq!((kept.count().unwrap(), kept.count().unwrap()), (100, 100));
    let made: Vec<_> = std::fs::read_dir(parent.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(made.len() == 1 && made[0].join("lock").exists(), "{made:?}");
    drop((before, kept));
    sc.stop();
    assert_eq!(std::fs::read_dir(parent.path()).unwrap().count(), 0);
}

#[test]
fn threads_and_directories_go_with_their_contexts() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    for i in 0..20u64 {
        let sc = context(dir.path());
        let pairs = sc.partitioned(4).range(0..100u64).with(i).map(|i, x| (x % (i + 1), x));
        assert_eq!(pairs.reduce_by_key(|a, b| a + b).count().unwrap(), i + 1);
        assert!(threads() >= 2);
        assert_eq!(files(dir.path()), 1);
        if i % 2 == 0 {
            sc.stop();
            sc.stop();
        }
        drop(sc);
        assert_eq!(files(dir.path()), 0);
    }
    until("threads are left", || threads() == 0);
}

#[test]
fn a_stop_ends_the_actions_that_wait_and_leaves_nothing_of_tasks_that_still_run() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let sc = context(dir.path());
    let other = sc.range(0..10u64);
    std::thread::scope(|scope| {
        let blocking = scope.spawn(|| held(&sc).group_by_key().count());
        until("tasks run", || HELD.load(Ordering::SeqCst) >= 2);
        let job = other.count_async().unwrap();
        let stops: Vec<_> = (0..2).map(|_| scope.spawn(|| sc.stop())).collect();
        assert!(blocking.join().unwrap().is_err());
        assert!(job.wait().is_err());
        stops.into_iter().for_each(|stop| stop.join().unwrap());
    });
    assert!(matches!(other.count(), Err(Error::Stopped)));
    until("the directory goes", || files(dir.path()) == 0);
    assert!(threads() > 0, "the tasks run still");
    // Now they want to write their map outputs.
    release();
    until("threads are left", || threads() == 0);
    assert_eq!(files(dir.path()), 0);
}

#[test]
fn jobs_that_come_while_the_context_stops_end() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..20 {
        let sc = context(dir.path());
        let rdd = sc.partitioned(2).range(0..10u64);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    loop {
                        match rdd.count() {
                            Ok(n) => assert_eq!(n, 10),
                            Err(Error::Stopped) => return,
                            Err(Error::Job { reason, .. }) => assert!(reason.to_string().contains("stop"), "{reason}"),
                            Err(e) => panic!("{e}"),
                        }
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(2));
            sc.stop();
        });
    }
}

#[test]
fn a_context_goes_with_the_last_handle_whatever_rdds_are_held() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let rdd = {
        let sc = context(dir.path());
        let rdd = sc.range(0..10u64).map(|x| (x, x)).group_by_key().cache();
        let other = sc.clone();
        drop(sc);
        assert_eq!(rdd.count().unwrap(), 10, "one handle is left");
        drop(other);
        rdd
    };
    assert!(matches!(rdd.count(), Err(Error::Stopped)));
    assert!(matches!(rdd.sort_by(true, |(k, _)| *k).err(), Some(Error::Stopped)));
    rdd.unpersist();
    assert_eq!(files(dir.path()), 0);
    until("threads are left", || threads() == 0);
}

#[test]
fn a_panic_of_the_program_takes_the_context_along() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let program = std::thread::spawn(move || {
        let sc = context(&path);
        let pairs = sc.range(0..10u64).map(|x| (x, x)).group_by_key();
        assert_eq!(pairs.count().unwrap(), 11, "the program's own mistake");
    });
    assert!(program.join().is_err());
    assert_eq!(files(dir.path()), 0);
    until("threads are left", || threads() == 0);
}

#[test]
fn a_local_directory_that_cannot_be_had_is_an_error_that_names_it() {
    let _alone = alone();
    for (dirs, part) in [("/proc/nowhere", "/proc/nowhere"), (",", "director")] {
        let e = Context::builder().master("local").set("spark.local.dir", dirs).build().err().unwrap().to_string();
        assert!(e.contains(part), "{e}");
    }
    until("threads are left", || threads() == 0);
}

/// Bytes of this process in memory.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn memory_stays_flat_over_many_jobs() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let sc = context(dir.path());
    let rdd = sc.partitioned(2).range(0..100u64);
    let large = vec![1u8; 10_000];
    let run = |jobs: u64| {
        for i in 0..jobs {
            // What the job carries would show if it stayed anywhere.
            let rdd = rdd.with((i, large.clone())).map(|(i, bytes), x| x + i + bytes.len() as u64);
            assert_eq!(rdd.count().unwrap(), 100);
        }
    };
    run(500);
    let before = resident();
    run(5_000);
    let grown = resident().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} bytes more after 5,000 jobs that carried 50 MB");
}

#[test]
fn a_job_may_have_many_tasks() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let sc = context(dir.path());
    assert_eq!(sc.partitioned(20_000).range(0..20_000u64).reduce(|a, b| a + b).unwrap(), 19_999 * 10_000);
}

/// Counts its copies that came over the wire.
#[derive(serde::Serialize)]
struct Counted;

static COPIES: AtomicU32 = AtomicU32::new(0);

impl<'de> serde::Deserialize<'de> for Counted {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <() as serde::Deserialize>::deserialize(deserializer)?;
        COPIES.fetch_add(1, Ordering::SeqCst);
        Ok(Counted)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        COPIES.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn executors_that_have_nothing_to_do_drop_what_their_last_stage_held() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let sc = context(dir.path());
    // The driver's own copy did not come over the wire.
    COPIES.store(1, Ordering::SeqCst);
    let rdd = sc.range(0..10u64).with(Counted).map(|_, x| x);
    assert_eq!(rdd.count().unwrap(), 10);
    until("the copy goes without another job", || COPIES.load(Ordering::SeqCst) == 1);
    drop(rdd);
}

#[test]
fn contexts_live_and_end_on_the_threads_of_a_runtime() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    runtime.block_on(async {
        let count = tokio::spawn(async move {
            let sc = context(&path);
            let pairs = sc.range(0..100u64).map(|x| (x % 7, x));
            let other = sc.clone();
            drop(sc);
            tokio::task::yield_now().await;
            let n = pairs.group_by_key().count().unwrap();
            drop(other);
            n
        });
        assert_eq!(count.await.unwrap(), 7);
        let sc = context(dir.path());
        let job = sc.range(0..10u64).count_async().unwrap();
        let n = tokio::task::spawn_blocking(move || job.wait().unwrap()).await.unwrap();
        assert_eq!(n, 10);
        drop(sc);
    });
    assert_eq!(files(dir.path()), 0);
    until("threads are left", || threads() == 0);
}
