//! What is told of executors whose nodes leave or are lost.

use super::connected;

#[test]
fn the_executors_of_a_node_that_leaves_are_told_together_and_once() {
    let mut played = connected(&[0, 2]);
    played.granted(1, "another");
    assert_eq!(played.node_leaves(2), ["leave [0, 2]", "2 cores"]);
    assert!(played.node_leaves(0).is_empty(), "it is said of each");
    assert!(played.node_leaves(7).is_empty(), "of a stranger");
    assert_eq!(played.granted(3, "w"), ["4 cores"]);
    assert_eq!(played.node_leaves(3), ["leave [3]", "2 cores"]);
}

#[test]
fn one_that_leaves_with_its_node_has_not_failed_however_it_ends() {
    let mut played = connected(&[0]);
    played.node_leaves(0);
    played.stream_ended(0);
    assert_eq!(played.exits(0), ["removed 0: exit code 1"]);
}

#[test]
fn a_lost_node_takes_all_along_that_it_ever_ran() {
    let mut played = connected(&[0, 1]);
    played.granted(2, "another");
    played.stream_ended(0);
    played.exits(0);
    played.stream_ended(1);
    // Of 1 no master has said that it is lost: one that took over does not know it.
    assert_eq!(played.node_lost("w"), ["removed 1 with its worker: it is lost", "worker of [0, 1]", "2 cores"]);
    assert!(played.node_lost("w").is_empty(), "it is lost once");
    assert!(played.node_lost("a third").is_empty());
}

#[test]
fn nothing_is_awaited_from_a_lost_node_whose_executors_may_live_on() {
    let mut played = connected(&[0]);
    let gone = ["close 0: the executor's process has ended", "removed 0 with its worker: it is lost"];
    assert_eq!(played.node_lost("w"), [&gone[..], &["worker of [0]", "0 cores"]].concat());
    assert!(played.stream_ended(0).is_empty(), "all was said");
}

#[test]
fn a_node_that_is_lost_while_last_words_are_awaited_is_lost_with_its_executor() {
    let mut played = connected(&[0]);
    played.exits(0);
    let gone = "removed 0 by the application with its worker: exit code 1";
    assert_eq!(played.node_lost("w"), ["close 0: the executor's process has ended", gone, "worker of [0]"]);
    assert!(played.stream_ended(0).is_empty(), "all was said");
}

#[test]
fn what_a_node_keeps_of_those_that_were_granted_again_after_their_end_goes_with_it() {
    let mut played = connected(&[0]);
    played.stream_ended(0);
    played.exits(0);
    played.node_lost("w");
    assert!(played.granted(0, "w").is_empty());
    assert_eq!(played.node_lost("w"), ["worker of [0]"]);
}
