//! What the data path costs beside a plain loop over the same data with as many threads, in one run.
//!
//! ```text
//! cargo run --release -p firesteel --example data_path [MASTER [SCALE]]
//! ```
//!
//! MASTER is `local[2]` when it is left out; SCALE multiplies the amount of data. Each work runs five times on either
//! side, in turns; the medians are printed.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program of its own")]

use std::{
    hint::black_box,
    io::{BufWriter, Write},
    path::Path,
    process::ExitCode,
    thread,
    time::Instant,
};

use firesteel::prelude::*;
use serde::{Deserialize, Serialize};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const THREADS: u64 = 2;
const RUNS: usize = 5;
const DIMENSIONS: usize = 10;

#[derive(Clone, Serialize, Deserialize)]
struct Point {
    x: [f64; DIMENSIONS],
    y: f64,
}

type Vector = [f64; DIMENSIONS];

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let master = args.next().unwrap_or_else(|| "local[2]".to_owned());
    let scale = args.next().and_then(|s| s.parse().ok()).unwrap_or(1.0f64);
    match run(&master, scale) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("data_path: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run(master: &str, scale: f64) -> Result<()> {
    let sc = Context::builder().app_name("data_path").master(master).build()?;
    sc.partitioned(200).range(0..200u64).count()?;
    let n = |n: f64| (n * scale) as u64;
    println!("{:38} {:>10} {:>10} {:>7}   on {master}", "work (ns an element)", "firesteel", "plain", "ratio");
    numbers(&sc, n(4e8))?;
    cached(&sc, n(4e7))?;
    points(&sc, n(1e6))?;
    let dir = std::env::temp_dir().join(format!("firesteel-data-path-{}", std::process::id()));
    std::fs::create_dir_all(&dir).map_err(|e| Error::io(&dir, e))?;
    let done = text(&sc, &dir, n(2e6)).and_then(|()| save(&sc, &dir, n(4e6)));
    std::fs::remove_dir_all(&dir).map_err(|e| Error::io(&dir, e))?;
    done
}

/// Runs both sides in turns and prints the medians; the answers must be equal.
fn compare<R: PartialEq + std::fmt::Debug>(
    name: &str,
    elements: u64,
    ours: impl Fn() -> Result<R>,
    plain: impl Fn() -> R,
) -> Result<()> {
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let start = Instant::now();
        let x = ours()?;
        a.push(start.elapsed().as_secs_f64());
        let start = Instant::now();
        let y = plain();
        b.push(start.elapsed().as_secs_f64());
        assert_eq!(x, y, "{name}: the answers differ");
    }
    let median = |v: &mut Vec<f64>| {
        v.sort_by(f64::total_cmp);
        v.get(RUNS / 2).copied().unwrap_or(f64::NAN)
    };
    let (a, b) = (median(&mut a), median(&mut b));
    let each = |t: f64| t * 1e9 / elements as f64;
    println!("{name:38} {:10.3} {:10.3} {:7.2}   {:.1} ms", each(a), each(b), a / b, a * 1e3);
    Ok(())
}

/// `f` over the runs of `0..n`, one a thread.
fn threads<R: Send>(n: u64, f: impl Fn(u64, u64) -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let f = &f;
        let run = |i| scope.spawn(move || f(n * i / THREADS, n * (i + 1) / THREADS));
        let started: Vec<_> = (0..THREADS).map(run).collect();
        started.into_iter().filter_map(|t| t.join().ok()).collect()
    })
}

fn numbers(sc: &Context, n: u64) -> Result<()> {
    compare(
        "map, filter, reduce",
        n,
        || {
            sc.partitioned(8)
                .range(0..n)
                .map(|x| x * 3 + 1)
                .filter(|x| x.is_multiple_of(2))
                .reduce(|a, b| a.wrapping_add(b))
        },
        || {
            let part = |from, to| {
                (from..to).map(|x| x * 3 + 1).filter(|x: &u64| x.is_multiple_of(2)).fold(0, u64::wrapping_add)
            };
            threads(black_box(n), part).into_iter().fold(0, u64::wrapping_add)
        },
    )?;
    let mix = |x: u64| x.wrapping_mul(6_364_136_223_846_793_005).rotate_left(23);
    compare(
        "the same, an unpredictable filter",
        n,
        || sc.partitioned(8).range(0..n).map(mix).filter(|x| x & 7 < 5).reduce(|a, b| a.wrapping_add(b)),
        || {
            let part = |from, to| (from..to).map(mix).filter(|x| x & 7 < 5).fold(0, u64::wrapping_add);
            threads(black_box(n), part).into_iter().fold(0, u64::wrapping_add)
        },
    )
}

