//! A driver and its executors: production's [`Roster`](firesteel_backend::Roster) between the streams, the master and the
//! schedulers.
//!
//! What a stream says goes to the schedulers, past the roster, once it was let in. A link that the driver gives up is shut: what
//! was on its way still arrives.

use std::collections::BTreeMap;

use firesteel_backend::{News, RosterEffect, RosterEvent, StreamId};
use firesteel_common::ExecutorId;
use firesteel_machine::Machine;
use firesteel_protocol::{RegisterExecutor, ToDriver, ToExecutor};
use firesteel_rpc::{
    master_client::Event,
    proto::deploy::{KillExecutors, to_master},
};
use firesteel_scheduler::DriverEvent;

use crate::{
    cluster::Cluster,
    state::{
        network::{LinkId, Message, Node, Side},
        stream::ExecutorStream,
    },
};

impl Cluster {
    /// The master says something of the driver's executors.
    pub(crate) fn driver_told(&mut self, d: usize, news: News) {
        self.drivers[d].roster_books.told(self.now, &news, &mut self.counts);
        self.roster_handle(d, RosterEvent::Told(news));
    }

    pub(crate) fn roster_handle(&mut self, d: usize, event: RosterEvent) {
        let mut out = Vec::new();
        self.touched.insert(Node::Driver(d));
        self.drivers[d].roster.handle(self.now, event, &mut out);
        out.into_iter().for_each(|effect| self.roster_effect(d, effect));
    }

    fn roster_effect(&mut self, d: usize, effect: RosterEffect) {
        match effect {
            RosterEffect::Admit { stream } => self.let_in(d, LinkId(stream.0)),
            RosterEffect::Refuse { stream, reason } => self.refuse(d, LinkId(stream.0), reason),
            RosterEffect::Close { stream, .. } => self.shut(LinkId(stream.0), Side::Listener),
            RosterEffect::Kill { executor } => {
                let app_id = self.drivers[d].app_id.clone();
                let kill = KillExecutors { app_id, executor_ids: vec![executor.0] };
                self.tell_master(d, to_master::Message::KillExecutors(kill));
            }
            RosterEffect::Tell(event) => self.tell_schedulers(d, event),
            RosterEffect::NodeLeaves { executors, message } => {
                self.executors_are_to_leave(d, &executors, &message, true);
            }
            // No job here asks for the default parallelism.
            RosterEffect::Cores(_) => {}
        }
    }

    fn tell_schedulers(&mut self, d: usize, event: DriverEvent) {
        let now = self.now;
        let driver = &mut self.drivers[d];
        match &event {
            DriverEvent::ExecutorDisconnected { executor } => {
                driver.books.disconnected(*executor);
                self.drop_link(d, *executor, "it has ended");
            }
            DriverEvent::ExecutorRemoved { executor, worker_lost, .. } => {
                let open = driver.executors.get(&executor.0).is_some_and(|link| driver.streams.contains_key(link));
                // What comes from a lost worker is not waited for.
                let open = open && !worker_lost;
                if let Err(e) = driver.roster_books.removed(*executor, now, open) {
                    self.violated(e);
                }
                let driver = &mut self.drivers[d];
                driver.gone.entry(executor.0).or_insert(now);
                driver.books.executor_gone(*executor, *worker_lost);
                self.drop_link(d, *executor, "the executor is gone");
            }
            DriverEvent::WorkerRemoved { executors, .. } => {
                executors.iter().for_each(|executor| driver.books.service_lost(*executor));
            }
            other => self.violated(format!("the roster of driver {d} tells {other:?}")),
        }
        self.driver_handle(d, event);
    }

    /// The driver's event loop has no use for its way to an executor any more.
    pub(crate) fn drop_link(&mut self, d: usize, executor: ExecutorId, reason: &str) {
        if let Some(link) = self.drivers[d].executors.remove(&executor.0) {
            self.roster_handle(d, RosterEvent::Dropped { stream: StreamId(link.0), reason: reason.to_owned() });
            self.shut(link, Side::Listener);
        }
    }

