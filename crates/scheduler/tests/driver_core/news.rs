//! What the schedulers tell of what happens, and how jobs and stages stand.

use firesteel_common::{ExecutorId, JobId, StageId, TaskFailure};
use firesteel_events::{AppEvent, JobEnd, TaskEnd};
use firesteel_protocol::*;
use firesteel_scheduler::*;

use super::harness::*;

/// An event in a few words.
fn short(event: &AppEvent) -> String {
    match event {
        AppEvent::JobStart { job, stages, .. } => format!("{job} starts, {} stages", stages.len()),
        AppEvent::JobEnd { job, result: JobEnd::Succeeded, .. } => format!("{job} succeeds"),
        AppEvent::JobEnd { job, .. } => format!("{job} fails"),
        AppEvent::StageSubmitted { info, .. } => format!("{} submitted, {} tasks", info.attempt, info.tasks),
        AppEvent::StageCompleted { info } => {
            format!("{} {}", info.attempt, if info.failure.is_none() { "done" } else { "given up" })
        }
        AppEvent::TaskStart { info, .. } => format!("{} starts", info.task),
        AppEvent::TaskGettingResult { info, .. } => format!("{} has its result fetched", info.task),
        AppEvent::TaskEnd { info, end: TaskEnd::Success, .. } => format!("{} succeeds", info.task),
        AppEvent::TaskEnd { info, end: TaskEnd::Failed(TaskFailure::Killed { .. }), .. } => {
            format!("{} killed", info.task)
        }
        AppEvent::TaskEnd { info, .. } => format!("{} fails", info.task),
        AppEvent::ExecutorAdded { executor, .. } => format!("{executor} added"),
        AppEvent::ExecutorRemoved { executor, .. } => format!("{executor} removed"),
        other => format!("{other:?}"),
    }
}

fn heard(d: &mut Driver) -> Vec<String> {
    d.core.take_news().iter().map(short).collect()
}

#[test]
fn while_nobody_listens_nothing_is_told_and_a_late_listener_hears_no_end_without_a_beginning() {
    let mut d = Driver::with_executors(&[2]);
    d.submit(0, graph(vec![node(0, 2, vec![])]));
    assert!(heard(&mut d).is_empty());
    d.core.listen(true, 0);
    d.run_out();
    d.submit(1, graph(vec![node(1, 1, vec![])]));
    let said = heard(&mut d);
    assert_eq!(said.first().unwrap(), "job 1 starts, 1 stages", "{said:?}");
    d.core.listen(false, 0);
    d.run_out();
    assert!(heard(&mut d).is_empty());
}

#[test]
fn a_job_of_two_stages_with_a_failure_is_told_from_its_start_to_its_end() {
    let mut d = Driver::new();
    d.core.listen(true, 1000);
    d.register(1, "host1", 1);
    d.submit(0, graph(vec![node(0, 2, vec![]), node(1, 1, vec![shuffle(0, 0, 1)])]));
    let first = d.tasks()[0];
    d.fail(first, "boom");
    d.run_out();
    assert_eq!(
        heard(&mut d),
        [
            "executor 1 added",
            "job 0 starts, 2 stages",
            "stage 0.0 submitted, 2 tasks",
            "task 0 starts",
            "task 0 fails",
            "task 1 starts",
            "task 1 succeeds",
            "task 2 starts",
            "task 2 succeeds",
            "stage 0.0 done",
            "stage 1.0 submitted, 1 tasks",
            "task 3 starts",
            "task 3 succeeds",
            "stage 1.0 done",
            "job 0 succeeds",
        ]
    );
    let job = d.core.job_status(JobId(0)).unwrap();
    assert_eq!((job.state, job.stages), (JobState::Succeeded, vec![StageId(0), StageId(1)]));
    let stage = d.core.stage_status(StageId(0)).unwrap();
    assert_eq!((stage.tasks, stage.active, stage.completed, stage.failed), (2, 0, 2, 1));
}

#[test]
fn a_cancelled_job_gives_up_its_stage_and_its_tasks_end_later() {
    let mut d = Driver::with_executors(&[2]);
    d.core.listen(true, 0);
    d.submit_with(7, graph(vec![node(0, 2, vec![])]), JobProperties { group: Some("g".into()), ..Default::default() });
    assert_eq!(d.core.active_job_ids(), [JobId(7)]);
    assert_eq!(d.core.active_stage_ids(), [StageId(0)]);
    assert_eq!(d.core.stage_status(StageId(0)).unwrap().active, 2);
    d.handle(DriverEvent::CancelJob { job: JobId(7), reason: "enough".to_owned() });
    let tasks: Vec<_> = d.running.keys().copied().collect();
    for task in tasks {
        d.update(task, TaskOutcome::Failed(TaskFailure::Killed { reason: "enough".to_owned() }));
    }
    let said = heard(&mut d);
    assert_eq!(said[4..], ["stage 0.0 given up", "job 7 fails", "task 0 killed", "task 1 killed"]);
    assert_eq!(d.core.jobs_of_group(Some("g")), [JobId(7)]);
    assert_eq!(d.core.jobs_of_group(None), []);
    assert_eq!(d.core.job_status(JobId(7)).unwrap().state, JobState::Failed);
    assert!(d.core.active_stage_ids().is_empty() && d.core.job_status(JobId(8)).is_none());
}

#[test]
fn the_tasks_of_a_lost_executor_end_with_it() {
    let mut d = Driver::with_executors(&[1, 1]);
    d.core.listen(true, 0);
    d.submit(0, graph(vec![node(0, 2, vec![])]));
    heard(&mut d);
    d.remove(2, false);
    assert_eq!(heard(&mut d), ["executor 2 removed", "task 1 fails"]);
    assert!(d.running.values().all(|(executor, _)| *executor == ExecutorId(1)));
}
