//! Decommissioning in the virtual cluster: workers and executors that leave, and what they hand to others before.
//!
//! ```text
//!  operator ─▶ Worker ─▶ Master ─▶ driver ─┐
//!  user or dynamic allocation ─────────────┴▶ DriverCore ─▶ Decommission ─▶ executor (Departure) ─ some things at a time ─▶ peers
//!                                                                              └─ moves ─▶ driver
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use firesteel_backend::RosterEvent;
use firesteel_common::ExecutorId;
use firesteel_executor::departure::{Departure, Effect, Event, Item};
use firesteel_protocol::{
    BlockAddress, BlockUpdate, DecommissionExecutor, MapOutputMoved, ReplicateBlock, ToDriver, ToExecutor,
};
use firesteel_rpc::proto::deploy::Parting;
use firesteel_scheduler::{DriverEvent, Replicated};
use firesteel_worker::WorkerEvent;

use crate::{
    cluster::{Action, Cluster},
    executor_node::exit,
    state::{
        leaving::{AT_A_TIME, Leaving, MOST_FAILURES},
        network::{Node, Process},
    },
};

impl Cluster {
    /// The operator has a worker leave, or a user an executor.
    pub(crate) fn decommission_some(&mut self) {
        if self.rng.chance(40) {
            let stays = |n: &usize| self.workers[*n].as_ref().is_some_and(|w| !w.machine.is_decommissioning());
            let staying: Vec<usize> = (0..self.workers.len()).filter(stays).collect();
            if let Some(n) = self.rng.pick(&staying).copied().filter(|n| !self.frozen.contains_key(&Node::Worker(*n))) {
                self.note(format_args!("worker {n} IS DECOMMISSIONED"));
                self.counts.workers_left += 1;
                self.worker_handle(n, WorkerEvent::Decommission);
            }
            return;
        }
        let connected = |d: usize| {
            let driver = &self.drivers[d];
            driver.executors.keys().filter(|e| driver.has(ExecutorId(**e))).map(move |e| (d, *e))
        };
        let there: Vec<(usize, u32)> = (0..self.drivers.len())
            .filter(|d| self.drivers[*d].lives() && !self.frozen.contains_key(&Node::Driver(*d)))
            .flat_map(connected)
            .collect();
        if let Some((d, executor)) = self.rng.pick(&there).copied() {
            self.note(format_args!("user {d} has executor {executor} DECOMMISSIONED"));
            self.executors_are_to_leave(d, &[ExecutorId(executor)], "the user wants it", false);
        }
    }

    pub(crate) fn executors_are_to_leave(
        &mut self,
        d: usize,
        executors: &[ExecutorId],
        message: &str,
        worker_leaves: bool,
    ) {
        let mut events = Vec::new();
        for &executor in executors {
            self.drivers[d].books.leaving.insert(executor);
            if worker_leaves {
                let driver = &mut self.drivers[d];
                driver.books.with_worker.insert(executor);
                if !driver.executors.contains_key(&executor.0) {
                    driver.books.disconnected(executor);
                }
            }
            let message = message.to_owned();
            events.push(DriverEvent::ExecutorDecommissioning { executor, message, worker_leaves });
        }
        self.driver_handle_all(d, events);
    }

    /// The driver's schedulers have an executor leave: once each.
    pub(crate) fn decommission_executor(&mut self, d: usize, executor: ExecutorId) {
        self.counts.executors_left += 1;
        self.roster_handle(d, RosterEvent::Leaving { executor });
        if !self.drivers[d].decommissioned.insert(executor) {
            return self.violated(format!("{executor} is decommissioned a second time"));
        }
        if self.drivers[d].books.leaving.insert(executor) {
            // Nobody else wanted that: it is idle.
            self.note(format_args!("driver {d} has {executor}, which is idle, leave"));
            self.check_idle(d, executor);
        }
    }

    /// The driver's schedulers have something told to an executor.
    pub(crate) fn driver_tells(&mut self, d: usize, executor: ExecutorId, message: ToExecutor) {
        match &message {
            ToExecutor::DecommissionExecutor(orders) => {
                let driver = &mut self.drivers[d];
                let bad = orders.peers.iter().find(|peer| driver.books.leaving.contains(&peer.executor));
                let bad = bad.map(|peer| peer.executor);
                self.counts.told_again += usize::from(driver.told_to_leave.insert(executor, orders.clone()).is_some());
                if let Some(peer) = bad {
                    self.violated(format!("{executor}, which leaves, is to hand over to {peer}, which leaves as well"));
                }
            }
            ToExecutor::ReplicateBlock(block) => self.drivers[d].books.copying(executor, block),
            other => self.violated(format!("{executor} is told {other:?}")),
        }
        self.tell_executor(d, executor.0, message);
    }

