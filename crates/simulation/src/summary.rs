//! What the trace says of a message: one line.

use std::fmt;

use firesteel_protocol::{
    BarrierAnswer, BarrierSync, LaunchTasks, MapOutputMoved, TaskDescription, TaskOutcome, TaskUpdate, ToDriver,
    ToExecutor,
};
use firesteel_rpc::proto::deploy::{from_master, to_master};

use crate::state::network::Message;

/// One line about a message, made only when it is written.
pub(crate) struct Summary<'a>(pub(crate) &'a Message);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&summary(self.0))
    }
}

fn summary(message: &Message) -> String {
    match message {
        Message::ToMaster(m) => to_master_summary(m),
        Message::FromMaster(m) => from_master_summary(m),
        Message::ToDriver(ToDriver::RegisterExecutor(r)) => {
            format!("RegisterExecutor {} with {} cores", r.executor, r.cores)
        }
        Message::ToDriver(ToDriver::StatusUpdates(updates)) => {
            let each: Vec<String> = updates.iter().map(update_summary).collect();
            format!("StatusUpdates {}", each.join(", "))
        }
        Message::ToDriver(ToDriver::MapOutputMoved(MapOutputMoved { shuffle, map_task, to })) => {
            format!("MapOutputMoved {shuffle} {map_task} to {to}")
        }
        Message::ToDriver(ToDriver::BarrierSync(BarrierSync { task, call, gathers, .. })) => {
            let what = if *gathers { "all_gather" } else { "barrier" };
            format!("BarrierSync {task} waits at call {call}, {what}")
        }
        Message::ToDriver(other) => format!("{other:?}"),
        Message::ToExecutor(ToExecutor::LaunchTasks(LaunchTasks { tasks, ended, .. })) => {
            let one = |t: &TaskDescription| format!("{} ({} partition {})", t.task, t.stage, t.partition);
            let mut text: Vec<String> = tasks.iter().map(one).collect();
            text.extend(ended.iter().map(|s| format!("{s} is over")));
            format!("LaunchTasks {}", text.join(", "))
        }
        Message::ToExecutor(ToExecutor::RegisteredExecutor(_)) => "RegisteredExecutor".to_owned(),
        Message::ToExecutor(ToExecutor::DecommissionExecutor(orders)) => {
            let names: Vec<String> = orders.peers.iter().map(|peer| peer.executor.to_string()).collect();
            let outputs = if orders.map_outputs { "with" } else { "without" };
            format!("DecommissionExecutor {outputs} outputs, peers {}", names.join(", "))
        }
        Message::ToExecutor(ToExecutor::BarrierAnswer(BarrierAnswer { task, call, result })) => match result {
            Ok(messages) => format!("BarrierAnswer {task} goes on after call {call}, {} messages", messages.len()),
            Err(reason) => format!("BarrierAnswer {task} FAILS at call {call}: {reason}"),
        },
        Message::ToExecutor(other) => format!("{other:?}"),
    }
}

fn update_summary(update: &TaskUpdate) -> String {
    let what = match &update.outcome {
        TaskOutcome::Running => "runs".to_owned(),
        TaskOutcome::GivenBack => "is given back".to_owned(),
        TaskOutcome::Result(bytes) => format!("has its result, {} bytes", bytes.len()),
        TaskOutcome::ResultInBlock { block_id, size } => format!("has its result in {block_id}, {size} bytes"),
        TaskOutcome::MapOutput(_) => "has written its map output".to_owned(),
        TaskOutcome::Failed(failure) => format!("FAILED: {failure}"),
    };
    let blocks: String = update
        .blocks
        .iter()
        .map(|b| format!(", {} rdd_{}_{}", if b.stored { "caches" } else { "dropped" }, b.rdd.0, b.partition))
        .collect();
    format!("{} {what}{blocks}", update.task)
}

fn to_master_summary(message: &to_master::Message) -> String {
    use to_master::Message;
    match message {
        Message::RegisterWorker(m) => format!("RegisterWorker {} with {} executors", m.worker_id, m.executors.len()),
        Message::Heartbeat(m) => format!("Heartbeat {}", m.worker_id),
        Message::WorkerLatestState(m) => format!("WorkerLatestState with {} executors", m.executors.len()),
        Message::ExecutorStateChanged(m) => {
            format!("ExecutorStateChanged {} {:?} {}", m.executor_id, m.state(), m.message)
        }
        Message::RegisterApplication(m) => format!("RegisterApplication {:?}", m.app_id),
        Message::UnregisterApplication(_) => "UnregisterApplication".to_owned(),
        other => format!("{other:?}"),
    }
}

fn from_master_summary(message: &from_master::Message) -> String {
    use from_master::Message;
    match message {
        Message::RegisteredWorker(_) => "RegisteredWorker".to_owned(),
        Message::LaunchExecutor(m) => format!("LaunchExecutor {} with {} cores", m.executor_id, m.cores),
        Message::KillExecutor(m) => format!("KillExecutor {}", m.executor_id),
        Message::ApplicationFinished(m) => format!("ApplicationFinished {}", m.app_id),
        Message::RegisteredApplication(m) => format!("RegisteredApplication {}", m.app_id),
        Message::ExecutorAdded(m) => format!("ExecutorAdded {} on {}", m.executor_id, m.worker_id),
        Message::ExecutorUpdated(m) => format!("ExecutorUpdated {} {:?} {}", m.executor_id, m.state(), m.message),
        Message::ApplicationRemoved(m) => format!("ApplicationRemoved: {}", m.reason),
        other => format!("{other:?}"),
    }
}
