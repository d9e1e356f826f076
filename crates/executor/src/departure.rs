//! How an executor leaves, as a pure state machine: which peer takes what it holds, what the driver is told of it, and when it
//! may go. Spark: `BlockManagerDecommissioner`.
//!
//! ```text
//!  Look ─▶ Looked { what is here, whether nothing is added any more } ─▶ Give … ─▶ Moved, Refused, Gone … ─▶ Look
//!                                                                                   nothing is added any more ─▶ Leave
//! ```
//!
//! What is here is looked at again and again while tasks run, which may add to it. Driven by `decommission`, which has the
//! block manager and the threads, and by the simulation; calls nobody.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use firesteel_common::{ExecutorId, RddId, ShuffleId, TaskId};
use firesteel_protocol::{BlockAddress, DecommissionExecutor};

/// Something that an executor holds and others may need.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Item {
    /// A kept partition.
    Cached(RddId, u32),
    /// The output of a map task.
    Output(ShuffleId, TaskId),
}

/// What happens to an executor that leaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The driver's orders, or newer ones.
    Ordered(DecommissionExecutor),
    /// The answer to [`Effect::Look`].
    Looked {
        /// What is here and should be somewhere else.
        held: Vec<Item>,
        /// Nothing will be added: no task is here, no result is waited for, and the driver was told of all.
        idle: bool,
    },
    /// A peer has an item now.
    Moved {
        /// What it has.
        item: Item,
        /// The executor that gets them.
        to: ExecutorId,
    },
    /// A peer has not taken an item.
    Refused {
        /// What it did not take.
        item: Item,
        /// The executor that says so.
        by: ExecutorId,
    },
    /// An item that a peer was to take is here no more.
    Gone {
        /// What is missing.
        item: Item,
    },
}

/// What is to be done about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Look at what is here, as soon as that, the tasks or the orders may have changed since it was looked last.
    Look,
    /// Have the peer take an item; every one must be answered.
    Give {
        /// What it is to take.
        item: Item,
        /// The executor, with its block server.
        peer: BlockAddress,
    },
    /// Tell the driver that the item is there, too.
    Tell {
        /// What has moved.
        item: Item,
        /// Who has it.
        to: ExecutorId,
    },
    /// Nobody takes the item as it seems; say so in the log.
    GivenUp {
        /// What stays here.
        item: Item,
        /// How often it was tried.
        attempts: u32,
    },
    /// Nobody is there to take what is still here; say so in the log.
    Lost {
        /// How many.
        items: usize,
    },
    /// Close the stream to the driver and end.
    Leave,
}

/// An item that a peer is to take now.
#[derive(Debug)]
struct Moving {
    /// Where among the peers it began.
    turn: usize,
    /// Who has not taken it.
    refused: Vec<ExecutorId>,
}

/// The state of an executor that leaves.
#[derive(Debug)]
pub struct Departure {
    /// After so many failures in a row an item is given up, until there is a peer that was not asked.
    attempts: u32,
    /// So many are moved at a time.
    parallel: usize,
    orders: DecommissionExecutor,
    /// The orders have changed since it was looked last.
    reordered: bool,
    /// Nothing has been added after it was looked last.
    last: bool,
    /// What peers have.
    moved: BTreeMap<Item, ExecutorId>,
    /// Who has not taken what.
    refused: BTreeMap<Item, BTreeSet<ExecutorId>>,
    /// What was moved while tasks ran. The driver may not have known then that it is here: it hears of it again.
    early: Vec<(Item, ExecutorId)>,
    waiting: VecDeque<Item>,
    moving: BTreeMap<Item, Moving>,
    turn: usize,
}

impl Departure {
    /// Begins with [`Effect::Look`]. An item is given up after so many `attempts`; so many are moved in `parallel` (0 is
    /// taken for 1).
    pub fn new(orders: DecommissionExecutor, attempts: u32, parallel: u32) -> Departure {
        Departure {
            attempts,
            parallel: parallel.max(1) as usize,
            orders,
            reordered: false,
            last: false,
            moved: BTreeMap::new(),
            refused: BTreeMap::new(),
            early: Vec::new(),
            waiting: VecDeque::new(),
            moving: BTreeMap::new(),
            turn: 0,
        }
    }

