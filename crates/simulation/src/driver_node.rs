//! A driver in the virtual cluster: the production [`MasterClient`], [`Roster`] and [`DriverCore`], and the driver's connections.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use firesteel_backend::{Roster, standalone};
use firesteel_common::ExecutorId;
use firesteel_machine::Machine;
use firesteel_rpc::{
    MasterClient, PROTOCOL_VERSION,
    master_client::{Attempt, Effect, Event, MasterClientConfig},
    proto::deploy::{ApplicationDescription, ApplicationHeartbeat, RegisterApplication, from_master, to_master},
};
use firesteel_scheduler::{DriverCore, DriverEvent};

use crate::{
    books::Books,
    cluster::{Action, Cluster},
    model,
    roster_books::RosterBooks,
    state::{
        driver::{DriverNode, NETWORK_TIMEOUT},
        features::Features,
        heard::Heard,
        network::{LinkId, Message, Node, Side},
        stream::ExecutorStream,
    },
};

/// Between two heartbeats to the master.
const BEAT: Duration = Duration::from_secs(15);

/// Schedulers that tell what happens.
fn listened_to(features: &Features) -> DriverCore {
    let mut core = DriverCore::new(features.config.clone());
    core.listen(true, 0);
    core
}

impl Cluster {
    /// Somebody starts the next application, with its own program.
    pub(crate) fn start_driver(&mut self) {
        self.drivers_to_come -= 1;
        let d = self.drivers.len();
        let nodes = 2 + self.rng.below(6) as u32;
        let indeterminate = if self.rng.chance(30) { 20 } else { 0 };
        let unstable = if self.rng.chance(40) { 30 } else { 0 };
        let executor_cores = if self.rng.chance(80) { Some(1 + self.rng.below(4) as u32) } else { None };
        let features = self.draw_features(executor_cores);
        let program = model::program(&mut self.rng, nodes, indeterminate, unstable, features.barrier_percent);
        let books = Books::new(program.iter().all(|n| !model::salts(n) && !n.barrier));
        let cores_max = if self.rng.chance(30) { Some(4 + self.rng.below(4) as u32) } else { None };
        let client = MasterClient::new(&self.url, MasterClientConfig::default(), self.rng.draw());
        let jobs_to_come = 1 + self.rng.below(5) as u32;
        self.note(format_args!(
            "driver {d} starts: {} RDDs, {jobs_to_come} jobs to come{}",
            program.len(),
            features.described()
        ));
        for _ in 0..jobs_to_come {
            let at = self.after(Duration::from_secs(8));
            let root = self.rng.below(program.len() as u64) as usize;
            self.schedule(at, Action::SubmitJob { driver: d, root });
        }
        self.drivers.push(DriverNode {
            client,
            link: None,
            next_beat: None,
            app_id: String::new(),
            token: Vec::new(),
            next_executor_id: 0,
            core: listened_to(&features),
            program,
            executor_cores,
            cores_max,
            executor_limit: features.config.allocation.as_ref().map(|a| a.initial),
            registered_limit: None,
            features,
            books,
            heard: Heard::default(),
            decommissioned: BTreeSet::new(),
            told_to_leave: BTreeMap::new(),
            stayed: BTreeSet::new(),
            jobs_to_come,
            stages: BTreeMap::new(),
            ended: Vec::new(),
            executors: BTreeMap::new(),
            streams: BTreeMap::new(),
            roster: Roster::default(),
            roster_books: RosterBooks::default(),
            jobs: BTreeMap::new(),
            results: BTreeMap::new(),
            over: BTreeMap::new(),
            latest: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            gone: BTreeMap::new(),
            removed: false,
            crashed: false,
            over_since: None,
        });
        self.driver_search(d, Event::Start);
    }

    /// The driver's process is gone without a word; with its host nobody tells its executors either.
    pub(crate) fn crash_driver(&mut self, d: usize, host: bool) {
        self.note(format_args!("driver {d} CRASHES{}", if host { " with its host" } else { "" }));
        self.counts.driver_crashes += 1;
        self.drivers[d].crashed = true;
        self.drivers[d].over_since = Some(self.now);
        self.frozen.remove(&Node::Driver(d));
        if host {
            self.fall_silent(Node::Driver(d));
        } else {
            self.close_all(Node::Driver(d));
        }
    }

    // ---- with the master ----

    pub(crate) fn driver_search(&mut self, d: usize, event: Event) {
        let mut out = Vec::new();
        self.touched.insert(Node::Driver(d));
        self.drivers[d].client.handle(self.now, event, &mut out);
        for effect in out {
            match effect {
                Effect::Connect { attempt, address } => {
                    let at = self.now + self.latency();
                    self.schedule(at, Action::DriverConnects { driver: d, attempt, address });
                }
                Effect::Register { .. } => self.register_application(d),
                Effect::Disconnect { attempt } => {
                    if let Some((_, link)) = self.drivers[d].link.take_if(|(a, _)| *a == attempt) {
                        self.close(link, Side::Opener);
                    }
                }
                Effect::Lost { reason, .. } => self.note(format_args!("driver {d} has lost the master: {reason}")),
                Effect::GiveUp { error } => self.cluster_failed(d, error.to_string()),
            }
        }
        if self.drivers[d].client.registered_with().is_none() {
            self.drivers[d].next_beat = None;
        }
    }

