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
fn a_reader_that_finishes_on_the_old_output_while_the_new_is_made_fails_the_job() {
    let mut d = Driver::with_executors(&[2, 2]);
    d.submit(0, unsteady(4, 4));
    d.succeed_all_running();
    let tasks = d.tasks();
    fetch_fails(&mut d, tasks[1]);
    d.succeed(tasks[0]);
    d.run_out();
    assert!(matches!(d.error(0), JobError::Indeterminate { .. }));
}

#[test]
fn a_job_of_its_own_after_the_error_starts_afresh() {
    let nodes = || {
        let mut g = unsteady(2, 2);
        g.nodes.push(node(2, 2, vec![shuffle(1, 1, 2)]));
        g.root = 2;
        g
    };
    let mut d = Driver::with_executors(&[1, 1]);
    d.submit(0, nodes());
    d.succeed_all_running();
    // One reader finishes on the executor that keeps its outputs.
    let lost = d.reads.values().next_back().unwrap()[&ShuffleId(0)][0].executor;
    let (fails, finishes): (Vec<TaskId>, Vec<TaskId>) = d.tasks().into_iter().partition(|t| d.running[t].0 == lost);
    d.succeed(finishes[0]);
    fetch_fails(&mut d, fails[0]);
    assert!(matches!(d.error(0), JobError::Indeterminate { .. }));
    d.submit(1, nodes());
    d.run_out();
    assert!(d.succeeded(1), "{:?}", d.over);
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
