//! The works that move data.

use firesteel::prelude::*;
use firesteel_bench::{DIMENSIONS, Outcome, Point, edge, mix};

/// Count, sum and checksum of what a job gave, so that one short job checks all of it.
type Sums = (u64, u64, u64);

fn add(a: Sums, b: Sums) -> Sums {
    (a.0 + b.0, a.1.wrapping_add(b.1), a.2.wrapping_add(b.2))
}

fn text((count, sum, check): Sums) -> String {
    format!("{count} {} {}", sum as i64, check as i64)
}

pub fn word_count(sc: &Context, file: &str) -> Outcome<String> {
    let counts = sc
        .text_lines(file)?
        .flat_map_to(|line, words| line.split(' ').for_each(|word| words.emit((Str::from(word), 1u64))))
        .reduce_by_key(|a, b| a + b);
    let sums = counts.aggregate((0, 0, 0), |sums, (word, n)| add(sums, (1, *n, n * word.len() as u64)), add)?;
    Ok(text(sums))
}

pub fn sort(sc: &Context, file: &str, out: &str) -> Outcome<String> {
    sc.text_file(file)?.sort_by(true, |line| Str::from(&line[..10]))?.save_as_text_file(out)?;
    Ok("sorted".to_owned())
}

pub fn pagerank(sc: &Context, edges: u64, bits: u32, iterations: u32, partitions: u32) -> Outcome<String> {
    let links = sc
        .partitioned(partitions)
        .range(0..edges)
        .with(bits)
        .map(|bits, i| edge(i, *bits))
        .partitioned(partitions)
        .group_by_key()
        .cache();
    let mut ranks = links.map_values(|_| 1.0f64);
    for _ in 0..iterations {
        ranks = links
            .join(&ranks)
            .flat_map(|(_, (targets, rank))| {
                let share = rank / targets.len() as f64;
                targets.into_iter().map(move |page| (page, share))
            })
            .reduce_by_key(|a, b| a + b)
            .map_values(|sum| 0.15 + 0.85 * sum);
    }
    let (pages, sum, largest) = ranks.aggregate(
        (0u64, 0.0f64, 0.0f64),
        |(pages, sum, largest), (_, rank)| (pages + 1, sum + rank, largest.max(*rank)),
        |a, b| (a.0 + b.0, a.1 + b.1, a.2.max(b.2)),
    )?;
    links.unpersist();
    Ok(format!("{pages} {sum:?} {largest:?}"))
}

pub fn points(sc: &Context, n: u64, partitions: u32) -> Outcome<Rdd<Point>> {
    let points = sc.partitioned(partitions).range(0..n).map(Point::new).cache();
    points.count()?;
    Ok(points)
}

pub fn logistic(points: &Rdd<Point>, n: u64, iterations: u32) -> Outcome<String> {
    let mut weights = [0.0; DIMENSIONS];
    for _ in 0..iterations {
        let gradient = points.with(weights).aggregate_mut(
            [0.0; DIMENSIONS],
            |weights, sum, point| point.add_gradient(weights, sum),
            |_, sum, other| sum.iter_mut().zip(other).for_each(|(sum, other)| *sum += other),
        )?;
        for (weight, gradient) in weights.iter_mut().zip(gradient) {
            *weight -= 4.0 * gradient / n as f64;
        }
    }
    Ok(format!("{:?} {:?} {:?} {:?}", weights[0], weights[1], weights[2], weights[3]))
}

pub fn reduce_by_key(sc: &Context, rows: u64, keys: u64, partitions: u32) -> Outcome<String> {
    let sums = sc
        .partitioned(partitions)
        .range(0..rows)
        .with(keys)
        .map(|keys, i| (mix(i) % keys, i & 0xff))
        .partitioned(partitions)
        .reduce_by_key(|a, b| a + b)
        .aggregate((0, 0, 0), |sums, (key, sum)| add(sums, (1, *sum, key.wrapping_mul(*sum))), add)?;
    Ok(text(sums))
}

pub fn join(sc: &Context, rows: u64, small: u64, partitions: u32) -> Outcome<String> {
    let facts = sc.partitioned(partitions).range(0..rows).with(2 * small).map(|keys, i| (mix(i) % keys, i));
    let names = sc.partitioned(partitions).range(0..small).map(|i| (i, mix(i) & 0xffff));
    let sums = facts.partitioned(partitions).join(&names).aggregate(
        (0, 0, 0),
        |sums, (key, (row, name))| add(sums, (1, *row, key.wrapping_mul(*name))),
        add,
    )?;
    Ok(text(sums))
}

pub fn sum(numbers: &Rdd<u64>) -> Outcome<String> {
    Ok(numbers.aggregate(0u64, |sum, x| sum + x, |a, b| a + b)?.to_string())
}

pub fn map_filter_reduce(sc: &Context, n: u64, partitions: u32) -> Outcome<String> {
    let sum = sc.partitioned(partitions).range(0..n).map(|x| x * 3).filter(|x| x & 1 == 0).reduce(|a, b| a + b)?;
    Ok(sum.to_string())
}
