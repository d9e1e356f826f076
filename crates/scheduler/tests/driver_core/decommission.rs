//! Executors that are decommissioned: no more tasks, what they hold is moved, and their end is nobody's fault.

use std::time::Duration;

use firesteel_common::{ExecutorId, RddId, ShuffleId, TaskFailure, TaskId};
use firesteel_protocol::*;
use firesteel_scheduler::*;

use crate::harness::*;

const SECOND: Duration = Duration::from_secs(1);

fn decommission(d: &mut Driver, executor: u32, worker_leaves: bool) {
    let (executor, message) = (ExecutorId(executor), "its worker goes".to_owned());
    d.handle(DriverEvent::ExecutorDecommissioning { executor, message, worker_leaves });
}

fn moved(d: &mut Driver, from: u32, map_task: TaskId, to: u32) {
    let to = ExecutorId(to);
    d.hear(from, ToDriver::MapOutputMoved(MapOutputMoved { shuffle: ShuffleId(0), map_task, to }));
}

/// Executors that were told to leave.
fn told(d: &Driver) -> Vec<u32> {
    let told = |e: &DriverEffect| match e {
        DriverEffect::DecommissionExecutor { executor } => Some(executor.0),
        _ => None,
    };
    d.effects.iter().filter_map(told).collect()
}

/// Executors that were given back.
fn retired(d: &Driver) -> Vec<u32> {
    let retired = |e: &DriverEffect| match e {
        DriverEffect::RetireExecutors { executors } => executors.iter().map(|(e, _)| e.0).collect(),
        _ => Vec::new(),
    };
    d.effects.iter().flat_map(retired).collect()
}

/// What each executor has written of shuffle 0, as the attempt that reads it now was told.
fn outputs(d: &Driver) -> Vec<(u32, TaskId)> {
    let reads = d.reads.values().filter_map(|shuffles| shuffles.get(&ShuffleId(0))).next_back().unwrap();
    reads.iter().map(|l| (l.executor.0, l.map_task)).collect()
}

/// An executor with one slot on a host with a shuffle service.
fn register_with_service(d: &mut Driver, executor: u32, host: &str) {
    d.handle(registered(
        ExecutorId(executor),
        host.to_owned(),
        format!("{host}:7{executor}"),
        Some(format!("{host}:7337")),
        1,
    ));
}

#[test]
fn it_ends_its_tasks_gets_no_more_and_is_told_once() {
    let mut d = Driver::with_executors(&[1, 1]);
    d.submit(0, one_stage(6));
    decommission(&mut d, 1, false);
    decommission(&mut d, 1, true);
    assert_eq!(told(&d), [1]);
    assert!(d.killed().is_empty(), "what runs there goes on");
    d.succeed_all_running();
    assert!(d.placed().iter().all(|(e, _)| *e == 2));
    d.register(3, "host3", 1);
    assert!(d.placed().iter().any(|(e, _)| *e == 3), "another one takes its place");
    d.remove(1, true);
    d.run_out();
    assert!(d.succeeded(0));
}

#[test]
fn what_waits_there_is_called_back_and_runs_elsewhere() {
    let mut d = Driver::with_executors(&[1]);
    d.submit(0, one_stage(100));
    for _ in 0..2 {
        d.now = d.now + Duration::from_micros(100);
        d.succeed_all_running();
    }
    let there = d.tasks();
    assert!(there.len() > 2, "tasks wait there: {there:?}");
    decommission(&mut d, 1, false);
    let recall = |e: &DriverEffect| match e {
        DriverEffect::RecallTasks { executor: ExecutorId(1), tasks } => Some(tasks.clone()),
        _ => None,
    };
    let recalled: Vec<TaskId> = d.effects.iter().filter_map(recall).flatten().collect();
    assert_eq!(recalled, there[1..]);
    for task in recalled {
        d.update(task, TaskOutcome::GivenBack);
    }
    d.succeed(there[0]);
    assert!(d.running.is_empty(), "nobody else is there");
    d.register(2, "host2", 4);
    assert_eq!(d.running.len(), 4);
    d.run_out();
    assert!(d.succeeded(0));
}

#[test]
fn moved_outputs_are_not_computed_again_when_it_goes_and_the_others_are() {
    let mut d = Driver::with_executors(&[2, 2]);
    d.submit(0, two_stages(4, 4));
    d.succeed_all_running();
    let mine: Vec<TaskId> = outputs(&d).into_iter().filter(|(e, _)| *e == 1).map(|(_, task)| task).collect();
    assert_eq!(mine.len(), 2);
    d.run_out();
    decommission(&mut d, 1, false);
    moved(&mut d, 1, mine[0], 2);
    moved(&mut d, 1, mine[1], 9);
    d.remove(1, false);
    d.submit(1, two_stages(4, 2));
    assert_eq!(d.starts()[2], (2, 0, 1), "one map output was moved to nobody");
    d.run_out();
    assert!(d.succeeded(1));
    assert!(outputs(&d).iter().all(|(e, _)| *e == 2));
}