fn cached(sc: &Context, n: u64) -> Result<()> {
    let rdd = sc.partitioned(8).range(0..n).cache();
    rdd.count()?;
    let data: Vec<u64> = (0..n).collect();
    let sum = |from: u64, to: u64| data[from as usize..to as usize].iter().fold(0u64, |a, x| a.wrapping_add(*x));
    let total = || threads(n, sum).into_iter().fold(0, u64::wrapping_add);
    compare("cached: reduce", n, || rdd.reduce(|a, b| a.wrapping_add(b)), total)?;
    compare("cached: aggregate", n, || rdd.aggregate(0u64, |a, x| a.wrapping_add(*x), u64::wrapping_add), total)?;
    compare(
        "cached: map, reduce",
        n,
        || rdd.map(|x| x + 1).reduce(|a, b| a.wrapping_add(b)),
        || {
            let part =
                |from: u64, to: u64| data[from as usize..to as usize].iter().fold(0, |a: u64, x| a.wrapping_add(x + 1));
            threads(n, part).into_iter().fold(0, u64::wrapping_add)
        },
    )?;
    compare(
        "cached: filter, count",
        n,
        || rdd.filter(|x| x.is_multiple_of(3)).count(),
        || {
            let part = |from: u64, to: u64| {
                data[from as usize..to as usize].iter().filter(|x| x.is_multiple_of(3)).count() as u64
            };
            threads(n, part).into_iter().sum()
        },
    )?;
    rdd.unpersist();
    Ok(())
}

