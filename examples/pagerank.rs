//! Ranks the pages of a graph by the links between them.
//!
//! ```text
//! bin/run-example pagerank [FILE] [ITERATIONS]
//! ```
//!
//! FILE has one link a line: two names with a blank between. Without it, the small graph beside this program's source.

#![allow(clippy::print_stderr, reason = "a program of its own")]

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

use firesteel::prelude::*;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let file =
        args.next().unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/links.txt").into());
    let iterations = args.next().and_then(|n| n.parse().ok()).unwrap_or(10);
    match rank(&file, iterations) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("pagerank: {e}");
            ExitCode::FAILURE
        }
    }
}

fn rank(file: &str, iterations: u32) -> std::result::Result<(), Box<dyn Error>> {
    let sc = Context::builder().app_name("pagerank").build()?;
    // Spread by page once and kept: the joins below move only the ranks.
    let links = sc
        .text_file(file)?
        .flat_map(|line| line.split_once(' ').map(|(from, to)| (from.to_owned(), to.to_owned())))
        .distinct()
        .group_by_key()
        .cache();
    let mut ranks = links.map_values(|_| 1.0f64);
    for _ in 0..iterations {
        ranks = links
            .join(&ranks)
            .flat_map(|(_, (targets, rank))| {
                let share = rank / targets.len() as f64;
                targets.into_iter().map(move |page| (page, share))
            })
            .reduce_by_key(|a, b| a + b)
            .map_values(|sum| 0.15 + 0.85 * sum);
    }
    for (page, rank) in ranks.sort_by(false, |(_, rank)| *rank)?.take(10)? {
        writeln!(io::stdout(), "{rank:.4}  {page}")?;
    }
    Ok(())
}
