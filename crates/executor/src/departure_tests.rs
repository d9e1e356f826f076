//! An executor that leaves, without anything that it holds.

use super::*;

fn item(task: u64) -> Item {
    Item::Output(ShuffleId(1), TaskId(task))
}

fn peer(executor: u32) -> BlockAddress {
    BlockAddress { executor: ExecutorId(executor), address: format!("h:{executor}") }
}

fn orders(peers: impl IntoIterator<Item = u32>) -> DecommissionExecutor {
    DecommissionExecutor { peers: peers.into_iter().map(peer).collect(), map_outputs: true }
}

fn handle(departure: &mut Departure, event: Event) -> Vec<Effect> {
    let mut out = Vec::new();
    departure.handle(event, &mut out);
    out
}

fn looked(departure: &mut Departure, tasks: impl IntoIterator<Item = u64>, idle: bool) -> Vec<Effect> {
    handle(departure, Event::Looked { held: tasks.into_iter().map(item).collect(), idle })
}

fn give(task: u64, to: u32) -> Effect {
    Effect::Give { item: item(task), peer: peer(to) }
}

#[test]
fn what_one_peer_does_not_take_is_given_to_the_next_and_who_leaves_has_nothing_left() {
    let mut d = Departure::new(orders([1, 2]), 3, 1);
    assert_eq!(looked(&mut d, [7, 8], true), [give(7, 1)], "one at a time");
    assert_eq!(handle(&mut d, Event::Refused { item: item(7), by: ExecutorId(1) }), [give(7, 2)]);
    let moved = Event::Moved { item: item(7), to: ExecutorId(2) };
    assert_eq!(handle(&mut d, moved), [Effect::Tell { item: item(7), to: ExecutorId(2) }, give(8, 2)]);
    assert_eq!(handle(&mut d, Event::Gone { item: item(8) }), [Effect::Leave]);
}

#[test]
fn while_tasks_run_it_looks_again_and_tells_again_what_was_moved_early() {
    let mut d = Departure::new(orders([1]), 3, 2);
    assert_eq!(looked(&mut d, [7], false), [give(7, 1)]);
    let tell = Effect::Tell { item: item(7), to: ExecutorId(1) };
    assert_eq!(handle(&mut d, Event::Moved { item: item(7), to: ExecutorId(1) }), [tell.clone(), Effect::Look]);
    assert_eq!(looked(&mut d, [7], false), [Effect::Look], "it is elsewhere");
    assert_eq!(looked(&mut d, [7], true), [tell, Effect::Leave]);
}

#[test]
fn what_nobody_takes_is_given_up_until_another_peer_comes_and_what_the_last_one_took_with_it_is_moved_anew() {
    let mut d = Departure::new(orders([1]), 2, 4);
    assert_eq!(looked(&mut d, [7], false), [give(7, 1)]);
    let refused = |by| Event::Refused { item: item(7), by: ExecutorId(by) };
    assert_eq!(handle(&mut d, refused(1)), [give(7, 1)]);
    assert_eq!(handle(&mut d, refused(1)), [Effect::GivenUp { item: item(7), attempts: 2 }, Effect::Look]);
    assert_eq!(looked(&mut d, [7], false), [Effect::Look]);
    assert_eq!(handle(&mut d, Event::Ordered(orders([2]))), []);
    assert_eq!(looked(&mut d, [7], true), [give(7, 2)]);
    // The one that takes it is to go as well: it is not the end.
    assert_eq!(handle(&mut d, Event::Ordered(orders([3]))), []);
    let tell = |to| Effect::Tell { item: item(7), to: ExecutorId(to) };
    assert_eq!(handle(&mut d, Event::Moved { item: item(7), to: ExecutorId(2) }), [tell(2), Effect::Look]);
    assert_eq!(looked(&mut d, [7], true), [give(7, 3)]);
    assert_eq!(handle(&mut d, Event::Moved { item: item(7), to: ExecutorId(3) }), [tell(3), Effect::Leave]);
}

#[test]
fn without_peers_it_goes_when_it_is_idle_and_says_what_is_lost() {
    let mut d = Departure::new(orders([]), 3, 1);
    assert_eq!(looked(&mut d, [7], false), [Effect::Look]);
    assert_eq!(looked(&mut d, [7, 8], true), [Effect::Lost { items: 2 }, Effect::Leave]);
    let mut served = Departure::new(DecommissionExecutor { map_outputs: false, ..orders([1]) }, 3, 1);
    assert_eq!(looked(&mut served, [7], true), [Effect::Leave], "others serve its outputs");
}