fn point(i: u64) -> Point {
    let at = |d: usize| (((i + d as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as f64) / 16_777_216.0 - 0.5;
    Point { x: std::array::from_fn(at), y: if i.is_multiple_of(2) { 1.0 } else { -1.0 } }
}

/// Adds a point's part of the gradient.
fn add_gradient(sum: &mut Vector, w: &Vector, p: &Point) {
    let margin: f64 = w.iter().zip(&p.x).map(|(a, b)| a * b).sum();
    let scale = (1.0 / (1.0 + (-p.y * margin).exp()) - 1.0) * p.y;
    sum.iter_mut().zip(&p.x).for_each(|(s, x)| *s += scale * x);
}

fn add(mut a: Vector, b: Vector) -> Vector {
    a.iter_mut().zip(&b).for_each(|(a, b)| *a += b);
    a
}

fn points(sc: &Context, n: u64) -> Result<()> {
    let rdd = sc.partitioned(2).range(0..n).map(point).cache();
    rdd.count()?;
    let data: Vec<Point> = (0..n).map(point).collect();
    let plain = |w: &Vector| {
        let part = |from: u64, to: u64| {
            let mut sum = [0.0; DIMENSIONS];
            data[from as usize..to as usize].iter().for_each(|p| add_gradient(&mut sum, w, p));
            sum
        };
        threads(n, part).into_iter().fold([0.0; DIMENSIONS], add)
    };
    let steps = 4;
    let descend = |gradient: &dyn Fn(&Vector) -> Result<Vector>| -> Result<Vec<i64>> {
        let mut w = [0.1; DIMENSIONS];
        for _ in 0..steps {
            w = add(w, gradient(&w)?.map(|g| -g / n as f64));
        }
        // The order of addition may differ.
        Ok(w.iter().map(|x| (x * 1e9).round() as i64).collect())
    };
    compare(
        "cached points: gradient, aggregate",
        n * steps,
        || {
            descend(&|w| {
                let seq = |w: &Vector, mut sum: Vector, p: &Point| {
                    add_gradient(&mut sum, w, p);
                    sum
                };
                rdd.with(*w).aggregate([0.0; DIMENSIONS], seq, |_, a, b| add(a, b))
            })
        },
        || descend(&|w| Ok(plain(w))).unwrap_or_default(),
    )?;
    compare(
        "cached points: gradient, aggregate_mut",
        n * steps,
        || {
            descend(&|w| {
                let seq = |w: &Vector, sum: &mut Vector, p: &Point| add_gradient(sum, w, p);
                rdd.with(*w).aggregate_mut([0.0; DIMENSIONS], seq, |_, a, b| *a = add(*a, b))
            })
        },
        || descend(&|w| Ok(plain(w))).unwrap_or_default(),
    )?;
    compare(
        "cached points: gradient, map, reduce",
        n * steps,
        || {
            descend(&|w| {
                let gradient = |w: &Vector, p: &Point| {
                    let mut sum = [0.0; DIMENSIONS];
                    add_gradient(&mut sum, w, p);
                    sum
                };
                rdd.with(*w).map_ref(gradient).reduce(add)
            })
        },
        || descend(&|w| Ok(plain(w))).unwrap_or_default(),
    )?;
    rdd.unpersist();
    Ok(())
}

fn text(sc: &Context, dir: &Path, lines: u64) -> Result<()> {
    let path = dir.join("lines");
    let write = || {
        let mut out = BufWriter::new(std::fs::File::create(&path)?);
        let mut state = 1u64;
        for i in 0..lines {
            let mut line = format!("{i:08} ");
            while line.len() < 99 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let rank = ((state >> 40) as f64 / 16_777_216.0 * 11.0).exp() as u64;
                line += &format!("w{rank:o} ");
            }
            line.truncate(99);
            writeln!(out, "{line}")?;
        }
        out.flush()
    };
    write().map_err(|e: std::io::Error| Error::io(&path, e))?;
    let name = path.to_string_lossy().into_owned();
    let bytes = std::fs::metadata(&path).map_err(|e| Error::io(&path, e))?.len();
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    let halves = |text: &str, f: &(dyn Fn(&str) -> u64 + Sync)| -> u64 {
        let middle = text[text.len() / 2..].find('\n').map_or(0, |i| text.len() / 2 + i + 1);
        let (a, b) = text.split_at(middle);
        thread::scope(|s| {
            let other = s.spawn(|| f(b));
            f(a) + other.join().unwrap_or(0)
        })
    };
    compare(
        "text: lines, a byte",
        bytes,
        || sc.partitioned(8).text_file(&name)?.count(),
        || halves(&read(), &|half| half.lines().count() as u64),
    )?;
    compare(
        "text: lines by reference, a byte",
        bytes,
        || sc.partitioned(8).text_lines(&name)?.count(),
        || halves(&read(), &|half| half.lines().count() as u64),
    )?;
    let lengths = |half: &str| half.lines().flat_map(str::split_whitespace).map(|w| w.len() as u64).sum();
    compare(
        "text: words by reference, a byte",
        bytes,
        || {
            let words = |line: &str, emit: &mut firesteel::Emitter<u64>| {
                line.split_whitespace().for_each(|w| emit.emit(w.len() as u64));
            };
            sc.partitioned(8).text_lines(&name)?.flat_map_to(words).reduce(|a, b| a + b)
        },
        || halves(&read(), &lengths),
    )?;
    compare(
        "text: words as Str, a byte",
        bytes,
        || {
            let words = |line: &str, emit: &mut firesteel::Emitter<Str>| {
                line.split_whitespace().for_each(|w| emit.emit(Str::from(w)));
            };
            sc.partitioned(8).text_lines(&name)?.flat_map_to(words).aggregate(
                0,
                |n, w| n + w.len() as u64,
                |a, b| a + b,
            )
        },
        || halves(&read(), &lengths),
    )?;
    compare(
        "text: words, a byte",
        bytes,
        || {
            let words = |line: &String, emit: &mut firesteel::Emitter<u64>| {
                line.split_whitespace().for_each(|w| emit.emit(w.len() as u64));
            };
            sc.partitioned(8).text_file(&name)?.flat_map_to(words).reduce(|a, b| a + b)
        },
        || halves(&read(), &lengths),
    )
}

fn save(sc: &Context, dir: &Path, n: u64) -> Result<()> {
    let (out, other) = (dir.join("out"), dir.join("plain"));
    let remove = |path: &Path| if path.exists() { std::fs::remove_dir_all(path) } else { Ok(()) };
    compare(
        "save pairs as text",
        n,
        || {
            remove(&out).map_err(|e| Error::io(&out, e))?;
            sc.partitioned(8).range(0..n).map(|x| (x, x * 7)).save_as_text_file(&out)
        },
        || {
            let _ = remove(&other).and_then(|()| std::fs::create_dir(&other));
            let part = |from: u64, to: u64| {
                let mut file = BufWriter::with_capacity(1 << 18, std::fs::File::create(other.join(from.to_string()))?);
                (from..to).try_for_each(|x| writeln!(file, "({},{})", x, x * 7))
            };
            let written: std::io::Result<Vec<()>> = threads(n, part).into_iter().collect();
            black_box(written.is_ok());
        },
    )
}
