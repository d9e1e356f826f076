//! Many seeds, spread over the machine's cores.

use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use crate::{Counts, run, run_untold};

/// Plays the seeds and adds up what was played. The error is the story of the lowest failing seed that was met, its
/// last lines, and how to replay it.
pub fn run_many(seeds: Range<u64>) -> Result<Counts, String> {
    let next = AtomicU64::new(seeds.start);
    let failed = AtomicBool::new(false);
    let total: Mutex<(Counts, Option<u64>)> = Mutex::default();
    let work = || {
        let mut mine = Counts::default();
        let mut bad = None;
        while !failed.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                break;
            }
            match catch_unwind(AssertUnwindSafe(|| run_untold(seed, None))) {
                Ok(outcome) if outcome.violation.is_none() => mine += outcome.counts,
                _ => {
                    failed.store(true, Ordering::Relaxed);
                    bad = Some(seed);
                }
            }
        }
        let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
        total.0 += mine;
        total.1 = total.1.into_iter().chain(bad).min();
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| (0..cores).for_each(|_| _ = scope.spawn(work)));
    let (counts, bad) = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    bad.map_or(Ok(counts), |seed| Err(story_of(seed)))
}

/// What went wrong in a seed that failed.
fn story_of(seed: u64) -> String {
    let replay = format!("replay it with: cargo run -p firesteel-simulation --example story -- {seed}");
    let Ok(outcome) = catch_unwind(|| run(seed, None)) else { return format!("seed {seed} panics; {replay}") };
    let lines: Vec<&str> = outcome.trace.lines().collect();
    let end = lines[lines.len().saturating_sub(40)..].join("\n");
    let what = outcome.violation.unwrap_or_else(|| "it failed without its story and not with it".to_owned());
    format!("seed {seed}: {what}\n…\n{end}\n{replay}")
}
