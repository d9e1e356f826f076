//! Executors that come, disconnect and go; slots; waiting for resources.

use std::time::Duration;

use firesteel_common::ExecutorId;
use firesteel_scheduler::*;

use crate::harness::*;

fn refused(d: &Driver) -> usize {
    d.effects.iter().filter(|e| matches!(e, DriverEffect::ExecutorRefused { .. })).count()
}

#[test]
fn without_executors_nothing_fails_and_the_user_is_warned_now_and_then() {
    let mut d = Driver::new();
    d.submit(0, one_stage(1));
    let warnings = |d: &Driver| d.effects.iter().filter(|e| matches!(e, DriverEffect::NoResources { .. })).count();
    d.advance(Duration::from_secs(14));
    assert_eq!(warnings(&d), 0);
    let at = d.core.next_deadline().unwrap();
    d.advance_to(at);
    assert_eq!(warnings(&d), 1);
    d.advance(Duration::from_secs(15));
    assert_eq!(warnings(&d), 2);
    d.register(1, "h", 1);
    d.advance(Duration::from_secs(60));
    assert_eq!(warnings(&d), 2, "a task runs");
    d.run_out();
    assert!(d.succeeded(0));
    assert_eq!(d.core.next_deadline(), None);
}

#[test]
fn tasks_spread_over_executors_and_never_take_more_than_their_slots() {
    let mut d = Driver::with_executors(&[3, 1, 2]);
    d.submit(0, one_stage(100));
    let count = |d: &Driver, e: u32| d.placed().iter().filter(|(at, _)| *at == e).count();
    assert_eq!([count(&d, 1), count(&d, 2), count(&d, 3)], [3, 1, 2]);
    d.run_out();
    d.submit(1, one_stage(3));
    assert_eq!([count(&d, 1), count(&d, 2), count(&d, 3)], [1, 1, 1]);
}

#[test]
fn outputs_that_a_shuffle_service_kept_are_made_again_as_soon_as_its_worker_is_lost() {
    let mut d = Driver::new();
    let served = |executor, service: &str| {
        registered(ExecutorId(executor), "h".to_owned(), format!("h:7{executor}"), Some(service.to_owned()), 1)
    };
    d.handle(served(1, "h:1"));
    d.handle(served(2, "h:2"));
    d.submit(0, two_stages(2, 1));
    d.succeed_all_running();
    d.run_out();
    d.remove(1, false);
    d.submit(1, two_stages(2, 1));
    d.run_out();
    assert_eq!(d.starts(), [(0, 0, 2), (1, 0, 1), (3, 0, 1)], "the service has what the executor wrote");
    let lost = |executors: &[u32]| DriverEvent::WorkerRemoved {
        executors: executors.iter().copied().map(ExecutorId).collect(),
        message: "lost".to_owned(),
    };
    d.handle(lost(&[9]));
    d.handle(lost(&[1]));
    d.handle(lost(&[1]));
    d.submit(2, two_stages(2, 1));
    d.run_out();
    assert!(d.succeeded(2));
    assert_eq!(d.starts()[3..], [(4, 0, 1), (5, 0, 1)], "what the worker had is made again before anybody asks for it");
}

#[test]
fn a_disconnected_executor_gets_no_tasks_and_its_reason_is_awaited_for_a_bounded_time() {
    let mut d = Driver::with_executors(&[1]);
    d.submit(0, one_stage(1));
    d.handle(DriverEvent::ExecutorDisconnected { executor: ExecutorId(1) });
    d.register(2, "h", 1);
    assert_eq!(d.running.len(), 1, "its task may have ended with a reason that counts: it is not yet tried again");
    let at = d.core.next_deadline().unwrap();
    assert_eq!(at, d.now + Duration::from_secs(2));
    d.advance_to(at);
    assert_eq!(d.running.len(), 2);
    d.running.retain(|_, (e, _)| e.0 == 2);
    d.run_out();
    assert!(d.succeeded(0));
}

#[test]
fn the_reason_of_a_loss_reaches_the_error() {
    let mut d = Driver::with(SchedulerConfig { max_task_failures: 1, ..SchedulerConfig::default() });
    d.register(1, "h", 1);
    d.submit(0, one_stage(1));
    d.handle(DriverEvent::ExecutorDisconnected { executor: ExecutorId(1) });
    d.remove(1, true);
    assert!(d.error(0).to_string().contains("exited with code 1"));
}

