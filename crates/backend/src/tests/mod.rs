//! What a roster is told, and what it must do: by what happens to its executors.

mod admission;
mod endings;
mod nodes;
mod standalone;

use std::time::Duration;

use firesteel_common::{ExecutorId, Tick};
use firesteel_machine::Machine;
use firesteel_scheduler::DriverEvent;

use crate::{Grant, Loss, News, Roster, RosterEffect, RosterEvent, StreamId};

/// A roster at some time.
#[derive(Default)]
struct Played {
    roster: Roster,
    now: Tick,
}

impl Played {
    /// What follows from an event, a line each.
    fn handle(&mut self, event: RosterEvent) -> Vec<String> {
        let mut out = Vec::new();
        self.roster.handle(self.now, event, &mut out);
        assert_eq!(self.roster.check_invariants(), Ok(()));
        assert!(self.roster.next_deadline().is_none_or(|at| at > self.now), "it wants to be woken again at once");
        out.iter().map(said).collect()
    }

    fn told(&mut self, news: News) -> Vec<String> {
        self.handle(RosterEvent::Told(news))
    }

    fn granted(&mut self, executor: u32, node: &str) -> Vec<String> {
        let (executor, node) = (ExecutorId(executor), node.to_owned());
        self.told(News::Granted(Grant { executor, node, host: "h".to_owned(), cores: 2 }))
    }

    fn registers(&mut self, executor: u32, stream: u64) -> Vec<String> {
        self.handle(RosterEvent::Registers { executor: ExecutorId(executor), stream: StreamId(stream) })
    }

    fn stream_ended(&mut self, stream: u64) -> Vec<String> {
        self.handle(RosterEvent::StreamEnded { stream: StreamId(stream) })
    }

    fn exits(&mut self, executor: u32) -> Vec<String> {
        let loss = Loss { message: "exit code 1".to_owned(), by_application: true, node_lost: false };
        self.told(News::Ended { executor: ExecutorId(executor), loss })
    }

    fn node_leaves(&mut self, executor: u32) -> Vec<String> {
        self.told(News::NodeLeaves { executor: ExecutorId(executor), message: "it leaves".to_owned() })
    }

    fn node_lost(&mut self, node: &str) -> Vec<String> {
        self.told(News::NodeLost { node: node.to_owned(), message: "it is lost".to_owned() })
    }

    fn gives_up(&mut self, stream: u64) -> Vec<String> {
        self.handle(RosterEvent::GiveUp { stream: StreamId(stream), reason: "silence".to_owned() })
    }

    fn drops(&mut self, stream: u64) -> Vec<String> {
        self.handle(RosterEvent::Dropped { stream: StreamId(stream), reason: "no use".to_owned() })
    }

    fn retires(&mut self, executor: u32) -> Vec<String> {
        self.handle(RosterEvent::Retire { executor: ExecutorId(executor), reason: "idle".to_owned() })
    }

    /// Time passes, and the roster is woken if that is its deadline.
    fn after(&mut self, time: Duration) -> Vec<String> {
        self.now = self.now + time;
        let due = self.roster.next_deadline().is_some_and(|at| at <= self.now);
        if due { self.handle(RosterEvent::Wake) } else { Vec::new() }
    }
}

/// One that has been granted on node "w" and let in on the stream of its own number.
fn connected(executors: &[u32]) -> Played {
    let mut played = Played::default();
    for &executor in executors {
        played.granted(executor, "w");
        assert_eq!(played.registers(executor, executor.into()), [format!("admit {executor}")]);
    }
    played
}

fn said(effect: &RosterEffect) -> String {
    match effect {
        RosterEffect::Admit { stream } => format!("admit {}", stream.0),
        RosterEffect::Refuse { stream, reason } => format!("refuse {}: {reason}", stream.0),
        RosterEffect::Close { stream, reason } => format!("close {}: {reason}", stream.0),
        RosterEffect::Kill { executor } => format!("kill {}", executor.0),
        RosterEffect::NodeLeaves { executors, .. } => format!("leave {:?}", ids(executors)),
        RosterEffect::Cores(cores) => format!("{cores} cores"),
        RosterEffect::Tell(DriverEvent::ExecutorDisconnected { executor }) => format!("disconnected {}", executor.0),
        RosterEffect::Tell(DriverEvent::ExecutorRemoved { executor, message, by_application, worker_lost }) => {
            let by = if *by_application { " by the application" } else { "" };
            let with = if *worker_lost { " with its worker" } else { "" };
            format!("removed {}{by}{with}: {message}", executor.0)
        }
        RosterEffect::Tell(DriverEvent::WorkerRemoved { executors, .. }) => format!("worker of {:?}", ids(executors)),
        RosterEffect::Tell(other) => format!("{other:?}"),
    }
}

fn ids(executors: &[ExecutorId]) -> Vec<u32> {
    executors.iter().map(|executor| executor.0).collect()
}
