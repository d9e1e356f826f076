//! The works of the benchmark, written by hand for one process of two threads: plain loops and hash maps, in parts by
//! key as any program with more than one thread needs them, without the tricks of one that is tuned for a work.
//!
//! `bench-plain WORK [ARGUMENT...]`, as `bench-suite`.

#![expect(clippy::disallowed_types, reason = "as anybody would write it")]

mod keyed;
mod scans;
mod text;

use std::process::ExitCode;

use firesteel_bench::{Outcome, argument, number, run_work, serve, timed};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    run_work("bench-plain", run)
}

fn run(name: &str, args: &[String]) -> Outcome<()> {
    match name {
        "word-count" => {
            let file = argument(args, 0)?;
            serve(|| timed(|| text::word_count(file)))
        }
        "sort" => {
            let (file, out) = (argument(args, 0)?, argument(args, 1)?);
            serve(|| timed(|| text::sort(file, out)))
        }
        "pagerank" => {
            let (edges, bits, iterations) = (number(args, 0)?, number(args, 1)?, number(args, 2)?);
            serve(|| timed(|| Ok(keyed::pagerank(edges, bits, iterations))))
        }
        "logistic" => {
            let (n, iterations) = (number(args, 0)?, number(args, 1)?);
            let points = scans::points(n);
            serve(|| timed(|| Ok(scans::logistic(&points, n, iterations))))
        }
        "reduce-by-key" => {
            let (rows, keys) = (number(args, 0)?, number(args, 1)?);
            serve(|| timed(|| Ok(keyed::reduce_by_key(rows, keys))))
        }
        "join" => {
            let (rows, small) = (number(args, 0)?, number(args, 1)?);
            serve(|| timed(|| Ok(keyed::join(rows, small))))
        }
        "cached-sum" => {
            let numbers = scans::numbers(number(args, 0)?);
            serve(|| timed(|| Ok(scans::sum(&numbers))))
        }
        "map-filter-reduce" => {
            let n = number(args, 0)?;
            serve(|| timed(|| Ok(scans::map_filter_reduce(n))))
        }
        other => Err(format!("no such work: {other}").into()),
    }
}

/// Number of threads, and of the parts that data is cut into.
const THREADS: usize = 2;

/// Runs `work` for each part on a thread of its own.
fn threads<R: Send>(work: impl Fn(usize) -> R + Sync) -> Vec<R> {
    std::thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> = (0..THREADS).map(|t| scope.spawn(move || work(t))).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
    })
}

/// As [`threads`], and each thread owns an element of `parts`.
fn threads_with<T: Send, R: Send>(parts: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    std::thread::scope(|scope| {
        let work = &work;
        let running: Vec<_> = parts.into_iter().map(|part| scope.spawn(move || work(part))).collect();
        running.into_iter().map(|thread| thread.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
    })
}

/// What each thread has for each part, as what each part gets from each thread.
fn exchange<T>(from: Vec<Vec<T>>) -> Vec<Vec<T>> {
    let mut to: Vec<Vec<T>> = (0..THREADS).map(|_| Vec::new()).collect();
    for parts in from {
        for (to, part) in to.iter_mut().zip(parts) {
            to.push(part);
        }
    }
    to
}

/// The `t`-th thread's share of `0..n`.
fn share(n: u64, t: usize) -> std::ops::Range<u64> {
    let threads = THREADS as u64;
    n * t as u64 / threads..n * (t as u64 + 1) / threads
}
