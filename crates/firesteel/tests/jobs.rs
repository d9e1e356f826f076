//! Jobs of several threads side by side: pools, local properties, groups, tags, cancellation.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use firesteel::{Error, JobError, prelude::*};

/// Numbers without end, until a file appears.
struct Endless {
    release: PathBuf,
    until: Instant,
}

impl Iterator for Endless {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        assert!(Instant::now() < self.until, "nobody ended this task");
        thread::sleep(Duration::from_micros(20));
        (!self.release.exists()).then_some(1)
    }
}

/// A job of one task that writes a file when it has begun and ends when it is killed, or when `release` is there.
fn endless(sc: &Context, dir: &Path, name: &str) -> Result<u64> {
    let paths = (dir.join(name), dir.join("release"));
    let numbers = sc.partitioned(1).range(0..1u32).with(paths).flat_map(|(begun, release), _| {
        std::fs::write(begun, b"").unwrap();
        Endless { release: release.clone(), until: Instant::now() + Duration::from_secs(60) }
    });
    numbers.count()
}

fn until_begun(dir: &Path, names: &[&str]) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !names.iter().all(|name| dir.join(name).exists()) {
        assert!(Instant::now() < deadline, "not all of {names:?} have begun");
        thread::sleep(Duration::from_millis(5));
    }
}

fn why(result: Result<u64>) -> String {
    let error = result.unwrap_err();
    let source = std::error::Error::source(&error);
    match source.and_then(|source| source.downcast_ref::<JobError>()) {
        Some(JobError::Cancelled { reason }) => reason.clone(),
        other => panic!("{error}: {other:?}"),
    }
}

#[test]
fn groups_tags_and_all_jobs_are_cancelled_and_others_go_on() {
    let sc = Context::builder().app_name("t").master("local[5]").build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    thread::scope(|threads| {
        let job = |name: &'static str, group: Option<&'static str>, tags: &'static [&'static str]| {
            let sc = sc.clone();
            threads.spawn(move || {
                if let Some(group) = group {
                    sc.set_job_group(group, "a test");
                }
                tags.iter().for_each(|tag| sc.add_job_tag(tag).unwrap());
                endless(&sc, dir, name)
            })
        };
        let (a, b) = (job("a", Some("g"), &[]), job("b", Some("other"), &["x", "y"]));
        let (c, e, f) = (job("c", None, &["y", "z"]), job("e", None, &["z"]), job("f", None, &[]));
        until_begun(dir, &["a", "b", "c", "e", "f"]);
        sc.cancel_job_group("g").unwrap();
        assert_eq!(why(a.join().unwrap()), "its group g was cancelled");
        sc.cancel_jobs_with_tag("y").unwrap();
        for job in [b, c] {
            assert_eq!(why(job.join().unwrap()), "the jobs with tag y were cancelled");
        }
        assert_eq!(sc.range(0..10u64).count().unwrap(), 10, "the slots of cancelled tasks come back");
        assert!(!e.is_finished() && !f.is_finished());
        sc.cancel_all_jobs().unwrap();
        for job in [e, f] {
            assert_eq!(why(job.join().unwrap()), "all jobs were cancelled");
        }
    });
    sc.set_job_group("later", "");
    sc.cancel_job_group_and_future_jobs("later").unwrap();
    assert!(why(sc.range(0..10u64).count()).contains("its group later was cancelled"));
    sc.clear_job_group();
    assert_eq!(sc.range(0..10u64).count().unwrap(), 10);
}

#[test]
fn the_jobs_of_a_cancelled_stage_fail() {
    let sc = Context::builder().app_name("t").master("local[2]").build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    thread::scope(|threads| {
        let job = threads.spawn(|| endless(&sc, dir.path(), "begun"));
        until_begun(dir.path(), &["begun"]);
        sc.cancel_stage(77).unwrap();
        sc.cancel_stage(0).unwrap();
        assert_eq!(why(job.join().unwrap()), "stage 0 was cancelled");
    });
}

