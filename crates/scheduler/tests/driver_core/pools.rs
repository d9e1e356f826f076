//! FIFO and FAIR pools on the virtual clock.

use std::{collections::BTreeMap, time::Duration};

use firesteel_common::TaskId;
use firesteel_scheduler::*;

use crate::harness::*;

fn pool(name: &str, mode: SchedulingMode, weight: u32, min_share: u32) -> PoolConfig {
    PoolConfig { name: name.to_owned(), mode, weight, min_share }
}

fn fair(pools: Vec<PoolConfig>, cores: &[u32]) -> Driver {
    let mut d = Driver::with(SchedulerConfig { mode: SchedulingMode::Fair, pools, ..SchedulerConfig::default() });
    for (i, c) in (1u32..).zip(cores) {
        d.register(i, &format!("host{i}"), *c);
    }
    d
}

/// Tasks that run now, by job; every job here has one stage, numbered as it is.
fn running(d: &Driver) -> BTreeMap<u32, usize> {
    let mut by_stage = BTreeMap::new();
    for (_, spec) in d.running.values() {
        *by_stage.entry(spec.stage.stage.0).or_default() += 1;
    }
    by_stage
}

/// Each slot runs a task of `each` after the other; gives the slot time that every job had from `from` to `to`.
fn slot_time(d: &mut Driver, each: Duration, from: Duration, to: Duration) -> BTreeMap<u32, Duration> {
    let mut until: BTreeMap<TaskId, Duration> = BTreeMap::new();
    let (mut now, mut had) = (Duration::ZERO, BTreeMap::<u32, Duration>::new());
    while now < to {
        for (n, task) in d.tasks().into_iter().enumerate() {
            // Slots do not end in step.
            let first = now.is_zero();
            until.entry(task).or_insert_with(|| if first { each * (n as u32 % 7 + 1) / 7 } else { now + each });
        }
        let Some((task, at)) = until.iter().min_by_key(|(task, at)| (**at, **task)).map(|(t, a)| (*t, *a)) else {
            break;
        };
        let counted = at.min(to).saturating_sub(now.max(from));
        for (stage, n) in running(d) {
            *had.entry(stage).or_default() += counted * n as u32;
        }
        d.now = d.now + (at - now);
        now = at;
        until.remove(&task);
        d.succeed(task);
    }
    had
}

#[test]
fn two_jobs_with_weights_one_and_three_get_slots_in_that_ratio() {
    let pools = vec![pool("light", SchedulingMode::Fifo, 1, 0), pool("heavy", SchedulingMode::Fifo, 3, 0)];
    for (cores, first) in [(vec![4, 4, 4], "light"), (vec![8], "heavy"), (vec![2; 10], "light")] {
        let mut d = fair(pools.clone(), &cores);
        let second = if first == "light" { "heavy" } else { "light" };
        d.submit_to(first, 0, one_stage(1000));
        d.submit_to(second, 1, one_stage(1000));
        let had = slot_time(&mut d, Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(20));
        let (light, heavy) = if first == "light" { (had[&0], had[&1]) } else { (had[&1], had[&0]) };
        let ratio = heavy.as_secs_f64() / light.as_secs_f64();
        assert!((ratio - 3.0).abs() < 0.45, "{cores:?}: {ratio}");
    }
}

#[test]
fn the_ratio_holds_for_tasks_that_are_launched_ahead_as_well() {
    let pools = vec![pool("light", SchedulingMode::Fifo, 1, 0), pool("heavy", SchedulingMode::Fifo, 3, 0)];
    let mut d = fair(pools, &[4, 4]);
    d.submit_to("light", 0, one_stage(1000));
    d.submit_to("heavy", 1, one_stage(1500));
    let each = Duration::from_micros(50);
    let mut done: BTreeMap<u32, u32> = BTreeMap::new();
    let mut most = 0;
    for round in 0..1200 {
        // An executor ends its tasks in the order of their launch.
        let executor = 1 + round % 2;
        let task = d.running.iter().find(|(_, (e, _))| e.0 == executor).map(|(t, _)| *t).unwrap();
        d.now = d.now + each / 2;
        if round >= 300 {
            *done.entry(d.running[&task].1.stage.stage.0).or_default() += 1;
        }
        d.succeed(task);
        most = most.max(d.running.len());
    }
    assert!(most > 8 + 16, "they were launched ahead");
    let ratio = f64::from(done[&1]) / f64::from(done[&0]);
    assert!((ratio - 3.0).abs() < 0.45, "{ratio}");
}

