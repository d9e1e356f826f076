//! Decommissioning: a worker that is told to leave hands on what it has, and nothing is computed again.

use firesteel::prelude::*;
use firesteel_testing::{Signal, alive, until};

use crate::cluster::{Board, Cluster, executor_pids};

const ENABLED: &str = "spark.decommission.enabled true\n";

#[test]
fn an_idle_worker_ends_well_and_the_master_shows_it() {
    let mut cluster = Cluster::configured(2, 1, ENABLED);
    cluster.workers[0].signal(Signal::SIGPWR);
    assert_eq!(cluster.workers[0].ended().code(), Some(0));
    cluster.logged("master", "DECOMMISSIONED");
    cluster.logged("master", "was decommissioned and has left");
    let sc = cluster.context().build().unwrap();
    assert_eq!(sc.partitioned(4).range(0..100u64).count().unwrap(), 100);
}

#[test]
fn without_the_key_the_signal_changes_nothing() {
    let mut cluster = Cluster::start(1, 1);
    cluster.workers[0].signal(Signal::SIGPWR);
    cluster.logged("worker-0", "decommissioning is not enabled");
    let sc = cluster.context().build().unwrap();
    assert_eq!(sc.partitioned(4).range(0..100u64).count().unwrap(), 100);
    cluster.workers[0].signal(Signal::SIGTERM);
    assert_eq!(cluster.workers[0].ended().code(), Some(0));
}

/// Posts that a partition was computed; the number of its run is in the name.
fn computed(board: &Board, what: &str, partition: u32) {
    let run = board.names(&format!("{what}-{partition}-")).len();
    assert!(board.post(&format!("{what}-{partition}-{run}"), ""));
}

/// A job of two stages, the second of which is halfway when one of two workers is told to leave.
fn leave_in_the_middle(service: bool, cores: u32) {
    let defaults = format!("{ENABLED}spark.shuffle.service.enabled {service}\nspark.shuffle.service.port 0\n");
    let mut cluster = Cluster::configured(2, cores, &defaults);
    let sc = cluster.context().set("spark.shuffle.service.enabled", service).set("spark.executor.cores", 1);
    let sc = sc.set("spark.decommission.enabled", true).build().unwrap();
    let executors = 2 * cores as usize;
    let before = executor_pids(&sc, &cluster.board("before"), executors);
    let board = cluster.board("board");

    let kept =
        sc.partitioned(4).range(0..8_000u64).with(board.clone()).map_partitions_with_index(|board, i, elements| {
            computed(board, "kept", i);
            elements.map(|x| x * 3).collect::<Vec<_>>()
        });
    let kept = kept.persist(StorageLevel::MEMORY_ONLY);
    assert_eq!(kept.count().unwrap(), 8_000);
    let sums = sc
        .partitioned(4)
        .range(0..8_000u64)
        .with(board.clone())
        .map_partitions_with_index(|board, i, elements| {
            computed(board, "map", i);
            elements.map(|x| (x % 100, x)).collect::<Vec<_>>()
        })
        .partitioned(4)
        .reduce_by_key(|a, b| a + b);

    // As many reduce tasks run as there are executors.
    let reduced = sums.with(board.clone()).map_partitions_with_index(|board, i, elements| {
        let all: Vec<_> = elements.collect();
        board.post(&format!("reduce-{i}"), "");
        board.wait("go");
        all
    });
    let job = reduced.collect_async().unwrap();
    until("the reduce tasks", || board.names("reduce-").len() >= executors);
    cluster.workers[0].signal(Signal::SIGPWR);
    cluster.logged("master", "DECOMMISSIONED");
    board.post("go", "");
    let mut got = job.wait().unwrap();
    got.sort_unstable();
    let expected: Vec<(u64, u64)> = (0..100).map(|k| (k, (0..80).map(|i| k + 100 * i).sum())).collect();
    assert_eq!(got, expected);

    // Idle now, its executor moves what it has and ends, and so does the worker.
    assert_eq!(cluster.workers[0].ended().code(), Some(0));
    cluster.logged("master", "was decommissioned and has left");
    assert_eq!(before.iter().filter(|pid| alive(**pid)).count(), cores as usize, "the executors of the other worker");
    let of_it = |f: &std::path::PathBuf| f.to_string_lossy().contains("/work-0/");
    assert!(!cluster.block_files().iter().any(of_it), "{:?}", cluster.block_files());

    // What it had is there all the same.
    let mut got = sums.collect().unwrap();
    got.sort_unstable();
    assert_eq!(got, expected);
    assert_eq!(kept.collect().unwrap(), (0..8_000).map(|x| x * 3).collect::<Vec<u64>>());
    let said = cluster.said_by_executors();
    assert_eq!(board.names("map-").len(), 4, "no map task ran again: {:?}\n{said}", board.names("map-"));
    assert_eq!(
        board.names("kept-").len(),
        4,
        "no kept partition was computed again: {:?}\n{said}",
        board.names("kept-")
    );
    drop((sums, kept));
    sc.stop();
    until("the end of the application's files", || cluster.block_files().is_empty());
}

#[test]
fn a_worker_that_leaves_in_the_middle_of_a_job_costs_no_work() {
    leave_in_the_middle(false, 1);
}

#[test]
fn with_the_shuffle_service_it_costs_none_either() {
    leave_in_the_middle(true, 1);
}

#[test]
fn executors_of_one_worker_do_not_hand_over_to_each_other() {
    leave_in_the_middle(false, 2);
}
