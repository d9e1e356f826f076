//! What a block of a shuffle costs when there are many small ones: `cargo run --release -p firesteel --example many_blocks
//! [MASTER [MAPS REDUCERS]] [KEY=VALUE...]`. Each block has one record. Without numbers it goes through sizes that grow.

#![allow(clippy::print_stdout, reason = "a program of its own")]

use std::time::Instant;

use firesteel::prelude::*;

fn main() -> Result<()> {
    let (settings, args): (Vec<String>, Vec<String>) = std::env::args().skip(1).partition(|arg| arg.contains('='));
    let number = |i: usize| args.get(i).and_then(|text| text.parse::<u32>().ok());
    let master = args.first().map_or("local[2]", String::as_str);
    let sizes = match (number(1), number(2)) {
        (Some(maps), Some(reducers)) => vec![(maps, reducers)],
        _ => vec![(125, 1000), (250, 1000), (260, 1000), (500, 1000), (1000, 1000), (2000, 1000), (4000, 1000)],
    };
    let builder = Context::builder().app_name("many blocks").master(master);
    let settings = settings.iter().filter_map(|setting| setting.split_once('='));
    let sc = settings.fold(builder, |builder, (key, value)| builder.set(key, value)).build()?;
    sc.partitioned(8).range(0..1000u64).repartition(8).count()?;
    for (maps, reducers) in sizes {
        let blocks = u64::from(maps) * u64::from(reducers);
        let start = Instant::now();
        let rows = sc.partitioned(maps).range(0..blocks).repartition(reducers).count()?;
        let seconds = start.elapsed().as_secs_f64();
        let each = seconds * 1e6 / blocks as f64;
        println!("{maps:>6} maps, {reducers:>5} reducers: {rows:>9} rows, {seconds:7.2} s, {each:5.2} us a block");
    }
    Ok(())
}