#[test]
fn news_of_a_removed_executor_is_ignored() {
    let mut d = Driver::with_executors(&[1]);
    d.submit(0, two_stages(1, 1));
    let task = d.tasks()[0];
    let outcome = d.good(task);
    d.remove(1, false);
    d.report(1, task, outcome, Vec::new());
    d.register(2, "h", 1);
    d.run_out();
    assert!(d.succeeded(0));
    assert_eq!(d.starts(), [(0, 0, 1), (1, 0, 1)]);
}

#[test]
fn an_executor_that_was_removed_or_disconnected_is_refused_and_a_repeated_registration_is_not() {
    let mut d = Driver::with_executors(&[1, 1]);
    d.register(1, "host1", 1);
    assert_eq!(refused(&d), 0);
    d.handle(DriverEvent::ExecutorDisconnected { executor: ExecutorId(1) });
    d.register(1, "host1", 1);
    assert_eq!(refused(&d), 1);
    d.remove(2, false);
    d.register(2, "host2", 1);
    assert_eq!(refused(&d), 2);
    d.remove(3, false);
    d.register(3, "host3", 1);
    assert_eq!(refused(&d), 3, "its end came before its registration");
}

#[test]
fn an_executor_that_joins_gets_waiting_tasks() {
    let mut d = Driver::with_executors(&[1]);
    d.submit(0, one_stage(3));
    d.register(2, "h", 2);
    assert_eq!(d.running.len(), 3);
}

#[test]
fn nobody_is_sent_to_what_an_executor_held_that_was_given_back() {
    let allocation = AllocationConfig {
        idle_timeout: Duration::from_secs(1),
        shuffle_timeout: Some(Duration::from_secs(2)),
        ..AllocationConfig::default()
    };
    let mut d = Driver::with(SchedulerConfig { allocation: Some(allocation), ..SchedulerConfig::default() });
    d.register(1, "h1", 1);
    d.submit(0, two_stages(2, 1));
    d.run_out();
    (0..30).for_each(|_| d.advance(Duration::from_millis(100)));
    assert!(d.effects.iter().any(|e| matches!(e, DriverEffect::RetireExecutors { .. })));
    // Its end has not been reported.
    d.register(2, "h2", 1);
    d.submit(1, two_stages(2, 1));
    d.run_out();
    assert!(d.succeeded(1));
    assert!(!d.effects.iter().any(|e| matches!(e, DriverEffect::TaskFailed { .. })));
    let read = d.reads.values().last().unwrap().values().flatten();
    assert!(read.map(|l| l.executor).eq([ExecutorId(2), ExecutorId(2)]));
}

#[test]
fn that_a_worker_is_lost_is_news_also_when_its_executor_was_given_up_before() {
    let mut d = Driver::new();
    d.handle(registered(ExecutorId(1), "h1".to_owned(), "h1:71".to_owned(), Some("h1:7337".to_owned()), 1));
    d.submit(0, two_stages(2, 1));
    d.run_out();
    d.handle(DriverEvent::ExecutorDisconnected { executor: ExecutorId(1) });
    d.advance(Duration::from_secs(10));
    let message = "worker lost".to_owned();
    let (by_application, worker_lost) = (false, true);
    d.handle(DriverEvent::ExecutorRemoved { executor: ExecutorId(1), message, by_application, worker_lost });
    d.register(2, "h2", 1);
    d.submit(1, two_stages(2, 1));
    d.run_out();
    assert!(d.succeeded(1));
    let read = d.reads.values().last().unwrap().values().flatten();
    assert!(read.map(|l| l.executor).eq([ExecutorId(2), ExecutorId(2)]));
}

#[test]
fn the_reason_of_a_loss_is_awaited_no_longer_when_the_worker_is_known_to_be_gone() {
    let mut d = Driver::with_executors(&[1, 1]);
    d.submit(0, one_stage(2));
    let lost: Vec<_> = d.running.iter().filter(|(_, (e, _))| e.0 == 1).map(|(task, _)| *task).collect();
    d.handle(DriverEvent::ExecutorDisconnected { executor: ExecutorId(1) });
    assert!(!d.effects.iter().any(|e| matches!(e, DriverEffect::TaskFailed { .. })));
    d.handle(DriverEvent::WorkerRemoved { executors: vec![ExecutorId(1)], message: "worker lost".to_owned() });
    let failed = d.effects.iter().filter_map(|e| match e {
        DriverEffect::TaskFailed { task, .. } => Some(*task),
        _ => None,
    });
    assert_eq!(failed.collect::<Vec<_>>(), lost);
}
