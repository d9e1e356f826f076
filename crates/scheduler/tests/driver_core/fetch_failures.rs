//! Shuffle output that cannot be read, and outputs lost with their executor.

use std::time::Duration;

use firesteel_common::{ShuffleId, TaskFailure, TaskId};
use firesteel_protocol::*;
use firesteel_scheduler::*;

use crate::harness::*;

/// Two executors of two slots; the maps of `two_stages(4, reduces)` are done and reducers run.
fn reducing(reduces: u32) -> Driver {
    let mut d = Driver::with_executors(&[2, 2]);
    d.submit(0, two_stages(4, reduces));
    d.succeed_all_running();
    d
}

const DELAY: Duration = Duration::from_millis(100);

#[test]
fn many_fetch_failures_lead_to_one_resubmission_of_the_lost_maps_and_of_the_missing_reducers() {
    let mut d = reducing(4);
    let tasks = d.tasks();
    d.succeed(tasks[0]);
    for task in &tasks[1..] {
        let failure = d.fetch_failure(*task, 0, 0);
        d.update(*task, failure);
    }
    assert!(d.running.is_empty());
    d.advance(DELAY);
    let lost = d.starts()[2].2;
    assert_eq!(lost, 2, "all outputs of the executor that could not be read are made again");
    d.run_out();
    assert_eq!(d.starts(), [(0, 0, 4), (1, 0, 4), (0, 1, 2), (1, 1, 3)]);
    assert!(d.succeeded(0));
}

#[test]
fn a_task_of_the_ended_attempt_that_succeeds_after_all_is_not_run_again() {
    let mut d = reducing(3);
    let tasks = d.tasks();
    let failure = d.fetch_failure(tasks[0], 0, 0);
    d.update(tasks[0], failure);
    d.advance(DELAY);
    d.succeed(tasks[1]);
    let maps: Vec<TaskId> = d.tasks().into_iter().filter(|t| *t > tasks[2]).collect();
    maps.into_iter().for_each(|t| d.succeed(t));
    assert_eq!(d.starts().last(), Some(&(1, 1, 2)));
    // The old attempt's third task is still at work and wins; its copy is killed.
    d.effects.clear();
    d.succeed(tasks[2]);
    assert_eq!(d.killed().len(), 1);
    d.run_out();
    assert!(d.succeeded(0));
}

#[test]
fn a_stage_that_can_never_fetch_fails_the_job_after_the_allowed_attempts() {
    let mut d = reducing(1);
    for n in 1..=4 {
        let task = d.tasks()[0];
        let failure = d.fetch_failure(task, 0, 0);
        d.update(task, failure);
        if n < 4 {
            d.advance(DELAY);
            d.succeed_all_running();
        }
    }
    assert!(matches!(d.error(0), JobError::FetchFailedTooOften { attempts: 4, .. }));
    let text = d.error(0).to_string();
    assert!(text.contains("could not fetch shuffle 0 map 0 reduce 0 from executor"), "{text}");
}

#[test]
fn fetch_failures_do_not_count_as_task_failures() {
    let mut d = Driver::with(SchedulerConfig { max_task_failures: 1, ..SchedulerConfig::default() });
    d.register(1, "h", 1);
    d.submit(0, two_stages(1, 1));
    d.succeed_all_running();
    let failure = d.fetch_failure(d.tasks()[0], 0, 0);
    d.update(d.tasks()[0], failure);
    d.run_out();
    assert!(d.succeeded(0));
}

#[test]
fn a_late_fetch_failure_does_not_drop_outputs_that_were_made_since() {
    let mut d = Driver::with_executors(&[4]);
    d.submit(0, two_stages(2, 1));
    d.submit(1, two_stages(2, 1));
    d.succeed_all_running();
    let (a, b) = (d.tasks()[0], d.tasks()[1]);
    let late = d.fetch_failure(b, 0, 1);
    let failure = d.fetch_failure(a, 0, 0);
    d.update(a, failure);
    d.advance(DELAY);
    let maps: Vec<TaskId> = d.tasks().into_iter().filter(|t| *t > b).collect();
    maps.into_iter().for_each(|t| d.succeed(t));
    d.effects.clear();
    d.update(b, late);
    d.advance(DELAY);
    d.run_out();
    assert!(d.succeeded(0) && d.succeeded(1));
    let maps_again = d.starts().iter().filter(|s| s.0 == 0).count();
    assert_eq!(maps_again, 0, "the second reader's failure was about outputs that are gone already");
}

#[test]
fn map_outputs_of_a_lost_executor_are_made_again_while_the_map_stage_runs() {
    let mut d = Driver::with_executors(&[1, 1]);
    d.submit(0, two_stages(4, 1));
    let first = d.tasks();
    first.into_iter().for_each(|t| d.succeed(t));
    d.remove(1, false);
    d.run_out();
    assert!(d.succeeded(0));
    assert_eq!(d.starts(), [(0, 0, 4), (1, 0, 1)]);
    let made = d.effects.iter().filter_map(|e| match e {
        DriverEffect::LaunchTasks { tasks, .. } => Some(tasks.iter().filter(|t| t.stage.stage.0 == 0).count()),
        _ => None,
    });
    assert_eq!(made.sum::<usize>(), 6, "four, one lost with its output and one lost while it ran");
}

#[test]
fn reading_behind_a_cached_rdd_that_has_gone_brings_the_shuffle_back() {
    let mut g = two_stages(2, 1);
    g.nodes[1].cached = true;
    let mut d = Driver::with_executors(&[2]);
    d.submit(0, g.clone());
    d.succeed_all_running();
    let (task, outcome) = (d.tasks()[0], d.good(d.tasks()[0]));
    let rdd = firesteel_common::RddId(1);
    d.update_with(task, outcome, vec![BlockUpdate::stored(rdd, 0, 9)]);
    d.handle(DriverEvent::ShuffleRemoved { shuffle: ShuffleId(0) });
    d.effects.clear();
    d.submit(1, g);
    // The executor has evicted the partition and its news has not arrived; the shuffle was not promised to the task.
    let failure = TaskFailure::FetchFailed {
        shuffle: ShuffleId(0),
        map_index: u32::MAX,
        map_task: TaskId(0),
        reduce: 0,
        executor: firesteel_common::ExecutorId(1),
        message: "its location is not known".to_owned(),
    };
    d.update(d.tasks()[0], TaskOutcome::Failed(failure));
    d.run_out();
    assert!(d.succeeded(1));
    assert_eq!(d.starts().len(), 3);
}

#[test]
fn the_chain_of_lost_parents_is_computed_again_from_its_beginning() {
    let nodes = vec![node(0, 2, vec![]), node(1, 2, vec![shuffle(0, 0, 2)]), node(2, 2, vec![shuffle(1, 1, 2)])];
    let mut d = Driver::with_executors(&[4]);
    d.submit(0, graph(nodes));
    d.succeed_all_running();
    d.succeed_all_running();
    d.remove(1, false);
    d.register(2, "h2", 4);
    assert_eq!(d.running.len(), 2, "the reducers are tried first: nobody has said yet that they cannot read");
    let tasks = d.tasks();
    for t in tasks {
        let failure = d.fetch_failure(t, 1, 0);
        d.update(t, failure);
    }
    d.run_out();
    assert!(d.succeeded(0));
    assert_eq!(d.starts(), [(0, 0, 2), (1, 0, 2), (2, 0, 2), (0, 1, 2), (1, 1, 2), (2, 1, 2)]);
}