    /// Those that leave know everybody who could take what they hold, and of a partition that has too few copies when executors
    /// came or went one is being made, if that is possible.
    pub(crate) fn check_peers(&mut self, d: usize) {
        let driver = &self.drivers[d];
        let stays = |e: &ExecutorId| !driver.books.leaving.contains(e) && !driver.books.retired.contains(e);
        let staying: BTreeSet<ExecutorId> = driver.executors.keys().map(|e| ExecutorId(*e)).filter(stays).collect();
        let mut bad = None;
        for executor in driver.core.leaving() {
            let told = driver.told_to_leave.get(&executor).map(|orders| &orders.peers);
            let told: BTreeSet<ExecutorId> = told.into_iter().flatten().map(|peer| peer.executor).collect();
            if told != staying {
                bad = Some(format!("{executor}, which leaves, knows of {told:?}, and {staying:?} are there"));
            }
        }
        let changed = driver.stayed != staying;
        for node in driver.program.iter().filter(|_| changed) {
            let Some(Replicated { copies, .. }) = node.replicated else { continue };
            for partition in driver.core.cached_partitions(node.rdd) {
                let holders = driver.core.holders_of(node.rdd, partition);
                let holds = |e: &ExecutorId| holders.iter().any(|h| h.executor == *e);
                let possible = !holders.is_empty() && staying.iter().any(|e| !holds(e));
                let asked = driver.books.copier(node.rdd, partition);
                let asked = asked.is_some_and(|e| driver.has(e));
                if possible && (holders.len() as u32) < copies && !asked {
                    bad = Some(format!("nobody is asked for another copy of partition {partition} of {}", node.rdd));
                }
            }
        }
        self.drivers[d].stayed = staying;
        bad.into_iter().for_each(|bad| self.violated(bad));
    }

    /// The worker has nothing left to do: it ends, and the operator starts it anew some time later.
    pub(crate) fn worker_leaves(&mut self, n: usize) {
        if let Some(id) = self.executors.keys().find(|id| id.worker == n) {
            return self.violated(format!("worker {n} leaves under {id}"));
        }
        self.note(format_args!("worker {n} ENDS, decommissioned"));
        self.worker_handle(n, WorkerEvent::Stop);
        self.close_all(Node::Worker(n));
        self.frozen.remove(&Node::Worker(n));
        let Some(worker) = self.workers[n].take() else { return };
        let at = self.now + Duration::from_millis(200 + self.rng.below(8000));
        self.schedule(at, Action::StartWorker { worker: n, start: worker.start + 1 });
    }

    // ---- at the executor ----

    pub(crate) fn told_to_leave(&mut self, id: Process, orders: DecommissionExecutor) {
        let Some(node) = self.executors.get_mut(&id) else { return };
        match &mut node.leaving {
            Some(leaving) => leaving.machine.handle(Event::Ordered(orders), &mut Vec::new()),
            None => {
                let machine = Departure::new(orders, MOST_FAILURES, AT_A_TIME);
                node.leaving =
                    Some(Leaving { machine, looked: Vec::new(), asked: BTreeMap::new(), failures: BTreeMap::new() });
                self.look_again(id, Duration::from_micros(100));
            }
        }
    }

    fn look_again(&mut self, id: Process, after: Duration) {
        let at = self.now + after + self.latency();
        self.schedule(at, Action::Migrate { process: id });
    }

    /// What the executor holds, with what its worker serves of it.
    fn held(&self, id: Process) -> Vec<Item> {
        let Some(node) = self.executors.get(&id) else { return Vec::new() };
        let mine = node.store.files.keys().map(|(s, t)| Item::Output(*s, *t));
        let served = self.workers[id.worker].iter().flat_map(|w| &w.service);
        let served = served.filter(|((d, ..), file)| *d == node.driver && file.writer == id.executor);
        let served = served.map(|((_, s, t), _)| Item::Output(*s, *t));
        let blocks = node.store.cache.keys().map(|(r, p)| Item::Cached(*r, *p));
        mine.chain(served).chain(blocks).collect()
    }

    /// Whether the executor holds what others are to take. While nobody is there to take it, that is nothing.
    pub(crate) fn still_holds(&self, id: Process) -> bool {
        let leaving = self.executors.get(&id).and_then(|node| node.leaving.as_ref());
        leaving.is_some_and(|l| !l.machine.orders().peers.is_empty() && !l.machine.wanted(self.held(id)).is_empty())
    }

    /// The executor looks at what is to be moved.
    pub(crate) fn migrate(&mut self, id: Process) {
        let held = self.held(id);
        let Some(node) = self.executors.get_mut(&id) else { return };
        let (idle, Some(leaving)) = (node.core.tasks() == 0, node.leaving.as_mut()) else { return };
        leaving.looked.clone_from(&held);
        leaving.failures.clear();
        self.departs(id, Event::Looked { held, idle });
    }

    /// A peer takes something over, if it can.
    pub(crate) fn adopt(&mut self, from: Process, peer: &BlockAddress, item: Item) {
        let is_here = self.held(from).contains(&item);
        let taken = is_here && self.give(from, peer, item);
        let executor = peer.executor;
        let Some(leaving) = self.executors.get_mut(&from).and_then(|e| e.leaving.as_mut()) else { return };
        if !is_here {
            // Its disk or its file was lost meanwhile: it is not left behind.
            leaving.looked.retain(|looked| *looked != item);
        }
        *leaving.asked.entry(item).or_default().entry(executor).or_default() |= taken;
        *leaving.failures.entry(item).or_default() += u32::from(!taken);
        self.counts.moved += usize::from(taken);
        self.departs(
            from,
            match (is_here, taken) {
                (false, _) => Event::Gone { item },
                (true, true) => Event::Moved { item, to: executor },
                (true, false) => Event::Refused { item, by: executor },
            },
        );
    }

