//! Task failures and `spark.task.maxFailures`.

use firesteel_common::TaskFailure;
use firesteel_protocol::*;
use firesteel_scheduler::*;

use crate::harness::*;

#[test]
fn a_task_that_fails_as_often_as_allowed_fails_the_job_with_the_last_failure() {
    let mut d = Driver::with_executors(&[1]);
    d.submit(0, one_stage(1));
    for n in 1..=4 {
        let task = d.tasks()[0];
        assert_eq!(d.running[&task].1.attempt_number, n - 1);
        d.fail(task, &format!("boom {n}"));
    }
    assert_eq!(
        d.error(0).to_string(),
        "partition 0 of stage 0 failed 4 times; the last failure: panicked at src/main.rs:3:5: boom 4"
    );
    assert!(d.running.is_empty());
}

#[test]
fn a_task_that_succeeds_in_its_last_allowed_try_is_a_success() {
    let mut d = Driver::with_executors(&[1]);
    d.submit(0, one_stage(1));
    (0..3).for_each(|_| d.fail(d.tasks()[0], "boom"));
    d.run_out();
    assert!(d.succeeded(0));
}

#[test]
fn failures_of_different_tasks_do_not_add_up() {
    let mut d = Driver::with_executors(&[4]);
    d.submit(0, one_stage(4));
    (0..3).for_each(|_| d.tasks().into_iter().for_each(|t| d.fail(t, "boom")));
    d.run_out();
    assert!(d.succeeded(0));
}

#[test]
fn a_kill_and_the_loss_of_an_executor_by_others_fault_do_not_count() {
    let mut d = Driver::new();
    d.submit(0, one_stage(1));
    for executor in 1..20 {
        d.register(executor, "h", 1);
        let task = d.tasks()[0];
        d.update(task, TaskOutcome::Failed(TaskFailure::Killed { reason: "preempted".to_owned() }));
        d.remove(executor, false);
    }
    d.register(20, "h", 1);
    d.run_out();
    assert!(d.succeeded(0));
}

#[test]
fn an_executor_that_the_application_itself_ends_counts_and_is_named() {
    let mut d = Driver::new();
    d.submit(0, one_stage(1));
    for executor in 1..=4 {
        d.register(executor, "h", 1);
        assert_eq!(d.running.len(), 1);
        d.remove(executor, true);
    }
    let text = d.error(0).to_string();
    assert!(text.ends_with("executor 4 was lost: exited with code 1"), "{text}");
}

#[test]
fn the_failure_of_one_task_kills_the_others_of_the_job_and_their_slots_come_back_when_they_have_ended() {
    let mut d = Driver::with(SchedulerConfig { max_task_failures: 1, ..SchedulerConfig::default() });
    d.register(1, "h", 2);
    d.submit(0, one_stage(2));
    let tasks = d.tasks();
    d.fail(tasks[0], "boom");
    assert_eq!(d.killed(), [tasks[1]]);
    d.submit(1, one_stage(2));
    assert_eq!(d.running.len(), 2, "one slot is free, the other still taken");
    d.update(tasks[1], TaskOutcome::Failed(TaskFailure::Killed { reason: String::new() }));
    assert_eq!(d.running.len(), 2);
    d.run_out();
    assert!(d.succeeded(1));
}

#[test]
fn an_output_of_the_wrong_kind_is_a_failure_of_the_task() {
    let mut d = Driver::with_executors(&[1]);
    d.submit(0, two_stages(1, 1));
    for _ in 0..4 {
        d.update(d.tasks()[0], TaskOutcome::Result(bytes::Bytes::new()));
    }
    assert!(matches!(d.error(0), JobError::TaskFailed { .. }));
}
