//! Barrier stages on the virtual clock.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use firesteel_common::{ExecutorId, NarrowMap, TaskId};
use firesteel_protocol::*;
use firesteel_scheduler::*;

use crate::harness::*;

const SECOND: Duration = Duration::from_secs(1);

fn barrier_node(rdd: u32, partitions: u32, deps: Vec<GraphDep>) -> GraphNode {
    GraphNode { barrier: true, ..node(rdd, partitions, deps) }
}

/// A job whose only stage is a barrier stage.
fn one_barrier(partitions: u32) -> JobGraph {
    graph(vec![barrier_node(0, partitions, vec![])])
}

/// A barrier stage that writes a shuffle, and a stage that reads it.
fn barrier_map(maps: u32, reduces: u32) -> JobGraph {
    graph(vec![barrier_node(0, maps, vec![]), node(1, reduces, vec![shuffle(0, 0, reduces)])])
}

fn sync(d: &mut Driver, task: TaskId, call: u32, gathers: bool, message: &str) {
    let executor = d.running[&task].0;
    let message = Bytes::from(message.to_owned());
    d.hear(executor.0, ToDriver::BarrierSync(BarrierSync { task, call, gathers, message }));
}

type Answer = (TaskId, u32, Result<Vec<String>, String>);

fn answers(d: &mut Driver) -> Vec<Answer> {
    let text = |m: &Bytes| String::from_utf8(m.to_vec()).unwrap();
    let answer = |e: DriverEffect| match e {
        DriverEffect::AnswerBarrier { task, call, result, .. } => {
            Some((task, call, result.map(|m: Arc<Vec<Bytes>>| m.iter().map(text).collect())))
        }
        _ => None,
    };
    std::mem::take(&mut d.effects).into_iter().filter_map(answer).collect()
}

/// The killed tasks end.
fn end_killed(d: &mut Driver) {
    for task in d.killed() {
        if d.running.contains_key(&task) {
            let failure = firesteel_common::TaskFailure::Killed { reason: String::new() };
            d.update(task, TaskOutcome::Failed(failure));
        }
    }
    d.effects.retain(|e| !matches!(e, DriverEffect::KillTask { .. }));
}

#[test]
fn all_tasks_are_launched_at_once_or_none() {
    let mut d = Driver::with_executors(&[2, 2]);
    d.submit(0, one_stage(1));
    d.submit(1, one_barrier(4));
    assert_eq!(d.running.len(), 1, "three free slots are too few");
    let first = d.tasks()[0];
    d.succeed(first);
    assert_eq!(d.running.len(), 4);
    let place = |e: &DriverEffect| match e {
        DriverEffect::BarrierStarted { places, .. } => Some(places.iter().map(|p| p.executor).collect::<Vec<_>>()),
        _ => None,
    };
    let places = d.effects.iter().find_map(place).unwrap();
    let mut launched: Vec<(u32, ExecutorId)> = d.running.values().map(|(e, s)| (s.partition, *e)).collect();
    launched.sort_unstable();
    assert_eq!(launched.into_iter().map(|(_, e)| e).collect::<Vec<_>>(), places, "in the order of the partitions");
    d.run_out();
    assert!(d.succeeded(1) && d.results.len() == 5);
}

#[test]
fn who_calls_waits_for_all_and_gets_the_messages_in_order() {
    let mut d = Driver::with_executors(&[2, 1]);
    d.submit(0, one_barrier(3));
    let tasks = d.tasks();
    let partition = |d: &Driver, t: &TaskId| d.running[t].1.partition;
    for (call, gathers) in [(0, true), (1, false), (2, true)] {
        for t in tasks.iter().rev() {
            assert!(answers(&mut d).is_empty(), "nobody goes on before all are there");
            let message = format!("{call}-{}", partition(&d, t));
            sync(&mut d, *t, call, gathers, &message);
        }
        let all = if gathers { (0..3).map(|p| format!("{call}-{p}")).collect() } else { vec![] };
        let mut got = answers(&mut d);
        got.sort_by_key(|(task, ..)| *task);
        assert_eq!(got, tasks.iter().map(|t| (*t, call, Ok(all.clone()))).collect::<Vec<_>>());
    }
    d.run_out();
    assert!(d.succeeded(0));
}

