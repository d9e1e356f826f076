//! The shuffle service: map outputs outlive the executors that wrote them, and go with the application.

use firesteel::prelude::*;
use firesteel_testing::{alive, kill, until};

use crate::cluster::{Board, Cluster, executor_pids};

const SERVICE: &str = "spark.shuffle.service.enabled true\nspark.shuffle.service.port 0\n";

/// Sums by key; each run of a map task puts a file up.
fn sums(sc: &Context, board: &Board) -> Rdd<(u64, u64)> {
    sc.partitioned(4)
        .range(0..8_000u64)
        .with(board.clone())
        .map_partitions_with_index(|board, i, elements| {
            let run = board.names(&format!("map-{i}-")).len();
            assert!(board.post(&format!("map-{i}-{run}"), std::process::id()));
            elements.map(|x| (x % 100, x)).collect::<Vec<_>>()
        })
        .partitioned(4)
        .reduce_by_key(|a, b| a + b)
}

/// Runs a map stage, kills an executor that ran a part of it, and reduces. How many map tasks ran in all, and the
/// Context for more.
fn map_tasks_with_a_loss(cluster: &Cluster, service: bool) -> (usize, Context, Rdd<(u64, u64)>) {
    let sc = cluster.context().set("spark.shuffle.service.enabled", service).build().unwrap();
    executor_pids(&sc, &cluster.board(&format!("before-{service}")), 2);
    let board = cluster.board(&format!("maps-{service}"));
    let sums = sums(&sc, &board);
    assert_eq!(sums.count().unwrap(), 100);
    assert_eq!(board.names("map-").len(), 4, "one run of each map task");

    let lost: u32 = board.wait("map-0-0").parse().unwrap();
    kill(lost);
    // The driver knows of the loss as soon as another executor takes its place.
    let now = executor_pids(&sc, &cluster.board(&format!("after-{service}")), 2);
    assert!(!now.contains(&lost) && !alive(lost));

    let mut got = sums.collect().unwrap();
    got.sort_unstable();
    let expected: Vec<(u64, u64)> = (0..100).map(|k| (k, (0..80).map(|i| k + 100 * i).sum())).collect();
    assert_eq!(got, expected);
    (board.names("map-").len(), sc, sums)
}

#[test]
fn with_the_service_the_loss_of_an_executor_costs_no_map_task_and_without_it_does() {
    let cluster = Cluster::configured(2, 1, SERVICE);
    let (runs, sc, sums) = map_tasks_with_a_loss(&cluster, true);
    assert_eq!(runs, 4, "no map task ran again");
    assert_eq!(
        cluster.block_files().len(),
        8,
        "a data and an index file of each map task: {:?}",
        cluster.block_files()
    );
    drop(sums);
    sc.stop();
    until("the end of the application's files", || cluster.block_files().is_empty());

    // The same cluster serves applications that do not ask for it, whose files end with their executors.
    let (runs, sc, sums) = map_tasks_with_a_loss(&cluster, false);
    assert!((5..=8).contains(&runs), "{runs} map tasks ran");
    drop(sums);
    sc.stop();
    until("the end of the application's files", || cluster.block_files().is_empty());
}

#[test]
fn the_loss_of_the_worker_costs_its_outputs_and_its_next_start_cleans_up() {
    let mut cluster = Cluster::configured(2, 1, SERVICE);
    let sc = cluster.context().set("spark.shuffle.service.enabled", true);
    // After kill -9 the files are still there, for whoever may read them from disk.
    let sc = sc.set("spark.shuffle.readHostLocalDisk", false).build().unwrap();
    executor_pids(&sc, &cluster.board("before"), 2);
    let board = cluster.board("maps");
    let sums = sums(&sc, &board);
    assert_eq!(sums.count().unwrap(), 100);
    // The worker whose executor ran the first map task.
    let lost: u32 = board.wait("map-0-0").parse().unwrap();
    let cwd = std::fs::read_link(format!("/proc/{lost}/cwd")).unwrap();
    let w = usize::from(cwd.components().any(|c| c.as_os_str() == "work-1"));
    cluster.workers[w].kill();
    let mut got = sums.collect().unwrap();
    got.sort_unstable();
    assert_eq!(got.len(), 100);
    assert_eq!(got[7], (7, (0..80).map(|i| 7 + 100 * i).sum()));
    assert!(board.names("map-").len() > 4, "what the worker had was computed again");
    let of_it = format!("work-{w}");
    let left =
        |cluster: &Cluster| cluster.block_files().iter().filter(|f| f.to_string_lossy().contains(&of_it)).count();
    assert!(left(&cluster) > 0, "kill -9 lets nobody clean up");
    cluster.restart_worker(w, 1);
    assert_eq!(left(&cluster), 0);
}

#[test]
fn an_application_that_wants_the_service_is_told_when_workers_have_none() {
    let cluster = Cluster::start(1, 1);
    let sc = cluster.context().set("spark.shuffle.service.enabled", true).build().unwrap();
    let e = sc.partitioned(2).range(0..2u64).count().unwrap_err().to_string();
    assert!(e.contains("spark.shuffle.service.enabled=true for the workers"), "{e}");
}
