//! Jobs, stages cut at shuffles, and outputs that are used again.

use firesteel_common::{CallSite, JobId, NarrowMap, RddId, ShuffleId};
use firesteel_protocol::*;
use firesteel_scheduler::*;

use crate::harness::*;

#[test]
fn a_job_without_partitions_succeeds_at_once() {
    let mut d = Driver::new();
    d.submit(0, one_stage(0));
    assert!(d.succeeded(0));
}

#[test]
fn a_job_runs_only_the_partitions_that_were_asked_for_and_numbers_results_by_their_place() {
    let mut d = Driver::with_executors(&[4]);
    d.handle(DriverEvent::SubmitJob {
        site: CallSite::default(),
        job: JobId(0),
        graph: one_stage(10),
        partitions: vec![7, 2],
        properties: JobProperties::default(),
        repeatable: false,
    });
    assert_eq!(d.placed(), [(1, 7), (1, 2)]);
    d.succeed_all_running();
    assert!(d.succeeded(0));
    assert_eq!(d.results[&(JobId(0), 0)], "7");
    assert_eq!(d.results[&(JobId(0), 1)], "2");
}

#[test]
fn the_reduce_stage_starts_when_all_map_outputs_are_there_and_knows_where_they_lie() {
    let mut d = Driver::with_executors(&[2, 2]);
    d.submit(0, two_stages(3, 2));
    assert_eq!(d.starts(), [(0, 0, 3)]);
    let maps = d.tasks();
    d.succeed(maps[2]);
    d.succeed(maps[0]);
    assert_eq!(d.starts().len(), 1);
    d.succeed(maps[1]);
    assert_eq!(d.starts(), [(0, 0, 3), (1, 0, 2)]);
    let reads = d.reads.values().next_back().unwrap();
    let locations: Vec<_> = reads[&ShuffleId(0)].iter().map(|l| l.map_task).collect();
    assert_eq!(locations, maps);
    d.run_out();
    assert!(d.succeeded(0));
}

#[test]
fn steps_without_shuffle_share_a_stage_and_a_diamond_runs_its_parent_once() {
    let mut d = Driver::with_executors(&[4]);
    let nodes = vec![
        node(0, 2, vec![]),
        node(1, 2, vec![narrow(0)]),
        node(2, 2, vec![shuffle(0, 1, 2)]),
        node(3, 2, vec![narrow(2)]),
        node(4, 2, vec![narrow(2), narrow(3)]),
    ];
    d.submit(0, graph(nodes));
    d.run_out();
    assert_eq!(d.starts(), [(0, 0, 2), (1, 0, 2)]);
}

#[test]
fn independent_parents_run_at_the_same_time_and_parents_have_lower_numbers() {
    let mut d = Driver::with_executors(&[4]);
    let nodes = vec![node(0, 2, vec![]), node(1, 2, vec![]), node(2, 3, vec![shuffle(0, 0, 3), shuffle(1, 1, 3)])];
    d.submit(0, graph(nodes));
    let mut starts = d.starts();
    starts.sort_unstable();
    assert_eq!(starts, [(0, 0, 2), (1, 0, 2)]);
    assert_eq!(d.running.len(), 4);
    d.run_out();
    assert_eq!(d.starts().last(), Some(&(2, 0, 3)));
    assert!(d.succeeded(0));
}

