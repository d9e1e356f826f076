//! How long a broadcast takes to reach two one-core executors: `cargo run --release -p firesteel --example broadcast_speed
//! [MiB]`. Each round makes a new value, and a job of two tasks looks at it, one on each executor.

#![allow(clippy::print_stdout, reason = "a program of its own")]

use std::time::Instant;

use firesteel::prelude::*;

fn main() -> Result<()> {
    let mib = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(200usize);
    let sc = Context::builder().app_name("broadcast").master("local-cluster[2,1,1024]").build()?;
    let both = |bytes: &Broadcast<Vec<u8>>| -> Result<usize> {
        let tasks = sc.partitioned(2).range(0..2u64).with(bytes.clone()).map(|bytes, x| {
            let all = bytes.value();
            (std::process::id(), all[x as usize * 1000])
        });
        Ok(tasks.collect()?.iter().map(|(pid, _)| pid).collect::<std::collections::BTreeSet<_>>().len())
    };
    // Both executors are there and warm.
    while both(&sc.broadcast(vec![1u8; 4 << 20])?)? < 2 {}
    for kind in ["noise", "zeros"] {
        for round in 0..4u64 {
            let value: Vec<u8> = match kind {
                "zeros" => vec![0; mib << 20],
                _ => {
                    let word = |i: u64| (i ^ round << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
                    (0..(mib << 17) as u64).flat_map(|i| word(i).wrapping_mul(word(!i)).to_le_bytes()).collect()
                }
            };
            let start = Instant::now();
            let bytes = sc.broadcast(value)?;
            let made = start.elapsed();
            let executors = both(&bytes)?;
            let all = start.elapsed();
            let start = Instant::now();
            both(&bytes)?;
            println!(
                "{mib} MiB of {kind}: {:.3} s to {executors} executors, of which {:.3} s on the driver before the job; \
                 again {:.4} s",
                all.as_secs_f64(),
                made.as_secs_f64(),
                start.elapsed().as_secs_f64()
            );
        }
    }
    Ok(())
}
