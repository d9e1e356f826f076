//! Checkpoints in files and at executors: when they are written, that lineages end there, and what is said of those that are
//! lost.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::mpsc,
    time::Duration,
};

use firesteel::{Accumulator, Error, JobError, LongSum, TaskContext, TaskFailure, events::AppEvent, prelude::*};
use firesteel_testing::{kill, until};

fn context(master: &str) -> Context {
    Context::builder().app_name("checkpoints").master(master).build().unwrap()
}

/// A Context that writes checkpoints into the directory.
fn writing() -> (Context, tempfile::TempDir) {
    let (sc, dir) = (context("local[2]"), tempfile::tempdir().unwrap());
    sc.set_checkpoint_dir(dir.path()).unwrap();
    (sc, dir)
}

/// Numbers, each counted when it is computed.
fn counted(sc: &Context, n: u64) -> (Rdd<u64>, Accumulator<LongSum>) {
    let computed = sc.long_accumulator("computed");
    let numbers = sc.partitioned(3).range(0..n).with(computed.clone()).map(|computed, i| {
        computed.add(1);
        i * 3
    });
    (numbers, computed)
}

fn expected(n: u64) -> Vec<u64> {
    (0..n).map(|i| i * 3).collect()
}

fn failure(error: &Error) -> TaskFailure {
    let Error::Job { reason, .. } = error else { panic!("{error}") };
    let Some(JobError::TaskFailed { failure, .. }) = reason.downcast_ref() else { panic!("{error}") };
    failure.clone()
}

#[test]
fn a_checkpoint_is_written_by_a_job_of_its_own_before_the_first_action_returns_and_read_from_then_on() {
    let (sc, dir) = writing();
    let (told, jobs) = mpsc::channel();
    let _listening = sc.add_listener(move |event: &AppEvent| {
        if let AppEvent::JobStart { name, .. } = event {
            told.send(name.clone()).unwrap();
        }
    });
    let (numbers, computed) = counted(&sc, 5000);
    numbers.checkpoint().unwrap();
    assert!(!numbers.is_checkpointed() && numbers.checkpoint_file().is_none());
    assert_eq!(numbers.count().unwrap(), 5000);
    assert!(numbers.is_checkpointed());
    // Not kept, so the job that writes computes them once more.
    assert_eq!(computed.value().unwrap(), 10_000);
    let files = numbers.checkpoint_file().unwrap();
    assert!(files.starts_with(dir.path()) && files.starts_with(sc.checkpoint_dir().unwrap()));
    assert!((0..3).all(|p| files.join(format!("part-{p:05}")).is_file()));
    for _ in 0..2 {
        assert_eq!(numbers.collect().unwrap(), expected(5000));
    }
    assert_eq!(computed.value().unwrap(), 10_000);
    let jobs: Vec<String> = (0..4).map(|_| jobs.recv_timeout(Duration::from_secs(20)).unwrap()).collect();
    let names: Vec<&str> = jobs.iter().map(|job| job.split(' ').next().unwrap()).collect();
    assert_eq!(names, ["count", "checkpoint", "collect", "collect"], "{jobs:?}");
    assert!(jobs[1].contains("checkpoints.rs"), "{jobs:?}");
}

#[test]
fn an_rdd_above_the_one_of_the_action_is_written_and_its_shuffles_are_let_go() {
    let (sc, _dir) = writing();
    let (told, stages) = mpsc::channel();
    let _listening = sc.add_listener(move |event: &AppEvent| {
        if let AppEvent::StageSubmitted { info, .. } = event {
            told.send(info.rdds.len()).unwrap();
        }
    });
    let sums = sc.partitioned(4).range(0..1000u64).map(|i| (i % 10, i)).reduce_by_key(|a, b| a + b).cache();
    sums.checkpoint().unwrap();
    let twice = sums.map_values(|v| v * 2);
    let all = twice.collect_as_map().unwrap();
    assert_eq!(all.len(), 10);
    assert!(sums.is_checkpointed() && !twice.is_checkpointed());
    sums.unpersist();
    assert_eq!(twice.collect_as_map().unwrap(), all);
    let rdds: Vec<usize> = (0..4).map(|_| stages.recv_timeout(Duration::from_secs(20)).unwrap()).collect();
    // The action's two stages, the one that writes, and what is read back with the map over it, without a stage before.
    assert_eq!(rdds, [2, 2, 1, 2]);
    // Its records lie as they did: a join needs no shuffle.
    let joined = sums.join(&twice);
    assert_eq!(joined.num_partitions(), sums.num_partitions());
    assert!(joined.collect().unwrap().iter().all(|(_, (once, twice))| once * 2 == *twice));
}

