//! Barrier stages in the virtual cluster: tasks that wait for one another, at their executors and at the driver.

use std::sync::Arc;

use bytes::Bytes;
use firesteel_common::{StageAttempt, TaskFailure, TaskId};
use firesteel_protocol::{BarrierAnswer, BarrierSync, TaskOutcome, ToDriver, ToExecutor};
use firesteel_scheduler::{BarrierPlace, GraphDep, JobGraph};

use crate::{
    cluster::Cluster,
    state::{network::Process, stage::StageInfo},
};

/// Whether the stage that computes this node is a barrier stage.
pub(crate) fn is_barrier(graph: &JobGraph, node: usize) -> bool {
    let mut todo = vec![node];
    while let Some(n) = todo.pop() {
        if graph.nodes[n].barrier {
            return true;
        }
        todo.extend(graph.nodes[n].deps.iter().filter_map(|d| match d {
            GraphDep::Narrow { parent, .. } => Some(*parent),
            GraphDep::Shuffle { .. } => None,
        }));
    }
    false
}

/// How often the tasks of a stage call.
fn calls(stage: StageAttempt) -> u32 {
    1 + stage.stage.0 % 2
}

fn gathers(stage: StageAttempt, call: u32) -> bool {
    !(stage.stage.0 + call).is_multiple_of(3)
}

/// What a task says to the others.
fn message(stage: StageAttempt, partition: u32, call: u32) -> Bytes {
    format!("{stage} partition {partition} call {call}").into()
}

impl Cluster {
    /// A slot is free for every task of a barrier stage before any is launched.
    pub(crate) fn check_barrier_start(&mut self, id: Process, task: TaskId, waited: bool) {
        let stage = self.executors.get(&id).and_then(|e| e.tasks.get(&task)).map(|(_, stage)| stage.barrier);
        if waited && stage == Some(true) {
            self.violated(format!("{task} of a barrier stage had to wait for a slot at {id}"));
        }
    }

    /// The task has come to its next call, or waits at one. False when it is to end.
    pub(crate) fn waits_at_barrier(&mut self, id: Process, task: TaskId) -> bool {
        let Some(node) = self.executors.get_mut(&id) else { return false };
        let Some((spec, stage)) = node.tasks.get(&task) else { return false };
        if !stage.barrier || node.flagged.contains_key(&task) {
            return false;
        }
        let (stage, partition) = (spec.stage, spec.partition);
        let (made, waits) = node.calls.entry(task).or_default();
        if *waits || *made == calls(stage) {
            return *waits;
        }
        *waits = true;
        let (call, message) = (*made, message(stage, partition, *made));
        let sync = BarrierSync { task, call, gathers: gathers(stage, call), message };
        self.say(id, ToDriver::BarrierSync(sync));
        true
    }

    pub(crate) fn barrier_answered(&mut self, id: Process, answer: BarrierAnswer) {
        let BarrierAnswer { task, call, result } = answer;
        let Some(node) = self.executors.get_mut(&id) else { return };
        let Some((spec, _)) = node.tasks.get(&task).cloned() else { return };
        // It may have been told before.
        let Some((made, waits)) = node.calls.get_mut(&task).filter(|c| **c == (call, true)) else { return };
        *made += 1;
        *waits = false;
        match result {
            Ok(messages) => {
                let all = (0..messages.len() as u32).map(|p| message(spec.stage, p, call));
                if !messages.iter().cloned().eq(all) || gathers(spec.stage, call) == messages.is_empty() {
                    self.violated(format!("{task} is told {messages:?} at call {call}"));
                }
                self.task_works(id, task);
            }
            Err(message) => {
                node.tasks.remove(&task);
                node.calls.remove(&task);
                node.flagged.remove(&task);
                let failure = TaskFailure::Exception { message, location: String::new(), panic: false };
                self.report(id, task, TaskOutcome::Failed(failure), Vec::new());
                self.executor_handle(id, firesteel_executor::core::Event::Finished { task });
            }
        }
    }

    // ---- at the driver ----

    pub(crate) fn barrier_started(&mut self, d: usize, attempt: StageAttempt, places: Vec<BarrierPlace>) {
        self.counts.barriers += 1;
        self.counts.barrier_retries += usize::from(attempt.attempt > 0);
        let where_to: Vec<String> = places.iter().map(|p| p.executor.to_string()).collect();
        self.note(format_args!("driver {d} launches all of {attempt}: {}", where_to.join(", ")));
        let stage: Option<Arc<StageInfo>> = self.drivers[d].stages.get(&attempt).cloned();
        let all = stage.map(|s| s.graph.nodes[s.node].partitions as usize);
        if all != Some(places.len()) {
            self.violated(format!("{attempt} has {all:?} partitions and is launched with {} tasks", places.len()));
        }
        if let Err(e) = self.drivers[d].books.barrier_due(attempt, places) {
            self.violated(e);
        }
    }

    pub(crate) fn answer_barrier(&mut self, d: usize, executor: u32, answer: BarrierAnswer) {
        if let BarrierAnswer { task, call, result: Ok(messages) } = &answer {
            let driver = &self.drivers[d];
            let stage = driver.books.tasks.get(task).and_then(|t| driver.stages.get(&t.spec.stage));
            let tasks = stage.map_or(0, |s| s.graph.nodes[s.node].partitions);
            if let Err(e) = driver.books.may_go_on(*task, *call, tasks, messages) {
                self.violated(e);
            }
            self.counts.meetings += 1;
        }
        self.tell_executor(d, executor, ToExecutor::BarrierAnswer(answer));
    }
}
