//! Workers that are broken, what executors leave running, and what applications leave in the work directory.

use std::{fs, process::Command};

use firesteel::prelude::*;
use firesteel_testing::{alive, kill, until};

use crate::cluster::{Cluster, executor_pids};

/// Takes a worker's work directory away for good: in its place there is a file.
fn break_worker(cluster: &Cluster, i: usize) {
    let dir = cluster.dir.path().join(format!("work-{i}"));
    fs::remove_dir_all(&dir).unwrap();
    fs::write(dir, "broken").unwrap();
}

#[test]
fn a_broken_worker_harms_no_application_whether_it_runs_already_or_not() {
    let cluster = Cluster::start(2, 1);
    let running = cluster.context().build().unwrap();
    let pids = executor_pids(&running, &cluster.board("pids"), 2);
    let work = cluster.dir.path().join("work-0");
    let on_first = |pid: &&u32| fs::read_link(format!("/proc/{pid}/cwd")).unwrap().starts_with(&work);
    let victim = *pids.iter().find(on_first).unwrap();
    break_worker(&cluster, 0);
    kill(victim);
    cluster.logged("master", "the worker is avoided");
    let sum = |sc: &Context| -> u64 {
        let sums = sc
            .partitioned(4)
            .range(0..1000u64)
            .map(|x| (x % 7, x))
            .partitioned(3)
            .reduce_by_key(|a, b| a + b)
            .collect()
            .unwrap();
        sums.into_iter().map(|(_, sum)| sum).sum()
    };
    assert_eq!(sum(&running), 499_500);
    running.stop();
    for _ in 0..3 {
        let sc = cluster.context().build().unwrap();
        assert_eq!(sum(&sc), 499_500);
    }
}

#[test]
fn when_every_worker_is_broken_the_application_fails_with_the_reasons() {
    let cluster = Cluster::start(2, 1);
    break_worker(&cluster, 0);
    break_worker(&cluster, 1);
    let error = match cluster.context().build() {
        Err(error) => error.to_string(),
        Ok(sc) => sc.partitioned(2).range(0..10u64).count().unwrap_err().to_string(),
    };
    assert!(error.contains("no worker can run the executors") && error.contains("work-0"), "{error}");
}

#[test]
fn what_a_task_hides_from_its_executor_ends_with_the_worker_however_that_ends() {
    for how in ["kill -9", "stop"] {
        let mut cluster = Cluster::start(1, 1);
        let sc = cluster.context().build().unwrap();
        let start = |_| {
            let script = "env -i setsid sh -c 'sleep 1000 >/dev/null 2>&1 & echo $!' &";
            let out = Command::new("sh").args(["-c", script]).output().unwrap();
            String::from_utf8(out.stdout).unwrap().trim().parse::<u32>().unwrap()
        };
        let hidden = sc.partitioned(1).range(0..1u64).map(start).collect().unwrap()[0];
        assert!(alive(hidden));
        match how {
            "stop" => drop(cluster.workers.pop()),
            _ => cluster.workers[0].kill(),
        }
        until("the end of what the task has started", || !alive(hidden));
    }
}

#[test]
fn what_a_task_hides_ends_also_when_the_supervisor_above_its_executor_is_killed() {
    let cluster = Cluster::start(1, 1);
    let sc = cluster.context().build().unwrap();
    let start = |_| {
        let script = "env -i setsid sh -c 'sleep 1000 >/dev/null 2>&1 & echo $!' &";
        let out = Command::new("sh").args(["-c", script]).output().unwrap();
        let hidden = String::from_utf8(out.stdout).unwrap().trim().parse::<u32>().unwrap();
        (hidden, std::os::unix::process::parent_id())
    };
    let (hidden, supervisor) = sc.partitioned(1).range(0..1u64).map(start).collect().unwrap()[0];
    assert!(alive(hidden));
    assert!(Command::new("kill").args(["-9", &supervisor.to_string()]).status().unwrap().success());
    until("the end of what the task has started", || !alive(hidden));
    assert_eq!(sc.partitioned(1).range(0..10u64).count().unwrap(), 10);
}

#[test]
fn the_output_of_applications_stays_up_to_a_bound() {
    let cluster = Cluster::configured(1, 1, "spark.worker.ui.retainedExecutors 2\n");
    for _ in 0..5 {
        let sc = cluster.context().build().unwrap();
        assert_eq!(sc.partitioned(1).range(0..10u64).count().unwrap(), 10);
        sc.stop();
    }
    let kept = || {
        let names = fs::read_dir(cluster.dir.path().join("work-0")).unwrap().map(|e| e.unwrap().file_name());
        names.filter(|name| name.to_str().unwrap().starts_with("app-")).count()
    };
    // Of one that had two executors it is the only one.
    until("the output of the latest alone", || (1..=2).contains(&kept()));
    assert!(!cluster.said_by_executors().is_empty());
}
