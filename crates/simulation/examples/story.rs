//! Prints what happens in the virtual cluster for one seed.
//!
//! `cargo run -p firesteel-simulation --example story -- 17`

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(seed) = std::env::args().nth(1).and_then(|a| a.parse().ok()) else {
        eprintln!("name a seed, a number: cargo run -p firesteel-simulation --example story -- 17");
        return ExitCode::FAILURE;
    };
    let outcome = firesteel_simulation::run(seed, None);
    print!("{}", outcome.trace);
    println!("{} steps, {} of {} jobs succeeded", outcome.steps, outcome.succeeded, outcome.jobs);
    if outcome.violation.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
