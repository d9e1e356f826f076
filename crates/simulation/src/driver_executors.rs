//! A driver and its executors: who registers, what they say, and how the driver hears of their end.

use firesteel_common::ExecutorId;
use firesteel_rpc::{
    master_client::Event,
    proto::deploy::{ExecutorState, ExecutorUpdated, Parting},
};
use firesteel_scheduler::DriverEvent;

use crate::{
    cluster::Cluster,
    driver_node::Connected,
    network::{LinkId, Message, Side, ToDriver, ToExecutor},
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
            self.send(connected.link, Side::Listener, Message::ToExecutor(ToExecutor::Stop));
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
        match message {
            ToDriver::Register { app_id, executor, host, block_address, shuffle_service, cores } => {
                if app_id != driver.app_id {
                    // The handshake of another application fails.
                    return self.close(link, Side::Listener);
                }
                if driver.executors.get(&executor).is_some_and(|e| e.link == link) {
                    return; // a repeated message
                }
                driver.heard_on.insert(link, executor);
                let known = driver.executors.insert(executor, Connected { link, heard: now });
                let executor_id = ExecutorId(executor);
                driver.books.registered(executor_id, &host, shuffle_service.as_deref());
                self.driver_handle(
                    d,
                    DriverEvent::ExecutorRegistered {
                        executor: executor_id,
                        host,
                        block_address,
                        shuffle_service,
                        cores,
                    },
                );
                // Refused ones have lost their link by now.
                if known.is_none() && self.drivers[d].executors.contains_key(&executor) {
                    self.send(link, Side::Listener, Message::ToExecutor(ToExecutor::Registered));
                }
            }
            ToDriver::Updates(updates) => {
                if let Some(executor) = driver.heard_on.get(&link).copied() {
                    for update in updates.iter().filter(|_| !driver.gone.contains_key(&executor)) {
                        driver.books.updated(ExecutorId(executor), update, &driver.stages);
                    }
                    self.driver_handle(d, DriverEvent::TasksUpdated { executor: ExecutorId(executor), updates });
                }
            }
            ToDriver::BarrierSync { task, call, gathers, message } => {
                if let Some(executor) = driver.heard_on.get(&link).copied().map(ExecutorId) {
                    self.barrier_called(d, DriverEvent::BarrierSync { executor, task, call, gathers, message });
                }
            }
            ToDriver::Moved { shuffle, map_task, to } => {
                if let Some(executor) = driver.heard_on.get(&link).copied().map(ExecutorId) {
                    let (there, to) = (driver.executors.contains_key(&to), ExecutorId(to));
                    driver.books.moved(executor, shuffle, map_task, to, there);
                    self.driver_handle(d, DriverEvent::MapOutputMoved { executor, shuffle, map_task, to });
                }
            }
            ToDriver::Heartbeat => {}
        }
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
