//! What a cluster costs: latency of small jobs, tasks a second, word count. An application, run by `dev/bench`.
//!
//! ```text
//! cluster one            the shortest job there is
//! cluster jobs N         N one-task jobs, one after the other: p50 and p99
//! cluster tasks N        one job of N empty tasks
//! cluster words FILE     word count, and how many distinct words
//! ```

use std::{process::ExitCode, time::Instant};

use firesteel::prelude::*;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u32>().map_err(|e| Error::InvalidArgument(format!("{text}: {e}")));
    let run = || -> Result<()> {
        match args.as_slice() {
            ["one"] => one(),
            ["jobs", n] => jobs(number(n)?),
            ["tasks", n] => tasks(number(n)?),
            ["words", file] => words(file),
            // `cargo bench` runs every bench without arguments of its own; this one needs a cluster.
            _ => {
                println!("run dev/bench, which starts a cluster for it");
                Ok(())
            }
        }
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("cluster: {e}");
            ExitCode::FAILURE
        }
    }
}

fn context() -> Result<Context> {
    Context::builder().app_name("bench").build()
}

fn one() -> Result<()> {
    println!("elements: {}", context()?.range_n(0..1u64, 1).count()?);
    Ok(())
}

/// Waits until both executors have run tasks, so that what is measured is not their start.
fn warm_up(sc: &Context) -> Result<()> {
    sc.range_n(0..200u64, 200).count().map(|_| ())
}

fn jobs(n: u32) -> Result<()> {
    let sc = context()?;
    warm_up(&sc)?;
    let mut micros = Vec::with_capacity(n as usize);
    for _ in 0..n {
        let start = Instant::now();
        sc.range_n(0..1u64, 1).count()?;
        micros.push(start.elapsed().as_micros());
    }
    micros.sort_unstable();
    let at = |percent: usize| micros.get((micros.len() * percent / 100).min(micros.len() - 1)).copied().unwrap_or(0);
    println!("one-task job: p50 {} us, p99 {} us ({n} jobs)", at(50), at(99));
    let pairs = sc.range_n(0..2u64, 2).map(|x| (x, x));
    let mut micros: Vec<u128> = Vec::new();
    for _ in 0..n / 5 {
        let start = Instant::now();
        pairs.reduce_by_key_n(2, |a, b| a + b).count()?;
        micros.push(start.elapsed().as_micros());
    }
    micros.sort_unstable();
    let at = |percent: usize| micros.get(micros.len() * percent / 100).copied().unwrap_or(0);
    println!("two-stage job: p50 {} us, p99 {} us ({} jobs)", at(50), at(99), micros.len());
    Ok(())
}

fn tasks(n: u32) -> Result<()> {
    let sc = context()?;
    warm_up(&sc)?;
    let rdd = sc.range_n(0..u64::from(n), n).map_partitions(|_| [0u8; 0]);
    for _ in 0..3 {
        let start = Instant::now();
        rdd.count()?;
        println!("empty tasks: {:.0} a second ({n} tasks)", f64::from(n) / start.elapsed().as_secs_f64());
    }
    Ok(())
}

fn words(file: &str) -> Result<()> {
    let sc = context()?;
    warm_up(&sc)?;
    let start = Instant::now();
    let distinct = sc
        .text_file(file)?
        .flat_map_to(|line, words| line.split_whitespace().for_each(|word| words.emit((word.to_owned(), 1u64))))
        .reduce_by_key(|a, b| a + b)
        .count()?;
    println!("word count: {:.2} s, {distinct} distinct words", start.elapsed().as_secs_f64());
    Ok(())
}