#[test]
fn a_fetch_that_fails_at_the_old_place_costs_no_map_task_and_no_attempt() {
    let config = SchedulerConfig { max_stage_attempts: 1, ..SchedulerConfig::default() };
    let mut d = Driver::with(config);
    d.register(1, "host1", 1);
    d.register(2, "host2", 1);
    d.submit(0, two_stages(2, 2));
    d.succeed_all_running();
    let (index, (_, map_task)) = (0u32..).zip(outputs(&d)).find(|(_, (e, _))| *e == 1).unwrap();
    decommission(&mut d, 1, false);
    moved(&mut d, 1, map_task, 2);
    d.running.retain(|_, (e, _)| *e == ExecutorId(2));
    d.handle(DriverEvent::ExecutorRemoved {
        executor: ExecutorId(1),
        message: "exited with code 0".to_owned(),
        by_application: true,
        worker_lost: false,
    });
    let reader = d.tasks()[0];
    let failure = d.fetch_failure(reader, 0, index);
    d.update(reader, failure);
    d.run_out();
    assert!(d.succeeded(0), "{:?}", d.over);
    assert_eq!(d.starts(), [(0, 0, 2), (1, 0, 2), (1, 1, 2)], "no map task runs again");
    assert!(outputs(&d).iter().all(|(e, _)| *e == 2));
}

#[test]
fn what_it_takes_with_it_counts_as_nobodys_failure() {
    let mut d = Driver::with(SchedulerConfig { max_task_failures: 1, ..SchedulerConfig::default() });
    d.register(1, "host1", 2);
    d.submit(0, one_stage(2));
    let tasks = d.tasks();
    decommission(&mut d, 1, false);
    d.update(tasks[0], TaskOutcome::ResultInBlock { block_id: "taskresult_0".to_owned(), size: 8 });
    d.handle(DriverEvent::ResultFetched { task: tasks[0], result: Err("connection refused".to_owned()) });
    d.remove(1, true);
    d.register(2, "host2", 2);
    d.run_out();
    assert!(d.succeeded(0), "{:?}", d.over);
}

#[test]
fn a_result_that_is_lost_with_nobody_leaving_counts() {
    let mut d = Driver::with(SchedulerConfig { max_task_failures: 1, ..SchedulerConfig::default() });
    d.register(1, "host1", 1);
    d.submit(0, one_stage(1));
    let task = d.tasks()[0];
    d.update(task, TaskOutcome::ResultInBlock { block_id: "taskresult_0".to_owned(), size: 8 });
    d.handle(DriverEvent::ResultFetched { task, result: Err("connection refused".to_owned()) });
    assert!(matches!(d.error(0), JobError::TaskFailed { .. }));
}

#[test]
fn one_that_does_not_go_is_killed_after_its_time_and_its_tasks_run_elsewhere() {
    let timeout = Some(60 * SECOND);
    let mut d = Driver::with(SchedulerConfig { decommission_kill_timeout: timeout, ..SchedulerConfig::default() });
    d.register(1, "host1", 1);
    d.submit(0, one_stage(1));
    decommission(&mut d, 1, false);
    d.advance(59 * SECOND);
    assert_eq!(retired(&d), [] as [u32; 0]);
    d.advance(SECOND);
    assert_eq!(retired(&d), [1]);
    d.remove(1, true);
    d.register(2, "host2", 1);
    d.run_out();
    assert!(d.succeeded(0));
    assert_eq!(retired(&d), [1]);
}

#[test]
fn what_one_has_written_that_comes_after_it_was_given_back_is_made_again() {
    let timeout = Some(60 * SECOND);
    let mut d = Driver::with(SchedulerConfig { decommission_kill_timeout: timeout, ..SchedulerConfig::default() });
    d.register(1, "host1", 1);
    let mut g = two_stages(1, 1);
    g.nodes[0].cached = true;
    d.submit(0, g);
    let late = d.tasks()[0];
    decommission(&mut d, 1, false);
    d.advance(60 * SECOND);
    assert_eq!(retired(&d), [1]);
    let outcome = d.good(late);
    d.update_with(late, outcome, vec![BlockUpdate::stored(RddId(0), 0, 8)]);
    assert!(d.tasks().is_empty(), "nobody is sent to one that was given back: {:?}", d.running);
    d.register(2, "host2", 1);
    let again = d.tasks();
    assert_eq!(again.len(), 1);
    assert_eq!(d.running[&again[0]].0, ExecutorId(2));
    d.run_out();
    assert!(d.succeeded(0));
    assert_eq!(outputs(&d), [(2, again[0])]);
}

