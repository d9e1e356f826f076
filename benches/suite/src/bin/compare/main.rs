//! Runs the works of the benchmark on all sides, one repetition of each in turn, checks that their answers agree, and
//! prints the table. Started by `dev/bench`, which has the clusters running.
//!
//! ```text
//! bench-compare --data DIR --cluster DIR --plain PROGRAM [--spark DIR] [--quick] [WORK...]
//! ```
//!
//! The directory of a cluster has `submit`, a program that runs an application on it, and `pids`, its daemons.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own")]

mod answer;
mod processes;
mod report;
mod side;
mod works;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use firesteel_bench::Outcome;
use report::{Measured, Report};
use side::Side;
use works::Work;

const REPETITIONS: usize = 3;

fn main() -> ExitCode {
    match options(std::env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("dev/bench: the answers do not agree");
            ExitCode::FAILURE
        }
        Err(e) => {
            eprintln!("dev/bench: {e}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    data: PathBuf,
    /// This cluster, Spark, the hand-written program.
    sides: Vec<Side>,
    quick: bool,
    works: Vec<String>,
}

fn options(mut args: impl Iterator<Item = String>) -> Outcome<Options> {
    let (mut data, mut cluster, mut spark, mut plain, mut quick, mut works) =
        (None, None, None, None, false, Vec::new());
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--data" => data = Some(PathBuf::from(value()?)),
            "--cluster" => cluster = Some(value()?),
            "--spark" => spark = Some(value()?),
            "--plain" => plain = Some(value()?),
            "--quick" => quick = true,
            _ => works.push(arg),
        }
    }
    let (Some(data), Some(cluster), Some(plain)) = (data, cluster, plain) else {
        return Err("--data, --cluster and --plain are needed; start dev/bench instead".into());
    };
    let mut sides = vec![Side::cluster("firesteel", Path::new(&cluster))?];
    if let Some(spark) = spark {
        sides.push(Side::cluster("spark", Path::new(&spark))?);
    }
    sides.push(Side::program("plain", plain));
    Ok(Options { data, sides, quick, works })
}

fn run(options: &Options) -> Outcome<bool> {
    let table = works::table(&options.data, options.quick);
    for name in &options.works {
        if !table.iter().any(|work| work.name == name) {
            let names: Vec<&str> = table.iter().map(|work| work.name).collect();
            return Err(format!("no such work: {name}; there are {}", names.join(", ")).into());
        }
    }
    let mut report = Report::new(options.quick);
    for work in table.iter().filter(|work| options.works.is_empty() || options.works.iter().any(|n| n == work.name)) {
        eprintln!("{}:", work.title);
        let measured = match work.name {
            "submit-to-end" => submit_to_end(options)?,
            "idle-memory" => idle_memory(options)?,
            _ => compare(work, options)?,
        };
        report.add(work, measured);
    }
    print!("{}", report.table());
    Ok(report.answers_agree())
}

/// All repetitions of a work on each side that knows it.
fn compare(work: &Work, options: &Options) -> Outcome<Vec<Measured>> {
    let sides: Vec<&Side> = options.sides.iter().filter(|side| work.plain || !side.is_plain()).collect();
    let mut apps = Vec::new();
    for side in &sides {
        apps.push(side.start(work.name, &work.args, &options.data)?);
    }
    let mut measured: Vec<Measured> = sides.iter().map(|side| Measured::of(side.name)).collect();
    for repetition in 1..=REPETITIONS {
        for (app, measured) in apps.iter_mut().zip(&mut measured) {
            remove_output(work)?;
            let watch = app.watch_memory()?;
            let (seconds, mut answer) = app.repeat()?;
            let peak = watch.peak()?;
            if let Some(out) = &work.output {
                answer = answer::of_sorted(out)?;
            }
            eprintln!("  {:<10} {repetition}  {seconds:>10.4} s  {peak:>6} MiB  {answer}", measured.side);
            measured.seconds.push(seconds);
            measured.answers.push(answer);
            measured.peak_mib = measured.peak_mib.max(peak);
        }
    }
    remove_output(work)?;
    for app in apps {
        app.end()?;
    }
    Ok(measured)
}

fn remove_output(work: &Work) -> Outcome<()> {
    match work.output.as_ref().map(std::fs::remove_dir_all) {
        Some(Err(e)) if e.kind() != std::io::ErrorKind::NotFound => Err(format!("{:?}: {e}", work.output).into()),
        _ => Ok(()),
    }
}

/// Seconds from the start of the submitting program to the end of a job of one task.
fn submit_to_end(options: &Options) -> Outcome<Vec<Measured>> {
    let sides: Vec<&Side> = options.sides.iter().filter(|side| !side.is_plain()).collect();
    let mut measured: Vec<Measured> = sides.iter().map(|side| Measured::of(side.name)).collect();
    for repetition in 1..=REPETITIONS {
        for (side, measured) in sides.iter().zip(&mut measured) {
            let (seconds, answer) = side.once("one", &options.data)?;
            eprintln!("  {:<10} {repetition}  {seconds:>10.4} s  {answer}", side.name);
            measured.seconds.push(seconds);
            measured.answers.push(answer);
        }
    }
    Ok(measured)
}

/// Memory of the daemons and of an application that has run a job and waits, in MiB (sum of PSS), in place of seconds.
fn idle_memory(options: &Options) -> Outcome<Vec<Measured>> {
    let mut measured = Vec::new();
    for side in options.sides.iter().filter(|side| !side.is_plain()) {
        let app = side.start("idle", &[], &options.data)?;
        let mib = processes::settled_pss_mib(&app.processes()?)?;
        eprintln!("  {:<10} {mib:>6} MiB", side.name);
        measured.push(Measured { seconds: vec![mib as f64], peak_mib: mib, ..Measured::of(side.name) });
        app.end()?;
    }
    Ok(measured)
}