#[test]
fn a_loop_with_checkpoints_keeps_its_lineage_short() {
    let (sc, _dir) = writing();
    let (told, stages) = mpsc::channel();
    let _listening = sc.add_listener(move |event: &AppEvent| {
        if let AppEvent::StageSubmitted { info, .. } = event {
            told.send(info.rdds.len()).unwrap();
        }
    });
    let mut numbers = sc.partitioned(2).range(0..100u64);
    for round in 1..=30 {
        numbers = numbers.map(|i| i + 1);
        if round % 3 == 0 {
            numbers.checkpoint().unwrap();
            assert_eq!(numbers.count().unwrap(), 100);
        }
    }
    assert_eq!(numbers.collect().unwrap(), (30..130).collect::<Vec<_>>());
    let of_each: Vec<usize> = (0..21).map(|_| stages.recv_timeout(Duration::from_secs(20)).unwrap()).collect();
    let longest = of_each.into_iter().max().unwrap();
    assert!(longest <= 4, "a stage of {longest} RDDs");
}

#[test]
fn elements_of_any_size_come_back_in_their_order() {
    let (sc, _dir) = writing();
    let texts = sc.partitioned(3).range(0..3000u64).map(|i| (i, "x".repeat((i * i % 2003) as usize)));
    let empty = texts.filter(|_| false);
    let (all, units) = (texts.union(&empty), texts.map(|_| ()));
    all.checkpoint().unwrap();
    units.checkpoint().unwrap();
    let before = all.collect_partitions().unwrap();
    assert_eq!(units.count().unwrap(), 3000);
    assert!(all.is_checkpointed() && units.is_checkpointed());
    assert_eq!(all.collect_partitions().unwrap(), before);
    assert_eq!(units.count().unwrap(), 3000);
}

#[test]
fn what_was_not_determinate_is_determinate_once_it_is_written() {
    let (sc, _dir) = writing();
    let random = sc.range(0..10u64).map(|i| (i, std::time::SystemTime::now())).indeterminate();
    random.checkpoint().unwrap();
    random.count().unwrap();
    let first = random.collect().unwrap();
    assert_eq!(random.collect().unwrap(), first);
    assert_eq!(random.repartition(3).deterministic_level(), firesteel::events::DeterministicLevel::Determinate);
}

#[test]
fn without_a_directory_and_after_a_job_it_is_refused() {
    let sc = context("local[1]");
    let numbers = sc.range(0..10u64);
    let refused = numbers.checkpoint().unwrap_err();
    assert!(matches!(refused, Error::Checkpoint { .. }) && refused.to_string().contains("set_checkpoint_dir"));
    assert_eq!(numbers.map(|i| i + 1).count().unwrap(), 10);
    let dir = tempfile::tempdir().unwrap();
    sc.set_checkpoint_dir(dir.path()).unwrap();
    for refused in [numbers.checkpoint().unwrap_err(), numbers.local_checkpoint().unwrap_err()] {
        assert!(refused.to_string().contains("a job on it has run already"), "{refused}");
    }
    assert!(!numbers.is_checkpointed());
}

#[test]
fn a_checkpoint_that_cannot_be_written_fails_the_action_and_the_next_one_tries_again() {
    let (sc, _dir) = writing();
    let (numbers, _) = counted(&sc, 100);
    numbers.checkpoint().unwrap();
    let below = sc.checkpoint_dir().unwrap();
    fs::write(below.join(format!("rdd-{}", numbers.id())), "in the way").unwrap();
    assert!(matches!(numbers.count(), Err(Error::OutputExists(_))));
    assert!(!numbers.is_checkpointed());
    fs::remove_file(below.join(format!("rdd-{}", numbers.id()))).unwrap();
    assert_eq!(numbers.count().unwrap(), 100);
    assert!(numbers.is_checkpointed());
}

#[test]
fn a_damaged_or_missing_file_is_named_with_its_rdd_and_partition() {
    let (sc, _dir) = writing();
    let (numbers, _) = counted(&sc, 5000);
    numbers.checkpoint().unwrap();
    assert_eq!(numbers.count().unwrap(), 5000);
    let file = numbers.checkpoint_file().unwrap().join("part-00001");
    let whole = fs::read(&file).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for damage in [Some(&flipped[..]), Some(&whole[..whole.len() - 1]), Some(&[]), None] {
        match damage {
            Some(bytes) => fs::write(&file, bytes).unwrap(),
            None => fs::remove_file(&file).unwrap(),
        }
        let error = numbers.map(|i| i + 1).count().unwrap_err();
        let TaskFailure::CheckpointUnreadable { rdd, partition, path, .. } = failure(&error) else { panic!("{error}") };
        assert_eq!((rdd.0, partition, Path::new(&path)), (numbers.id(), 1, &*file));
        let text = error.to_string();
        assert!(text.contains("partition 1 of the checkpoint of") && text.contains(file.to_str().unwrap()), "{text}");
    }
    fs::write(&file, whole).unwrap();
    assert_eq!(numbers.collect().unwrap(), expected(5000));
}

