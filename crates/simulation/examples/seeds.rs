//! Plays many seeds of the virtual cluster on all cores and says how long it took.
//!
//! `cargo run --release -p firesteel-simulation --example seeds -- 100000 [FIRST]`

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own")]

use std::{process::ExitCode, time::Instant};

fn main() -> ExitCode {
    let numbers: Option<Vec<u64>> = std::env::args().skip(1).map(|a| a.parse().ok()).collect();
    let (many, first) = match numbers.as_deref() {
        Some([many]) => (*many, 0),
        Some([many, first]) => (*many, *first),
        _ => {
            eprintln!("say how many seeds, and which is the first if it is not 0: seeds 100000 [FIRST]");
            return ExitCode::FAILURE;
        }
    };
    let start = Instant::now();
    match firesteel_simulation::run_many(first..first + many) {
        Ok(counts) => {
            println!("{counts:#?}\n{many} seeds from {first} without a failure in {:.1?}", start.elapsed());
            ExitCode::SUCCESS
        }
        Err(story) => {
            println!("{story}");
            ExitCode::FAILURE
        }
    }
}
