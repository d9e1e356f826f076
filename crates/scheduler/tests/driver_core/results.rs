//! Results: direct, by block, bounded, and never twice.

use bytes::Bytes;
use firesteel_common::JobId;
use firesteel_protocol::*;
use firesteel_scheduler::*;

use crate::harness::*;

fn in_block(size: u64) -> TaskOutcome {
    TaskOutcome::ResultInBlock { block_id: "taskresult_0".to_owned(), size }
}

#[test]
fn a_large_result_is_fetched_and_its_slot_is_free_meanwhile() {
    let mut d = Driver::with_executors(&[1]);
    d.submit(0, one_stage(2));
    let first = d.tasks()[0];
    d.update(first, in_block(1000));
    assert!(d.effects.iter().any(|e| matches!(e, DriverEffect::FetchResult { task, .. } if *task == first)));
    assert_eq!(d.running.len(), 1, "the second task has the slot");
    d.handle(DriverEvent::ResultFetched { task: first, result: Ok(Bytes::from("big")) });
    d.run_out();
    assert_eq!(d.results[&(JobId(0), 0)], "big");
    assert!(d.succeeded(0));
}

#[test]
fn a_result_that_cannot_be_fetched_is_computed_again_and_counts_as_a_failure() {
    let mut d = Driver::with_executors(&[1]);
    d.submit(0, one_stage(1));
    for _ in 0..4 {
        let task = d.tasks()[0];
        d.update(task, in_block(10));
        d.handle(DriverEvent::ResultFetched { task, result: Err("connection refused".to_owned()) });
    }
    assert!(d.error(0).to_string().ends_with("result lost: connection refused"));
}

#[test]
fn the_loss_of_the_executor_while_its_result_is_fetched_makes_the_task_run_again() {
    let mut d = Driver::with_executors(&[1]);
    d.submit(0, one_stage(1));
    let task = d.tasks()[0];
    d.update(task, in_block(10));
    d.remove(1, false);
    d.register(2, "h", 1);
    assert_eq!(d.running.len(), 1);
    d.handle(DriverEvent::ResultFetched { task, result: Ok(Bytes::from("late")) });
    assert!(d.results.is_empty(), "a result of a task that was given up is no result");
    d.run_out();
    assert_eq!(d.results[&(JobId(0), 0)], "0");
}

#[test]
fn results_over_the_limit_fail_the_job_whether_direct_or_by_block() {
    let config = SchedulerConfig { max_result_size: 100, ..SchedulerConfig::default() };
    for block in [false, true] {
        let mut d = Driver::with(config.clone());
        d.register(1, "h", 4);
        d.submit(0, one_stage(3));
        let tasks = d.tasks();
        d.update(tasks[0], TaskOutcome::Result(Bytes::from(vec![0; 60])));
        let second = if block { in_block(50) } else { TaskOutcome::Result(Bytes::from(vec![0; 50])) };
        d.update(tasks[1], second);
        assert_eq!(d.error(0), &JobError::ResultTooLarge { total: 110, limit: 100, tasks: 2 });
        assert_eq!(d.killed(), [tasks[2]]);
        assert!(!d.effects.iter().any(|e| matches!(e, DriverEffect::FetchResult { .. })));
    }
}

#[test]
fn the_limit_counts_each_result_once_and_all_that_are_on_their_way() {
    let mut d = Driver::with(SchedulerConfig { max_result_size: 100, ..SchedulerConfig::default() });
    d.register(1, "h", 8);
    d.submit(0, one_stage(8));
    let tasks = d.tasks();
    // Two are there, three are being fetched, and the sixth is too much.
    d.update(tasks[0], TaskOutcome::Result(Bytes::from(vec![0; 10])));
    d.update(tasks[1], in_block(20));
    d.handle(DriverEvent::ResultFetched { task: tasks[1], result: Ok(Bytes::from(vec![0; 20])) });
    for task in &tasks[2..5] {
        d.update(*task, in_block(20));
    }
    d.update(tasks[5], in_block(20));
    let error = d.error(0);
    assert_eq!(error, &JobError::ResultTooLarge { total: 110, limit: 100, tasks: 6 });
    let text = error.to_string();
    let expected =
        "total size of serialized results of 6 tasks (110 bytes) is bigger than spark.driver.maxResultSize (100 bytes)";
    assert!(text.starts_with(expected), "{text}");
}

#[test]
fn one_result_over_the_limit_is_not_fetched_and_counts_as_one_task() {
    let mut d = Driver::with(SchedulerConfig { max_result_size: 1 << 30, ..SchedulerConfig::default() });
    d.register(1, "h", 1);
    d.submit(0, one_stage(3));
    let task = d.tasks()[0];
    d.update(task, in_block(2100 << 20));
    assert!(!d.effects.iter().any(|e| matches!(e, DriverEffect::FetchResult { .. })));
    let text = d.error(0).to_string();
    assert!(text.starts_with("total size of serialized results of 1 task (2100.0 MiB) is bigger than"), "{text}");
    assert!(text.contains("spark.driver.maxResultSize (1024.0 MiB)"), "{text}");
}

#[test]
fn a_result_that_was_lost_takes_no_room() {
    let mut d = Driver::with(SchedulerConfig { max_result_size: 100, ..SchedulerConfig::default() });
    d.register(1, "h", 1);
    d.submit(0, one_stage(1));
    for _ in 0..3 {
        let task = d.tasks()[0];
        d.update(task, in_block(90));
        d.handle(DriverEvent::ResultFetched { task, result: Err("gone".to_owned()) });
    }
    d.run_out();
    assert!(d.succeeded(0));
}

#[test]
fn repeated_news_of_a_task_changes_nothing() {
    let mut d = Driver::with_executors(&[1]);
    d.submit(0, one_stage(2));
    let task = d.tasks()[0];
    let outcome = d.good(task);
    d.succeed(task);
    d.report(1, task, outcome.clone(), Vec::new());
    d.report(2, task, outcome, Vec::new());
    assert_eq!(d.results.len(), 1);
    d.run_out();
    assert!(d.succeeded(0));
}
