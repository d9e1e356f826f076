//! Executors that hang: their connections stand, and nothing comes from them.

use std::{fs, process::Command};

use firesteel::prelude::*;
use firesteel_testing::{alive, until, wait_for};

use crate::cluster::{Board, Cluster, executor_pids};

/// Sends a signal; `STOP` has taken effect when this returns.
fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap().success());
    if name == "STOP" {
        wait_for("the stop", || {
            fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") T ").then_some(())
        });
    }
}

/// Sums by key. The first run of the first reduce task says in which process it is, and waits.
fn gated_sums(sc: &Context, board: &Board) -> Rdd<(u64, u64)> {
    sc.partitioned(4)
        .range(0..8_000u64)
        .map(|x| (x % 100, x))
        .partition_by(HashPartitioner::new(4))
        .with(board.clone())
        .map_partitions_with_index(|board, i, elements| {
            let run = board.names(&format!("reduce-{i}-")).len();
            assert!(board.post(&format!("reduce-{i}-{run}"), std::process::id()));
            if (i, run) == (0, 0) {
                board.wait("go");
            }
            let mut sums = std::collections::BTreeMap::<u64, u64>::new();
            elements.for_each(|(k, x)| *sums.entry(k).or_default() += x);
            sums.into_iter().collect::<Vec<_>>()
        })
}

fn sorted(mut sums: Vec<(u64, u64)>) -> Vec<(u64, u64)> {
    sums.sort_unstable();
    sums
}

fn expected() -> Vec<(u64, u64)> {
    (0..100).map(|k| (k, (0..80).map(|i| k + 100 * i).sum())).collect()
}

#[test]
fn an_executor_that_hangs_is_found_by_its_silence_and_replaced() {
    let cluster = Cluster::start(2, 1);
    // Its map outputs cannot be had either: they are made again.
    let context = cluster.context().set("spark.shuffle.readHostLocalDisk", false);
    let context = context.set("spark.executor.heartbeatInterval", "100ms").set("spark.network.timeout", "4s");
    let context = context.set("spark.shuffle.io.retryWait", "100ms");
    let sc = context.build().unwrap();
    let before = executor_pids(&sc, &cluster.board("before"), 2);
    let board = cluster.board("job");
    let sums = gated_sums(&sc, &board);
    let job = sums.collect_async().unwrap();
    let hung: u32 = board.wait("reduce-0-0").parse().unwrap();
    assert!(before.contains(&hung));
    signal(hung, "STOP");

    // It never goes on: only what runs its task elsewhere ends the job.
    assert_eq!(sorted(job.wait().unwrap()), expected());
    assert!(board.names("reduce-0-").len() > 1, "its task ran again");
    until("the end of the executor that hangs", || !alive(hung));
    let after = executor_pids(&sc, &cluster.board("after"), 2);
    assert!(!after.contains(&hung), "{hung} is among {after:?}");
    assert_eq!(sorted(sums.collect().unwrap()), expected());

    drop(sums);
    sc.stop();
    for pid in after {
        until("the end of an executor", || !alive(pid));
    }
    until("the end of the application's files", || cluster.block_files().is_empty());
}

#[test]
fn an_executor_that_goes_on_in_time_loses_nothing() {
    let cluster = Cluster::start(2, 1);
    let sc = cluster.context().build().unwrap();
    let mut before = executor_pids(&sc, &cluster.board("before"), 2);
    let board = cluster.board("job");
    let job = gated_sums(&sc, &board).collect_async().unwrap();
    let stopped: u32 = board.wait("reduce-0-0").parse().unwrap();
    until("the other tasks", || (1..4).all(|i| !board.names(&format!("reduce-{i}-")).is_empty()));
    signal(stopped, "STOP");
    board.post("go", "");
    // The other executor does what comes meanwhile.
    assert_eq!(sc.partitioned(1).range(0..10u64).count().unwrap(), 10);
    signal(stopped, "CONT");
    assert_eq!(sorted(job.wait().unwrap()), expected());
    assert_eq!(board.names("reduce-").len(), 4, "each task ran once");
    let mut after = executor_pids(&sc, &cluster.board("after"), 2);
    before.sort_unstable();
    after.sort_unstable();
    assert_eq!(before, after, "the same executors");
}
