//! Short tasks that are launched ahead of the free slots, and what becomes of them when the tasks before them are long.

use std::time::Duration;

use firesteel_common::{ExecutorId, JobId, TaskFailure, TaskId};
use firesteel_protocol::*;
use firesteel_scheduler::*;

use crate::harness::*;

const SHORT: Duration = Duration::from_micros(100);
const MILLISECOND: Duration = Duration::from_millis(1);

/// What an executor has, in the order of launch.
fn at(d: &Driver, executor: u32) -> Vec<TaskId> {
    d.running.iter().filter(|(_, (e, _))| e.0 == executor).map(|(task, _)| *task).collect()
}

/// The executor's next `n` tasks end, one after the other, each after `each`; it says so in one message.
fn end(d: &mut Driver, executor: u32, n: usize, each: Duration) {
    end_after(d, executor, n, each, each);
}

/// As `end`, where a task runs for `ran` and the next one ends `each` after it.
fn end_after(d: &mut Driver, executor: u32, n: usize, each: Duration, ran: Duration) {
    d.now = d.now + each * n as u32;
    let tasks: Vec<TaskId> = at(d, executor).into_iter().take(n).collect();
    assert_eq!(tasks.len(), n);
    let update = |task: &TaskId| TaskUpdate { task: *task, outcome: d.good(*task), blocks: vec![], ran, report: None };
    let updates = tasks.iter().map(update).collect();
    tasks.iter().for_each(|task| _ = d.running.remove(task));
    d.hear(executor, ToDriver::StatusUpdates(updates));
}

/// One-core executors that are known to be quick, with 20 tasks of job 0 waiting behind the first one each.
fn quick(executors: u32) -> Driver {
    let mut d = Driver::with_executors(&vec![1; executors as usize]);
    d.submit(0, one_stage(1000));
    for executor in 1..=executors {
        end(&mut d, executor, 1, SHORT);
    }
    for executor in 1..=executors {
        end(&mut d, executor, 1, SHORT);
    }
    d
}

fn recalled(d: &Driver) -> Vec<(u32, Vec<TaskId>)> {
    let recall = |e: &DriverEffect| match e {
        DriverEffect::RecallTasks { executor, tasks } => Some((executor.0, tasks.clone())),
        _ => None,
    };
    d.effects.iter().filter_map(recall).collect()
}

fn give_back(d: &mut Driver, executor: u32, tasks: &[TaskId]) {
    let back = |task: &TaskId| TaskUpdate {
        task: *task,
        outcome: TaskOutcome::GivenBack,
        blocks: vec![],
        ran: Duration::ZERO,
        report: None,
    };
    tasks.iter().for_each(|task| _ = d.running.remove(task));
    let updates = tasks.iter().map(back).collect();
    d.hear(executor, ToDriver::StatusUpdates(updates));
}

#[test]
fn a_quick_executor_gets_tasks_ahead_of_its_slots_for_two_milliseconds() {
    let mut d = Driver::with_executors(&[1]);
    d.submit(0, one_stage(1000));
    assert_eq!(at(&d, 1).len(), 1, "nothing is known of it");
    end(&mut d, 1, 1, SHORT);
    assert_eq!(at(&d, 1).len(), 1, "one end says little");
    end(&mut d, 1, 1, SHORT);
    assert_eq!(at(&d, 1).len(), 21);
    end(&mut d, 1, 15, SHORT);
    assert_eq!(at(&d, 1).len(), 21);
    for _ in 0..10 {
        end(&mut d, 1, 15, SHORT / 100);
    }
    assert_eq!(at(&d, 1).len(), 65, "there is a bound");
    assert_eq!(recalled(&d), []);
    end(&mut d, 1, 3, MILLISECOND);
    assert_eq!(at(&d, 1).len(), 62, "with slower ones nothing is launched until few wait");
    d.now = d.now + MILLISECOND;
    d.run_out();
    assert!(d.succeeded(0));
}

#[test]
fn tasks_of_some_milliseconds_are_launched_into_free_slots_only() {
    let mut d = Driver::with_executors(&[2]);
    d.submit(0, one_stage(50));
    for _ in 0..10 {
        end(&mut d, 1, 1, 3 * MILLISECOND);
        assert_eq!(at(&d, 1).len(), 2);
    }
    // Those of two slots that end together are not short for that.
    for _ in 0..10 {
        end(&mut d, 1, 1, 3 * MILLISECOND);
        end_after(&mut d, 1, 1, Duration::from_nanos(1), 3 * MILLISECOND);
        assert_eq!(at(&d, 1).len(), 2);
    }
}

#[test]
fn free_slots_are_filled_first_and_what_is_launched_ahead_is_spread() {
    let mut d = quick(2);
    let waiting = [at(&d, 1).len(), at(&d, 2).len()];
    assert!(waiting[0] > 10 && waiting[0].abs_diff(waiting[1]) <= 20, "{waiting:?}");
    d.register(3, "host3", 4);
    assert_eq!(at(&d, 3).len(), 4);
    // Few tasks for many quick executors: each runs at once.
    let mut d = quick(3);
    d.run_out();
    d.submit(1, one_stage(3));
    let mut places: Vec<u32> = d.placed().into_iter().map(|(executor, _)| executor).collect();
    places.sort_unstable();
    assert_eq!(places, [1, 2, 3]);
}

