//! Executors and workers that are killed in the middle of a job, and what is left of them.

use std::{collections::BTreeMap, process::Command, time::Duration};

use firesteel::{Error, JobError, TaskFailure, prelude::*};
use firesteel_testing::{alive, kill, until};

use crate::cluster::{Board, Cluster, executor_pids};

/// In the first task that comes to `point`: posts its process id and, when `stay` is set, waits there for its end.
fn doomed(board: &Board, point: &str, stay: bool) {
    if board.post(point, std::process::id()) && stay {
        loop {
            std::thread::park();
        }
    }
}

type Point = (Board, String, bool);

#[test]
fn an_executor_killed_in_the_middle_of_three_stages_costs_no_record() {
    const RECORDS: u64 = 20_000;
    const RUNS: u64 = 50;
    let cluster = Cluster::start(2, 1);
    let mut expected: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for k in 0..500 {
        let group: Vec<u64> = (0..RECORDS).filter(|x| x % 500 == k).collect();
        let entry = expected.entry(k % 9).or_default();
        *entry = (entry.0 + group.len() as u64, entry.1 + group.iter().sum::<u64>());
    }
    for run in 0..RUNS {
        let sc = cluster.context().build().unwrap();
        let board = cluster.board(&format!("run-{run}"));
        // Which of the three stages, whether its task is stopped there or goes on, and which of its partitions.
        let (stage, stay, partition) = (run % 3, run % 2 == 0, run / 3 % 3);
        let at = |s: u64| -> Point {
            (board.clone(), if s == stage { "here".into() } else { format!("not-{s}") }, s == stage && stay)
        };
        let sums = sc
            .partitioned(4)
            .range(0..RECORDS)
            .with((at(0), partition))
            .map_partitions_with_index(|((board, point, stay), partition), i, elements| {
                if u64::from(i) == *partition {
                    doomed(board, point, *stay);
                }
                elements.map(|x| (x % 500, (1u64, x))).collect::<Vec<_>>()
            })
            .partitioned(3)
            .reduce_by_key(|a, b| (a.0 + b.0, a.1 + b.1))
            .with((at(1), partition))
            .map_partitions_with_index(|((board, point, stay), partition), i, elements| {
                if u64::from(i) == *partition {
                    doomed(board, point, *stay);
                }
                elements.collect::<Vec<_>>()
            })
            .repartition(4)
            .with((at(2), partition))
            .map_partitions_with_index(|((board, point, stay), partition), i, elements| {
                if u64::from(i) == *partition {
                    doomed(board, point, *stay);
                }
                elements.map(|(k, v)| (k % 9, v)).collect::<Vec<_>>()
            })
            .partitioned(3)
            .reduce_by_key(|a, b| (a.0 + b.0, a.1 + b.1));
        let job = sums.collect_async().unwrap();
        kill(board.wait("here").parse().unwrap());
        // Nothing here is marked as indeterminate, so the loss must not show at all.
        let got = job.wait().unwrap_or_else(|e| panic!("run {run}: {e}"));
        assert_eq!(got.into_iter().collect::<BTreeMap<_, _>>(), expected, "run {run}");
    }
}

#[test]
fn a_killed_worker_takes_its_executors_and_their_children_along() {
    let mut cluster = Cluster::start(1, 1);
    let sc = cluster.context().build().unwrap();
    let board = cluster.board("children");
    let job = sc
        .partitioned(1)
        .range(0..1u64)
        .with(board.clone())
        .foreach_async(|board, _| {
            let mut sleep = Command::new("sleep").arg("1000").spawn().unwrap();
            board.post("executor", std::process::id());
            board.post("sleep", sleep.id());
            sleep.wait().unwrap();
        })
        .unwrap();
    let (executor, sleep): (u32, u32) = (board.wait("executor").parse().unwrap(), board.wait("sleep").parse().unwrap());
    assert!(alive(executor) && alive(sleep));
    cluster.workers[0].kill();
    until("the end of the executor", || !alive(executor));
    until("the end of the task's child", || !alive(sleep));
    job.cancel("the worker is gone");
    assert!(job.wait().is_err());
}

#[test]
fn a_driver_that_ends_leaves_no_executor() {
    let cluster = Cluster::start(2, 1);
    let sc = cluster.context().build().unwrap();
    let pids = executor_pids(&sc, &cluster.board("pids"), 2);
    assert!(pids.iter().all(|pid| alive(*pid)));
    sc.stop();
    for pid in pids {
        until("the end of an executor", || !alive(pid));
    }
}

/// The heartbeat is set so short that an idle executor misses many if it does not send them: a minute of the default.
#[test]
fn an_idle_executor_lives_on() {
    let cluster = Cluster::start(1, 1);
    let (beat, timeout, idle) = match std::env::var_os("FIRESTEEL_TEST_FULL") {
        Some(_) => ("10s", "120s", Duration::from_secs(65)),
        None => ("100ms", "3s", Duration::from_secs(8)),
    };
    let sc = cluster.context().set("spark.executor.heartbeatInterval", beat).set("spark.network.timeout", timeout);
    let sc = sc.build().unwrap();
    let pid = |_: ()| sc.partitioned(1).range(0..1u64).map(|_| std::process::id()).collect().unwrap();
    let before = pid(());
    // The test is that nothing happens in this time.
    std::thread::sleep(idle);
    assert_eq!(pid(()), before);
}

#[test]
fn the_end_of_the_process_in_user_code_is_named_in_the_error() {
    let cluster = Cluster::start(1, 1);
    let failure = |sc: Context, f: fn(&Rdd<u64>) -> Result<()>| -> String {
        let e = f(&sc.partitioned(1).range(0..1u64)).unwrap_err();
        let Error::Job { reason, .. } = &e else { panic!("{e}") };
        let Some(JobError::TaskFailed { failure, .. }) = reason.downcast_ref() else { panic!("{e}") };
        assert!(matches!(failure, TaskFailure::ExecutorLost { by_application: true, .. }), "{failure:?}");
        e.to_string()
    };
    let context = || cluster.context().set("spark.task.maxFailures", 2).build().unwrap();
    let e = failure(context(), |rdd| rdd.foreach(|_| std::process::exit(7)));
    assert!(e.contains('7'), "{e}");
    let e = failure(context(), |rdd| rdd.foreach(|_| std::process::abort()));
    assert!(e.contains("signal 6") || e.contains("SIGABRT"), "{e}");
    let e = failure(context(), |rdd| {
        rdd.foreach(|x| {
            #[expect(unconditional_recursion, reason = "that is what it is for")]
            fn deeper(x: u64) -> u64 {
                let frame = std::hint::black_box([x; 1024]);
                deeper(frame[17]) + frame[3]
            }
            std::hint::black_box(deeper(x));
        })
    });
    assert!(e.contains("overflow"), "{e}");
}
