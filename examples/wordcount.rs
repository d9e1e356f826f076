//! Counts the words of text files.
//!
//! ```text
//! bin/run-example wordcount INPUT [OUTPUT]
//! ```
//!
//! With OUTPUT, writes every word with its count there, as `(word,count)`; without, prints the most frequent ones.

#![allow(clippy::print_stderr, reason = "a program of its own")]

use std::{
    error::Error,
    io::{self, Write},
    process::ExitCode,
};

use firesteel::prelude::*;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let Some(input) = args.next() else {
        eprintln!("usage: wordcount INPUT [OUTPUT]");
        return ExitCode::from(2);
    };
    match count(&input, args.next().as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("wordcount: {e}");
            ExitCode::FAILURE
        }
    }
}

fn count(input: &str, output: Option<&str>) -> std::result::Result<(), Box<dyn Error>> {
    let sc = Context::builder().app_name("wordcount").build()?;
    let counts = sc
        .text_lines(input)?
        .flat_map_to(|line, words| line.split_whitespace().for_each(|word| words.emit((Str::from(word), 1u64))))
        .reduce_by_key(|a, b| a + b);
    match output {
        Some(dir) => counts.save_as_text_file(dir)?,
        None => {
            for (n, word) in counts.map(|(word, n)| (n, word)).top(20)? {
                writeln!(io::stdout(), "{n:8}  {word}")?;
            }
        }
    }
    Ok(())
}
