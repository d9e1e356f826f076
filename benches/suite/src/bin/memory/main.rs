//! Puts more data through an executor than it has memory, and watches from outside what the executor takes.
//!
//! ```text
//! bench-memory EXECUTOR_MIB DATA_MIB [WORK...]      128 512 in dev/test, 1024 4096 in dev/bench memory
//! ```
//!
//! One executor of two cores, in a process of its own. Each work has an application of its own, and its answer is known.
//! The exit status is 1 when an answer is wrong or an executor took more than it was told plus [`OVERHEAD_MIB`].

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own")]

mod watch;
mod works;

use std::{process::ExitCode, time::Instant};

use firesteel::prelude::*;
use firesteel_bench::{Outcome, number};
use watch::Watch;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What an executor's process may take beyond its memory: stacks and code data of its threads (a few MiB), buffers of
/// connections and of files being written, one chunk of records for each operator of each task that is underway, and
/// what the allocator holds back of freed pages (it gives them back after some milliseconds) and loses to fragments.
const OVERHEAD_MIB: u64 = 96;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("bench-memory: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Outcome<bool> {
    let (memory, data): (u64, u64) = (number(args, 0)?, number(args, 1)?);
    let names = args.get(2..).unwrap_or_default();
    for name in names {
        if !works::ALL.iter().any(|(known, _)| known == name) {
            return Err(format!("no such work: {name}").into());
        }
    }
    let limit = memory + OVERHEAD_MIB;
    println!("{data} MiB of data through an executor of {memory} MiB, which may take {limit} MiB:");
    let mut all_well = true;
    for (name, work) in works::ALL.iter().filter(|(name, _)| names.is_empty() || names.iter().any(|n| n == name)) {
        let start = Instant::now();
        let (result, peak) = watched(memory, data, *work)?;
        let seconds = start.elapsed().as_secs_f64();
        let verdict = match result {
            Err(e) => format!("FAILED: {e}"),
            Ok(()) if peak > limit => "TOO MUCH".to_owned(),
            Ok(()) => "well".to_owned(),
        };
        all_well &= verdict == "well";
        println!("  {name:<16}{seconds:>7.1} s, at most {peak:>5} MiB: {verdict}");
    }
    Ok(all_well)
}

/// Does a work in an application of its own: its outcome, and the most that the executor took meanwhile, MiB.
fn watched(memory: u64, data: u64, work: works::Work) -> Outcome<(Outcome<()>, u64)> {
    let sc = Context::builder()
        .app_name("memory")
        .master(&format!("local-cluster[1,2,{memory}]"))
        .set("spark.executor.memory", format!("{memory}m"))
        .build()?;
    let mut pids = sc.partitioned(8).range(0..8u64).map(|_| std::process::id()).collect()?;
    pids.dedup();
    let [pid] = pids[..] else { return Err(format!("one executor was expected, not {pids:?}").into()) };
    let watch = Watch::start(pid)?;
    let result = work(&sc, data << 20);
    Ok((result, watch.end()?))
}
