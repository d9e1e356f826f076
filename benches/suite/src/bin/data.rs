//! Writes the input files of the benchmark, always the same ones.
//!
//! ```text
//! bench-data words MEGABYTES FILE     text, some 790,000 different words in 512 MB
//! bench-data records N FILE           lines of 100 bytes with their ends; the first 10 are a random key
//! ```

#![allow(clippy::print_stderr, reason = "a program of its own")]

use std::{
    fs::File,
    io::{BufWriter, Write},
    process::ExitCode,
};

use firesteel_bench::{Outcome, argument, mix, number};

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("bench-data: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &[String]) -> Outcome<()> {
    let path = argument(args, 2)?;
    // Under another name until it is whole.
    let part = format!("{path}.part");
    let mut out = BufWriter::with_capacity(1 << 20, File::create(&part).map_err(|e| format!("{part}: {e}"))?);
    match argument(args, 0)? {
        "words" => words(number(args, 1)?, &mut out)?,
        "records" => records(number(args, 1)?, &mut out)?,
        other => return Err(format!("no such data: {other} (words or records)").into()),
    }
    out.flush()?;
    Ok(std::fs::rename(&part, path)?)
}

/// Words as frequent as those of a language: the n-th about 1/n as often as the first.
fn words(megabytes: u64, out: &mut impl Write) -> std::io::Result<()> {
    const WORDS: f64 = 900_000.0;
    let mut next = 0u64;
    let mut random = move || {
        next += 1;
        mix(next)
    };
    let (mut written, wanted) = (0, megabytes << 20);
    let mut line = Vec::new();
    while written < wanted {
        line.clear();
        for i in 0..12 {
            if i > 0 {
                line.push(b' ');
            }
            let uniform = (random() >> 11) as f64 / (1u64 << 53) as f64;
            // A quarter of the words are drawn evenly, so that the rare ones occur.
            let rank = if random() % 4 == 0 { uniform * WORDS } else { WORDS.powf(uniform) };
            let mut letters = (rank as u64 + 1).wrapping_mul(0x2545_f491_4f6c_dd1d);
            for _ in 0..3 + letters % 8 {
                line.push(b'a' + (letters >> 33) as u8 % 26);
                letters = letters.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            }
        }
        line.push(b'\n');
        out.write_all(&line)?;
        written += line.len() as u64;
    }
    Ok(())
}

fn records(n: u64, out: &mut impl Write) -> std::io::Result<()> {
    const DIGITS: &[u8; 64] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz~";
    let mut line = [b'\n'; 100];
    for i in 0..n {
        // Six bits a letter; the sequence repeats no number, and 60 of its 64 bits repeat hardly ever.
        let mut bits = mix(i);
        for byte in &mut line[..10] {
            *byte = DIGITS[(bits & 63) as usize];
            bits >>= 6;
        }
        let mut bits = i;
        for byte in &mut line[10..99] {
            *byte = b'a' + (bits % 26) as u8;
            bits = bits.rotate_left(7).wrapping_mul(0x9e37_79b9);
        }
        out.write_all(&line)?;
    }
    Ok(())
}