    /// The orders that it goes by.
    pub fn orders(&self) -> &DecommissionExecutor {
        &self.orders
    }

    /// Those of the items that some peer should still take.
    pub fn wanted(&self, held: impl IntoIterator<Item = Item>) -> Vec<Item> {
        let peers = &self.orders.peers;
        let is_peer = |id: &ExecutorId| peers.iter().any(|peer| peer.executor == *id);
        let is_wanted = |item: &Item| {
            let refused = self.refused.get(item);
            let untried = |peer: &BlockAddress| refused.is_none_or(|by| !by.contains(&peer.executor));
            let is_elsewhere = self.moved.get(item).is_some_and(is_peer);
            let is_told = matches!(item, Item::Cached(..)) || self.orders.map_outputs;
            is_told && !is_elsewhere && (peers.is_empty() || peers.iter().any(untried))
        };
        held.into_iter().filter(is_wanted).collect()
    }

    /// Takes an event and appends what is to be done.
    pub fn handle(&mut self, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Ordered(orders) => {
                self.reordered |= orders != self.orders;
                self.orders = orders;
                return;
            }
            Event::Looked { held, idle } => {
                (self.last, self.reordered) = (idle, false);
                let wanted = self.wanted(held);
                if !self.orders.peers.is_empty() {
                    self.waiting = wanted.into();
                } else if idle && !wanted.is_empty() {
                    out.push(Effect::Lost { items: wanted.len() });
                }
            }
            Event::Moved { item, to } => {
                if self.moving.remove(&item).is_none() {
                    return;
                }
                self.moved.insert(item, to);
                out.push(Effect::Tell { item, to });
                if !self.last {
                    self.early.push((item, to));
                }
            }
            Event::Refused { item, by } if self.moving.contains_key(&item) => self.refused(item, by, out),
            Event::Gone { item } if self.moving.remove(&item).is_some() => {}
            // Nobody was asked.
            Event::Refused { .. } | Event::Gone { .. } => return,
        }
        self.go_on(out);
    }

    fn refused(&mut self, item: Item, by: ExecutorId, out: &mut Vec<Effect>) {
        let Some(moving) = self.moving.get_mut(&item) else { return };
        moving.refused.push(by);
        let attempts = moving.refused.len();
        // Who is there may have changed since.
        let peer = self.orders.peers.get((moving.turn + attempts) % self.orders.peers.len().max(1));
        match peer.filter(|_| attempts < self.attempts as usize) {
            Some(peer) => out.push(Effect::Give { item, peer: peer.clone() }),
            None => {
                let by = self.moving.remove(&item).map(|moving| moving.refused).unwrap_or_default();
                self.refused.entry(item).or_default().extend(by);
                out.push(Effect::GivenUp { item, attempts: attempts as u32 });
            }
        }
    }

    /// Has the next items moved; when there are none, it is time to look again, or to go.
    fn go_on(&mut self, out: &mut Vec<Effect>) {
        while self.moving.len() < self.parallel {
            let Some(item) = self.waiting.pop_front() else { break };
            let Some(peer) = self.orders.peers.get(self.turn % self.orders.peers.len().max(1)) else { continue };
            out.push(Effect::Give { item, peer: peer.clone() });
            self.moving.insert(item, Moving { turn: self.turn, refused: Vec::new() });
            self.turn += 1;
        }
        if !self.moving.is_empty() {
            return;
        }
        if self.last {
            out.extend(self.early.drain(..).map(|(item, to)| Effect::Tell { item, to }));
        }
        out.push(if self.last && !self.reordered { Effect::Leave } else { Effect::Look });
    }
}

#[cfg(test)]
#[path = "departure_tests.rs"]
mod tests;
