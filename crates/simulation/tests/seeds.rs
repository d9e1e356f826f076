//! Many seeds of the virtual cluster. A failing one is printed with how to replay it.

#![expect(clippy::panic, reason = "a test that cannot go on stops")]

use std::time::Duration;

use firesteel_simulation::{Faults, Outcome, run, run_many, run_untold};

fn play(seed: u64, faults: Option<Faults>) -> Outcome {
    let outcome = run(seed, faults);
    if let Some(violation) = &outcome.violation {
        panic!("seed {seed}: {violation}\n{}", outcome.trace);
    }
    outcome
}

#[test]
fn every_job_ends_rightly_whatever_fails() {
    let seeds = std::env::var("FIRESTEEL_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(2000);
    let counts = run_many(0..seeds).unwrap_or_else(|story| panic!("{story}"));
    println!("{counts:#?}");
    assert!(counts.succeeded * 10 > counts.jobs * 7, "too few jobs succeeded: the test tests little");
    let rare = [
        ("executors that a sick worker ended", counts.ended_early),
        ("executors that registered before the word of their grant", counts.before_grant),
        ("grants that were said again", counts.granted_again),
        ("executors of lost workers that no master spoke of", counts.unreported),
        ("recalled tasks", counts.given_back),
        ("second copies of tasks", counts.speculative),
        ("fetch failures", counts.fetch_failures),
        ("restarted masters", counts.master_restarts),
        ("executors that a new master took over", counts.adopted),
        ("stopped nodes", counts.frozen),
        ("partitions", counts.partitions),
        ("crashed drivers", counts.driver_crashes),
        ("outputs read after the end of their executors", counts.outlived),
        ("requests for executors", counts.requests),
        ("executors given back", counts.retired),
        ("barrier stages", counts.barriers),
        ("barrier stages made again", counts.barrier_retries),
        ("meetings at barriers", counts.meetings),
        ("jobs whose barrier stages cannot run", counts.refused),
        ("executors that a stage avoids", counts.avoided),
        ("executors ended for their failures", counts.expelled),
        ("jobs with nobody left to run them", counts.excluded),
        ("workers that left", counts.workers_left),
        ("outputs and partitions that were moved", counts.moved),
        ("copies of partitions that were made again", counts.copied_again),
        ("newer orders for executors that leave", counts.told_again),
        ("executors that took too long to leave", counts.overdue),
        ("lost outputs that came out differently", counts.differing),
        ("results that were taken back", counts.discarded),
        ("events that were told", counts.heard),
        ("tasks told to be lost with their executors", counts.heard_lost),
    ];
    for (what, how_often) in rare {
        assert!(seeds < 500 || how_often >= 20, "there were {how_often} {what}: the test tests little");
    }
}

#[test]
fn without_faults_every_job_succeeds_but_cancelled_and_impossible_ones() {
    for seed in 0..50 {
        let counts = play(seed, Some(Faults::none())).counts;
        assert_eq!(counts.succeeded + counts.cancelled + counts.refused, counts.jobs, "seed {seed}");
    }
}

#[test]
fn who_leaves_in_good_order_costs_no_job() {
    let until = Duration::from_secs(20);
    let (mut moved, mut left) = (0, 0);
    for seed in 0..100 {
        let mean = Duration::from_millis(500 + 20 * seed);
        let counts = play(seed, Some(Faults { until, decommission: Some(mean), ..Faults::none() })).counts;
        assert_eq!(counts.succeeded + counts.cancelled + counts.refused, counts.jobs, "seed {seed}");
        moved += counts.moved;
        left += counts.executors_left + counts.workers_left;
    }
    assert!(moved > 20 && left > 100, "{moved} moved, {left} left: the test tests little");
}

#[test]
fn a_master_that_is_elected_with_the_records_of_another_takes_its_executors_over() {
    let until = Duration::from_secs(20);
    let (mut changes, mut adopted) = (0, 0);
    for seed in 0..200 {
        let crash_master = Some(Duration::from_millis(500 + 10 * seed));
        let counts = play(seed, Some(Faults { until, crash_master, recovery: true, ..Faults::none() })).counts;
        assert_eq!(counts.succeeded + counts.cancelled + counts.refused, counts.jobs, "seed {seed}");
        changes += counts.master_restarts;
        adopted += counts.adopted;
    }
    assert!(changes > 200 && adopted > 200, "{changes} changes, {adopted} adopted: the test tests little");
}

#[test]
fn a_sick_worker_costs_no_job() {
    let until = Duration::from_secs(20);
    let mut ended = 0;
    for seed in 0..100 {
        let sick_worker = if seed % 2 == 0 { 10_000 } else { 5000 };
        let counts = play(seed, Some(Faults { until, sick_worker, ..Faults::none() })).counts;
        assert_eq!(counts.succeeded + counts.cancelled + counts.refused, counts.jobs, "seed {seed}");
        ended += counts.ended_early;
    }
    assert!(ended > 100, "{ended} ended: the test tests little");
}

#[test]
fn one_seed_twice_gives_the_same_trace_byte_for_byte() {
    for seed in 0..20 {
        let outcome = play(seed, None);
        assert_eq!(outcome.trace, play(seed, None).trace);
        assert_eq!(outcome.counts, run_untold(seed, None).counts, "the story changes the play of seed {seed}");
    }
    assert_ne!(play(1, None).trace, play(2, None).trace);
}
