//! Output that cannot be computed again in the same way must never be mixed with its first edition.

use std::time::Duration;

use bytes::Bytes;
use firesteel_common::{DeterministicLevel, JobId, RddId, ShuffleId, TaskId};
use firesteel_protocol::*;
use firesteel_scheduler::*;

use crate::harness::*;

fn unsteady(maps: u32, reduces: u32) -> JobGraph {
    let mut g = two_stages(maps, reduces);
    g.nodes[0].level = DeterministicLevel::Indeterminate;
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
        d.update_with(task, outcome, vec![BlockUpdate::stored(RddId(1), partition, 9)]);
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

#[test]
fn results_on_which_nobody_acts_yet_are_taken_back() {
    let mut d = Driver::with_executors(&[2, 2]);
    d.submit_repeatable(0, unsteady(4, 4));
    d.succeed_all_running();
    let tasks = d.tasks();
    d.succeed(tasks[0]);
    assert_eq!(d.results.len(), 1);
    fetch_fails(&mut d, tasks[1]);
    assert!(d.results.is_empty());
    d.run_out();
    assert!(d.succeeded(0), "{:?}", d.over);
    assert_eq!((d.results.len(), d.discarded), (4, 1));
}

/// Ends all running map tasks with a checksum that tells the edition.
fn write_edition(d: &mut Driver, edition: u64) {
    for task in d.tasks() {
        let checksum = Some(1000 * edition + u64::from(d.running[&task].1.partition));
        let sizes = Bytes::from(vec![1; 4]);
        d.update(task, TaskOutcome::MapOutput(MapOutput { map_task: task, sizes, checksum }));
    }
}

/// Of what nobody knows to be indeterminate, a part is lost after one result was made.
fn lost_after_one_result(d: &mut Driver, repeatable: bool) -> Vec<TaskId> {
    let mut g = two_stages(4, 4);
    g.nodes[0].operator = "map_partitions";
    if repeatable {
        d.submit_repeatable(0, g)
    } else {
        d.submit(0, g)
    }
    write_edition(d, 1);
    let tasks = d.tasks();
    d.succeed(tasks[0]);
    fetch_fails(d, tasks[1]);
    // Those that still read the first edition are held back: they must not be taken for tasks of the map stage.
    let late = [tasks[2], tasks[3]].map(|t| (t, d.running.remove(&t).unwrap()));
    write_edition(d, 2);
    d.running.extend(late);
    vec![tasks[2], tasks[3]]
}

#[test]
fn output_that_comes_out_with_other_rows_takes_results_back_and_is_not_mixed() {
    let mut d = Driver::with_executors(&[2, 2]);
    let late = lost_after_one_result(&mut d, true);
    late.into_iter().for_each(|t| d.succeed(t));
    d.run_out();
    assert!(d.succeeded(0), "{:?}", d.over);
    assert_eq!((d.results.len(), d.discarded), (4, 1));
    assert_eq!(d.starts().last().unwrap().2, 4, "every result is made again");
    let told = d.effects.iter().any(|e| {
        matches!(e, DriverEffect::OutputDiffers { rdd: RddId(0), operator: "map_partitions", compared: true, .. })
    });
    assert!(told);
}

#[test]
fn output_with_other_rows_fails_a_job_whose_results_cannot_be_taken_back_and_names_the_rdd() {
    let mut d = Driver::with_executors(&[2, 2]);
    lost_after_one_result(&mut d, false);
    d.run_out();
    let text = d.error(0).to_string();
    assert!(text.contains("rdd 0 (map_partitions)") && text.contains("indeterminate()"), "{text}");
    assert!(matches!(d.error(0), JobError::OutputDiffers { rdd: RddId(0), .. }));
    assert_eq!(d.results.keys().filter(|(job, _)| *job == JobId(0)).count(), 1);
}

#[test]
fn a_finished_map_stage_is_made_anew_only_when_it_has_to_be_joined_with_the_other_edition() {
    let mut g = two_stages(2, 2);
    g.nodes.push(node(2, 2, vec![shuffle(1, 1, 2)]));
    g.root = 2;
    let mut d = Driver::with_executors(&[1, 1]);
    d.submit_repeatable(0, g.clone());
    write_edition(&mut d, 1);
    write_edition(&mut d, 1);
    let tasks = d.tasks();
    // All of one executor is lost: a part of either shuffle.
    let lost = d.running[&tasks[0]].0;
    d.succeed(tasks[1]);
    d.remove(lost.0, false);
    d.register(9, "host9", 1);
    let failure = |d: &Driver, task| d.fetch_failure(task, 1, 0);
    while d.core.active_jobs() > 0 {
        if d.running.is_empty() {
            let at = d.core.next_deadline().unwrap();
            d.advance_to(at);
        }
        for task in d.tasks() {
            let Some((_, spec)) = d.running.get(&task).copied() else { continue };
            match d.kinds[&spec.stage] {
                StageKind::ShuffleMap { .. } => {
                    let checksum = Some(2000 + u64::from(spec.partition));
                    let sizes = Bytes::from(vec![1; 2]);
                    d.update(task, TaskOutcome::MapOutput(MapOutput { map_task: task, sizes, checksum }));
                }
                StageKind::Result { .. } => {
                    let maps = &d.reads[&spec.stage][&ShuffleId(1)];
                    let outcome =
                        if maps.iter().any(|l| l.executor == lost) { failure(&d, task) } else { d.good(task) };
                    d.update(task, outcome);
                }
            }
        }
    }
    assert!(d.succeeded(0), "{:?}", d.over);
    let starts = d.starts();
    let again = |stage| starts.iter().filter(|(s, n, _)| *s == stage && *n > 0).map(|(.., tasks)| *tasks).max();
    assert_eq!(again(1), Some(2), "both tasks of stage 1 read the new edition: {starts:?}");
    assert_eq!(d.results.len(), 2);
}
