//! How an application is driven: it prepares, prints `ready`, and does its work once for each line of its input.

use std::{
    error::Error,
    io::{BufRead, Write},
    process::ExitCode,
    str::FromStr,
    time::Instant,
};

/// What an application gives: any error ends it with its text.
pub type Outcome<T> = Result<T, Box<dyn Error>>;

/// One repetition of a work.
pub struct Timed {
    /// Seconds that count.
    pub seconds: f64,
    /// What came out, as words; decimal fractions are compared with a tolerance.
    pub answer: String,
}

/// The `main` of `program WORK [ARGUMENT...]`: `run` gets the work's name and its arguments.
#[allow(clippy::print_stderr, reason = "a program of its own")]
pub fn run_work(program: &str, run: impl FnOnce(&str, &[String]) -> Outcome<()>) -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match args.split_first() {
        Some((name, args)) => run(name, args),
        None => Err(format!("usage: {program} WORK [ARGUMENT...]").into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{program}: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Times the whole of `work`, which gives the answer.
///
/// # Errors
/// Those of `work`.
pub fn timed(work: impl FnOnce() -> Outcome<String>) -> Outcome<Timed> {
    let start = Instant::now();
    let answer = work()?;
    Ok(Timed { seconds: start.elapsed().as_secs_f64(), answer })
}

/// Prints `ready`, then does `work` once for each line of the standard input and prints `result SECONDS ANSWER`.
///
/// # Errors
/// Those of `work` and of the standard streams.
pub fn serve(mut work: impl FnMut() -> Outcome<Timed>) -> Outcome<()> {
    let mut out = std::io::stdout();
    writeln!(out, "ready")?;
    out.flush()?;
    for line in std::io::stdin().lock().lines() {
        line?;
        let Timed { seconds, answer } = work()?;
        writeln!(out, "result {seconds} {answer}")?;
        out.flush()?;
    }
    Ok(())
}

/// The `i`-th argument after the work's name.
///
/// # Errors
/// When it is missing.
pub fn argument(args: &[String], i: usize) -> Outcome<&str> {
    args.get(i).map(String::as_str).ok_or_else(|| format!("argument {} of the work is missing", i + 1).into())
}

/// The `i`-th argument after the work's name, as a number.
///
/// # Errors
/// When it is missing or no such number.
pub fn number<T: FromStr<Err: Error + 'static>>(args: &[String], i: usize) -> Outcome<T> {
    let text = argument(args, i)?;
    text.parse().map_err(|e| format!("argument {} of the work, {text}: {e}", i + 1).into())
}
