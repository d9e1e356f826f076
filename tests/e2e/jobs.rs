//! Jobs that succeed: what they compute, and where they may be started from.

use std::sync::atomic::{AtomicBool, Ordering};

use firesteel::prelude::*;

use crate::cluster::Cluster;

fn square_sum(sc: &Context, n: u64) -> u64 {
    sc.partitioned(4).range(0..n).map(|x| (x % 7, x)).reduce_by_key(|a, b| a + b).values().reduce(|a, b| a + b).unwrap()
}

#[test]
fn deep_lineages_run_on_the_cluster_and_drop() {
    let cluster = Cluster::start(1, 2);
    let sc = cluster.context().build().unwrap();
    let mut rdd = sc.partitioned(2).range(0..4u64);
    for _ in 0..10_000 {
        rdd = rdd.map(|x| x + 1);
    }
    assert_eq!(rdd.collect().unwrap(), [10_000, 10_001, 10_002, 10_003]);
    drop(rdd);
    let one = sc.partitioned(1).range(0..1u64);
    let mut union = one.clone();
    for _ in 0..2_000 {
        union = union.union(&one);
    }
    assert_eq!(union.count().unwrap(), 2_001);
}

#[test]
fn contexts_run_side_by_side_in_one_process() {
    let cluster = Cluster::start(2, 2);
    std::thread::scope(|scope| {
        for n in [1000u64, 2000, 3000] {
            let context = cluster.context().set("spark.cores.max", 1);
            scope.spawn(move || assert_eq!(square_sum(&context.build().unwrap(), n), n * (n - 1) / 2));
        }
    });
}

#[tokio::test]
async fn a_context_works_and_drops_inside_an_async_runtime() {
    let cluster = Cluster::start(1, 1);
    let sc = cluster.context().build().unwrap();
    assert_eq!(square_sum(&sc, 100), 4950);
}

#[test]
fn the_users_panic_hook_is_still_called() {
    static CALLED: AtomicBool = AtomicBool::new(false);
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        CALLED.store(true, Ordering::SeqCst);
        before(info);
    }));
    let sc = Context::builder().master("local[1]").build().unwrap();
    let e = sc.partitioned(1).range(0..1u64).foreach(|_| panic!("in the task")).unwrap_err();
    assert!(e.to_string().contains("in the task"), "{e}");
    assert!(CALLED.load(Ordering::SeqCst));
}

#[test]
fn large_results_stage_data_and_partitions_go_round_the_messages() {
    let cluster = Cluster::start(1, 1);
    let sc = cluster.context().build().unwrap();
    let big: Vec<u64> = (0..1_000_000).map(|i| i * 0x9e37_79b9).collect();
    let expected = big.clone();
    // The data of the only partition, the result and the environment are each some megabytes.
    let got = sc
        .partitioned(1)
        .parallelize(big.clone())
        .with(big)
        .map(|env, x| if env.len() == 1_000_000 { x } else { 0 })
        .collect();
    assert_eq!(got.unwrap(), expected);
}

#[test]
fn kept_partitions_are_found_where_they_are() {
    let cluster = Cluster::start(2, 1);
    let sc = cluster.context().build().unwrap();
    let board = cluster.board("cache");
    let kept = sc
        .partitioned(4)
        .range(0..1000u64)
        .with(board.clone())
        .map_partitions_with_index(|board, i, elements| {
            let posted = board.post(&format!("computed-{i}"), "");
            if posted { elements.collect::<Vec<_>>() } else { Vec::new() }
        })
        .cache();
    // A partition that is computed a second time comes out empty.
    assert_eq!((kept.count().unwrap(), kept.count().unwrap(), kept.count().unwrap()), (1000, 1000, 1000));
}
