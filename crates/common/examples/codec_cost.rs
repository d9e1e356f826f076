//! What encoding and decoding costs a record: `cargo run --release -p firesteel-common --example codec_cost`.

#![allow(clippy::print_stdout, reason = "a program of its own")]

use std::{hint::black_box, time::Instant};

use firesteel_common::{Str, codec};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

#[derive(Serialize, Deserialize)]
struct Trip {
    id: u64,
    from: u32,
    to: u32,
    fare: f64,
    kind: Kind,
}

#[derive(Serialize, Deserialize)]
enum Kind {
    Cash,
    Card { tip: f64 },
}

const RUNS: usize = 15;

fn main() -> Result<(), codec::CodecError> {
    let mix = |i: u64| i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    println!("{:24} {:>10} {:>10}   ns an element, the best of {RUNS}", "records", "encode", "decode");
    records("(u64, u64), small", (0..100_000u64).map(|i| (i % 250, i % 99)).collect::<Vec<_>>())?;
    records("(u64, u64), large", (0..100_000u64).map(|i| (mix(i), mix(i + 1))).collect::<Vec<_>>())?;
    records("(u32, f64)", (0..100_000u32).map(|i| (i, f64::from(i))).collect::<Vec<_>>())?;
    records("(Str, u64)", (0..100_000u64).map(|i| (Str::from(format!("word{i}")), i % 50)).collect::<Vec<_>>())?;
    records("(String, u64)", (0..100_000u64).map(|i| (format!("word{i}"), i % 50)).collect::<Vec<_>>())?;
    let kind = |i: u32| if i.is_multiple_of(2) { Kind::Cash } else { Kind::Card { tip: f64::from(i) } };
    let trip = |i: u32| Trip { id: mix(i.into()), from: i % 250, to: i % 99, fare: f64::from(i), kind: kind(i) };
    records("struct with an enum", (0..100_000u32).map(trip).collect::<Vec<_>>())?;
    whole("Vec<u8>", &(0..1_000_000u32).map(|i| i as u8).collect::<Vec<u8>>(), 1_000_000)?;
    whole("Vec<f64>", &(0..100_000u32).map(f64::from).collect::<Vec<f64>>(), 100_000)?;
    whole("Vec<u64>", &(0..100_000u64).map(mix).collect::<Vec<u64>>(), 100_000)
}

fn best(mut f: impl FnMut() -> Result<(), codec::CodecError>) -> Result<f64, codec::CodecError> {
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        let start = Instant::now();
        f()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best * 1e9)
}

/// One record after the other, as a shuffle does.
fn records<T: Serialize + DeserializeOwned>(name: &str, records: Vec<T>) -> Result<(), codec::CodecError> {
    let mut bytes = Vec::new();
    let encode = best(|| {
        bytes.clear();
        records.iter().try_for_each(|record| codec::encode_into(black_box(record), &mut bytes))
    })?;
    let decode = best(|| {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let (record, used) = codec::decode_prefix::<T>(rest)?;
            black_box(record);
            at += used;
        }
        Ok(())
    })?;
    let n = records.len() as f64;
    println!("{name:24} {:10.2} {:10.2}", encode / n, decode / n);
    Ok(())
}

/// One value of many elements, as results and broadcasts are.
fn whole<T: Serialize + DeserializeOwned>(name: &str, value: &T, n: usize) -> Result<(), codec::CodecError> {
    let mut bytes = Vec::new();
    let encode = best(|| {
        bytes.clear();
        codec::encode_into(black_box(value), &mut bytes)
    })?;
    let decode = best(|| codec::decode::<T>(&bytes).map(|value| drop(black_box(value))))?;
    println!("{name:24} {:10.2} {:10.2}", encode / n as f64, decode / n as f64);
    Ok(())
}
