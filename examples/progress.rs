//! Prints what happens in a small job, as a listener hears it.

#![allow(clippy::print_stdout)]

use firesteel::{
    events::{AppEvent, TaskEnd},
    prelude::*,
};

fn main() -> Result<()> {
    let listener = |event: &AppEvent| match event {
        AppEvent::JobStart { job, name, stages, .. } => println!("{job}, {name}, of {} stages", stages.len()),
        AppEvent::StageSubmitted { info, .. } => println!("  {}, {}, of {} tasks", info.attempt, info.name, info.tasks),
        AppEvent::TaskEnd { info, end: TaskEnd::Success, .. } => {
            println!("    {} made partition {}", info.task, info.partition)
        }
        AppEvent::JobEnd { job, result, .. } => println!("{job} {result:?}"),
        _ => {}
    };
    let sc = Context::builder().app_name("progress").add_listener(listener).build()?;
    let words = ["one", "two", "three", "two", "three", "three"];
    let counts = sc
        .partitioned(2)
        .parallelize(words.map(str::to_owned))
        .map(|word| (word, 1u64))
        .partitioned(2)
        .reduce_by_key(|a, b| a + b);
    counts.count()?;
    sc.stop();
    Ok(())
}
