//! What a killed executor costs: one job with and without the loss of one of two executors halfway through.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use firesteel::prelude::*;
use firesteel_testing::{Signal, comes_true, signal};

use crate::cluster::Cluster;

/// Each task takes this long and no processor, so that the figures are the scheduler's.
const TASK: Duration = Duration::from_millis(100);
const TASKS: u32 = 80;
const STAGES: u32 = 3;

/// The job's time, with one executor killed after `kill_after`.
fn measure(sc: &Context, cluster: &mut Cluster, kill_after: Option<Duration>) -> Duration {
    let pids: Vec<u32> = cluster.executors().into_iter().map(|(pid, _)| pid).collect();
    assert_eq!(pids.len(), 2, "two executors");
    let mut rdd = sc.partitioned(TASKS).range(0..8_000).map_partitions(|all| {
        std::thread::sleep(TASK);
        all.map(|x| (x % 800, x)).collect::<Vec<_>>()
    });
    for _ in 1..STAGES {
        rdd = rdd.partitioned(TASKS).reduce_by_key(|a, b| a + b).map_partitions(|all| {
            std::thread::sleep(TASK);
            all.collect::<Vec<_>>()
        });
    }
    let start = Instant::now();
    let job = rdd.collect_async().unwrap();
    if let Some(after) = kill_after {
        std::thread::sleep(after);
        signal(pids[0], Signal::SIGKILL);
    }
    let got = job.wait().expect("the job");
    let took = start.elapsed();
    assert_eq!(got.iter().map(|(_, v)| v).sum::<u64>(), 8_000 * 7_999 / 2, "the answer");
    took
}

pub fn run() -> ExitCode {
    let mut cluster = Cluster::start(2, 2, false);
    let sc = cluster.context().set("spark.executor.cores", 2).set("spark.cores.max", 4).build().unwrap();
    let two = |cluster: &mut Cluster| comes_true(|| cluster.executors().len() == 2);
    assert!(two(&mut cluster), "two executors");
    measure(&sc, &mut cluster, None);
    let calm = measure(&sc, &mut cluster, None);
    let after = calm / 2;
    let struck = measure(&sc, &mut cluster, Some(after));
    assert!(two(&mut cluster), "the killed executor is replaced");
    let cost = struck.saturating_sub(calm);
    // The killed executor's work until then, done again by what is there.
    let lost = after;
    println!("{STAGES} stages of {TASKS} tasks of {TASK:?} on 2 executors of 2 cores");
    println!("without a loss {calm:.2?}; one executor killed after {after:.2?}: {struck:.2?}");
    println!("the loss costs {cost:.2?}; an executor's work of {lost:.2?} was lost; the bound is that plus 2 s");
    if cost < lost + Duration::from_secs(2) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