    fn departs(&mut self, id: Process, event: Event) {
        let mut out = Vec::new();
        let Some(leaving) = self.executors.get_mut(&id).and_then(|e| e.leaving.as_mut()) else { return };
        leaving.machine.handle(event, &mut out);
        for effect in out {
            match effect {
                Effect::Look => self.look_again(id, Duration::from_millis(5)),
                Effect::Give { item, peer } => {
                    let at = self.now + self.latency();
                    self.schedule(at, Action::Adopt { from: id, peer, item });
                }
                Effect::Tell { item, to } => {
                    self.note(format_args!("{id} hands {item:?} over to {to}"));
                    self.tell_moved(id, item, to);
                }
                Effect::GivenUp { item, attempts } => {
                    self.counts.not_moved += 1;
                    self.note(format_args!("{id} cannot hand {item:?} over in {attempts} attempts"));
                }
                Effect::Lost { items } => self.note(format_args!("{id} has nobody to take {items} things")),
                Effect::Leave => return self.departed(id),
            }
        }
    }

    fn tell_moved(&mut self, id: Process, item: Item, to: ExecutorId) {
        let message = match item {
            Item::Output(shuffle, map_task) => ToDriver::MapOutputMoved(MapOutputMoved { shuffle, map_task, to }),
            Item::Cached(rdd, partition) => {
                let (replicas, stored) = (vec![to], self.held(id).contains(&item));
                ToDriver::BlockUpdates(vec![BlockUpdate { replicas, stored, ..BlockUpdate::dropped(rdd, partition) }])
            }
        };
        self.say(id, message);
    }

    /// The executor has handed over what it had, as far as others take it.
    fn departed(&mut self, id: Process) {
        let Some(node) = self.executors.get(&id) else { return };
        let tasks = node.core.tasks();
        if tasks > 0 {
            return self.violated(format!("{id} leaves with {tasks} tasks"));
        }
        if let Some(Err(e)) = node.leaving.as_ref().map(Leaving::check) {
            return self.violated(format!("{id} leaves: {e}"));
        }
        self.note(format_args!("{id} has handed over what it had"));
        self.executor_ends(id, exit(Parting::InOrder, "decommissioned"));
    }

    /// An executor that was asked for copies has them made, as far as others take them.
    pub(crate) fn copy_block(&mut self, from: Process, block: ReplicateBlock) {
        let ReplicateBlock { rdd, partition, copies, peers, .. } = block;
        let mut replicas = Vec::new();
        for peer in peers {
            if (replicas.len() as u32) < copies && self.give(from, &peer, Item::Cached(rdd, partition)) {
                replicas.push(peer.executor);
            }
        }
        let Some(node) = self.executors.get(&from) else { return };
        let stored = node.store.cache.contains_key(&(rdd, partition));
        self.counts.copied_again += replicas.len();
        let update = BlockUpdate { stored, replicas, ..BlockUpdate::dropped(rdd, partition) };
        self.say(from, ToDriver::BlockUpdates(vec![update]));
    }

    /// Has a peer take something over; says whether it could.
    pub(crate) fn give(&mut self, from: Process, peer: &BlockAddress, item: Item) -> bool {
        let to = self.executors.iter().find(|(_, e)| e.block_address == peer.address).map(|(id, _)| *id);
        let lost = self.chance(self.faults.lose_message);
        let to = to.filter(|to| !lost && self.reaches(Node::Executor(from), Node::Executor(*to)));
        to.is_some_and(|to| self.take_over(from, to, item))
    }

    fn take_over(&mut self, from: Process, to: Process, item: Item) -> bool {
        let Some(driver) = self.executors.get(&from).map(|e| e.driver) else { return false };
        match item {
            Item::Output(shuffle, task) => {
                let mine = self.executors[&from].store.files.get(&(shuffle, task)).cloned();
                let worker = self.workers[from.worker].as_ref();
                let served = || Some(worker?.service.get(&(driver, shuffle, task))?.blocks.clone());
                let Some(blocks) = mine.or_else(served) else { return false };
                if self.executors.get(&to).is_some_and(|e| !e.store.dropped.contains(&shuffle)) {
                    self.keep_output(to, shuffle, task, blocks);
                }
                true
            }
            Item::Cached(rdd, partition) => {
                let room = self.faults.cache_blocks;
                let block = self.executors[&from].store.cache.get(&(rdd, partition)).cloned();
                let (Some(block), Some(node)) = (block, self.executors.get_mut(&to)) else { return false };
                if node.store.cache.len() >= room {
                    return false;
                }
                node.store.cache.insert((rdd, partition), block);
                true
            }
        }
    }
}
