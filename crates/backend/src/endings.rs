//! Executors that end: by themselves, with their nodes, or by the driver's wish.

use std::time::Duration;

use firesteel_common::{ExecutorId, Tick};
use firesteel_scheduler::DriverEvent;
use tracing::{info, warn};

use crate::{
    Loss, RosterEffect, StreamId,
    roster::{Connection, Granted, Roster},
};

/// What a process that has ended had still sent has this long to arrive.
pub(crate) const LAST_WORDS: Duration = Duration::from_secs(1);

/// The end of an executor whose stream has not ended.
#[derive(Debug)]
pub(crate) struct Ending {
    stream: StreamId,
    loss: Loss,
    pub(crate) until: Tick,
}

impl Roster {
    /// An executor is gone. That is told when all that it had sent has been.
    pub(crate) fn ended(&mut self, now: Tick, executor: ExecutorId, mut loss: Loss, out: &mut Vec<RosterEffect>) {
        if let Some(ending) = self.endings.get_mut(&executor) {
            if loss.node_lost {
                ending.loss.node_lost = true;
                ending.until = now;
            }
            return self.await_no_longer(now, out);
        }
        self.refuse_gone(executor, out);
        let news = self.gone.insert(executor);
        let Some(granted) = self.granted.remove(&executor) else {
            if news {
                warn!(executor_id = executor.0, "executor lost that was never heard of: {}", loss.message);
            }
            // Of one that is gone it is news only that its node went, too.
            if news || loss.node_lost {
                out.push(lost(executor, loss));
            }
            return;
        };
        let stream = granted.stream();
        let Granted { decommissioned, retired, given_up, .. } = granted;
        // It was to end, however it did.
        loss.by_application &= !decommissioned;
        if let Some(reason) = given_up {
            loss = Loss { message: format!("{reason}; {}", loss.message), by_application: false, ..loss };
        }
        let executor_id = executor.0;
        if decommissioned || retired {
            info!(executor_id, "executor ended: {}", loss.message);
        } else {
            warn!(executor_id, by_application = loss.by_application, "executor lost: {}", loss.message);
        }
        match stream {
            None => out.push(lost(executor, loss)),
            Some(stream) => {
                // Of a lost node the process may live on: what it goes on to say is not waited for, as it gets tasks until then.
                let until = if loss.node_lost { now } else { now + LAST_WORDS };
                self.endings.insert(executor, Ending { stream, loss, until });
                self.await_no_longer(now, out);
            }
        }
    }

    /// A node is gone, and what it kept of executors that had gone before. So are those there of which the manager has not
    /// said that they are lost: a master that has taken over does not know the executors of a worker that has not come back.
    pub(crate) fn node_lost(&mut self, now: Tick, node: &str, message: String, out: &mut Vec<RosterEffect>) {
        let Some(executors) = self.nodes.remove(node) else { return };
        info!(node, executors = executors.len(), "node lost: {message}");
        for &executor in &executors {
            if self.granted.contains_key(&executor) || self.endings.contains_key(&executor) {
                let loss = Loss { message: message.clone(), by_application: false, node_lost: true };
                self.ended(now, executor, loss, out);
            }
        }
        let executors = executors.into_iter().collect();
        out.push(RosterEffect::Tell(DriverEvent::WorkerRemoved { executors, message }));
    }

    /// Nothing comes on this stream any more.
    pub(crate) fn stream_ended(&mut self, stream: StreamId, out: &mut Vec<RosterEffect>) {
        // Whoever waited there is gone.
        self.applicants.remove(&stream);
        let Some(executor) = self.streams.remove(&stream) else { return };
        if let Some(granted) = self.granted.get_mut(&executor) {
            granted.connection = Connection::Closed;
            out.push(RosterEffect::Tell(DriverEvent::ExecutorDisconnected { executor }));
        } else if let Some(ending) = self.endings.remove(&executor) {
            out.push(RosterEffect::Tell(DriverEvent::ExecutorDisconnected { executor }));
            out.push(lost(executor, ending.loss));
        }
    }

    /// Last words that have not come in time are not waited for.
    pub(crate) fn await_no_longer(&mut self, now: Tick, out: &mut Vec<RosterEffect>) {
        for (executor, Ending { stream, loss, .. }) in self.endings.extract_if(.., |_, ending| ending.until <= now) {
            let reason = "the executor's process has ended".to_owned();
            out.push(RosterEffect::Close { stream, reason });
            out.push(lost(executor, loss));
        }
    }

    /// The tasks of an executor that does not work as it must run elsewhere, and the manager sees to its end.
    pub(crate) fn give_up(&mut self, stream: StreamId, reason: String, out: &mut Vec<RosterEffect>) {
        let Some(&executor) = self.streams.get(&stream) else { return };
        warn!(executor_id = executor.0, reason, "giving up an executor");
        out.push(RosterEffect::Close { stream, reason: reason.clone() });
        if let Some(granted) = self.granted.get_mut(&executor) {
            granted.give_up(reason.clone());
            out.push(lost(executor, Loss { message: reason, by_application: false, node_lost: false }));
            out.push(RosterEffect::Kill { executor });
        } else if let Some(Ending { loss, .. }) = self.endings.remove(&executor) {
            out.push(lost(executor, loss));
        }
    }

    /// The driver has closed this stream.
    pub(crate) fn dropped(&mut self, stream: StreamId, reason: String) {
        let granted = self.streams.get(&stream).and_then(|executor| self.granted.get_mut(executor));
        granted.into_iter().for_each(|granted| granted.give_up(reason.clone()));
    }

    /// The driver gives an executor back.
    pub(crate) fn retire(&mut self, executor: ExecutorId, reason: String, out: &mut Vec<RosterEffect>) {
        if let Some(granted) = self.granted.get_mut(&executor) {
            granted.retired = true;
            granted.give_up(reason.clone());
            out.extend(granted.stream().map(|stream| RosterEffect::Close { stream, reason }));
        }
        out.push(RosterEffect::Kill { executor });
    }

    /// It ends by itself.
    pub(crate) fn leaving(&mut self, executor: ExecutorId) {
        if let Some(granted) = self.granted.get_mut(&executor) {
            granted.retired = true;
        }
    }
}

/// What the schedulers hear of an executor that is gone.
fn lost(executor: ExecutorId, Loss { message, by_application, node_lost: worker_lost }: Loss) -> RosterEffect {
    RosterEffect::Tell(DriverEvent::ExecutorRemoved { executor, message, by_application, worker_lost })
}
