//! How fast the driver's schedulers alone handle one large job of empty tasks, one status batch a slot at a time.
//!
//! `cargo run --release -p firesteel-scheduler --example schedule_throughput -- 10000 8`

#![allow(clippy::print_stdout, reason = "a program of its own")]

use std::time::{Duration, Instant};

use bytes::Bytes;
use firesteel_common::{CallSite, ExecutorId, JobId, RddId, TaskId, Tick};
use firesteel_machine::Machine;
use firesteel_protocol::*;
use firesteel_scheduler::*;

fn main() {
    let arg = |n: usize, default: u32| std::env::args().nth(n).and_then(|a| a.parse().ok()).unwrap_or(default);
    let (tasks, executors) = (arg(1, 10_000), arg(2, 2));
    let mut core = DriverCore::new(SchedulerConfig::default());
    let mut out = Vec::new();
    for id in 0..executors {
        let executor = ExecutorId(id);
        let register = RegisterExecutor { executor, host: format!("h{id}"), cores: 4, ..RegisterExecutor::default() };
        let event = DriverEvent::Heard { executor, message: ToDriver::RegisterExecutor(Box::new(register)) };
        core.handle(Tick::ZERO, event, &mut out);
    }
    let node = GraphNode { rdd: RddId(0), partitions: tasks, ..GraphNode::default() };
    let graph = JobGraph { nodes: vec![node], root: 0 };
    let begin = Instant::now();
    let submit = DriverEvent::SubmitJob {
        site: CallSite::default(),
        job: JobId(0),
        graph,
        partitions: (0..tasks).collect(),
        properties: Default::default(),
        repeatable: true,
    };
    core.handle(Tick::ZERO, submit, &mut out);
    let (mut results, mut running): (u32, Vec<(ExecutorId, TaskId)>) = (0, Vec::new());
    loop {
        for effect in out.drain(..) {
            match effect {
                DriverEffect::LaunchTasks { executor, tasks } => {
                    running.extend(tasks.iter().map(|t| (executor, t.task)));
                }
                DriverEffect::JobResult { .. } => results += 1,
                _ => {}
            }
        }
        let Some((executor, task)) = running.pop() else { break };
        let updates = vec![TaskUpdate {
            task,
            outcome: TaskOutcome::Result(Bytes::new()),
            blocks: Vec::new(),
            ran: Duration::from_micros(20),
            report: None,
        }];
        core.handle(Tick::ZERO, DriverEvent::Heard { executor, message: ToDriver::StatusUpdates(updates) }, &mut out);
    }
    let took = begin.elapsed();
    println!("{results} tasks in {took:?}: {:.0} tasks/s", f64::from(results) / took.as_secs_f64());
}