#[test]
fn executors_that_share_processors_get_short_tasks_ahead_and_keep_them_while_all_are_late() {
    // Each has a processor for two milliseconds of every forty.
    let mut d = Driver::with_executors(&[1; 20]);
    d.submit(0, one_stage(8_000));
    let turn = 2 * MILLISECOND;
    for _ in 0..8 {
        for executor in 1..=20 {
            let n = at(&d, executor).len().min(20);
            d.now = d.now + (turn - SHORT * n as u32);
            end(&mut d, executor, n, SHORT);
        }
    }
    assert!((1..=20).all(|executor| at(&d, executor).len() > 20), "{:?}", d.placed().len());
    d.effects.clear();
    let late = at(&d, 1)[1..].to_vec();
    for _ in 0..8 {
        for executor in 2..=20 {
            d.now = d.now + (turn - SHORT * 20);
            end(&mut d, executor, 20, SHORT);
        }
    }
    let by_others = recalled(&d).into_iter().filter(|(executor, _)| *executor != 1).count();
    assert_eq!(by_others, 0, "they are as late as always");
    assert!(recalled(&d).iter().any(|(executor, tasks)| *executor == 1 && *tasks == late), "one is later than all");
}

#[test]
fn a_long_task_holds_others_back_for_ten_milliseconds_at_most() {
    let mut d = quick(2);
    let [long, behind @ ..] = &*at(&d, 1) else { panic!() };
    let (long, behind) = (*long, behind.to_vec());
    let since = d.now;
    // The other one is quick all the time.
    for _ in 0..9 {
        end(&mut d, 2, 10, SHORT);
    }
    assert_eq!(recalled(&d), []);
    assert!(d.core.next_deadline().unwrap() <= since + 10 * MILLISECOND);
    d.advance_to(since + 10 * MILLISECOND);
    assert_eq!(recalled(&d), [(1, behind.clone())]);
    let specs: Vec<TaskSpec> = behind.iter().map(|t| d.running[t].1).collect();
    give_back(&mut d, 1, &behind);
    assert_eq!(at(&d, 1), [long], "it gets nothing more");
    assert_eq!(d.core.next_deadline().map(|at| at > d.now), Some(true));

    // The others run what it gave back; for them it is the first attempt.
    while d.running.len() > 1 {
        let n = at(&d, 2).len().min(10);
        end(&mut d, 2, n, SHORT);
        assert_eq!(at(&d, 1), [long]);
    }
    let again = d.effects.iter().filter_map(|e| match e {
        DriverEffect::LaunchTasks { executor: ExecutorId(2), tasks } => Some(tasks),
        _ => None,
    });
    let again: Vec<&TaskSpec> = again.flatten().collect();
    for spec in specs {
        assert!(again.iter().any(|t| t.partition == spec.partition && t.attempt_number == 0), "{spec:?}");
    }
    d.succeed(long);
    assert!(d.succeeded(0));
    assert_eq!(d.core.next_deadline(), None);
}

#[test]
fn an_executor_that_was_slow_gets_tasks_ahead_again_after_quick_ones() {
    let mut d = quick(1);
    let behind = at(&d, 1)[1..].to_vec();
    d.advance(10 * MILLISECOND);
    give_back(&mut d, 1, &behind);
    end(&mut d, 1, 1, 100 * MILLISECOND);
    for _ in 0..2 {
        assert_eq!(at(&d, 1).len(), 1);
        end(&mut d, 1, 1, SHORT);
    }
    assert_eq!(at(&d, 1).len(), 1, "the long one counts in the first measurement");
    end(&mut d, 1, 1, SHORT);
    assert_eq!(at(&d, 1).len(), 21);
}

#[test]
fn what_has_begun_when_it_is_recalled_goes_on_and_is_not_recalled_again() {
    let mut d = quick(1);
    let tasks = at(&d, 1);
    d.advance(10 * MILLISECOND);
    // The long task ended and two more began before the recall came there.
    end(&mut d, 1, 1, SHORT);
    d.report(1, tasks[1], TaskOutcome::Running, vec![]);
    end(&mut d, 1, 1, 2 * MILLISECOND);
    d.report(1, tasks[2], TaskOutcome::Running, vec![]);
    give_back(&mut d, 1, &tasks[3..]);
    assert_eq!(at(&d, 1), [tasks[2]]);
    d.advance(100 * MILLISECOND);
    assert_eq!(recalled(&d), [(1, tasks[1..].to_vec())]);
    d.now = d.now + SHORT;
    d.run_out();
    assert!(d.succeeded(0));
    assert_eq!(d.results.len(), 1000);
}

