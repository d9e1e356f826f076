//! The works, their sizes, and what is aimed at.

use std::path::{Path, PathBuf};

/// One row of the table.
pub struct Work {
    /// Its name on the command line and to the applications.
    pub name: &'static str,
    /// Its name in the table.
    pub title: String,
    /// What the applications get.
    pub args: Vec<String>,
    /// Where its output goes, which is checked and removed.
    pub output: Option<PathBuf>,
    /// Whether the hand-written program has it.
    pub plain: bool,
    /// How many times faster than Spark it should be.
    pub aim: f64,
    /// How a figure is printed.
    pub unit: Unit,
}

/// How a figure is printed.
pub enum Unit {
    /// Seconds.
    Seconds,
    /// Milliseconds of one part of the work.
    MillisOf(u64),
    /// Nanoseconds of one part of the work.
    NanosOf(u64),
    /// Parts a second.
    Rate(u64),
    /// The figure is MiB.
    Mib,
}

/// All works, about a twentieth of the size when `quick`.
pub fn table(data: &Path, quick: bool) -> Vec<Work> {
    let scaled = |n: u64| if quick { n / 20 } else { n };
    let million = 1_000_000;
    let file = |name: String| data.join(name).to_string_lossy().into_owned();
    let megabytes = if quick { 25 } else { 512 };
    let (records, edges, points) = (scaled(5 * million), scaled(8 * million), scaled(million));
    let (rows, keys, small) = (scaled(20 * million), scaled(10 * million), scaled(million));
    let (cached, numbers) = (scaled(100 * million), scaled(1000 * million));
    let (jobs, broadcast, partitions) = (if quick { 50 } else { 200 }, scaled(200), 8);
    let graph_bits = if quick { 16 } else { 20 };
    let sorted = data.join("sorted");
    let count = |n: u64| match n {
        n if n >= million && n % million == 0 => format!("{} M", n / million),
        n if n >= 1000 => format!("{} k", n / 1000),
        n => n.to_string(),
    };
    let work = |name, title: String, args: Vec<String>, aim, unit| {
        // What has no cluster has no tasks and jobs either.
        let plain = !matches!(unit, Unit::Rate(_) | Unit::MillisOf(1) | Unit::Mib) && name != "submit-to-end";
        Work { name, title, args, output: None, plain, aim, unit }
    };
    let strings = |args: &[u64]| args.iter().map(u64::to_string).collect::<Vec<_>>();
    vec![
        work(
            "word-count",
            format!("word count, {megabytes} MB"),
            vec![file(format!("words-{megabytes}"))],
            8.0,
            Unit::Seconds,
        ),
        Work {
            output: Some(sorted.clone()),
            ..work(
                "sort",
                format!("sort {} records of 100 bytes", count(records)),
                vec![file(format!("records-{records}")), sorted.to_string_lossy().into_owned()],
                10.0,
                Unit::Seconds,
            )
        },
        work(
            "pagerank",
            format!("PageRank, {} edges, 10 iterations", count(edges)),
            strings(&[edges, graph_bits, 10, partitions]),
            15.0,
            Unit::Seconds,
        ),
        work(
            "logistic",
            format!("logistic regression, {} cached points, an iteration", count(points)),
            strings(&[points, 20, partitions]),
            8.0,
            Unit::MillisOf(20),
        ),
        work(
            "reduce-by-key",
            format!("reduce_by_key, {} rows, up to {} keys", count(rows), count(keys)),
            strings(&[rows, keys, partitions]),
            25.0,
            Unit::Seconds,
        ),
        work(
            "join",
            format!("join {} with {}", count(rows), count(small)),
            strings(&[rows, small, partitions]),
            12.0,
            Unit::Seconds,
        ),
        work(
            "cached-sum",
            format!("sum of {} cached integers", count(cached)),
            strings(&[cached, partitions]),
            15.0,
            Unit::Seconds,
        ),
        work(
            "map-filter-reduce",
            format!("map, filter, reduce over {}, an element", count(numbers)),
            strings(&[numbers, partitions]),
            10.0,
            Unit::NanosOf(numbers),
        ),
        work("empty-tasks", "empty tasks, 10 k in a job".to_owned(), strings(&[10_000]), 100.0, Unit::Rate(10_000)),
        work("one-stage", "job of one task, p50".to_owned(), strings(&[jobs]), 40.0, Unit::MillisOf(1)),
        work("two-stage", "job of two stages, p50".to_owned(), strings(&[jobs]), 50.0, Unit::MillisOf(1)),
        Work {
            plain: false,
            ..work(
                "broadcast",
                format!("broadcast of {broadcast} MB to two executors"),
                strings(&[broadcast]),
                8.0,
                Unit::Seconds,
            )
        },
        work("submit-to-end", "submit to end of a job".to_owned(), Vec::new(), 40.0, Unit::Seconds),
        work("idle-memory", "idle cluster and application, PSS".to_owned(), Vec::new(), 25.0, Unit::Mib),
    ]
}
