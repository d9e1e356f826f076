//! What is told of executors that end.

use std::time::Duration;

use firesteel_common::ExecutorId;

use super::{Played, connected};
use crate::RosterEvent;

#[test]
fn an_end_after_that_of_the_stream_is_told_at_once() {
    let mut played = connected(&[0]);
    assert_eq!(played.stream_ended(0), ["disconnected 0"]);
    assert_eq!(played.exits(0), ["removed 0 by the application: exit code 1", "0 cores"]);
}

#[test]
fn what_was_sent_has_its_turn_before_the_end_is_told() {
    let mut played = connected(&[0]);
    assert_eq!(played.exits(0), ["0 cores"]);
    assert!(played.after(Duration::from_millis(900)).is_empty());
    assert_eq!(played.stream_ended(0), ["disconnected 0", "removed 0 by the application: exit code 1"]);
    assert!(played.after(Duration::from_secs(60)).is_empty());
}

#[test]
fn a_stream_that_stays_open_keeps_the_end_back_for_a_second() {
    let mut played = connected(&[0]);
    played.exits(0);
    let told = played.after(Duration::from_secs(1));
    assert_eq!(told, ["close 0: the executor's process has ended", "removed 0 by the application: exit code 1"]);
    assert!(played.stream_ended(0).is_empty(), "all was said");
}

#[test]
fn one_that_never_came_is_told_at_once() {
    let mut played = Played::default();
    played.granted(0, "w");
    assert_eq!(played.exits(0), ["removed 0 by the application: exit code 1", "0 cores"]);
    assert_eq!(played.exits(1), ["removed 1 by the application: exit code 1"], "nor was it granted");
}

#[test]
fn an_end_that_is_said_again_is_told_once() {
    let mut played = connected(&[0]);
    played.exits(0);
    assert!(played.exits(0).is_empty());
    assert_eq!(played.stream_ended(0).len(), 2);
    assert!(played.exits(0).is_empty());
}

#[test]
fn one_that_does_not_work_as_it_must_is_gone_at_once_and_killed() {
    let mut played = connected(&[0]);
    assert_eq!(played.gives_up(0), ["close 0: silence", "removed 0: silence", "kill 0"]);
    assert_eq!(played.stream_ended(0), ["disconnected 0"]);
    assert_eq!(played.exits(0), ["removed 0: silence; exit code 1", "0 cores"], "that it ends is not its own doing");
}

#[test]
fn one_that_is_given_up_on_its_way_out_is_told_to_have_ended() {
    let mut played = connected(&[0]);
    played.exits(0);
    assert_eq!(played.gives_up(0), ["close 0: silence", "removed 0 by the application: exit code 1"]);
    assert!(played.stream_ended(0).is_empty());
    assert!(played.gives_up(0).is_empty(), "it is gone");
}

#[test]
fn one_that_the_driver_has_dropped_has_not_failed() {
    let mut played = connected(&[0]);
    assert!(played.drops(0).is_empty());
    assert!(played.drops(0).is_empty());
    played.exits(0);
    assert_eq!(played.stream_ended(0), ["disconnected 0", "removed 0: no use; exit code 1"]);
}

#[test]
fn a_stream_that_ended_by_itself_was_not_dropped() {
    let mut played = connected(&[0]);
    played.stream_ended(0);
    played.drops(0);
    assert_eq!(played.exits(0)[0], "removed 0 by the application: exit code 1");
}

#[test]
fn one_that_is_given_back_is_closed_killed_and_has_not_failed() {
    let mut played = connected(&[0]);
    assert_eq!(played.retires(0), ["close 0: idle", "kill 0"]);
    assert_eq!(played.stream_ended(0), ["disconnected 0"]);
    assert_eq!(played.exits(0)[0], "removed 0: idle; exit code 1");
    assert_eq!(played.retires(0), ["kill 0"], "a master may still think that it runs");
}

#[test]
fn one_that_was_told_to_leave_ends_as_it_did() {
    let mut played = connected(&[0]);
    assert!(played.handle(RosterEvent::Leaving { executor: ExecutorId(0) }).is_empty());
    played.stream_ended(0);
    // The schedulers know that it was to leave, and count nothing.
    assert_eq!(played.exits(0)[0], "removed 0 by the application: exit code 1");
}
