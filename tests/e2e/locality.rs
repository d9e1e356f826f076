//! Tasks on the hosts that their source prefers.

use crate::cluster::{Cluster, executor_pids, start};

#[test]
fn tasks_run_on_the_hosts_that_their_elements_prefer() {
    let mut cluster = Cluster::start(1, 1);
    let work = cluster.dir.path().join("work-other").to_str().unwrap().to_owned();
    let arguments = ["--host", "127.0.0.2", "--cores", "1", "--memory", "2g", "--work-dir", &work, &cluster.url];
    let program = env!("CARGO_BIN_EXE_firesteel-worker");
    cluster.workers.push(start(program, "worker-other", cluster.dir.path(), &arguments).0);
    // Longer than the test may take: who waits in vain fails it.
    let sc = cluster.context().set("spark.locality.wait", "10min").build().unwrap();
    executor_pids(&sc, &cluster.board("pids"), 2);

    // Mostly for one of the hosts, so that slots of the other one are free all the time.
    let wanted = |i: u32| if i.is_multiple_of(5) { "127.0.0.1" } else { "127.0.0.2" };
    let elements = (0..40).map(|i| (i, vec![wanted(i).to_owned()]));
    let rdd = sc.make_rdd_with_preferences(elements).unwrap();
    assert_eq!(rdd.num_partitions(), 40);
    let places = rdd.map(|i| (i, std::env::current_dir().unwrap().to_string_lossy().into_owned())).collect().unwrap();
    for (i, dir) in places {
        let other = dir.contains("/work-other/");
        assert_eq!(other, wanted(i) == "127.0.0.2", "task {i} ran in {dir}");
    }

    // A host that nobody has is nothing to wait for, and several may be named.
    let elsewhere = vec!["no-such-host".to_owned()];
    let either = vec!["127.0.0.1".to_owned(), "127.0.0.2".to_owned()];
    let rdd = sc.make_rdd_with_preferences([(1u64, elsewhere), (2, either), (4, Vec::new())]).unwrap();
    assert_eq!(rdd.reduce(|a, b| a + b).unwrap(), 7);
    assert_eq!(sc.make_rdd_with_preferences(Vec::<(u64, Vec<String>)>::new()).unwrap().count().unwrap(), 0);
}
