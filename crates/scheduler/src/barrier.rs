//! Barriers: the tasks of a barrier stage wait for one another, and hand each other messages. Spark:
//! `BarrierCoordinator`.
//!
//! ```text
//!  task ─ BarrierSync(call 0) ─▶ Barriers ── all are there ─▶ AnswerBarrier(call 0, messages) to each
//!                                         ── one has ended, waited too long, another kind of call ─▶ an error to each
//! ```
//!
//! One meeting a stage attempt. Called by the DAGScheduler's files; an error fails the tasks that get it, and with the
//! first of them the attempt.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use firesteel_common::{ExecutorId, StageAttempt, TaskId, Tick};

use crate::{effect::DriverEffect, invariants::hold};

/// What all tasks of a call hand in together must fit a message.
const MOST_BYTES: usize = 2 << 20;

/// A task that waits.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) partition: u32,
    pub(crate) task: TaskId,
    pub(crate) executor: ExecutorId,
    /// What it calls: the text is part of errors.
    pub(crate) gathers: bool,
    pub(crate) message: Bytes,
}

#[derive(Debug)]
struct Meeting {
    tasks: u32,
    /// Calls that all tasks have made.
    call: u32,
    waiting: BTreeMap<u32, Arrival>,
    /// Partitions whose task has succeeded.
    left: BTreeSet<u32>,
    deadline: Option<Tick>,
    /// The last call that ended with an error, and the error.
    failed: Option<(u32, String)>,
}

/// The meetings of all barrier stage attempts that run.
#[derive(Debug, Default)]
pub(crate) struct Barriers {
    meetings: BTreeMap<StageAttempt, Meeting>,
}

impl Barriers {
    /// An attempt of so many tasks starts.
    pub(crate) fn open(&mut self, attempt: StageAttempt, tasks: u32) {
        let (waiting, left) = (BTreeMap::new(), BTreeSet::new());
        self.meetings.insert(attempt, Meeting { tasks, call: 0, waiting, left, deadline: None, failed: None });
    }

    /// An attempt is over; its tasks have ended or are killed.
    pub(crate) fn close(&mut self, attempt: StageAttempt) {
        self.meetings.remove(&attempt);
    }

    /// A task makes its call number `call` and waits for the others.
    pub(crate) fn arrive(
        &mut self,
        now: Tick,
        timeout: Duration,
        attempt: StageAttempt,
        call: u32,
        arrival: Arrival,
        out: &mut Vec<DriverEffect>,
    ) {
        let Some(meeting) = self.meetings.get_mut(&attempt) else { return };
        if call != meeting.call {
            // Repeated, or late after an error: then it hears what the others have heard.
            let reason = match &meeting.failed {
                Some((failed, reason)) if *failed == call => reason.clone(),
                _ => format!("call {call} of {attempt} is over; the tasks are at call {}", meeting.call),
            };
            return answer(&arrival, call, Err(reason), out);
        }
        meeting.deadline.get_or_insert(now + timeout);
        meeting.waiting.insert(arrival.partition, arrival);
        meeting.settle(attempt, out);
    }

    /// The task of this partition has succeeded: it makes no call any more.
    pub(crate) fn leave(&mut self, attempt: StageAttempt, partition: u32, out: &mut Vec<DriverEffect>) {
        let Some(meeting) = self.meetings.get_mut(&attempt) else { return };
        meeting.left.insert(partition);
        meeting.settle(attempt, out);
    }

    /// Ends the calls that have waited too long for somebody.
    pub(crate) fn expire(&mut self, now: Tick, timeout: Duration, out: &mut Vec<DriverEffect>) {
        for (attempt, meeting) in &mut self.meetings {
            if meeting.deadline.is_some_and(|at| at <= now) {
                let (there, all) = (meeting.waiting.len(), meeting.tasks);
                let missing: Vec<u32> = (0..all).filter(|p| !meeting.waiting.contains_key(p)).collect();
                let reason = format!(
                    "only {there} of the {all} tasks of {attempt} came to call {} within {timeout:?} \
                     (spark.barrier.sync.timeout); partitions that did not: {}",
                    meeting.call,
                    list(&missing)
                );
                meeting.end_call(Err(reason), out);
            }
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Tick> {
        self.meetings.values().filter_map(|m| m.deadline).min()
    }

    /// Whether no barrier stage runs.
    pub(crate) fn is_empty(&self) -> bool {
        self.meetings.is_empty()
    }

    /// Who waits has a deadline, and belongs to a meeting that is not complete.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (attempt, meeting) in &self.meetings {
            let waiting = meeting.waiting.len();
            hold!(waiting == 0 || meeting.deadline.is_some(), "{waiting} tasks of {attempt} wait for ever");
            hold!(waiting == 0 || waiting < meeting.tasks as usize, "all tasks of {attempt} wait for nobody");
        }
        Ok(())
    }

    /// The attempts that have a meeting: those of the barrier stages that run.
    pub(crate) fn attempts(&self) -> impl Iterator<Item = StageAttempt> {
        self.meetings.keys().copied()
    }
}

impl Meeting {
    /// Ends the call when that can be done.
    fn settle(&mut self, attempt: StageAttempt, out: &mut Vec<DriverEffect>) {
        if self.waiting.is_empty() {
            return;
        }
        let gathers = self.waiting.values().filter(|a| a.gathers).count();
        let bytes: usize = self.waiting.values().map(|a| a.message.len()).sum();
        let call = self.call;
        if !self.left.is_empty() {
            let left: Vec<u32> = self.left.iter().copied().collect();
            let reason = format!(
                "partitions {} of {attempt} ended without call {call}, at which others wait: every task of a barrier \
                 stage must call barrier() and all_gather() equally often",
                list(&left)
            );
            self.end_call(Err(reason), out);
        } else if gathers > 0 && gathers < self.waiting.len() {
            let reason = format!(
                "at call {call} of {attempt} some tasks call barrier() and others all_gather(): every task of a barrier \
                 stage must make the same calls"
            );
            self.end_call(Err(reason), out);
        } else if bytes > MOST_BYTES {
            let reason = format!(
                "the messages of all_gather() take {bytes} bytes together, {MOST_BYTES} are possible; pass less, or use a \
                 shuffle"
            );
            self.end_call(Err(reason), out);
        } else if self.waiting.len() as u32 == self.tasks {
            let messages =
                if gathers > 0 { self.waiting.values().map(|a| a.message.clone()).collect() } else { vec![] };
            self.end_call(Ok(Arc::new(messages)), out);
        }
    }

    fn end_call(&mut self, result: Result<Arc<Vec<Bytes>>, String>, out: &mut Vec<DriverEffect>) {
        for arrival in std::mem::take(&mut self.waiting).values() {
            answer(arrival, self.call, result.clone(), out);
        }
        if let Err(reason) = result {
            self.failed = Some((self.call, reason));
        }
        self.call += 1;
        self.deadline = None;
    }
}

fn answer(arrival: &Arrival, call: u32, result: Result<Arc<Vec<Bytes>>, String>, out: &mut Vec<DriverEffect>) {
    out.push(DriverEffect::AnswerBarrier { executor: arrival.executor, task: arrival.task, call, result });
}

/// The first few of them.
fn list(partitions: &[u32]) -> String {
    let some: Vec<String> = partitions.iter().take(10).map(u32::to_string).collect();
    let more = if partitions.len() > some.len() { ", …" } else { "" };
    format!("{}{more}", some.join(", "))
}