#[test]
fn a_second_job_over_the_same_shuffle_skips_the_map_stage() {
    let mut d = Driver::with_executors(&[4]);
    d.submit(0, two_stages(3, 2));
    d.run_out();
    d.effects.clear();
    d.submit(1, two_stages(3, 2));
    assert!(d.effects.iter().any(|e| matches!(e, DriverEffect::StageSkipped { shuffle: ShuffleId(0), .. })));
    d.run_out();
    assert!(d.succeeded(1));
    assert_eq!(d.starts().iter().map(|s| s.2).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_second_job_computes_only_the_map_outputs_that_got_lost_meanwhile() {
    let mut d = Driver::with_executors(&[2, 2]);
    d.submit(0, two_stages(4, 1));
    d.run_out();
    d.remove(2, false);
    d.effects.clear();
    d.submit(1, two_stages(4, 1));
    d.run_out();
    assert!(d.succeeded(1));
    assert_eq!(d.starts().iter().map(|s| s.2).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn two_jobs_at_a_time_share_a_map_stage_and_it_outlives_the_first() {
    let mut d = Driver::with_executors(&[1]);
    d.submit(0, two_stages(2, 1));
    d.submit(1, two_stages(2, 1));
    d.handle(DriverEvent::CancelJob { job: JobId(0), reason: "enough".to_owned() });
    assert!(d.killed().is_empty());
    d.run_out();
    assert!(d.succeeded(1));
    assert_eq!(d.starts().iter().filter(|s| s.0 == 0).count(), 1);
}

#[test]
fn the_earlier_job_gets_slots_first() {
    let mut d = Driver::with_executors(&[1]);
    d.submit(0, one_stage(3));
    d.submit(1, one_stage(1));
    let mut order = Vec::new();
    while let Some(task) = d.tasks().first().copied() {
        order.push(d.running[&task].1.stage.stage.0);
        d.succeed(task);
    }
    assert_eq!(order, [0, 0, 0, 1]);
}

#[test]
fn what_lies_behind_a_fully_cached_rdd_is_not_computed() {
    let cached = |partitions| {
        let mut g = two_stages(2, partitions);
        g.nodes[1].cached = true;
        g
    };
    let mut d = Driver::with_executors(&[4, 4]);
    d.submit(0, cached(2));
    d.succeed_all_running();
    for task in d.tasks() {
        let (outcome, partition) = (d.good(task), d.running[&task].1.partition);
        d.update_with(task, outcome, vec![BlockUpdate::stored(RddId(1), partition, 9)]);
    }
    assert!(d.succeeded(0));
    d.handle(DriverEvent::ShuffleRemoved { shuffle: ShuffleId(0) });
    d.effects.clear();
    d.submit(1, cached(2));
    assert_eq!(d.starts().iter().map(|s| s.2).collect::<Vec<_>>(), [2]);
    let attempt = d.reads.keys().next_back().unwrap();
    assert!(d.reads[attempt].is_empty(), "outputs that are not there are not promised");
    d.run_out();
    d.handle(DriverEvent::RddUnpersisted { rdd: RddId(1) });
    d.effects.clear();
    d.submit(2, cached(2));
    d.run_out();
    assert_eq!(d.starts().len(), 2, "after unpersist the map stage runs again");
}

#[test]
fn a_shuffle_that_a_job_still_needs_is_dropped_when_the_job_ends() {
    let mut d = Driver::with_executors(&[2]);
    d.submit(0, two_stages(2, 2));
    d.handle(DriverEvent::ShuffleRemoved { shuffle: ShuffleId(0) });
    let dropped = |d: &Driver| d.effects.iter().any(|e| matches!(e, DriverEffect::DropShuffle { .. }));
    assert!(!dropped(&d));
    d.run_out();
    assert!(d.succeeded(0) && dropped(&d));
}

#[test]
fn a_graph_that_is_none_is_an_error_and_no_panic() {
    let mut d = Driver::with_executors(&[2]);
    d.submit(0, graph(vec![node(0, 2, vec![narrow(0)])]));
    assert!(matches!(d.error(0), JobError::InvalidGraph { .. }));
    d.handle(DriverEvent::SubmitJob {
        site: CallSite::default(),
        job: JobId(1),
        graph: one_stage(2),
        partitions: vec![2],
        properties: JobProperties::default(),
        repeatable: false,
    });
    assert_eq!(d.error(1).to_string(), "the job cannot be planned: partition 2 was asked of rdd 0, which has 2");
}

#[test]
fn a_long_lineage_and_a_deep_union_need_no_stack() {
    let mut d = Driver::with_executors(&[4]);
    let mut nodes = vec![node(0, 2, vec![])];
    nodes.extend((1..10_000).map(|i| node(i, 2, vec![narrow(i as usize - 1)])));
    d.submit(0, graph(nodes));
    d.run_out();
    let mut nodes = vec![node(0, 1, vec![]), node(1, 1, vec![])];
    nodes[0].cached = true;
    for i in 2..2_000usize {
        let left = nodes[i - 1].partitions;
        let range = |parent, out_start, length| GraphDep::Narrow {
            parent,
            partitions: NarrowMap::Range { in_start: 0, out_start, length },
        };
        nodes.push(node(i as u32, left + 1, vec![range(i - 1, 0, left), range(0, left, 1)]));
    }
    d.submit(1, graph(nodes));
    d.run_out();
    assert!(d.succeeded(0) && d.succeeded(1));
}
