//! Delay scheduling on the virtual clock.

use std::time::Duration;

use firesteel_common::{NarrowMap, RddId};
use firesteel_protocol::*;
use firesteel_scheduler::*;

use crate::harness::*;

fn cached(partitions: u32) -> JobGraph {
    let mut g = one_stage(partitions);
    g.nodes[0].cached = true;
    g
}

/// Runs a job whose partitions get cached where they ran.
fn fill(d: &mut Driver, partitions: u32) -> Vec<(u32, u32)> {
    d.submit(0, cached(partitions));
    let mut places = d.placed();
    for task in d.tasks() {
        let (outcome, partition) = (d.good(task), d.running[&task].1.partition);
        d.update_with(task, outcome, vec![BlockUpdate::stored(RddId(0), partition, 1)]);
    }
    places.sort_unstable();
    places
}

fn sorted(mut places: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    places.sort_unstable();
    places
}

#[test]
fn tasks_run_where_their_partition_is_cached() {
    let mut d = Driver::with_executors(&[2, 2, 2]);
    let places = fill(&mut d, 6);
    for job in 1..4 {
        d.submit(job, cached(6));
        assert_eq!(sorted(d.placed()), places);
        d.run_out();
    }
}

#[test]
fn a_slot_elsewhere_is_taken_only_after_the_wait() {
    let mut d = Driver::with_executors(&[1, 1]);
    let places = fill(&mut d, 2);
    let on_one = places.iter().find(|(e, _)| *e == 1).unwrap().1;
    // Executor 1 is busy with something else.
    d.submit(1, one_stage(2));
    let busy = d.tasks().into_iter().find(|t| d.running[t].0.0 == 1).unwrap();
    let other = d.tasks().into_iter().find(|t| *t != busy).unwrap();
    d.succeed(other);
    d.submit_some(2, cached(2), vec![on_one], JobProperties::default());
    assert_eq!(d.running.len(), 1);
    let mut waited = Duration::ZERO;
    while d.running.len() == 1 {
        let at = d.core.next_deadline().unwrap();
        waited += at.since(d.now);
        d.advance_to(at);
    }
    assert_eq!(waited, Duration::from_secs(6), "three seconds for the executor, three for its host");
    d.run_out();
    assert!(d.succeeded(2));
}

#[test]
fn preferred_hosts_are_waited_for_and_hosts_without_executor_are_not() {
    let mut g = one_stage(2);
    g.nodes[0].preferred = vec![vec!["host2".to_owned()], vec!["elsewhere".to_owned()]];
    let mut d = Driver::with_executors(&[1, 1]);
    d.submit(0, g.clone());
    assert_eq!(d.placed(), [(2, 0)], "partition 1 may run anywhere once nobody waits for a host");
    d.succeed_all_running();
    assert!(d.running.values().all(|(_, s)| s.partition == 1) && d.running.len() == 1);
    d.run_out();
    g.nodes[0].preferred = vec![vec!["elsewhere".to_owned()]; 2];
    d.submit(1, g);
    assert_eq!(d.running.len(), 2);
}

#[test]
fn nobody_waits_for_a_lost_executor() {
    let mut d = Driver::with_executors(&[1, 1]);
    fill(&mut d, 2);
    d.submit(1, cached(2));
    d.remove(1, false);
    let before = d.now;
    d.run_out();
    assert!(d.succeeded(1));
    assert_eq!(d.now, before);
}

#[test]
fn short_cached_tasks_of_one_executor_do_not_keep_the_others_idle_for_ever() {
    let mut d = Driver::with_executors(&[4]);
    fill(&mut d, 4);
    d.register(2, "host2", 1);
    let mut g = one_stage(100);
    g.nodes[0].cached = true;
    g.nodes.push(GraphNode {
        deps: vec![GraphDep::Narrow { parent: 0, partitions: NarrowMap::groups((0..100).map(|i| vec![i % 4])) }],
        ..node(1, 100, vec![])
    });
    g.root = 1;
    d.submit(1, g);
    for _ in 0..10 {
        d.advance(Duration::from_secs(1));
        let one = d.tasks().into_iter().find(|t| d.running[t].0.0 == 1).unwrap();
        d.succeed(one);
    }
    assert!(d.running.values().any(|(e, _)| e.0 == 2), "after the wait the second executor helps");
}