#[test]
fn the_earlier_job_gets_what_is_launched_ahead() {
    let mut d = quick(1);
    d.submit(1, one_stage(10));
    let job = |d: &Driver, task: &TaskId| d.kinds[&d.running[task].1.stage];
    while !d.succeeded(0) {
        let of: Vec<StageKind> = at(&d, 1).iter().map(|t| job(&d, t)).collect();
        assert!(of.is_sorted_by_key(|kind| *kind != StageKind::Result { job: JobId(0) }), "{of:?}");
        end(&mut d, 1, 1, SHORT);
    }
    d.run_out();
    assert!(d.succeeded(1));
}

#[test]
fn cancelling_a_job_kills_what_was_launched_ahead_and_frees_the_executor() {
    let mut d = quick(1);
    let tasks = at(&d, 1);
    d.handle(DriverEvent::CancelJob { job: JobId(0), reason: "enough".to_owned() });
    assert_eq!(d.killed(), tasks);
    d.submit(1, one_stage(1));
    let killed = || TaskOutcome::Failed(TaskFailure::Killed { reason: "enough".to_owned() });
    tasks.iter().for_each(|task| d.update(*task, killed()));
    assert_eq!(at(&d, 1).len(), 1);
    d.run_out();
    assert!(d.succeeded(1));
}

#[test]
fn what_had_not_begun_when_user_code_ended_its_executor_counts_no_failure() {
    let mut d = quick(1);
    let tasks = at(&d, 1);
    end(&mut d, 1, 1, SHORT);
    d.report(1, tasks[1], TaskOutcome::Running, vec![]);
    d.remove(1, true);
    let failed = |d: &Driver| -> Vec<(TaskId, u32)> {
        let failure = |e: &DriverEffect| match e {
            DriverEffect::TaskFailed { task, failures, .. } => Some((*task, *failures)),
            _ => None,
        };
        d.effects.iter().filter_map(failure).collect()
    };
    let counted: Vec<TaskId> = failed(&d).iter().filter(|(_, failures)| *failures > 0).map(|(t, _)| *t).collect();
    assert_eq!(counted, [tasks[1]]);
    assert_eq!(failed(&d).len(), 21);

    // The next time it is known who did it.
    d.register(2, "host2", 1);
    for _ in 0..20 {
        end(&mut d, 2, 1, SHORT);
        assert_eq!(at(&d, 2).len(), 1);
    }
    d.run_out();
    assert!(d.succeeded(0));
}

#[test]
fn what_waits_at_an_executor_that_disconnects_is_awaited_and_then_runs_elsewhere() {
    let mut d = quick(2);
    let lost = at(&d, 1);
    d.handle(DriverEvent::ExecutorDisconnected { executor: ExecutorId(1) });
    d.advance(10 * MILLISECOND);
    assert!(recalled(&d).iter().all(|(executor, _)| *executor == 2), "it hears nothing any more");
    d.remove(1, false);
    assert!(lost.iter().all(|task| !d.running.contains_key(task)));
    d.run_out();
    assert!(d.succeeded(0));
}

#[test]
fn a_preferred_host_is_waited_for_also_by_what_is_launched_ahead() {
    let mut d = quick(2);
    while !d.succeeded(0) {
        for executor in [1, 2] {
            let n = at(&d, executor).len().min(10);
            end(&mut d, executor, n, SHORT);
        }
    }
    let preferred = vec![vec!["host1".to_owned()]; 100];
    d.submit(1, graph(vec![GraphNode { preferred, ..node(9, 100, vec![]) }]));
    assert_eq!(at(&d, 2).len(), 0, "its slot is held back");
    assert!(at(&d, 1).len() > 1, "but more may wait where they would best run");
}

#[test]
fn several_events_are_answered_by_one_offer() {
    let mut d = Driver::with_executors(&[2, 2]);
    d.submit(0, one_stage(100));
    let update = |d: &Driver, executor: u32| DriverEvent::Heard {
        executor: ExecutorId(executor),
        message: ToDriver::StatusUpdates(
            at(d, executor)
                .into_iter()
                .map(|task| TaskUpdate { ran: SHORT, ..TaskUpdate::of(task, d.good(task)) })
                .collect(),
        ),
    };
    let events = [update(&d, 1), update(&d, 2)];
    let mut out = Vec::new();
    d.core.handle_all(d.now, events, &mut out);
    let launches: Vec<usize> = out
        .iter()
        .filter_map(|e| match e {
            DriverEffect::LaunchTasks { tasks, .. } => Some(tasks.len()),
            _ => None,
        })
        .collect();
    assert_eq!(launches, [2, 2]);
    let results = out.iter().take_while(|e| matches!(e, DriverEffect::JobResult { .. })).count();
    assert_eq!(results, 4, "what was told comes before what is launched");
}

#[test]
fn behind_a_task_that_has_been_long_already_nothing_is_launched_ahead() {
    let mut d = quick(1);
    while !d.succeeded(0) {
        let n = at(&d, 1).len().min(10);
        end(&mut d, 1, n, SHORT);
    }
    d.submit(1, one_stage(1));
    d.now = d.now + 100 * MILLISECOND;
    d.submit(2, one_stage(10));
    assert_eq!(at(&d, 1).len(), 1);
    assert_eq!(d.core.next_deadline().filter(|at| *at <= d.now), None);
}