#[test]
fn a_local_checkpoint_is_complete_after_an_action_on_a_part_and_its_loss_is_told() {
    let sc = context("local[2]");
    let (numbers, computed) = counted(&sc, 3000);
    numbers.local_checkpoint().unwrap();
    assert_eq!(numbers.storage_level(), StorageLevel::MEMORY_AND_DISK);
    assert_eq!(numbers.take(1).unwrap(), [0]);
    assert!(numbers.is_checkpointed() && numbers.checkpoint_file().is_none());
    assert_eq!(numbers.collect().unwrap(), expected(3000));
    assert_eq!(computed.value().unwrap(), 3000);
    numbers.unpersist();
    let error = numbers.count().unwrap_err();
    let TaskFailure::CheckpointUnreadable { rdd, path, .. } = failure(&error) else { panic!("{error}") };
    assert!(rdd.0 == numbers.id() && path.is_empty() && error.to_string().contains("local checkpoint"), "{error}");
}

#[test]
fn a_local_checkpoint_keeps_the_level_that_was_chosen_with_disk() {
    let sc = context("local[2]");
    let (numbers, _) = counted(&sc, 10);
    numbers.persist(StorageLevel::MEMORY_ONLY_SER).local_checkpoint().unwrap();
    assert_eq!(numbers.storage_level(), StorageLevel::MEMORY_AND_DISK_SER);
}

#[test]
fn a_running_job_is_not_disturbed_by_the_checkpoint_of_what_it_reads() {
    let (sc, dir) = (context("local[2,2]"), tempfile::tempdir().unwrap());
    sc.set_checkpoint_dir(dir.path()).unwrap();
    // Its partitions travel with the tasks, which a lineage that is cut has no more.
    let numbers = sc.partitioned(6).parallelize(0..600u64).map(|i| i * 3);
    numbers.checkpoint().unwrap();
    let (entered, go) = (dir.path().join("entered"), dir.path().join("go"));
    let slow = numbers.with((entered.clone(), go.clone())).map_partitions_with_index(|(entered, go), p, elements| {
        if p == 0 && TaskContext::get().unwrap().attempt_number() == 0 {
            fs::write(entered, "").unwrap();
            until("the checkpoint is written", || go.exists());
            panic!("the task is sent once more, as its stage began");
        }
        elements
    });
    let slow = slow.count_async().unwrap();
    until("the slow job runs", || entered.exists());
    // One of two slots is left.
    assert_eq!(numbers.count().unwrap(), 600);
    assert!(numbers.is_checkpointed());
    fs::write(go, "").unwrap();
    assert_eq!(slow.wait().unwrap(), 600);
}

fn processes(sc: &Context) -> BTreeSet<u32> {
    let pids = sc.partitioned(16).range(0..16u64).map(|_| std::process::id()).collect();
    pids.unwrap().into_iter().collect()
}

#[test]
fn a_checkpoint_outlives_all_executors_and_a_local_one_does_not() {
    let (sc, dir) = (context("local-cluster[2,1,512]"), tempfile::tempdir().unwrap());
    sc.set_checkpoint_dir(dir.path()).unwrap();
    let sums = |n: u64| sc.partitioned(4).range(0..n).map(|i| (i % 7, i)).reduce_by_key(|a, b| a + b);
    let (safe, local) = (sums(1000), sums(2000));
    safe.checkpoint().unwrap();
    local.local_checkpoint().unwrap();
    let (of_safe, of_local) = (safe.collect_as_map().unwrap(), local.collect_as_map().unwrap());
    assert!(safe.is_checkpointed() && local.is_checkpointed());
    assert_eq!(local.collect_as_map().unwrap(), of_local);
    until("both executors are there", || sc.executor_ids().unwrap().len() == 2);
    let old: BTreeSet<u32> = sc.executor_ids().unwrap().into_iter().collect();
    for pid in processes(&sc) {
        kill(pid);
    }
    until("others are there instead", || {
        let now = sc.executor_ids().unwrap();
        !now.is_empty() && now.iter().all(|executor| !old.contains(executor))
    });
    assert_eq!(safe.collect_as_map().unwrap(), of_safe);
    let error = local.collect().unwrap_err();
    let TaskFailure::CheckpointUnreadable { rdd, .. } = failure(&error) else { panic!("{error}") };
    assert_eq!(rdd.0, local.id());
}

#[test]
fn files_go_with_the_rdd_where_that_is_wanted() {
    for clean in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let builder = Context::builder().app_name("checkpoints").master("local[2]");
        let sc = builder.set("spark.cleaner.referenceTracking.cleanCheckpoints", clean).build().unwrap();
        sc.set_checkpoint_dir(dir.path()).unwrap();
        let written = |n: u64| -> (Rdd<u64>, PathBuf) {
            let numbers = sc.range(0..n).map(|i| i + 1);
            numbers.checkpoint().unwrap();
            assert_eq!(numbers.count().unwrap(), n);
            let file = numbers.checkpoint_file().unwrap();
            (numbers, file)
        };
        let ((first, of_first), (second, of_second)) = (written(10), written(20));
        let child = first.map(|i| i * 2);
        drop(first);
        assert_eq!(child.count().unwrap(), 10);
        assert!(of_first.exists() && of_second.exists());
        drop(child);
        drop(second);
        if clean {
            until("the files are gone", || !of_first.exists() && !of_second.exists());
        }
        drop(sc);
        assert_eq!((of_first.exists(), of_second.exists()), (!clean, !clean));
    }
}