#[test]
fn it_takes_no_copies_and_no_barrier_tasks() {
    let mut d = Driver::with_executors(&[1, 1, 1]);
    decommission(&mut d, 2, false);
    let peers: Vec<u32> = d.core.peers_of(ExecutorId(1), 0).iter().map(|p| p.executor.0).collect();
    assert_eq!(peers, [3]);
    assert_eq!(d.core.leaving(), [ExecutorId(2)]);
    let barrier = |partitions| graph(vec![GraphNode { barrier: true, ..node(0, partitions, vec![]) }]);
    d.submit(0, barrier(3));
    d.advance(SECOND);
    assert!(d.running.is_empty(), "only two slots are left");
    d.submit(1, barrier(2));
    assert_eq!(d.running.len(), 2);
}

#[test]
fn a_cached_partition_that_was_moved_is_read_at_its_new_place() {
    let mut d = Driver::with_executors(&[1, 1]);
    let mut g = one_stage(1);
    g.nodes[0].cached = true;
    let here = BlockUpdate::stored(RddId(0), 0, 8);
    let gone = BlockUpdate::dropped(RddId(0), 0);
    d.submit(0, g.clone());
    let task = d.tasks()[0];
    assert_eq!(d.running[&task].0, ExecutorId(1));
    let outcome = d.good(task);
    d.update_with(task, outcome, vec![here.clone()]);
    decommission(&mut d, 1, false);
    d.hear(2, ToDriver::BlockUpdates(vec![here.clone()]));
    let holders = |d: &Driver| d.core.holders_of(RddId(0), 0).iter().map(|p| p.executor.0).collect::<Vec<_>>();
    assert_eq!(holders(&d), [1, 2]);
    d.remove(1, false);
    assert_eq!(holders(&d), [2]);
    d.submit(1, g);
    assert_eq!(d.placed(), [(2, 0)]);
    // A copy of what nobody has any more may be of anything.
    d.hear(2, ToDriver::BlockUpdates(vec![gone, here]));
    assert!(holders(&d).is_empty());
}

#[test]
fn copies_that_an_executor_names_count_for_those_that_have_them_as_long_as_the_original_is_known() {
    let mut d = Driver::with_executors(&[1, 1, 1]);
    let mut g = one_stage(1);
    g.nodes[0].cached = true;
    d.submit(0, g);
    let task = d.tasks()[0];
    let outcome = d.good(task);
    let copied = |update: BlockUpdate, to: &[u32]| {
        let replicas = to.iter().map(|e| ExecutorId(*e)).collect();
        BlockUpdate { replicas, ..update }
    };
    let (here, gone) = (BlockUpdate::stored(RddId(0), 0, 8), BlockUpdate::dropped(RddId(0), 0));
    d.update_with(task, outcome, vec![copied(here.clone(), &[2, 7])]);
    let holders = |d: &Driver| d.core.holders_of(RddId(0), 0).iter().map(|p| p.executor.0).collect::<Vec<_>>();
    assert_eq!(holders(&d), [1, 2], "nobody knows executor 7");
    // It has given its own away: what was copied before that counts.
    d.hear(1, ToDriver::BlockUpdates(vec![copied(gone.clone(), &[3])]));
    assert_eq!(holders(&d), [2, 3]);
    for executor in [2, 3] {
        d.hear(executor, ToDriver::BlockUpdates(vec![gone.clone()]));
    }
    d.hear(1, ToDriver::BlockUpdates(vec![copied(here, &[2])]));
    assert!(holders(&d).is_empty(), "nobody knows what it was computed from");
}

#[test]
fn dynamic_allocation_lets_idle_ones_leave_and_does_not_count_them() {
    let allocation = AllocationConfig { min: 1, initial: 2, idle_timeout: SECOND, ..AllocationConfig::default() };
    let config =
        SchedulerConfig { allocation: Some(allocation), decommission_idle: true, ..SchedulerConfig::default() };
    let mut d = Driver::with(config);
    d.register(1, "host1", 1);
    d.register(2, "host2", 1);
    while told(&d).is_empty() {
        assert!(d.now.since(firesteel_common::Tick::ZERO) < 60 * SECOND, "nobody is ever given back");
        let at = d.core.next_deadline().unwrap();
        d.advance_to(at);
    }
    assert_eq!((told(&d).len(), retired(&d).len()), (1, 0));
    d.advance(5 * SECOND);
    assert_eq!(told(&d).len(), 1, "the one that stays is the least that there may be");
    let stays = 3 - told(&d)[0];
    d.submit(0, one_stage(3));
    assert!(d.placed().iter().all(|(e, _)| *e == stays));
    let totals = |d: &Driver| {
        let total = |e: &DriverEffect| match e {
            DriverEffect::RequestExecutors { total } => Some(*total),
            _ => None,
        };
        d.effects.iter().filter_map(total).collect::<Vec<_>>()
    };
    (0..30).for_each(|_| d.advance(SECOND / 10));
    assert!(totals(&d).last().is_some_and(|total| *total >= 2), "others are asked for: {:?}", totals(&d));
}