    fn executor_registers(&mut self, d: usize, link: LinkId, register: Box<RegisterExecutor>) {
        let now = self.now;
        let driver = &mut self.drivers[d];
        if self.network.links.get(&link).is_none_or(|l| l.app_id() != driver.app_id) {
            // The handshake of another application fails.
            return self.close(link, Side::Listener);
        }
        let executor = register.executor;
        if !driver.lives() {
            return self.refuse_on(link, "the driver ends".to_owned());
        }
        if driver.streams.contains_key(&link) {
            return; // a repeated message
        }
        self.counts.before_grant += usize::from(driver.roster_books.registers(executor));
        driver.streams.insert(link, ExecutorStream { executor, asks: Some(register), heard: now, ended: false });
        self.roster_handle(d, RosterEvent::Registers { executor, stream: StreamId(link.0) });
    }

    fn let_in(&mut self, d: usize, link: LinkId) {
        let driver = &mut self.drivers[d];
        let asked = driver.streams.get_mut(&link).and_then(|stream| Some((stream.asks.take()?, stream.ended)));
        let Some((register, ended)) = asked else {
            return self.violated(format!("driver {d} lets somebody in who does not ask"));
        };
        let executor = register.executor;
        if let Err(e) = driver.roster_books.let_in(executor) {
            self.violated(e);
        }
        if ended {
            let reason = "the answer to its registration was not sent".to_owned();
            return self.give_up(d, link, reason);
        }
        let driver = &mut self.drivers[d];
        driver.streams.values_mut().filter(|s| s.executor == executor).for_each(|s| s.heard = self.now);
        driver.executors.insert(executor.0, link);
        driver.books.registered(executor, &register.host, register.shuffle_service.as_deref());
        let registered = ToExecutor::RegisteredExecutor(BTreeMap::new());
        self.send(link, Side::Listener, Message::ToExecutor(registered));
        self.driver_handle(d, DriverEvent::Heard { executor, message: ToDriver::RegisterExecutor(register) });
    }

    fn refuse(&mut self, d: usize, link: LinkId, reason: String) {
        let now = self.now;
        let driver = &mut self.drivers[d];
        if let Some(stream) = driver.streams.remove(&link)
            && let Err(e) = driver.roster_books.refused(stream.executor, now.since(stream.heard))
        {
            self.violated(e);
        }
        self.note(format_args!("driver {d} refuses an executor: {reason}"));
        self.refuse_on(link, reason);
    }

    fn refuse_on(&mut self, link: LinkId, reason: String) {
        self.send(link, Side::Listener, Message::ToExecutor(ToExecutor::RegisterExecutorFailed(reason)));
        self.close(link, Side::Listener);
    }

    /// An executor does not work as it must; it is not listened to any more.
    pub(crate) fn give_up(&mut self, d: usize, link: LinkId, reason: String) {
        let stream = StreamId(link.0);
        self.drivers[d].streams.remove(&link);
        self.roster_handle(d, RosterEvent::GiveUp { stream, reason });
        self.roster_handle(d, RosterEvent::StreamEnded { stream });
    }

    pub(crate) fn driver_heard_executor(&mut self, d: usize, link: LinkId, message: ToDriver) {
        let now = self.now;
        if let ToDriver::RegisterExecutor(register) = message {
            return self.executor_registers(d, link, register);
        }
        let driver = &mut self.drivers[d];
        let Some(stream) = driver.streams.get_mut(&link).filter(|stream| stream.asks.is_none()) else { return };
        stream.heard = now;
        let executor = stream.executor;
        match &message {
            // It says only that the executor is there.
            ToDriver::Heartbeat => return,
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
        let streams = &mut self.drivers[d].streams;
        match streams.get_mut(&link) {
            // That is seen when it is answered.
            Some(stream) if stream.asks.is_some() => stream.ended = true,
            Some(_) => {
                streams.remove(&link);
                self.roster_handle(d, RosterEvent::StreamEnded { stream: StreamId(link.0) });
            }
            None => {}
        }
    }

    pub(crate) fn tell_executor(&mut self, d: usize, executor: u32, message: ToExecutor) {
        if let Some(link) = self.drivers[d].executors.get(&executor).copied() {
            self.send(link, Side::Listener, Message::ToExecutor(message));
        }
    }
}
