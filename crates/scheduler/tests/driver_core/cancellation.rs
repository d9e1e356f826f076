//! Jobs that are cancelled, and the end of the Context.

use firesteel_common::{JobId, TaskFailure};
use firesteel_scheduler::*;

use crate::harness::*;

#[test]
fn a_cancelled_job_fails_with_the_reason_its_tasks_are_killed_and_its_slots_serve_others_afterwards() {
    let mut d = Driver::with_executors(&[2]);
    d.submit(0, one_stage(5));
    d.handle(DriverEvent::CancelJob { job: JobId(0), reason: "no longer wanted".to_owned() });
    assert_eq!(d.error(0).to_string(), "the job was cancelled: no longer wanted");
    assert_eq!(d.killed(), d.tasks());
    d.submit(1, one_stage(1));
    assert_eq!(d.running.len(), 2, "a killed task takes its slot until it has ended");
    for task in d.tasks() {
        d.update(task, TaskOutcome::Failed(TaskFailure::Killed { reason: String::new() }));
    }
    d.run_out();
    assert!(d.succeeded(1));
}

#[test]
fn a_result_that_arrives_after_the_cancellation_is_no_result() {
    let mut d = Driver::with_executors(&[1]);
    d.submit(0, one_stage(1));
    let task = d.tasks()[0];
    let outcome = d.good(task);
    d.handle(DriverEvent::CancelJob { job: JobId(0), reason: String::new() });
    d.update(task, outcome);
    assert!(d.results.is_empty());
}

#[test]
fn cancelling_an_unknown_or_finished_job_does_nothing() {
    let mut d = Driver::with_executors(&[1]);
    d.submit(0, one_stage(1));
    d.run_out();
    d.effects.clear();
    d.handle(DriverEvent::CancelJob { job: JobId(0), reason: String::new() });
    d.handle(DriverEvent::CancelJob { job: JobId(7), reason: String::new() });
    assert!(d.effects.is_empty());
}

#[test]
fn finished_map_outputs_of_a_cancelled_job_are_used_by_the_next() {
    let mut d = Driver::with_executors(&[2]);
    d.submit(0, two_stages(2, 2));
    d.succeed_all_running();
    d.handle(DriverEvent::CancelJob { job: JobId(0), reason: String::new() });
    d.running.clear();
    d.register(2, "h2", 2);
    d.effects.clear();
    d.submit(1, two_stages(2, 2));
    assert_eq!(d.starts().iter().map(|s| s.2).collect::<Vec<_>>(), [2]);
    d.run_out();
    assert!(d.succeeded(1));
}

#[test]
fn stopping_fails_every_job_and_every_later_one() {
    let mut d = Driver::with_executors(&[1]);
    d.submit(0, one_stage(1));
    d.submit(1, two_stages(1, 1));
    d.handle(DriverEvent::Stop);
    d.submit(2, one_stage(1));
    for job in 0..3 {
        assert_eq!(d.error(job), &JobError::Stopped);
    }
}

#[test]
fn a_cluster_that_gives_no_executors_any_more_fails_jobs_with_the_reason() {
    let mut d = Driver::new();
    d.submit(0, one_stage(1));
    d.handle(DriverEvent::ClusterFailed { message: "the master removed the application".to_owned() });
    assert!(d.error(0).to_string().ends_with("any more: the master removed the application"));
}
