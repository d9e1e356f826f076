//! Copies of slow tasks on the virtual clock.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use firesteel_common::{ExecutorId, StageId, TaskId, Tick};
use firesteel_protocol::*;
use firesteel_scheduler::*;

use crate::harness::*;

const SECOND: Duration = Duration::from_secs(1);

fn speculating(executors: u32, cores: u32) -> Driver {
    let speculation = Some(SpeculationConfig::default());
    let mut d = Driver::with(SchedulerConfig { speculation, ..SchedulerConfig::default() });
    (1..=executors).for_each(|i| d.register(i, &format!("host{i}"), cores));
    d
}

/// Runs everything, each task for as long as `takes` says of its executor; a killed one ends at once. Says when the jobs
/// were done.
fn run(d: &mut Driver, takes: impl Fn(u32) -> Duration) -> Duration {
    let mut until: BTreeMap<TaskId, Tick> = BTreeMap::new();
    let mut seen = d.effects.len();
    let mut done_at = None;
    while d.core.active_jobs() > 0 || !d.running.is_empty() {
        for (task, (e, _)) in &d.running {
            until.entry(*task).or_insert(d.now + takes(e.0));
        }
        let task = until.iter().min_by_key(|(task, at)| (**at, **task)).map(|(task, at)| (*task, *at));
        match (task, d.core.next_deadline()) {
            (Some((_, at)), Some(wake)) if wake < at => d.advance_to(wake),
            (Some((task, at)), _) => {
                d.now = d.now.max(at);
                until.remove(&task);
                d.succeed(task);
            }
            (None, Some(wake)) => d.advance_to(wake),
            (None, None) => panic!("nothing comes any more"),
        }
        let killed: Vec<TaskId> = d.effects[seen..]
            .iter()
            .filter_map(|e| if let DriverEffect::KillTask { task, .. } = e { Some(*task) } else { None })
            .collect();
        seen = d.effects.len();
        for task in killed {
            if until.remove(&task).is_some() {
                let reason = "another attempt succeeded".to_owned();
                d.update(task, TaskOutcome::Failed(firesteel_common::TaskFailure::Killed { reason }));
            }
        }
        if d.core.active_jobs() == 0 {
            done_at.get_or_insert(d.now);
        }
    }
    done_at.unwrap_or(d.now).since(Tick::ZERO)
}

fn one_slow_executor(executor: u32) -> Duration {
    if executor == 7 { 50 * SECOND } else { SECOND }
}

#[test]
fn one_executor_fifty_times_slower_costs_four_seconds_with_speculation_and_fifty_without() {
    let mut d = speculating(10, 10);
    d.submit(0, one_stage(100));
    let took = run(&mut d, one_slow_executor);
    assert!(d.succeeded(0) && d.results.len() == 100);
    assert!(took <= 5 * SECOND, "{took:?}");
    assert_eq!(d.killed().len(), 10);

    let mut d = Driver::with_executors(&[10; 10]);
    d.submit(0, one_stage(100));
    let took = run(&mut d, one_slow_executor);
    assert!(took >= 45 * SECOND, "{took:?}");
}

#[test]
fn map_output_of_the_slower_attempt_is_not_recorded() {
    let mut d = speculating(10, 10);
    d.submit(0, two_stages(100, 10));
    let took = run(&mut d, one_slow_executor);
    assert!(d.succeeded(0));
    assert!(took <= 10 * SECOND, "{took:?}");
    let reads = d.reads.iter().find(|(a, _)| a.stage == StageId(1)).unwrap().1;
    let locations = reads.values().next().unwrap();
    assert_eq!(locations.len(), 100);
    assert!(locations.iter().all(|l| l.executor != ExecutorId(7)), "the copies' outputs are read");
}

/// 9 of 10 tasks of stage 0 have taken a second, one task runs still, with its copy.
fn with_copy() -> (Driver, TaskId, TaskId) {
    let mut d = speculating(2, 5);
    d.submit(0, one_stage(10));
    let slow = d.tasks()[0];
    d.now = d.now + SECOND;
    d.tasks().into_iter().skip(1).for_each(|task| d.succeed(task));
    while d.running.len() == 1 {
        let at = d.core.next_deadline().unwrap();
        assert!(at <= Tick::ZERO + 4 * SECOND, "it is slow after three seconds");
        d.advance_to(at);
    }
    assert!(d.now > Tick::ZERO + 3 * SECOND && d.now <= Tick::ZERO + 3 * SECOND + SECOND / 5);
    let copy = d.tasks()[1];
    assert!(d.running[&copy].1.speculative && !d.running[&slow].1.speculative);
    assert_ne!(d.running[&copy].0, d.running[&slow].0);
    assert_eq!(d.running[&copy].1.partition, d.running[&slow].1.partition);
    assert_eq!(d.running[&copy].1.attempt_number, 1);
    (d, slow, copy)
}