#[test]
fn a_task_that_ended_or_calls_something_else_is_an_error_of_those_that_wait() {
    let mut d = Driver::with_executors(&[3]);
    d.submit(0, one_barrier(3));
    let t = d.tasks();
    sync(&mut d, t[0], 0, false, "");
    d.succeed(t[1]);
    let got = answers(&mut d);
    assert!(matches!(&got[..], [(task, 0, Err(e))] if *task == t[0] && e.contains("ended without call 0")), "{got:?}");
    sync(&mut d, t[2], 0, false, "");
    let got = answers(&mut d);
    let late = |e: &str| e.contains("ended without call 0");
    assert!(matches!(&got[..], [(task, 0, Err(e))] if *task == t[2] && late(e)), "who comes late hears why: {got:?}");
    sync(&mut d, t[2], 1, false, "");
    let got = answers(&mut d);
    assert!(matches!(&got[..], [(task, 1, Err(_))] if *task == t[2]), "the next call as well: {got:?}");

    let mut d = Driver::with_executors(&[2]);
    d.submit(0, one_barrier(2));
    let t = d.tasks();
    sync(&mut d, t[0], 0, false, "");
    sync(&mut d, t[1], 0, true, "x");
    let got = answers(&mut d);
    assert_eq!(got.len(), 2);
    assert!(got.iter().all(|(.., r)| r.as_ref().is_err_and(|e| e.contains("must make the same calls"))), "{got:?}");
}

#[test]
fn tasks_wait_for_one_another_as_long_as_they_are_told() {
    let mut d = Driver::with(SchedulerConfig { barrier_sync_timeout: 7 * SECOND, ..SchedulerConfig::default() });
    d.register(1, "h", 2);
    d.submit(0, one_barrier(2));
    let t = d.tasks();
    d.advance(SECOND);
    sync(&mut d, t[1], 0, false, "");
    let due = d.now + 7 * SECOND;
    assert_eq!(d.core.next_deadline(), Some(due));
    d.advance(6 * SECOND);
    assert!(answers(&mut d).is_empty());
    d.advance_to(due);
    let got = answers(&mut d);
    let reason = got[0].2.as_ref().unwrap_err();
    assert!(reason.contains("spark.barrier.sync.timeout") && reason.ends_with("did not: 0"), "{reason}");
}

#[test]
fn one_failed_task_starts_all_again_and_no_result_counts_twice() {
    let mut d = Driver::with_executors(&[2, 1]);
    d.submit(0, one_barrier(3));
    let t = d.tasks();
    d.succeed(t[0]);
    assert!(d.results.is_empty(), "an attempt that may fail yet has no results");
    sync(&mut d, t[1], 0, false, "");
    d.fail(t[2], "no");
    assert_eq!(d.killed(), [t[1]]);
    d.advance(SECOND);
    assert_eq!(d.running.len(), 1, "the killed one has its slot still");
    end_killed(&mut d);
    assert_eq!(d.running.len(), 3);
    assert!(d.running.values().all(|(_, s)| s.stage.attempt == 1));
    d.run_out();
    assert!(d.succeeded(0));
    assert_eq!(d.starts(), [(0, 0, 3), (0, 1, 3)]);
}

#[test]
fn a_lost_executor_starts_all_again() {
    let mut d = Driver::with_executors(&[2, 2, 2]);
    d.submit(0, barrier_map(4, 2));
    let on = |d: &Driver, e: u32| -> Vec<TaskId> {
        d.running.iter().filter(|(_, (x, _))| x.0 == e).map(|(t, _)| *t).collect()
    };
    // All of its tasks have ended: their output goes with it.
    for task in on(&d, 1) {
        d.succeed(task);
    }
    d.remove(1, false);
    end_killed(&mut d);
    d.advance(SECOND);
    assert_eq!(d.running.len(), 4);
    assert!(d.running.values().all(|(e, s)| e.0 != 1 && s.stage.attempt == 1));
    // While they run.
    d.remove(2, false);
    end_killed(&mut d);
    d.advance(SECOND);
    assert!(d.running.is_empty(), "two slots are too few for four");
    d.register(4, "host4", 2);
    assert_eq!(d.running.len(), 4);
    d.run_out();
    assert!(d.succeeded(0));
}

#[test]
fn output_that_got_lost_later_is_made_again_as_a_whole() {
    let mut d = Driver::with_executors(&[2, 2, 2]);
    d.submit(0, barrier_map(4, 1));
    d.succeed_all_running();
    let reader = d.tasks()[0];
    let lost = d.fetch_failure(reader, 0, 3);
    d.update(reader, lost);
    d.advance(SECOND);
    assert_eq!(d.starts(), [(0, 0, 4), (1, 0, 1), (0, 1, 4)]);
    d.run_out();
    assert!(d.succeeded(0));
}

