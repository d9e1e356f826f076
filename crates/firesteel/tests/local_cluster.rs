//! Jobs on executors that are processes of their own: this very test binary, which never runs its `main` there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use firesteel::{Error, prelude::*};
use firesteel_testing::{gone, until};

fn cluster(workers: u32, cores: u32) -> Context {
    let master = format!("local-cluster[{workers},{cores},512]");
    Context::builder().app_name("test").master(&master).build().unwrap()
}

/// Process id and directory of every executor that takes part in a job of some tasks.
fn executors(sc: &Context) -> BTreeSet<(u32, PathBuf)> {
    let here = |_: &u32| (std::process::id(), std::env::current_dir().unwrap().to_string_lossy().into_owned());
    let found = sc.partitioned(64).parallelize(0..64u32).map_ref(here).collect().unwrap();
    found.into_iter().map(|(pid, dir)| (pid, PathBuf::from(dir))).collect()
}

/// Processes that ran the tasks of a job whose tasks take their time.
fn processes(sc: &Context, tasks: u32) -> std::collections::BTreeSet<u32> {
    let pids = sc.partitioned(tasks).range(0..u64::from(tasks)).map(|_| {
        // The work: other tasks wait meanwhile.
        std::thread::sleep(Duration::from_millis(300));
        std::process::id()
    });
    pids.collect().unwrap().into_iter().collect()
}

#[test]
fn executors_come_with_the_work_and_go_without() {
    let sc = Context::builder()
        .app_name("t")
        .master("local-cluster[3,1,512]")
        .set("spark.dynamicAllocation.enabled", "true")
        .set("spark.dynamicAllocation.schedulerBacklogTimeout", "100ms")
        .set("spark.dynamicAllocation.executorIdleTimeout", "1s")
        .build()
        .unwrap();
    let first = processes(&sc, 24);
    assert_eq!(first.len(), 3, "a long backlog gets every worker");
    let deadline = Instant::now() + Duration::from_secs(60);
    while first.iter().any(|pid| Path::new(&format!("/proc/{pid}")).exists()) {
        assert!(Instant::now() < deadline, "idle executors stay");
        std::thread::sleep(Duration::from_millis(20));
    }
    let second = processes(&sc, 1);
    assert_eq!(second.len(), 1);
    assert!(second.is_disjoint(&first));
    // Shuffle files that may be read again keep their executor.
    let counts = sc.partitioned(1).range(0..100u64).map(|x| (x % 7, 1u64)).reduce_by_key(|a, b| a + b);
    assert_eq!(counts.count().unwrap(), 7);
    assert_eq!(counts.map(|(_, n)| n).reduce(|a, b| a + b).unwrap(), 100);
}

#[test]
fn its_master_deals_out_cores_as_the_configuration_says() {
    let build = |spread_out: bool| {
        let context = Context::builder().app_name("t").master("local-cluster[2,2,512]");
        let context = context.set("spark.deploy.defaultCores", 2).set("spark.deploy.spreadOut", spread_out);
        context.build().unwrap()
    };
    let sc = build(true);
    until("one core of each worker", || executors(&sc).len() == 2);
    drop(sc);
    // Both cores of one worker: two tasks that wait for each other run in the same process.
    let sc = build(false);
    let dir = tempfile::tempdir().unwrap();
    let met = sc.partitioned(2).range(0..2u64).with(dir.path().to_path_buf()).map(|dir, n| {
        std::fs::write(dir.join(n.to_string()), "").unwrap();
        until("the other task", || dir.join((1 - n).to_string()).exists());
        std::process::id()
    });
    let pids = met.collect().unwrap();
    assert_eq!(pids[0], pids[1]);
}

#[test]
fn words_are_counted_across_processes_and_nothing_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("text");
    let words = |i: usize| format!("the {} of {}", i % 7, i % 11);
    let lines: Vec<String> = (0..5000).map(words).collect();
    std::fs::write(&text, lines.join("\n")).unwrap();
    let mut expected = BTreeMap::new();
    for word in lines.iter().flat_map(|line| line.split(' ')) {
        *expected.entry(word.to_owned()).or_insert(0u64) += 1;
    }

    let sc = cluster(2, 1);
    assert!(sc.application_id().starts_with("app-"), "{}", sc.application_id());
    assert_eq!(sc.default_parallelism(), 2);
    let counts = sc
        .partitioned(4)
        .text_file(text.to_str().unwrap())
        .unwrap()
        .flat_map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>())
        .map(|word| (word, 1u64))
        .reduce_by_key(|a, b| a + b)
        .collect()
        .unwrap();
    assert_eq!(counts.len(), expected.len());
    assert_eq!(counts.into_iter().collect::<BTreeMap<_, _>>(), expected);

    let found = executors(&sc);
    assert!(found.iter().all(|(pid, _)| *pid != std::process::id() && !gone(*pid)), "{found:?}");
    sc.stop();
    for (pid, dir) in found {
        assert!(gone(pid), "executor {pid} is left");
        assert!(!dir.exists(), "{} is left", dir.display());
    }
    assert!(matches!(sc.parallelize(0..3u8).count(), Err(Error::Stopped)));
}

#[test]
fn results_and_partitions_larger_than_a_message_travel_as_blocks() {
    let sc = cluster(1, 2);
    let large: Vec<Vec<u8>> = (0..6u8).map(|i| vec![i; 3 << 20]).collect();
    assert_eq!(sc.partitioned(2).parallelize(large.clone()).collect().unwrap(), large);
}

