//! The works of the benchmark as an application of this cluster, written as a user of the library would write them.
//!
//! `bench-suite WORK [ARGUMENT...]`; see [`firesteel_bench::serve`] for what it prints. `spark/Works.java` has the same
//! works under the same names.

mod jobs;
mod works;

use std::process::ExitCode;

use firesteel::prelude::*;
use firesteel_bench::{Outcome, argument, mix, number, run_work, serve, timed};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    run_work("bench-suite", run)
}

fn run(name: &str, args: &[String]) -> Outcome<()> {
    let sc = Context::builder().app_name("bench").build()?;
    // Lets both executors run tasks, so that what is measured is not their start.
    sc.partitioned(200).range(0..200u64).count()?;
    match name {
        "word-count" => {
            let file = argument(args, 0)?;
            serve(|| timed(|| works::word_count(&sc, file)))
        }
        "sort" => {
            let (file, out) = (argument(args, 0)?, argument(args, 1)?);
            serve(|| timed(|| works::sort(&sc, file, out)))
        }
        "pagerank" => {
            let (edges, bits, iterations, n) = (number(args, 0)?, number(args, 1)?, number(args, 2)?, number(args, 3)?);
            serve(|| timed(|| works::pagerank(&sc, edges, bits, iterations, n)))
        }
        "logistic" => {
            let (n, iterations) = (number(args, 0)?, number(args, 1)?);
            let points = works::points(&sc, n, number(args, 2)?)?;
            serve(|| timed(|| works::logistic(&points, n, iterations)))
        }
        "reduce-by-key" => {
            let (rows, keys, n) = (number(args, 0)?, number(args, 1)?, number(args, 2)?);
            serve(|| timed(|| works::reduce_by_key(&sc, rows, keys, n)))
        }
        "join" => {
            let (rows, small, n) = (number(args, 0)?, number(args, 1)?, number(args, 2)?);
            serve(|| timed(|| works::join(&sc, rows, small, n)))
        }
        "cached-sum" => {
            let numbers = sc.partitioned(number(args, 1)?).range(0..number(args, 0)?).cache();
            numbers.count()?;
            serve(|| timed(|| works::sum(&numbers)))
        }
        "map-filter-reduce" => {
            let (n, partitions) = (number(args, 0)?, number(args, 1)?);
            serve(|| timed(|| works::map_filter_reduce(&sc, n, partitions)))
        }
        "empty-tasks" => {
            let n = number(args, 0)?;
            serve(|| timed(|| jobs::empty_tasks(&sc, n)))
        }
        "one-stage" => {
            let n = number(args, 0)?;
            serve(|| jobs::one_stage(&sc, n))
        }
        "two-stage" => {
            let n = number(args, 0)?;
            serve(|| jobs::two_stage(&sc, n))
        }
        "broadcast" => {
            let numbers: Vec<u64> = (0..number::<u64>(args, 0)? << 17).map(mix).collect();
            serve(|| jobs::broadcast(&sc, numbers.clone()))
        }
        "one" => serve(|| timed(|| Ok(sc.partitioned(1).range(0..1u64).count()?.to_string()))),
        "idle" => serve(|| timed(|| Ok("idle".to_owned()))),
        other => Err(format!("no such work: {other}").into()),
    }
}