#[test]
fn attempts_are_limited() {
    let mut d = Driver::with_executors(&[2]);
    d.submit(0, one_barrier(2));
    for attempt in 0..4 {
        let t = d.tasks();
        assert_eq!(d.running[&t[0]].1.stage.attempt, attempt);
        d.fail(t[0], "always");
        end_killed(&mut d);
        d.advance(SECOND);
    }
    assert!(matches!(d.error(0), JobError::BarrierFailed { attempts: 4, .. }), "{:?}", d.error(0));
    assert!(d.running.is_empty());
}

#[test]
fn too_few_slots_fail_the_job_after_so_many_checks() {
    let mut d = Driver::with(SchedulerConfig { barrier_check_failures: 2, ..SchedulerConfig::default() });
    d.register(1, "h1", 2);
    d.submit(0, one_barrier(3));
    d.advance(15 * SECOND);
    assert!(d.over.is_empty() && d.running.is_empty() && d.core.active_jobs() == 1);
    d.advance(15 * SECOND);
    assert_eq!(*d.error(0), JobError::BarrierSlots { needed: 3, slots: 2 });

    d.submit(1, one_barrier(3));
    d.advance(SECOND);
    // More come: it does not wait for the next look.
    d.register(2, "h2", 1);
    assert_eq!(d.running.len(), 3);
    d.run_out();
    assert!(d.succeeded(1));

    d.submit(2, one_barrier(4));
    d.handle(DriverEvent::CancelJob { job: firesteel_common::JobId(2), reason: "enough".to_owned() });
    assert!(matches!(d.error(2), JobError::Cancelled { .. }));
    assert_eq!(d.core.active_jobs(), 0);
}

#[test]
fn what_cannot_be_in_a_barrier_stage_is_refused() {
    let mut d = Driver::with_executors(&[8]);
    d.submit_some(0, one_barrier(4), vec![0], JobProperties::default());
    assert!(matches!(d.error(0), JobError::BarrierUnsupported { .. }));
    let lists = NarrowMap::groups([vec![0, 1], vec![2, 3]]);
    let half = GraphDep::Narrow { parent: 0, partitions: lists };
    d.submit(1, graph(vec![node(0, 4, vec![]), barrier_node(1, 2, vec![half])]));
    assert!(matches!(d.error(1), JobError::BarrierUnsupported { .. }));
    d.submit_some(2, barrier_map(4, 3), vec![1], JobProperties::default());
    d.run_out();
    assert!(d.succeeded(2), "behind a shuffle anything goes");
}

#[test]
fn tasks_of_a_barrier_stage_get_no_copies() {
    let speculation = Some(SpeculationConfig::default());
    let mut d = Driver::with(SchedulerConfig { speculation, ..SchedulerConfig::default() });
    (1..=4).for_each(|i| d.register(i, &format!("h{i}"), 4));
    d.submit(0, one_barrier(8));
    d.now = d.now + SECOND;
    d.tasks().into_iter().skip(1).for_each(|task| d.succeed(task));
    for _ in 0..100 {
        d.advance(SECOND);
    }
    assert_eq!(d.running.len(), 1);
}

#[test]
fn a_stage_whose_slots_are_gone_for_good_waits_as_long_as_a_new_job_and_fails() {
    let mut d = Driver::with_executors(&[1, 1]);
    d.submit(0, one_barrier(2));
    assert_eq!(d.running.len(), 2);
    d.remove(2, false);
    end_killed(&mut d);
    d.advance(SECOND);
    d.advance(590 * SECOND);
    assert!(d.over.is_empty() && d.running.is_empty());
    d.advance(11 * SECOND);
    assert_eq!(*d.error(0), JobError::BarrierSlots { needed: 2, slots: 1 });
    // One that finds slots in time goes on.
    let mut d = Driver::with_executors(&[1, 1]);
    d.submit(0, one_barrier(2));
    d.remove(2, false);
    end_killed(&mut d);
    d.advance(SECOND);
    d.advance(590 * SECOND);
    d.register(3, "host3", 1);
    d.advance(20 * SECOND);
    d.run_out();
    assert!(d.succeeded(0));
}
