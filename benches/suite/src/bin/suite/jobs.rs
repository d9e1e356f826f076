//! The works that measure the cluster itself: tasks, jobs, broadcast.

use std::time::Instant;

use firesteel::prelude::*;
use firesteel_bench::{Outcome, Timed};

pub fn empty_tasks(sc: &Context, n: u32) -> Outcome<String> {
    Ok(sc.partitioned(n).range(0..u64::from(n)).map_partitions(|_| [0u64; 0]).count()?.to_string())
}

/// The median time of `jobs` jobs of one task.
pub fn one_stage(sc: &Context, jobs: u32) -> Outcome<Timed> {
    median(jobs, || Ok(sc.partitioned(1).range(0..1u64).count()?))
}

/// The median time of `jobs` jobs with a shuffle from two tasks to two.
pub fn two_stage(sc: &Context, jobs: u32) -> Outcome<Timed> {
    let pairs = sc.partitioned(2).range(0..2u64).map(|x| (x, x));
    median(jobs, || Ok(pairs.partitioned(2).reduce_by_key(|a, b| a + b).count()?))
}

/// A task on each executor reads of a value that both get.
pub fn broadcast(sc: &Context, numbers: Vec<u64>) -> Outcome<Timed> {
    let start = Instant::now();
    let numbers = sc.broadcast(numbers)?;
    let there = sc
        .partitioned(2)
        .range(0..2u64)
        .with(numbers.clone())
        .map(|numbers, _| {
            let there = numbers.value();
            (there.len() as u64).wrapping_add(there[there.len() / 2]).wrapping_add(there[there.len() - 1])
        })
        .reduce(u64::wrapping_add)?;
    let seconds = start.elapsed().as_secs_f64();
    numbers.destroy();
    Ok(Timed { seconds, answer: (there as i64).to_string() })
}

fn median(jobs: u32, mut job: impl FnMut() -> Outcome<u64>) -> Outcome<Timed> {
    let mut seconds = Vec::new();
    let mut count = 0;
    for _ in 0..jobs {
        let start = Instant::now();
        count += job()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_unstable_by(f64::total_cmp);
    let seconds = seconds.get(seconds.len() / 2).copied().ok_or("at least one job is needed")?;
    Ok(Timed { seconds, answer: count.to_string() })
}
