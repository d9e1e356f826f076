//! Estimates pi by throwing darts at a square.
//!
//! ```text
//! bin/run-example pi [PARTITIONS]
//! ```

#![allow(clippy::print_stderr, reason = "a program of its own")]

use std::{
    io::{self, Write},
    process::ExitCode,
};

use firesteel::prelude::*;

/// Darts of each partition.
const DARTS: u64 = 1_000_000;

fn main() -> ExitCode {
    let partitions = match std::env::args().nth(1).map(|n| n.parse()).transpose() {
        Ok(n) => n.unwrap_or(2),
        Err(e) => {
            eprintln!("usage: pi [PARTITIONS]: {e}");
            return ExitCode::from(2);
        }
    };
    let said =
        estimate(partitions).map_err(Into::into).and_then(|pi| Ok(writeln!(io::stdout(), "Pi is roughly {pi}")?));
    match said {
        Ok(()) => ExitCode::SUCCESS,
        Err::<(), Box<dyn std::error::Error>>(e) => {
            eprintln!("pi: {e}");
            ExitCode::FAILURE
        }
    }
}

fn estimate(partitions: u32) -> Result<f64> {
    let sc = Context::builder().app_name("pi").build()?;
    let darts = DARTS * u64::from(partitions);
    let hits = sc.partitioned(partitions).range(0..darts).filter(|i| {
        // Each dart's place is a function of its number, so a partition that is computed again is the same.
        let (x, y) = (random(2 * i), random(2 * i + 1));
        x * x + y * y <= 1.0
    });
    Ok(4.0 * hits.count()? as f64 / darts as f64)
}

/// The `i`-th number of a fixed random sequence, from 0 to 1 (SplitMix64).
fn random(i: u64) -> f64 {
    let mut z = i.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}