#[test]
fn a_pool_below_its_minimum_share_goes_first_and_gets_no_more_by_it() {
    let mut d = fair(vec![pool("small", SchedulingMode::Fifo, 1, 3), pool("big", SchedulingMode::Fifo, 100, 0)], &[12]);
    d.submit_to("big", 0, one_stage(100));
    d.submit_to("small", 1, one_stage(100));
    for _ in 0..30 {
        let first = d.tasks()[0];
        d.succeed(first);
    }
    assert_eq!(running(&d), BTreeMap::from([(0, 9), (1, 3)]));
}

#[test]
fn a_pool_that_nobody_declared_and_none_at_all_have_weight_one() {
    let mut d = fair(vec![], &[6]);
    d.submit(0, one_stage(100));
    d.submit_to("new", 1, one_stage(100));
    d.submit_to("other", 2, one_stage(100));
    for _ in 0..20 {
        let first = d.tasks()[0];
        d.succeed(first);
    }
    assert_eq!(running(&d), BTreeMap::from([(0, 2), (1, 2), (2, 2)]));
}

#[test]
fn within_a_pool_jobs_go_one_after_the_other_or_side_by_side_as_it_says() {
    for (mode, expected) in [
        (SchedulingMode::Fifo, BTreeMap::from([(0, 6)])),
        (SchedulingMode::Fair, BTreeMap::from([(0, 2), (1, 2), (2, 2)])),
    ] {
        let mut d = fair(vec![pool("p", mode, 1, 0)], &[6]);
        (0..3).for_each(|job| d.submit_to("p", job, one_stage(100)));
        for _ in 0..20 {
            let first = d.tasks()[0];
            d.succeed(first);
        }
        assert_eq!(running(&d), expected, "{mode:?}");
        d.run_out();
        assert!((0..3).all(|job| d.succeeded(job)));
    }
}

#[test]
fn without_fair_mode_pools_mean_nothing() {
    let mut d = Driver::with_executors(&[4]);
    d.submit_to("a", 0, one_stage(10));
    d.submit_to("b", 1, one_stage(10));
    for _ in 0..6 {
        assert_eq!(running(&d), BTreeMap::from([(0, 4)]));
        let first = d.tasks()[0];
        d.succeed(first);
    }
    let first = d.tasks()[0];
    d.succeed(first);
    assert_eq!(running(&d), BTreeMap::from([(0, 3), (1, 1)]));
}

#[test]
fn a_pool_that_cannot_use_a_slot_leaves_it_to_others() {
    let mut d = fair(vec![pool("a", SchedulingMode::Fifo, 10, 10), pool("b", SchedulingMode::Fifo, 1, 0)], &[1, 1]);
    let mut far = one_stage(4);
    far.nodes[0].preferred = vec![vec!["host1".to_owned()]; 4];
    d.submit_to("a", 0, far);
    d.submit_to("b", 1, one_stage(4));
    let mut placed: Vec<(u32, u32)> = d.running.values().map(|(e, s)| (e.0, s.stage.stage.0)).collect();
    placed.sort_unstable();
    assert_eq!(placed, [(1, 0), (2, 1)]);
}

#[test]
fn tasks_of_a_cancelled_job_count_for_its_pool_until_they_end() {
    let mut d = fair(vec![], &[4]);
    d.submit_to("a", 0, one_stage(4));
    d.handle(DriverEvent::CancelJob { job: firesteel_common::JobId(0), reason: "enough".to_owned() });
    d.submit_to("a", 1, one_stage(10));
    d.submit_to("b", 2, one_stage(10));
    let first: Vec<TaskId> = d.tasks().into_iter().take(2).collect();
    first.into_iter().for_each(|task| d.fail(task, "killed"));
    assert_eq!(running(&d), BTreeMap::from([(0, 2), (2, 2)]), "a has two slots still, as b has now");
    d.run_out();
    assert!(d.succeeded(1) && d.succeeded(2));
}
