//! What a cluster costs: latency of small jobs, tasks a second, word count. An application, run by `dev/bench`.
//!
//! ```text
//! cluster one            the shortest job there is
//! cluster jobs N         N one-task jobs, one after the other: p50 and p99
//! cluster tasks N        one job of N empty tasks
//! cluster words FILE     word count, and how many distinct words
//! cluster text MB        prints so much text, always the same, some 870,000 different words in 512 MB
//! cluster wait           prints the process ids of the driver and its executors and waits for the end of its input
//! ```

use std::{
    collections::BTreeSet,
    io::{BufWriter, Read, Write},
    process::ExitCode,
    time::Instant,
};

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
            ["text", megabytes] => text(number(megabytes)?).map_err(|e| Error::io("standard output", e)),
            ["wait"] => wait(),
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
        .text_lines(file)?
        .flat_map_to(|line, words| line.split_whitespace().for_each(|word| words.emit((Str::from(word), 1u64))))
        .reduce_by_key(|a, b| a + b)
        .count()?;
    println!("word count: {:.2} s, {distinct} distinct words", start.elapsed().as_secs_f64());
    Ok(())
}

/// Words as frequent as those of a language: the n-th about 1/n as often as the first.
fn text(megabytes: u32) -> std::io::Result<()> {
    const WORDS: f64 = 900_000.0;
    let mut out = BufWriter::new(std::io::stdout().lock());
    let mut state = 0x6669_7265u64;
    let mut random = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^ (z >> 29)
    };
    let (mut written, wanted) = (0, u64::from(megabytes) << 20);
    let mut line = Vec::new();
    while written < wanted {
        line.clear();
        for _ in 0..12 {
            let uniform = (random() >> 11) as f64 / (1u64 << 53) as f64;
            // A quarter of the words are drawn evenly, so that the rare ones occur.
            let rank = if random() % 4 == 0 { uniform * WORDS } else { WORDS.powf(uniform) };
            let mut letters = (rank as u64 + 1).wrapping_mul(0x2545_f491_4f6c_dd1d);
            for _ in 0..3 + letters % 8 {
                line.push(b'a' + (letters >> 33) as u8 % 26);
                letters = letters.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            }
            line.push(b' ');
        }
        line.push(b'\n');
        out.write_all(&line)?;
        written += line.len() as u64;
    }
    out.flush()
}

fn wait() -> Result<()> {
    let sc = context()?;
    warm_up(&sc)?;
    let pids: BTreeSet<u32> = sc.range_n(0..200u64, 200).map(|_| std::process::id()).collect()?.into_iter().collect();
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    println!("{} {}", std::process::id(), pids.join(" "));
    let end = std::io::stdin().read_to_end(&mut Vec::new());
    end.map(|_| ()).map_err(|e| Error::io("standard input", e))
}