#[test]
fn what_tasks_have_started_is_gone_when_the_context_has_stopped_and_what_the_driver_has_started_is_not() {
    let mut own = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let sc = cluster(2, 1);
    let start = |_| {
        let script = "env -i setsid sh -c 'sleep 1000 >/dev/null 2>&1 & echo $!' &";
        let out = std::process::Command::new("sh").args(["-c", script]).output().unwrap();
        String::from_utf8(out.stdout).unwrap().trim().parse::<u32>().unwrap()
    };
    let hidden = sc.partitioned(4).range(0..4u32).map(start).collect().unwrap();
    assert!(hidden.iter().all(|pid| !gone(*pid)));
    sc.stop();
    until("they are gone", || !hidden.iter().any(|pid| !gone(*pid)));
    assert!(own.try_wait().unwrap().is_none());
    own.kill().unwrap();
    own.wait().unwrap();
}

#[test]
fn no_exit_status_of_user_code_means_anything_special() {
    for status in [0, 1, 50, 56, 101, 143] {
        let sc = cluster(1, 1);
        let job = sc.partitioned(1).range(0..1u32).with(status).map(|status, _| -> u32 { std::process::exit(*status) });
        let error = job.count().unwrap_err().to_string();
        assert!(error.contains(&format!("exit code {status}")), "{status}: {error}");
    }
}

#[test]
fn an_executor_larger_than_a_worker_of_the_local_cluster_is_an_error_at_the_start() {
    for (key, value) in [("spark.executor.cores", "2"), ("spark.executor.memory", "1g"), ("spark.task.cpus", "2")] {
        let built = Context::builder().app_name("test").master("local-cluster[2,1,512]").set(key, value).build();
        let error = built.err().unwrap().to_string();
        assert!(error.contains(key) && error.contains("lower the one or raise the other"), "{error}");
    }
}

#[test]
fn a_process_that_exits_in_a_task_is_reported_with_its_code() {
    let sc = cluster(1, 1);
    let job = sc.partitioned(2).parallelize(0..2u32).map(|x| {
        if x == 1 {
            eprintln!("about to leave");
            std::process::exit(42);
        }
        x
    });
    let error = job.collect().unwrap_err().to_string();
    assert!(error.contains("exit code 42") && error.contains("about to leave"), "{error}");
    // The master has given another executor meanwhile.
    assert_eq!(sc.partitioned(4).range(0..100u64).count().unwrap(), 100);
}

#[test]
fn an_executor_out_of_memory_is_named_as_such() {
    let sc = cluster(1, 1);
    let huge = sc.partitioned(1).parallelize([1u64 << 60]).map(|bytes| vec![7u8; bytes as usize].len() as u64);
    let error = huge.collect().unwrap_err().to_string();
    assert!(error.contains("it ran out of memory"), "{error}");
}

#[test]
fn an_abort_in_a_task_is_reported_with_its_signal() {
    let sc = cluster(1, 1);
    let error = sc.partitioned(1).parallelize(0..1u32).foreach(|_| std::process::abort()).unwrap_err().to_string();
    assert!(error.contains("signal 6"), "{error}");
}

#[test]
fn an_executor_that_is_killed_is_replaced_and_the_job_goes_on() {
    let sc = cluster(2, 1);
    let marker = tempfile::tempdir().unwrap();
    let marker = marker.path().join("killed");
    let killed = sc
        .partitioned(8)
        .range(0..8u64)
        .with(marker.to_str().unwrap().to_owned())
        .map(|marker, x| {
            if x == 5 && std::fs::File::create_new(marker).is_ok() {
                let me = std::process::id().to_string();
                std::process::Command::new("kill").args(["-9", &me]).status().unwrap();
                std::thread::sleep(std::time::Duration::from_secs(60));
            }
            (x % 2, x)
        })
        .reduce_by_key(|a, b| a + b);
    let mut sums = killed.collect().unwrap();
    sums.sort();
    assert_eq!(sums, [(0, 12), (1, 16)]);
    assert!(marker.exists());
}

#[tokio::test]
async fn a_context_starts_works_and_stops_inside_an_async_runtime() {
    let sc = cluster(1, 1);
    assert_eq!(sc.partitioned(2).range(0..10u64).reduce(|a, b| a + b).unwrap(), 45);
    let (pid, dir) = executors(&sc).pop_first().unwrap();
    drop(sc);
    assert!(gone(pid) && !dir.exists());
}

#[test]
fn two_contexts_live_side_by_side() {
    let (a, b) = (cluster(1, 1), cluster(1, 1));
    assert_ne!(executors(&a), executors(&b));
    assert_eq!(a.range(0..10u64).count().unwrap() + b.range(0..20u64).count().unwrap(), 30);
    a.stop();
    assert_eq!(b.range(0..20u64).count().unwrap(), 20);
}

#[test]
fn a_worker_runs_several_executors_where_the_settings_say_so() {
    let builder = Context::builder().app_name("t").master("local-cluster[1,3,512]");
    let sc = builder.set("spark.executor.cores", 1).set("spark.executor.memory", "128m").build().unwrap();
    until("three executors", || executors(&sc).len() == 3);
    assert_eq!(sc.default_parallelism(), 3);
}

#[test]
fn what_cannot_work_is_said_at_the_start() {
    let build = |master: &str, key: &str, value: &str| {
        Context::builder().app_name("t").master(master).set(key, value).build().err().unwrap().to_string()
    };
    let error = build("local-cluster[1,1,512]", "spark.executor.memory", "1g");
    assert!(error.contains("spark.executor.memory") && error.contains("512"), "{error}");
}
