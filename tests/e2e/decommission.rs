//! Decommissioning: a worker that is told to leave hands on what it has, and nothing is computed again.

use crate::cluster::Cluster;

const ENABLED: &str = "spark.decommission.enabled true\n";

#[test]
fn an_idle_worker_ends_well_and_the_master_shows_it() {
    let mut cluster = Cluster::configured(2, 1, ENABLED);
    cluster.workers[0].signal("PWR");
    assert_eq!(cluster.workers[0].ended().code(), Some(0));
    cluster.logged("master", "DECOMMISSIONED");
    cluster.logged("master", "was decommissioned and has left");
    let sc = cluster.context().build().unwrap();
    assert_eq!(sc.range_n(0..100u64, 4).count().unwrap(), 100);
}

#[test]
fn without_the_key_the_signal_changes_nothing() {
    let mut cluster = Cluster::start(1, 1);
    cluster.workers[0].signal("PWR");
    cluster.logged("worker-0", "decommissioning is not enabled");
    let sc = cluster.context().build().unwrap();
    assert_eq!(sc.range_n(0..100u64, 4).count().unwrap(), 100);
    cluster.workers[0].signal("TERM");
    assert_eq!(cluster.workers[0].ended().code(), Some(0));
}
