//! A driver and its executors: who registers, what they say, and how the driver hears of their end.

use std::collections::BTreeMap;

use firesteel_common::ExecutorId;
use firesteel_protocol::{ToDriver, ToExecutor};
use firesteel_rpc::{
    master_client::Event,
    proto::deploy::{ExecutorState, ExecutorUpdated, Parting},
};
use firesteel_scheduler::DriverEvent;

use crate::{
    cluster::Cluster,
    driver_node::Connected,
    network::{LinkId, Message, Side},
};

impl Cluster {
    pub(crate) fn executor_updated(&mut self, d: usize, update: ExecutorUpdated) {
        let state = update.state();
        let driver = &self.drivers[d];
        let leaves = driver.books.leaving.contains(&ExecutorId(update.executor_id));
        if state == ExecutorState::Decommissioned {
            // With all that its worker has, so that none of them hands over to another.
            let beside = driver.workers.values().find(|e| e.contains(&ExecutorId(update.executor_id)));
            let stays = |e: &ExecutorId| !driver.books.with_worker.contains(e) && !driver.gone.contains_key(&e.0);
            let executors: Vec<ExecutorId> = beside.into_iter().flatten().copied().filter(stays).collect();
            self.executors_are_to_leave(d, &executors, &update.message, true);
            return;
        }
        if !state.is_finished() {
            return;
        }
        let exited = state == ExecutorState::Exited && update.exit_code.is_some();
        let by_application = exited && update.parting() == Parting::Unsaid && !leaves;
        self.executor_removed(d, update.executor_id, update.message, by_application, update.worker_lost);
    }

    pub(crate) fn executor_removed(
        &mut self,
        d: usize,
        executor: u32,
        message: String,
        by_application: bool,
        worker_lost: bool,
    ) {
        self.drivers[d].gone.entry(executor).or_insert(self.now);
        self.drivers[d].books.executor_gone(ExecutorId(executor), worker_lost);
        if let Some(connected) = self.drivers[d].executors.remove(&executor) {
            self.send(connected.link, Side::Listener, Message::ToExecutor(ToExecutor::StopExecutor));
            self.close(connected.link, Side::Listener);
        }
        let executor = ExecutorId(executor);
        self.driver_handle(d, DriverEvent::ExecutorRemoved { executor, message, by_application, worker_lost });
    }

    pub(crate) fn driver_heard_executor(&mut self, d: usize, link: LinkId, message: ToDriver) {
        let now = self.now;
        let driver = &mut self.drivers[d];
        if let Some(connected) = driver.executors.values_mut().find(|e| e.link == link) {
            connected.heard = now;
        }
        if let ToDriver::RegisterExecutor(register) = &message {
            if self.network.links.get(&link).is_none_or(|l| l.app_id() != driver.app_id) {
                // The handshake of another application fails.
                return self.close(link, Side::Listener);
            }
            let executor = register.executor;
            if driver.executors.get(&executor.0).is_some_and(|e| e.link == link) {
                return; // a repeated message
            }
            driver.heard_on.insert(link, executor.0);
            let known = driver.executors.insert(executor.0, Connected { link, heard: now });
            driver.books.registered(executor, &register.host, register.shuffle_service.as_deref());
            self.driver_handle(d, DriverEvent::Heard { executor, message });
            // Refused ones have lost their link by now.
            if known.is_none() && self.drivers[d].executors.contains_key(&executor.0) {
                let registered = ToExecutor::RegisteredExecutor(BTreeMap::new());
                self.send(link, Side::Listener, Message::ToExecutor(registered));
            }
            return;
        }
        let Some(executor) = driver.heard_on.get(&link).copied().map(ExecutorId) else { return };
        match &message {
            ToDriver::StatusUpdates(updates) => {
                for update in updates.iter().filter(|_| !driver.gone.contains_key(&executor.0)) {
                    driver.books.updated(executor, update, &driver.stages);
                }
            }
            ToDriver::BlockUpdates(blocks) if !driver.gone.contains_key(&executor.0) => {
                driver.books.blocks_updated(executor, false, blocks);
            }
            ToDriver::BarrierSync(sync) => driver.books.arrived(sync.task, sync.call, &sync.message),
            ToDriver::MapOutputMoved(moved) => {
                let there = driver.executors.contains_key(&moved.to.0);
                driver.books.moved(executor, *moved, there);
            }
            _ => {}
        }
        self.driver_handle(d, DriverEvent::Heard { executor, message });
    }

    pub(crate) fn driver_closed(&mut self, d: usize, link: LinkId) {
        if !self.drivers[d].lives() {
            return;
        }
        if let Some((attempt, _)) = self.drivers[d].link.take_if(|(_, l)| *l == link) {
            let reason = "the connection ended".to_owned();
            return self.driver_search(d, Event::StreamClosed { attempt, reason });
        }
        let executor = self.drivers[d].executors.iter().find(|(_, e)| e.link == link).map(|(e, _)| *e);
        if let Some(executor) = executor {
            self.drivers[d].executors.remove(&executor);
            self.drivers[d].books.disconnected(ExecutorId(executor));
            self.driver_handle(d, DriverEvent::ExecutorDisconnected { executor: ExecutorId(executor) });
        }
    }

    pub(crate) fn tell_executor(&mut self, d: usize, executor: u32, message: ToExecutor) {
        if let Some(connected) = self.drivers[d].executors.get(&executor) {
            self.send(connected.link, Side::Listener, Message::ToExecutor(message));
        }
    }
}