#[test]
fn local_properties_belong_to_a_thread_and_a_context() {
    let sc = Context::builder().app_name("t").master("local[1]").build().unwrap();
    let other = Context::builder().app_name("t").master("local[1]").build().unwrap();
    sc.set_local_property("mine", "1");
    sc.add_job_tag("a").unwrap();
    sc.add_job_tag("b").unwrap();
    sc.remove_job_tag("a").unwrap();
    assert_eq!((sc.local_property("mine").as_deref(), other.local_property("mine")), (Some("1"), None));
    assert_eq!(sc.job_tags().into_iter().collect::<Vec<_>>(), ["b"]);
    for bad in ["", "a,b"] {
        assert!(matches!(sc.add_job_tag(bad), Err(Error::InvalidArgument(_))));
    }
    let properties = sc.local_properties();
    thread::scope(|threads| {
        threads.spawn(|| {
            assert_eq!(sc.local_property("mine"), None);
            sc.set_local_properties(properties);
            assert_eq!(sc.local_property("mine").as_deref(), Some("1"));
            assert!(sc.job_tags().contains("b"));
        });
    });
    sc.set_local_property("mine", None);
    sc.clear_job_tags();
    assert_eq!((sc.local_property("mine"), sc.job_tags().len()), (None, 0));
}

#[test]
fn jobs_of_many_threads_run_side_by_side_in_fair_pools() {
    let pools = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(
        &pools,
        "<allocations><pool name='a'><schedulingMode>FAIR</schedulingMode><weight>2</weight></pool></allocations>",
    )
    .unwrap();
    let sc = Context::builder()
        .app_name("t")
        .master("local[4]")
        .set("spark.scheduler.mode", "FAIR")
        .set("spark.scheduler.allocation.file", pools.path().display())
        .build()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    thread::scope(|threads| {
        // It has all slots but one; jobs of other pools get their turn all the same.
        let long = threads.spawn(|| endless(&sc, dir.path(), "begun"));
        until_begun(dir.path(), &["begun"]);
        let shared =
            sc.partitioned(8).range(0..1000u64).map(|x| (x % 10, x)).partitioned(4).reduce_by_key(|a, b| a + b);
        let jobs: Vec<_> = (0..12u64)
            .map(|i| {
                let (sc, shared) = (sc.clone(), shared.clone());
                threads.spawn(move || {
                    sc.set_local_property("spark.scheduler.pool", ["a", "b", "c"][i as usize % 3]);
                    let mut sums = shared.with(i).map(|i, (k, sum)| (k, sum + i)).collect().unwrap();
                    sums.sort_unstable();
                    let expected: Vec<(u64, u64)> =
                        (0..10).map(|k| (k, (0..1000).filter(|x| x % 10 == k).sum::<u64>() + i)).collect();
                    assert_eq!(sums, expected);
                })
            })
            .collect();
        jobs.into_iter().for_each(|job| job.join().unwrap());
        assert!(!long.is_finished());
        std::fs::write(dir.path().join("release"), b"").unwrap();
        assert!(long.join().unwrap().unwrap() > 0);
    });
}

#[test]
fn tasks_that_take_several_cores_run_fewer_at_a_time() {
    let sc = Context::builder().app_name("t").master("local[4]").set("spark.task.cpus", 2).build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let together = sc.partitioned(24).range(0..24u32).with(dir.path().to_owned()).map(|dir, i| {
        let mine = dir.join(i.to_string());
        std::fs::write(&mine, b"").unwrap();
        thread::sleep(Duration::from_millis(2));
        let n = std::fs::read_dir(dir).unwrap().count();
        std::fs::remove_file(mine).unwrap();
        n
    });
    assert!(together.collect().unwrap().into_iter().all(|n| n <= 2));
}

