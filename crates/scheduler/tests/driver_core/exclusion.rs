//! Executors on which tasks fail, on the virtual clock.

use std::{collections::BTreeSet, time::Duration};

use firesteel_common::{ExecutorId, TaskId};
use firesteel_protocol::*;
use firesteel_scheduler::*;

use crate::harness::*;

fn excluding(change: impl FnOnce(&mut ExclusionConfig), places: &[(&str, u32)]) -> Driver {
    let mut config = ExclusionConfig::default();
    change(&mut config);
    let mut d = Driver::with(SchedulerConfig { exclusion: Some(config), ..SchedulerConfig::default() });
    for (i, (host, cores)) in (1u32..).zip(places) {
        d.register(i, host, *cores);
    }
    d
}

/// Tasks that run on an executor.
fn at(d: &Driver, executor: u32) -> Vec<TaskId> {
    d.running.iter().filter(|(_, (e, _))| e.0 == executor).map(|(task, _)| *task).collect()
}

fn executors(d: &Driver) -> BTreeSet<u32> {
    d.running.values().map(|(e, _)| e.0).collect()
}

fn fail_at(d: &mut Driver, executor: u32, n: usize) {
    at(d, executor).into_iter().take(n).for_each(|task| d.fail(task, "no space left on device"));
}

#[test]
fn a_task_does_not_run_again_where_it_failed_and_others_do() {
    let mut d = excluding(|_| (), &[("h1", 1), ("h2", 1)]);
    d.submit(0, one_stage(3));
    let failed = at(&d, 1)[0];
    let partition = d.running[&failed].1.partition;
    d.fail(failed, "no");
    assert_eq!(at(&d, 1).len(), 1, "its slot serves another task");
    assert_ne!(d.running[&at(&d, 1)[0]].1.partition, partition);
    let here = at(&d, 1)[0];
    d.succeed(here);
    assert_eq!(at(&d, 1), [], "only the failed one waits");
    let there = at(&d, 2)[0];
    d.succeed(there);
    assert_eq!(d.placed(), [(2, partition)]);
    d.run_out();
    assert!(d.succeeded(0));
}

#[test]
fn two_failed_tasks_of_a_stage_exclude_the_executor_and_two_executors_their_host() {
    let mut d = excluding(|_| (), &[("h1", 2), ("h1", 2), ("h1", 2), ("h2", 2)]);
    d.submit(0, one_stage(40));
    // What runs there goes on, but nothing more comes.
    let empty = |d: &mut Driver, executor| at(d, executor).into_iter().for_each(|task| d.succeed(task));
    fail_at(&mut d, 1, 2);
    empty(&mut d, 1);
    assert_eq!(executors(&d), BTreeSet::from([2, 3, 4]));
    fail_at(&mut d, 2, 2);
    empty(&mut d, 2);
    empty(&mut d, 3);
    assert_eq!(executors(&d), BTreeSet::from([4]), "the third of the host has done nothing, but the host is avoided");
    d.submit(1, one_stage(4));
    assert!(executors(&d).is_superset(&BTreeSet::from([1, 2])), "another stage runs there");
}

#[test]
fn failures_in_stages_that_succeed_exclude_for_the_whole_application_until_the_timeout() {
    let mut d = excluding(|_| (), &[("h1", 2), ("h2", 4)]);
    d.submit(0, one_stage(6));
    fail_at(&mut d, 1, 2);
    d.run_out();
    assert!(d.succeeded(0));
    d.submit(1, one_stage(20));
    assert_eq!(executors(&d), BTreeSet::from([2]));
    d.advance(Duration::from_secs(3599));
    assert_eq!(executors(&d), BTreeSet::from([2]));
    d.advance(Duration::from_secs(2));
    assert_eq!(executors(&d), BTreeSet::from([1, 2]));
}

#[test]
fn a_job_whose_tasks_are_excluded_everywhere_fails_and_says_so() {
    let mut d = excluding(|_| (), &[("h1", 1), ("h2", 1)]);
    d.submit(0, one_stage(1));
    for _ in 0..2 {
        let task = d.tasks()[0];
        d.fail(task, "no");
    }
    assert!(matches!(d.error(0), JobError::Excluded { partition: 0, .. }), "{:?}", d.over);
    assert!(d.error(0).to_string().contains("spark.excludeOnFailure"));
}

#[test]
fn with_dynamic_allocation_others_are_waited_for() {
    let exclusion = Some(ExclusionConfig::default());
    let allocation = Some(AllocationConfig { max: 10, ..AllocationConfig::default() });
    for comes in [true, false] {
        let (exclusion, allocation) = (exclusion.clone(), allocation.clone());
        let mut d = Driver::with(SchedulerConfig { exclusion, allocation, ..SchedulerConfig::default() });
        d.register(1, "h1", 1);
        d.submit(0, one_stage(1));
        let task = d.tasks()[0];
        d.fail(task, "no");
        d.advance(Duration::from_secs(100));
        assert!(d.over.is_empty());
        if comes {
            d.register(2, "h2", 1);
            d.run_out();
            assert!(d.succeeded(0));
        } else {
            d.advance(Duration::from_secs(21));
            assert!(matches!(d.error(0), JobError::Excluded { .. }));
        }
    }
}

#[test]
fn excluded_executors_end_where_that_is_asked_for() {
    let mut d = excluding(|c| c.kill = true, &[("h1", 2), ("h2", 4)]);
    d.submit(0, one_stage(6));
    fail_at(&mut d, 1, 2);
    d.run_out();
    let retired = d.effects.iter().find_map(|e| match e {
        DriverEffect::RetireExecutors { executors } => Some(executors.iter().map(|(e, _)| *e).collect::<Vec<_>>()),
        _ => None,
    });
    assert_eq!(retired, Some(vec![ExecutorId(1)]));
}

#[test]
fn a_failed_fetch_excludes_its_executor_where_that_is_asked_for() {
    for asked in [true, false] {
        let mut d = excluding(|c| c.fetch_failure = asked, &[("h1", 2), ("h2", 2)]);
        d.submit(0, two_stages(4, 4));
        d.succeed_all_running();
        let task = d.tasks()[0];
        let failure = d.fetch_failure(task, 0, 0);
        let TaskOutcome::Failed(firesteel_common::TaskFailure::FetchFailed { executor, .. }) = &failure else {
            panic!()
        };
        let lost = executor.0;
        d.update(task, failure);
        let rest = d.tasks();
        rest.into_iter().for_each(|task| d.succeed(task));
        d.advance(Duration::from_millis(100));
        assert_eq!(at(&d, lost).is_empty(), asked);
        d.run_out();
        assert!(d.succeeded(0));
    }
}

#[test]
fn without_exclusion_a_task_runs_again_where_it_failed() {
    let mut d = Driver::with_executors(&[1]);
    d.submit(0, one_stage(1));
    for _ in 0..3 {
        let task = d.tasks()[0];
        d.fail(task, "no");
    }
    d.run_out();
    assert!(d.succeeded(0));
}
