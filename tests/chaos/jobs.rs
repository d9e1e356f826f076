//! Jobs whose answers are known, one after the other from each of several threads, and the ledger of how they ended.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use firesteel::prelude::*;

/// How the jobs ended, and which run.
#[derive(Default)]
pub struct Ledger {
    right: AtomicUsize,
    wrong: AtomicUsize,
    failed: AtomicUsize,
    running: Mutex<BTreeMap<usize, (Instant, String)>>,
}

impl Ledger {
    pub fn right(&self) -> usize {
        self.right.load(Ordering::SeqCst)
    }

    pub fn wrong(&self) -> usize {
        self.wrong.load(Ordering::SeqCst)
    }

    pub fn failed(&self) -> usize {
        self.failed.load(Ordering::SeqCst)
    }

    pub fn running(&self) -> usize {
        self.running.lock().unwrap().len()
    }

    /// How long the job has run that runs longest.
    pub fn oldest(&self) -> Duration {
        self.running.lock().unwrap().values().map(|(since, _)| since.elapsed()).max().unwrap_or_default()
    }

    pub fn describe(&self) -> String {
        let running = self.running.lock().unwrap();
        running.values().map(|(since, job)| format!("{job} for {:.1?}", since.elapsed())).collect::<Vec<_>>().join(", ")
    }
}

/// Whether the answer was the right one.
type Job = fn(&Context, &Rdd<u64>, u64, &Path) -> Result<bool>;

const JOBS: [(&str, Job); 5] = [("sums", sums), ("kept", kept), ("join", join), ("sorted", sorted), ("saved", saved)];

/// Elements of the RDD that is kept in memory.
const KEPT: u64 = 40_000;

/// Runs one job after the other until it is over.
pub fn submit(thread: usize, sc: &Context, dir: &Path, over: &AtomicBool, ledger: &Ledger) {
    let kept = sc.partitioned(6).range(0..KEPT).map(|x| x.wrapping_mul(2_654_435_761) % 1_000).cache();
    let mut n = thread;
    while !over.load(Ordering::SeqCst) {
        n += 1;
        let (name, job) = JOBS[n % JOBS.len()];
        let size = 2_000 + (n as u64 * 977) % 20_000;
        ledger.running.lock().unwrap().insert(thread, (Instant::now(), format!("{name} {n}")));
        let out = dir.join(format!("out/{thread}-{n}"));
        let ended = job(sc, &kept, size, &out);
        ledger.running.lock().unwrap().remove(&thread);
        let count = match ended {
            Ok(true) => &ledger.right,
            Ok(false) => {
                println!("WRONG: {name} with {size}");
                &ledger.wrong
            }
            Err(e) => {
                println!("FAILED: {name} with {size}: {e}");
                &ledger.failed
            }
        };
        count.fetch_add(1, Ordering::SeqCst);
        if ledger.failed() > 3 {
            return;
        }
    }
}

/// So that a stage takes long enough to be hit.
fn work() {
    std::thread::sleep(Duration::from_millis(20));
}

fn sums(sc: &Context, _: &Rdd<u64>, n: u64, _: &Path) -> Result<bool> {
    let got = sc
        .partitioned(8)
        .range(0..n)
        .map_partitions(|all| {
            work();
            all.map(|x| (x % 97, x)).collect::<Vec<_>>()
        })
        .partitioned(6)
        .reduce_by_key(|a, b| a + b)
        .map_partitions(|all| {
            work();
            all.map(|(k, v)| (k % 7, v)).collect::<Vec<_>>()
        })
        .partitioned(4)
        .reduce_by_key(|a, b| a + b)
        .collect()?;
    let mut expected = BTreeMap::new();
    (0..n).for_each(|x| *expected.entry(x % 97 % 7).or_insert(0) += x);
    Ok(got.len() == expected.len() && got.into_iter().collect::<BTreeMap<_, _>>() == expected)
}

fn kept(_: &Context, kept: &Rdd<u64>, n: u64, _: &Path) -> Result<bool> {
    let bound = n % 1_000;
    let below = kept.with(bound).filter(|bound, x| x < bound);
    let expected = (0..KEPT).filter(|x| x.wrapping_mul(2_654_435_761) % 1_000 < bound).count() as u64;
    Ok(below.count()? == expected)
}

fn join(sc: &Context, _: &Rdd<u64>, n: u64, _: &Path) -> Result<bool> {
    let left = sc.partitioned(4).range(0..n).map(|x| (x % 500, x));
    let right = sc.partitioned(3).range(0..500).map_partitions(|all| {
        work();
        all.filter(|k| k % 3 == 0).map(|k| (k, k * k)).collect::<Vec<_>>()
    });
    let got = left.partitioned(5).join(&right).map(|(k, (x, square))| k + x + square).collect()?;
    let expected: Vec<u64> =
        (0..n).map(|x| (x % 500, x)).filter(|(k, _)| k % 3 == 0).map(|(k, x)| k + x + k * k).collect();
    Ok(got.len() == expected.len() && got.iter().sum::<u64>() == expected.iter().sum::<u64>())
}

fn sorted(sc: &Context, _: &Rdd<u64>, n: u64, _: &Path) -> Result<bool> {
    let mixed = sc.partitioned(6).range(0..n).map(|x| (x.wrapping_mul(2_654_435_761) % 1_000_003, x));
    let got = mixed.partitioned(4).sort_by_key(true)?.collect()?;
    let in_order = got.is_sorted_by_key(|(k, _)| *k);
    Ok(got.len() as u64 == n && in_order && got.iter().map(|(_, x)| x).sum::<u64>() == n * (n - 1) / 2)
}

/// Each line must be there once, and nothing else.
fn saved(sc: &Context, _: &Rdd<u64>, n: u64, out: &Path) -> Result<bool> {
    let spread = sc.partitioned(5).range(0..n).map(|x| (x % 50, 1u64)).partitioned(6).reduce_by_key(|a, b| a + b);
    let slow = spread.map_partitions(|all| {
        work();
        all.collect::<Vec<_>>()
    });
    slow.save_as_text_file(out)?;
    let mut lines = Vec::new();
    let mut others = 0;
    for entry in fs::read_dir(out).unwrap() {
        let path = entry.unwrap().path();
        match path.file_name().and_then(|name| name.to_str()) {
            Some("_SUCCESS") => {}
            Some(name) if name.starts_with("part-") => {
                lines.extend(fs::read_to_string(&path).unwrap().lines().map(str::to_owned));
            }
            _ => others += 1,
        }
    }
    fs::remove_dir_all(out).unwrap();
    let mut expected: Vec<String> =
        (0..50.min(n)).map(|k| format!("({k},{})", (0..n).filter(|x| x % 50 == k).count())).collect();
    lines.sort();
    expected.sort();
    Ok(others == 0 && lines == expected)
}