#[test]
fn one_that_is_to_leave_before_it_has_come_gets_no_tasks() {
    let mut d = Driver::new();
    d.submit(0, one_stage(1));
    decommission(&mut d, 1, true);
    assert_eq!(told(&d), [] as [u32; 0]);
    d.register(1, "host1", 1);
    assert_eq!(told(&d), [1]);
    assert!(d.running.is_empty());
    d.remove(1, false);
    decommission(&mut d, 1, true);
    d.register(2, "host2", 1);
    d.run_out();
    assert!(d.succeeded(0));
    assert_eq!(told(&d), [1]);
}

#[test]
fn a_leaving_workers_service_serves_until_the_last_of_its_executors_has_gone() {
    let mut d = Driver::new();
    register_with_service(&mut d, 1, "a");
    register_with_service(&mut d, 2, "a");
    register_with_service(&mut d, 3, "b");
    d.submit(0, two_stages(3, 1));
    d.succeed_all_running();
    let there = outputs(&d);
    d.run_out();
    let task_of = |executor: u32| there.iter().find(|(e, _)| *e == executor).unwrap().1;
    decommission(&mut d, 1, true);
    decommission(&mut d, 2, true);
    decommission(&mut d, 3, false);
    assert!(d.core.outputs_leave_with(ExecutorId(1)));
    assert!(!d.core.outputs_leave_with(ExecutorId(3)), "its worker stays, and serves them");
    register_with_service(&mut d, 4, "c");
    moved(&mut d, 1, task_of(1), 4);
    d.remove(1, false);
    moved(&mut d, 2, task_of(2), 4);
    d.remove(3, false);
    d.submit(1, two_stages(3, 2));
    assert_eq!(d.starts().last(), Some(&(3, 0, 2)), "all outputs are there");
    let mut now = outputs(&d);
    now.sort();
    assert_eq!(now.iter().map(|(e, _)| *e).collect::<Vec<_>>(), [3, 4, 4]);
    d.remove(2, false);
    d.run_out();
    assert!(d.succeeded(1));
}

#[test]
fn what_was_not_moved_goes_with_the_leaving_workers_service() {
    let mut d = Driver::new();
    register_with_service(&mut d, 1, "a");
    d.submit(0, two_stages(2, 1));
    d.run_out();
    decommission(&mut d, 1, true);
    register_with_service(&mut d, 2, "b");
    d.remove(1, false);
    d.submit(1, two_stages(2, 1));
    assert_eq!(d.starts().last(), Some(&(2, 0, 2)), "the map stage runs again");
    d.run_out();
    assert!(d.succeeded(1));
}

#[test]
fn an_output_that_was_moved_after_its_shuffle_was_dropped_is_dropped_too() {
    let mut d = Driver::with_executors(&[1, 1]);
    d.submit(0, two_stages(1, 1));
    d.run_out();
    decommission(&mut d, 1, false);
    d.handle(DriverEvent::ShuffleRemoved { shuffle: ShuffleId(0) });
    d.effects.clear();
    moved(&mut d, 1, TaskId(0), 2);
    assert!(matches!(d.effects[..], [DriverEffect::DropShuffle { shuffle: ShuffleId(0) }]), "{:?}", d.effects);
}

#[test]
fn a_task_of_it_that_fails_by_its_own_code_counts() {
    let mut d = Driver::with(SchedulerConfig { max_task_failures: 1, ..SchedulerConfig::default() });
    d.register(1, "host1", 1);
    d.submit(0, one_stage(1));
    decommission(&mut d, 1, false);
    let task = d.tasks()[0];
    d.fail(task, "index out of bounds");
    assert!(matches!(d.error(0), JobError::TaskFailed { failure: TaskFailure::Exception { .. }, .. }));
}

#[test]
fn nobody_is_sent_to_what_one_held_that_took_too_long() {
    let timeout = Some(60 * SECOND);
    let mut d = Driver::with(SchedulerConfig { decommission_kill_timeout: timeout, ..SchedulerConfig::default() });
    d.register(1, "host1", 1);
    d.submit(0, two_stages(2, 1));
    d.run_out();
    decommission(&mut d, 1, false);
    d.advance(60 * SECOND);
    assert_eq!(retired(&d), [1]);
    // Its end has not been reported.
    d.register(2, "host2", 1);
    d.submit(1, two_stages(2, 1));
    d.run_out();
    assert!(d.succeeded(1));
    let read = d.reads.values().last().unwrap().values().flatten();
    assert!(read.map(|l| l.executor).eq([ExecutorId(2), ExecutorId(2)]));
}
