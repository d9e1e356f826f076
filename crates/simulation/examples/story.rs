//! Prints what happens in the virtual cluster for one seed.
//!
//! `cargo run -p firesteel-simulation --example story -- 17`

#![allow(clippy::print_stderr, reason = "a program of its own")]

use std::{io::Write, process::ExitCode};

fn main() -> ExitCode {
    let Some(seed) = std::env::args().nth(1).and_then(|a| a.parse().ok()) else {
        eprintln!("name a seed, a number: cargo run -p firesteel-simulation --example story -- 17");
        return ExitCode::FAILURE;
    };
    let outcome = firesteel_simulation::run(seed, None);
    let end = format!("{:#?}\n", outcome.counts);
    // Whoever reads only the beginning closes the pipe: no reason to panic.
    let written = std::io::stdout().write_all((outcome.trace + &end).as_bytes());
    if outcome.violation.is_some() || written.is_err() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