    pub(crate) fn driver_connects(&mut self, d: usize, attempt: Attempt, address: &str) {
        if !self.drivers[d].lives() {
            return;
        }
        match self.reach_master(Node::Driver(d), address) {
            // No answer: the client's patience ends.
            None => {}
            Some(Err(error)) => {
                self.driver_search(d, Event::ConnectFailed { attempt, error, permanent: false });
            }
            Some(Ok(link)) => {
                self.drivers[d].link = Some((attempt, link));
                self.driver_search(d, Event::Connected { attempt });
                // One that was given up meanwhile is dropped.
                if self.drivers[d].client.attempt() != attempt && self.drivers[d].link == Some((attempt, link)) {
                    self.drivers[d].link = None;
                    self.close(link, Side::Opener);
                }
            }
        }
    }

    fn register_application(&mut self, d: usize) {
        let driver = &mut self.drivers[d];
        if !driver.app_id.is_empty() {
            // Also what an earlier master granted and this driver did not hear of has its number.
            driver.next_executor_id += 100;
        }
        let application = ApplicationDescription {
            name: format!("simulated {d}"),
            memory_per_executor_mb: 1024,
            cores_per_executor: driver.executor_cores,
            cores_max: driver.cores_max,
            driver_address: format!("driver{d}:4040"),
            shuffle_service: driver.features.shuffle_service,
            ..ApplicationDescription::default()
        };
        let message = to_master::Message::RegisterApplication(RegisterApplication {
            protocol_version: PROTOCOL_VERSION,
            application: Some(application),
            app_id: driver.app_id.clone(),
            next_executor_id: driver.next_executor_id,
            executor_limit: driver.executor_limit,
            incarnation: format!("driver {d}").into_bytes(),
            token: driver.token.clone(),
        });
        driver.registered_limit = driver.executor_limit;
        self.tell_master(d, message);
    }

    pub(crate) fn tell_master(&mut self, d: usize, message: to_master::Message) {
        if let to_master::Message::KillExecutors(kill) = &message {
            self.unwanted.extend(kill.executor_ids.iter().map(|id| (kill.app_id.clone(), *id)));
        }
        if let Some((_, link)) = self.drivers[d].link {
            self.send(link, Side::Opener, Message::ToMaster(message));
        }
    }

    pub(crate) fn driver_received(&mut self, d: usize, link: LinkId, message: from_master::Message) {
        use from_master::Message as M;
        let driver = &mut self.drivers[d];
        let Some((attempt, _)) = driver.link.filter(|(_, l)| *l == link) else { return };
        match message {
            M::RegisteredApplication(m) => {
                if !driver.app_id.is_empty() && driver.app_id != m.app_id {
                    return self.violated(format!("a master took driver {d} for a new one"));
                }
                driver.app_id = m.app_id;
                driver.token = m.token;
                driver.next_beat = Some(self.now + BEAT);
                self.driver_search(d, Event::Registered { attempt });
                let (limit, said) = (self.drivers[d].executor_limit, self.drivers[d].registered_limit);
                if let Some(total) = limit.filter(|_| limit != said) {
                    self.request_executors(d, total);
                }
            }
            M::RegisterApplicationFailed(m) => self.driver_search(d, Event::Rejected { attempt, reason: m.reason }),
            M::MasterInStandby(_) => self.driver_search(d, Event::Standby { attempt }),
            M::ExecutorAdded(m) => {
                driver.next_executor_id = driver.next_executor_id.max(m.executor_id + 1);
                self.driver_told(d, standalone::added(m));
            }
            M::WorkerRemoved(m) => self.driver_told(d, standalone::removed(m)),
            M::ExecutorUpdated(m) => standalone::updated(m).into_iter().for_each(|news| self.driver_told(d, news)),
            M::ApplicationRemoved(m) => self.cluster_failed(d, m.reason),
            other => self.violated(format!("driver {d} received {other:?}")),
        }
    }

    fn cluster_failed(&mut self, d: usize, message: String) {
        if !std::mem::replace(&mut self.drivers[d].removed, true) {
            self.note(format_args!("driver {d}: the application cannot go on: {message}"));
            self.driver_handle(d, DriverEvent::ClusterFailed { message });
        }
    }

    /// What the driver does as time passes: it beats, and gives up executors that are silent.
    pub(crate) fn driver_wakes(&mut self, d: usize) {
        let now = self.now;
        if self.drivers[d].next_beat.is_some_and(|at| at <= now) {
            self.drivers[d].next_beat = Some(now + BEAT);
            let app_id = self.drivers[d].app_id.clone();
            self.tell_master(d, to_master::Message::ApplicationHeartbeat(ApplicationHeartbeat { app_id }));
        }
        let is_silent = |stream: &ExecutorStream| stream.heard().is_some_and(|heard| heard + NETWORK_TIMEOUT <= now);
        let silent = self.drivers[d].streams.iter().filter(|(_, stream)| is_silent(stream));
        let silent: Vec<(LinkId, ExecutorId)> = silent.map(|(link, stream)| (*link, stream.executor)).collect();
        for (link, executor) in silent {
            self.note(format_args!("driver {d} gives up {executor}, which is silent"));
            self.give_up(d, link, "no heartbeat".to_owned());
        }
    }
}
