//! Who is let in.

use std::time::Duration;

use super::{Played, connected};

#[test]
fn who_was_granted_is_let_in() {
    let mut played = Played::default();
    assert_eq!(played.granted(0, "w"), ["2 cores"]);
    assert_eq!(played.registers(0, 7), ["admit 7"]);
}

#[test]
fn who_is_faster_than_the_word_of_its_grant_waits_for_it() {
    let mut played = Played::default();
    assert!(played.registers(3, 7).is_empty());
    assert!(played.after(Duration::from_secs(9)).is_empty());
    assert_eq!(played.granted(1, "w"), ["2 cores"], "of another");
    assert_eq!(played.granted(3, "w"), ["admit 7", "4 cores"]);
    assert!(played.after(Duration::from_secs(60)).is_empty(), "nobody waits any more");
}

#[test]
fn a_grant_that_is_older_than_others_may_come_late_as_well() {
    let mut played = Played::default();
    played.granted(105, "w");
    assert!(played.registers(5, 7).is_empty(), "the master that granted it is gone, and the next has to adopt it");
    assert_eq!(played.granted(5, "w"), ["admit 7", "4 cores"]);
}

#[test]
fn who_is_not_granted_in_time_is_refused() {
    let mut played = Played::default();
    played.registers(3, 7);
    assert_eq!(played.after(Duration::from_secs(10)), ["refuse 7: executor 3 was not granted to this application"]);
    assert_eq!(played.granted(3, "w"), ["2 cores"], "nobody waits there");
}

#[test]
fn a_second_registration_is_refused_however_the_first_one_ended() {
    let refused = "refuse 8: executor 0 has registered before; an executor that was lost stays lost";
    let mut played = connected(&[0]);
    assert_eq!(played.registers(0, 8), [refused]);
    played.stream_ended(0);
    assert_eq!(played.registers(0, 8), [refused]);
}

#[test]
fn of_two_that_wait_as_one_executor_the_first_is_let_in() {
    let mut played = Played::default();
    played.registers(0, 1);
    played.registers(0, 2);
    let answers = played.granted(0, "w");
    assert_eq!(answers[0], "admit 1");
    assert!(answers[1].starts_with("refuse 2: executor 0 has registered before"), "{answers:?}");
}

#[test]
fn who_has_ended_is_not_let_in_even_if_it_is_granted_again() {
    let removed = "refuse 7: executor 0 was removed from this application";
    let mut played = Played::default();
    played.granted(0, "w");
    played.exits(0);
    assert_eq!(played.registers(0, 7), [removed]);
    assert!(played.granted(0, "w").is_empty(), "a master that took over has heard nothing of its end");
    assert_eq!(played.registers(0, 7), [removed]);
}

#[test]
fn who_waits_is_refused_when_its_end_is_said_before_its_grant() {
    let mut played = Played::default();
    played.registers(0, 7);
    let answers = played.exits(0);
    assert_eq!(answers[0], "refuse 7: executor 0 was removed from this application");
    assert!(played.granted(0, "w").is_empty());
}

#[test]
fn who_is_gone_before_it_is_answered_is_forgotten() {
    let mut played = Played::default();
    played.registers(0, 7);
    assert!(played.stream_ended(7).is_empty());
    assert_eq!(played.granted(0, "w"), ["2 cores"]);
}

#[test]
fn who_is_to_be_given_back_is_not_let_in() {
    let mut played = Played::default();
    played.granted(0, "w");
    assert_eq!(played.retires(0), ["kill 0"]);
    assert_eq!(played.registers(0, 7), ["refuse 7: executor 0 is to end: idle"]);
}

#[test]
fn a_grant_that_is_said_again_changes_nothing() {
    let mut played = connected(&[0]);
    assert!(played.granted(0, "w").is_empty());
    assert_eq!(played.stream_ended(0), ["disconnected 0"]);
    assert!(played.granted(0, "w").is_empty());
}
