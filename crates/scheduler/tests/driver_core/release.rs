//! What the user lets go is dropped when nobody can write it any more.

use firesteel_common::{JobId, RddId, ShuffleId, TaskFailure};
use firesteel_protocol::*;
use firesteel_scheduler::*;

use crate::harness::*;

fn dropped(d: &Driver) -> (usize, usize) {
    let count = |f: fn(&DriverEffect) -> bool| d.effects.iter().filter(|e| f(e)).count();
    (count(|e| matches!(e, DriverEffect::DropShuffle { .. })), count(|e| matches!(e, DriverEffect::DropRdd { .. })))
}

fn kept_then_shuffled() -> JobGraph {
    let mut graph = two_stages(2, 1);
    graph.nodes[0].cached = true;
    graph
}

#[test]
fn what_a_killed_task_may_still_write_is_dropped_when_it_has_ended() {
    let mut d = Driver::with_executors(&[2]);
    d.submit(0, kept_then_shuffled());
    let tasks = d.tasks();
    d.handle(DriverEvent::CancelJob { job: JobId(0), reason: String::new() });
    d.handle(DriverEvent::ShuffleRemoved { shuffle: ShuffleId(0) });
    d.handle(DriverEvent::RddRemoved { rdd: RddId(0) });
    assert_eq!(dropped(&d), (0, 0), "two killed tasks run");
    d.update(tasks[0], TaskOutcome::Failed(TaskFailure::Killed { reason: String::new() }));
    assert_eq!(dropped(&d), (0, 0), "one runs");
    let kept = BlockUpdate::stored(RddId(0), 1, 8);
    let outcome = d.good(tasks[1]);
    d.update_with(tasks[1], outcome, vec![kept]);
    assert_eq!(dropped(&d), (1, 1));
    d.submit(1, kept_then_shuffled());
    assert_eq!(d.starts().last().map(|s| s.2), Some(2), "nothing is known of what the killed tasks wrote");
}

#[test]
fn others_killed_tasks_and_lost_executors_hold_nothing_up() {
    let mut d = Driver::with_executors(&[2]);
    d.submit(0, kept_then_shuffled());
    d.handle(DriverEvent::CancelJob { job: JobId(0), reason: String::new() });
    d.handle(DriverEvent::RddRemoved { rdd: RddId(7) });
    assert_eq!(dropped(&d), (0, 1), "another RDD");
    d.handle(DriverEvent::ShuffleRemoved { shuffle: ShuffleId(0) });
    assert_eq!(dropped(&d), (0, 1));
    d.remove(1, false);
    assert_eq!(dropped(&d), (1, 1));
}

#[test]
fn a_shuffle_that_no_job_ever_read_is_nowhere() {
    let mut d = Driver::with_executors(&[2]);
    d.handle(DriverEvent::ShuffleRemoved { shuffle: ShuffleId(3) });
    assert_eq!(dropped(&d), (0, 0));
}
