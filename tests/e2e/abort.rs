//! A task whose input fails, or that is killed, in the middle of the user's loop: what stands after the loop never runs.

use firesteel::{PartitionIter, prelude::*};
use firesteel_testing::kill;

use crate::cluster::{Board, Cluster, executor_pids};

/// So much for each reduce partition of each map task that it does not fit into the buffers of a connection.
const WIDTH: usize = 4096;
const RECORDS: u64 = 6_000;

/// Pairs that come from two executors and are read by one partition.
fn spread(sc: &Context) -> Rdd<(u64, String)> {
    sc.partitioned(2)
        .range(0..RECORDS)
        .map(|x| {
            // Text that does not compress.
            let mut state = x.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let text = (0..WIDTH).map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                char::from(b' ' + (state >> 32) as u8 % 95)
            });
            (x, text.collect())
        })
        .partition_by(HashPartitioner::new(1))
}

/// Goes through a partition; at the first element of the first attempt, waits until the other executor is dead. What
/// stands after the loop is the commit.
fn consume(board: &Board, elements: PartitionIter<(u64, String)>) -> u64 {
    let mut n = 0;
    for _ in elements {
        n += 1;
        if n == 1 && board.post("begun", std::process::id()) {
            board.wait("go");
        }
    }
    board.post(&format!("committed-{n}-{}", std::process::id()), "");
    n
}

fn with_a_lost_executor(action: fn(&Rdd<(u64, String)>, Board)) {
    let cluster = Cluster::start(2, 1);
    // Over a connection, which ends with the other executor; a file that is open would not.
    let sc = cluster.context().set("spark.shuffle.readHostLocalDisk", false).build().unwrap();
    let board = cluster.board("board");
    let pids = executor_pids(&sc, &cluster.board("pids"), 2);
    let pairs = spread(&sc);
    std::thread::scope(|scope| {
        let job = scope.spawn(|| action(&pairs, board.clone()));
        let reader: u32 = board.wait("begun").parse().unwrap();
        kill(*pids.iter().find(|pid| **pid != reader).unwrap());
        board.post("go", "");
        job.join().unwrap();
    });
    let commits = board.names("committed-");
    assert_eq!(commits.len(), 1, "{commits:?}");
    assert!(commits[0].starts_with(&format!("committed-{RECORDS}-")), "{commits:?}");
}

#[test]
fn a_failed_fetch_in_foreach_partition_runs_nothing_after_the_loop() {
    with_a_lost_executor(|pairs, board| {
        pairs
            .with(board)
            .foreach_partition(|board, elements| {
                consume(board, elements);
            })
            .unwrap();
    });
}

#[test]
fn a_failed_fetch_in_map_partitions_runs_nothing_after_the_loop() {
    with_a_lost_executor(|pairs, board| {
        let counts = pairs.with(board).map_partitions(|board, elements| [consume(board, elements)]).collect().unwrap();
        assert_eq!(counts, [RECORDS]);
    });
}

#[test]
fn a_killed_task_runs_nothing_after_the_loop() {
    let cluster = Cluster::start(1, 1);
    let sc = cluster.context().build().unwrap();
    let board = cluster.board("board");
    let endless = || sc.partitioned(1).range(0..u64::MAX);
    let job = endless()
        .with(board.clone())
        .foreach_partition_async(|board, elements| until_killed(board, elements, "foreach"))
        .unwrap();
    board.wait("begun-foreach");
    job.cancel("not wanted");
    let e = job.wait().unwrap_err().to_string();
    assert!(e.contains("not wanted"), "{e}");
    let job = endless()
        .with(board.clone())
        .map_partitions(|board, elements| {
            until_killed(board, elements, "map");
            [0u8]
        })
        .count_async()
        .unwrap();
    board.wait("begun-map");
    job.cancel("not wanted");
    assert!(job.wait().is_err());
    // The only slot is free again only when the killed tasks have ended.
    assert_eq!(sc.partitioned(1).range(0..10u64).count().unwrap(), 10);
    assert_eq!(board.names("committed-"), [""; 0]);
}

fn until_killed(board: &Board, elements: PartitionIter<u64>, name: &str) {
    let mut begun = false;
    for _ in elements {
        if !begun {
            begun = board.post(&format!("begun-{name}"), "");
        }
    }
    board.post(&format!("committed-{name}"), "");
}