#[test]
fn the_first_of_two_attempts_counts_and_the_other_is_killed() {
    for copy_wins in [true, false] {
        let (mut d, slow, copy) = with_copy();
        let (first, second) = if copy_wins { (copy, slow) } else { (slow, copy) };
        d.succeed(first);
        assert!(d.succeeded(0));
        assert_eq!(d.killed(), [second]);
        // It ended before it heard of it: its result is no news.
        d.succeed(second);
        assert_eq!(d.results.len(), 10);
    }
}

#[test]
fn a_slow_task_gets_one_copy_however_long_it_takes() {
    let (mut d, ..) = with_copy();
    for _ in 0..50 {
        d.advance(SECOND);
    }
    assert_eq!(d.running.len(), 2);
}

#[test]
fn an_attempt_that_fails_beside_another_is_not_started_again() {
    let (mut d, slow, copy) = with_copy();
    d.fail(slow, "no");
    assert_eq!(d.tasks(), [copy]);
    d.fail(copy, "no");
    assert_eq!(d.running.len(), 1, "now nothing of it runs");
    d.run_out();
    assert!(d.succeeded(0));
}

#[test]
fn failures_of_both_attempts_count_together() {
    let (mut d, slow, copy) = with_copy();
    d.fail(slow, "1");
    d.fail(copy, "2");
    for _ in 0..2 {
        let task = d.tasks()[0];
        d.fail(task, "again");
    }
    assert!(matches!(d.error(0), JobError::TaskFailed { attempts: 4, .. }));
}

#[test]
fn a_lost_executor_takes_one_attempt_with_it_and_the_other_goes_on() {
    let (mut d, slow, copy) = with_copy();
    let lost = d.running[&slow].0.0;
    d.remove(lost, false);
    assert_eq!(d.tasks(), [copy]);
    d.succeed(copy);
    assert!(d.succeeded(0));
}

#[test]
fn large_results_of_both_attempts_count_once() {
    let (mut d, slow, copy) = with_copy();
    let block = |task: TaskId| TaskOutcome::ResultInBlock { block_id: format!("taskresult_{}", task.0), size: 10 };
    d.update(slow, block(slow));
    d.update(copy, block(copy));
    let result = || Ok(Bytes::from_static(b"x"));
    d.handle(DriverEvent::ResultFetched { task: copy, result: result() });
    assert!(d.succeeded(0));
    d.handle(DriverEvent::ResultFetched { task: slow, result: result() });
    assert_eq!(d.results.len(), 10);
}

#[test]
fn the_results_of_both_attempts_take_the_room_of_one() {
    let (mut d, slow, copy) = with_copy();
    let size = SchedulerConfig::default().max_result_size / 2 + 1;
    for task in [slow, copy] {
        d.update(task, TaskOutcome::ResultInBlock { block_id: format!("taskresult_{}", task.0), size });
    }
    d.handle(DriverEvent::ResultFetched { task: copy, result: Err("gone".to_owned()) });
    d.handle(DriverEvent::ResultFetched { task: slow, result: Ok(Bytes::from_static(b"x")) });
    assert!(d.succeeded(0));
}

#[test]
fn executors_of_one_host_help_each_other() {
    let speculation = Some(SpeculationConfig::default());
    let mut d = Driver::with(SchedulerConfig { speculation, ..SchedulerConfig::default() });
    (1..=3).for_each(|i| d.register(i, "host", 4));
    d.submit(0, one_stage(12));
    let took = run(&mut d, |executor| if executor == 3 { 50 * SECOND } else { SECOND });
    assert!(took >= 50 * SECOND, "two thirds are too few to judge");
    d.submit(1, one_stage(60));
    let before = d.now;
    let took = run(&mut d, |executor| if executor == 3 { 50 * SECOND } else { SECOND });
    assert!(took - before.since(Tick::ZERO) < 15 * SECOND, "{took:?}");
}

#[test]
fn the_threshold_marks_tasks_of_small_stages_before_any_has_ended() {
    let config = SpeculationConfig { duration_threshold: Some(5 * SECOND), ..SpeculationConfig::default() };
    let mut d = Driver::with(SchedulerConfig { speculation: Some(config), ..SchedulerConfig::default() });
    (1..=2).for_each(|i| d.register(i, &format!("host{i}"), 2));
    d.submit(0, one_stage(1));
    d.advance(5 * SECOND);
    assert_eq!(d.running.len(), 1);
    d.advance(SECOND);
    assert_eq!(d.running.len(), 2);
    d.run_out();
    d.submit(1, one_stage(3));
    d.advance(60 * SECOND);
    assert_eq!(d.running.len(), 3, "more tasks than an executor has slots");
}

#[test]
fn tasks_of_milliseconds_get_no_copies() {
    let mut d = speculating(2, 5);
    d.submit(0, one_stage(10));
    d.now = d.now + Duration::from_millis(2);
    d.tasks().into_iter().skip(1).for_each(|task| d.succeed(task));
    d.now = d.now + Duration::from_millis(90);
    d.handle(DriverEvent::Wake);
    assert_eq!(d.running.len(), 1);
    d.advance(Duration::from_millis(200));
    assert_eq!(d.running.len(), 2);
}