#[test]
fn a_copy_of_a_slow_task_ends_the_job_and_output_is_written_once() {
    let sc = Context::builder()
        .app_name("t")
        .master("local-cluster[2,2,512]")
        .set("spark.speculation", "true")
        .set("spark.speculation.quantile", "0.5")
        .build()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    // Whoever comes first to partition 0 is slow.
    let lines = sc.partitioned(8).range(0..8u32).with(dir.path().join("first")).map(|first, i| {
        if i == 0 && std::fs::OpenOptions::new().write(true).create_new(true).open(first).is_ok() {
            thread::sleep(Duration::from_secs(20));
        }
        i
    });
    let begin = Instant::now();
    lines.save_as_text_file(&out).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(20), "the copy was not waited for");
    let mut names: Vec<String> =
        std::fs::read_dir(&out).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut expected: Vec<String> = (0..8).map(|p| format!("part-{p:05}")).collect();
    expected.insert(0, "_SUCCESS".to_owned());
    assert_eq!(names, expected);
    for i in 0..8 {
        assert_eq!(std::fs::read_to_string(out.join(format!("part-{i:05}"))).unwrap(), format!("{i}\n"));
    }
}

#[test]
fn an_executor_on_which_tasks_fail_gets_no_more_of_them() {
    let sc = Context::builder()
        .app_name("t")
        .master("local-cluster[2,1,512]")
        .set("spark.excludeOnFailure.enabled", "true")
        .build()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    // Every task fails in the process that is the first to run one.
    let pids = sc.partitioned(30).range(0..30u32).with(dir.path().to_owned()).map(|dir, i| {
        let (bad, me) = (dir.join("bad"), std::process::id().to_string());
        let begun = dir.join(&me);
        let written = std::fs::OpenOptions::new().write(true).create_new(true).open(&bad);
        if let Ok(mut file) = written {
            std::io::Write::write_all(&mut file, me.as_bytes()).unwrap();
        }
        std::fs::create_dir_all(&begun).unwrap();
        // The other executor has its part of the work.
        let until = Instant::now() + Duration::from_secs(30);
        while std::fs::read_dir(dir).unwrap().count() < 3 && Instant::now() < until {
            thread::sleep(Duration::from_millis(2));
        }
        if std::fs::read_to_string(&bad).unwrap() == me {
            std::fs::write(begun.join(format!("{i}")), b"").unwrap();
            panic!("this executor is broken");
        }
        std::process::id()
    });
    let good: std::collections::BTreeSet<u32> = pids.collect().unwrap().into_iter().collect();
    assert_eq!(good.len(), 1);
    let bad = std::fs::read_to_string(dir.path().join("bad")).unwrap();
    let failed = std::fs::read_dir(dir.path().join(bad)).unwrap().count();
    assert!((1..=2).contains(&failed), "{failed} tasks failed there");
}

#[test]
fn an_executor_whose_killed_task_does_not_end_is_replaced() {
    let sc = Context::builder()
        .app_name("t")
        .master("local-cluster[1,1,512]")
        .set("spark.task.reaper.enabled", "true")
        .set("spark.task.reaper.pollingInterval", "100ms")
        .set("spark.task.reaper.killTimeout", "500ms")
        .build()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    thread::scope(|threads| {
        let job = threads.spawn(|| {
            let stuck = sc.partitioned(1).range(0..1u32).with(dir.path().join("begun")).map(|begun, x| {
                std::fs::write(begun, b"").unwrap();
                // It looks at no flag.
                thread::sleep(Duration::from_secs(100));
                x
            });
            stuck.map(u64::from).reduce(|a, b| a + b).map(|_| 0)
        });
        until_begun(dir.path(), &["begun"]);
        sc.cancel_all_jobs().unwrap();
        assert_eq!(why(job.join().unwrap()), "all jobs were cancelled");
        assert_eq!(sc.partitioned(2).range(0..10u64).count().unwrap(), 10, "another executor runs this");
    });
    assert!(begin.elapsed() < Duration::from_secs(90), "nobody waited for the task");
}
