//! Output that cannot be computed again in the same way must never be mixed with its first edition.

use std::time::Duration;

use firesteel_common::{RddId, ShuffleId, TaskId};
use firesteel_scheduler::*;

use crate::harness::*;

fn unsteady(maps: u32, reduces: u32) -> JobGraph {
    let mut g = two_stages(maps, reduces);
    g.nodes[0].indeterminate = true;
    g
}

fn fetch_fails(d: &mut Driver, task: TaskId) {
    let failure = d.fetch_failure(task, 0, 0);
    d.update(task, failure);
    d.advance(Duration::from_millis(100));
}

#[test]
fn losing_output_that_a_finished_task_has_read_fails_the_job_with_the_named_error() {
    let mut d = Driver::with_executors(&[2, 2]);
    d.submit(0, unsteady(4, 4));
    d.succeed_all_running();
    let tasks = d.tasks();
    d.succeed(tasks[0]);
    fetch_fails(&mut d, tasks[1]);
    assert!(matches!(d.error(0), JobError::Indeterminate { .. }));
    let text = d.error(0).to_string();
    assert!(text.contains("shuffle 0") && text.contains("run the job again"), "{text}");
}

#[test]
fn losing_output_that_nobody_has_used_yet_is_harmless() {
    let mut d = Driver::with_executors(&[2, 2]);
    d.submit(0, unsteady(4, 4));
    d.succeed_all_running();
    let tasks = d.tasks();
    fetch_fails(&mut d, tasks[1]);
    // The other tasks of the ended attempt come to an end on the old output when the new is there.
    let maps: Vec<TaskId> = d.tasks().into_iter().filter(|t| *t > tasks[3]).collect();
    maps.into_iter().for_each(|t| d.succeed(t));
    for t in [tasks[0], tasks[2], tasks[3]] {
        d.succeed(t);
    }
    assert!(d.results.is_empty(), "results from the first edition are not mixed with the second");
    d.run_out();
    assert!(d.succeeded(0));
}

#[test]
fn a_reader_that_finishes_on_the_old_output_while_the_new_is_made_is_not_counted() {
    let mut d = Driver::with_executors(&[2, 2]);
    d.submit(0, unsteady(4, 4));
    d.succeed_all_running();
    let tasks = d.tasks();
    fetch_fails(&mut d, tasks[1]);
    d.succeed(tasks[0]);
    assert!(d.results.is_empty());
    d.run_out();
    assert!(d.succeeded(0));
}

/// An unsteady RDD, shuffle 0, shuffle 1, the result.
fn three_stages() -> JobGraph {
    let mut g = unsteady(2, 2);
    g.nodes.push(node(2, 2, vec![shuffle(1, 1, 2)]));
    g.root = 2;
    g
}

#[test]
fn a_map_stage_that_has_read_lost_output_in_part_is_rolled_back() {
    let mut d = Driver::with_executors(&[1, 1]);
    d.submit(0, three_stages());
    d.succeed_all_running();
    // One reader finishes on the executor that keeps its outputs.
    let lost = d.reads.values().next_back().unwrap()[&ShuffleId(0)][0].executor;
    let (fails, finishes): (Vec<TaskId>, Vec<TaskId>) = d.tasks().into_iter().partition(|t| d.running[t].0 == lost);
    d.succeed(finishes[0]);
    fetch_fails(&mut d, fails[0]);
    d.run_out();
    assert!(d.succeeded(0), "{:?}", d.over);
    assert_eq!(d.starts(), [(0, 0, 2), (1, 0, 2), (0, 1, 1), (1, 1, 2), (2, 0, 2)], "both tasks of stage 1 ran again");
}

#[test]
fn results_that_were_handed_out_cannot_be_rolled_back() {
    let mut d = Driver::with_executors(&[1, 1]);
    d.submit(0, three_stages());
    d.succeed_all_running();
    d.succeed_all_running();
    let tasks = d.tasks();
    d.succeed(tasks[0]);
    let failure = d.fetch_failure(tasks[1], 1, 0);
    d.update(tasks[1], failure);
    d.advance(Duration::from_millis(100));
    d.run_out();
    assert!(matches!(d.error(0), JobError::Indeterminate { .. }), "{:?}", d.over);
    d.submit(1, three_stages());
    d.run_out();
    assert!(d.succeeded(1), "a job of its own starts afresh");
}

#[test]
fn what_was_computed_from_the_old_output_is_not_joined_with_the_new() {
    // Shuffle 1 is made from shuffle 0, and the result reads both.
    let both = || {
        let mut g = unsteady(2, 2);
        g.nodes.push(node(2, 2, vec![shuffle(1, 1, 2), shuffle(2, 0, 2)]));
        g.nodes[2].deps = vec![shuffle(1, 1, 2), GraphDep::Shuffle { shuffle: ShuffleId(0), parent: 0, reducers: 2 }];
        g.root = 2;
        g
    };
    let mut d = Driver::with_executors(&[1, 1]);
    d.submit(0, both());
    d.succeed_all_running();
    d.succeed_all_running();
    // Output of stage 0 is lost when stage 1 is done and nobody has a result.
    let tasks = d.tasks();
    let failure = d.fetch_failure(tasks[0], 0, 0);
    let TaskOutcome::Failed(firesteel_common::TaskFailure::FetchFailed { executor, .. }) = &failure else { panic!() };
    let lost = executor.0;
    d.update(tasks[0], failure);
    d.remove(lost, false);
    d.register(9, "host9", 1);
    d.run_out();
    assert!(d.succeeded(0), "{:?}", d.over);
    let last = |stage: u32| d.starts().iter().filter(|(s, ..)| *s == stage).map(|(_, _, n)| *n).next_back().unwrap();
    assert_eq!(last(1), 2, "all of stage 1 is made from the new output of stage 0");
}

#[test]
fn cached_partitions_of_the_old_output_are_not_mixed_with_new_ones() {
    let mut g = unsteady(2, 2);
    g.nodes[1].cached = true;
    let mut d = Driver::with_executors(&[1, 1]);
    d.submit(0, g.clone());
    d.succeed_all_running();
    for task in d.tasks() {
        let (outcome, partition) = (d.good(task), d.running[&task].1.partition);
        d.update_with(task, outcome, vec![BlockUpdate { rdd: RddId(1), partition, stored: true, bytes: 9 }]);
    }
    assert!(d.succeeded(0));
    d.remove(1, false);
    d.submit(1, g.clone());
    d.run_out();
    assert!(matches!(d.error(1), JobError::Indeterminate { .. }));
    d.submit(2, g);
    d.run_out();
    assert!(d.succeeded(2), "the old partitions are dropped with the error");
}

#[test]
fn deterministic_output_is_made_again_without_ado() {
    let mut d = Driver::with_executors(&[2, 2]);
    d.submit(0, two_stages(4, 4));
    d.succeed_all_running();
    let tasks = d.tasks();
    d.succeed(tasks[0]);
    fetch_fails(&mut d, tasks[1]);
    d.run_out();
    assert!(d.succeeded(0));
}
