//! Jobs that are cancelled, and the end of the Context.

use firesteel_common::{JobId, StageId, TaskFailure};
use firesteel_protocol::*;
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

fn said(group: Option<&str>, tags: &[&str]) -> JobProperties {
    JobProperties {
        group: group.map(str::to_owned),
        tags: tags.iter().map(|t| (*t).to_owned()).collect(),
        ..JobProperties::default()
    }
}

fn cancel(d: &mut Driver, which: JobSelection) {
    d.handle(DriverEvent::CancelJobs { which, reason: "enough".to_owned() });
}

#[test]
fn jobs_are_cancelled_by_group_by_tag_and_all() {
    let mut d = Driver::with_executors(&[8]);
    d.submit_with(0, one_stage(1), said(Some("g"), &[]));
    d.submit_with(1, one_stage(1), said(Some("h"), &["x"]));
    d.submit_with(2, one_stage(1), said(None, &["x", "y"]));
    d.submit_with(3, one_stage(1), said(Some("g"), &["z"]));
    d.submit(4, one_stage(1));
    let over = |d: &Driver| d.over.keys().map(|job| job.0).collect::<Vec<_>>();
    cancel(&mut d, JobSelection::Group { group: "g".to_owned(), future: false });
    assert_eq!(over(&d), [0, 3]);
    cancel(&mut d, JobSelection::Tag("x".to_owned()));
    assert_eq!(over(&d), [0, 1, 2, 3]);
    cancel(&mut d, JobSelection::All);
    assert_eq!(over(&d), [0, 1, 2, 3, 4]);
    assert_eq!(d.error(2), &JobError::Cancelled { reason: "enough".to_owned() });
    assert_eq!(d.killed().len(), 5);
    d.submit_with(5, one_stage(1), said(Some("g"), &["x"]));
    assert_eq!(d.core.active_jobs(), 1, "what comes later is not cancelled");
}

#[test]
fn jobs_to_come_of_a_cancelled_group_fail_where_that_was_asked_for() {
    let mut d = Driver::with_executors(&[8]);
    cancel(&mut d, JobSelection::Group { group: "g".to_owned(), future: true });
    d.submit_with(0, one_stage(1), said(Some("g"), &[]));
    assert!(matches!(d.error(0), JobError::Cancelled { .. }));
    d.submit_with(1, one_stage(1), said(Some("h"), &[]));
    d.run_out();
    assert!(d.succeeded(1));
    // The last thousand are remembered.
    for i in 0..1000 {
        cancel(&mut d, JobSelection::Group { group: i.to_string(), future: true });
    }
    d.submit_with(2, one_stage(1), said(Some("g"), &[]));
    d.run_out();
    assert!(d.succeeded(2));
}

#[test]
fn a_cancelled_stage_takes_all_jobs_with_it_that_need_it_and_no_other() {
    let mut d = Driver::with_executors(&[2]);
    d.submit(0, two_stages(2, 1));
    d.submit(1, two_stages(2, 1));
    d.submit(2, one_stage(1));
    // Stage 0 writes the shuffle that both read.
    d.handle(DriverEvent::CancelStage { stage: StageId(0), reason: "stage 0".to_owned() });
    assert!(matches!(d.error(0), JobError::Cancelled { .. }) && matches!(d.error(1), JobError::Cancelled { .. }));
    d.killed().into_iter().for_each(|t| d.fail(t, "killed"));
    d.run_out();
    assert!(d.succeeded(2));
}
