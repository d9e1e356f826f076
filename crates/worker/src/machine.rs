//! The [`Worker`]: which executors run here, and what the master must hear of them.
//!
//! ```text
//!  shell or simulation ──handle(now, event)──▶ Worker ─┬─ MasterClient   finds, loses and finds again a master
//!                      ◀──────effects──────────────────┼─ executors.rs   what runs here and how it ended
//!                                                      └─ status/        how things stand, for those who ask
//! ```

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use firesteel_common::{AppId, BadName, ExecutorKey, Tick};
use firesteel_machine::Machine;
use firesteel_rpc::{
    MasterClient, MasterUrl, PROTOCOL_VERSION,
    master_client::{Attempt, Effect as Search, Event as News, MasterClientConfig},
    proto::deploy::{
        ExecutorDescription, ExecutorStateChanged, RegisterWorker, RegisteredWorker, WorkerDecommissioning,
        WorkerHeartbeat, WorkerLatestState, from_master, to_master,
    },
};
use tracing::{debug, info, warn};

use crate::{
    event::{WorkerEffect, WorkerEvent},
    executors::Executor,
    status::ExecutorStatus,
};

/// So many executors that have ended are shown, unless it is said otherwise.
const RETAINED: usize = 1000;

/// What a worker says of itself when it registers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkerIdentity {
    /// Its name; another for each start.
    pub worker_id: String,
    /// Its host, as others reach it.
    pub host: String,
    /// The port of its listener.
    pub port: u32,
    /// Cores that it offers.
    pub cores: u32,
    /// Memory that it offers, MiB.
    pub memory_mb: u64,
    /// By what a master knows this process: see [`firesteel_rpc::incarnation`].
    pub incarnation: Vec<u8>,
}

/// The worker's state machine. Spark: `org.apache.spark.deploy.worker.Worker`.
#[derive(Debug)]
pub struct Worker {
    identity: WorkerIdentity,
    client: MasterClient,
    /// The interval of heartbeats and when the next is due; `None` while no master has registered this worker.
    beats: Option<(Duration, Tick)>,
    pub(crate) executors: BTreeMap<ExecutorKey, Executor>,
    /// The latest executors that have ended, as they are shown, oldest first; at most `retained`.
    pub(crate) ended: VecDeque<ExecutorStatus>,
    retained: usize,
    /// Executors that ran here, by application and until it ends: a repeated launch starts none a second time.
    pub(crate) past: BTreeMap<AppId, BTreeSet<u32>>,
    /// Applications that are over but have an executor that is not gone yet.
    pub(crate) finished: BTreeSet<AppId>,
    /// Ends that no master could be told of.
    pub(crate) unreported: Vec<ExecutorStateChanged>,
    /// It is to leave the cluster, for good.
    pub(crate) decommissioning: bool,
    /// That it may end was said.
    left: bool,
}

impl Worker {
    /// A worker without executors and without a master; `seed` spreads its attempts to find one.
    pub fn new(identity: WorkerIdentity, url: &MasterUrl, patience: MasterClientConfig, seed: u64) -> Worker {
        Worker {
            identity,
            client: MasterClient::new(url, patience, seed),
            beats: None,
            executors: BTreeMap::new(),
            ended: VecDeque::new(),
            retained: RETAINED,
            past: BTreeMap::new(),
            finished: BTreeSet::new(),
            unreported: Vec::new(),
            decommissioning: false,
            left: false,
        }
    }

    /// With so many executors that have ended shown (`spark.worker.ui.retainedExecutors`).
    pub fn retaining(self, retained: usize) -> Worker {
        Worker { retained, ..self }
    }

    /// Keeps one that has ended to be shown.
    pub(crate) fn retain_ended(&mut self, executor: ExecutorStatus) {
        self.ended.push_back(executor);
        let too_many = self.ended.len().saturating_sub(self.retained);
        self.ended.drain(..too_many);
    }

    /// What this worker says of itself.
    pub fn identity(&self) -> &WorkerIdentity {
        &self.identity
    }

    /// Whether a master has registered it on the present stream.
    pub fn is_registered(&self) -> bool {
        self.beats.is_some()
    }

    /// host:port of the master that has registered it on the present stream.
    pub fn master(&self) -> Option<&str> {
        self.beats.and_then(|_| self.client.registered_with())
    }

    /// Why no master has registered it, while it waits to try them again.
    pub fn failed_search(&self) -> Option<String> {
        self.client.failed_round()
    }

    /// Whether it is to leave the cluster and takes no executors any more.
    pub fn is_decommissioning(&self) -> bool {
        self.decommissioning
    }

    /// The executors that have not ended.
    pub fn executors(&self) -> impl Iterator<Item = &ExecutorKey> {
        self.executors.keys()
    }

    /// Hands news to the client and does what it asks for.
    fn search(&mut self, now: Tick, news: News, out: &mut Vec<WorkerEffect>) {
        let mut wanted = Vec::new();
        self.client.handle(now, news, &mut wanted);
        for effect in wanted {
            match effect {
                Search::Connect { attempt, address } => out.push(WorkerEffect::Connect { attempt, address }),
                Search::Register { attempt } => self.register(attempt, out),
                Search::Disconnect { attempt } => out.push(WorkerEffect::Disconnect { attempt }),
                Search::Lost { address, reason } => {
                    warn!(address, reason, "lost the master; executors run on while another is looked for");
                }
                Search::GiveUp { error } => out.push(WorkerEffect::GiveUp { error }),
            }
        }
        if self.client.registered_with().is_none() {
            self.beats = None;
        }
    }

    fn register(&mut self, attempt: Attempt, out: &mut Vec<WorkerEffect>) {
        let WorkerIdentity { worker_id, host, port, cores, memory_mb, incarnation } = self.identity.clone();
        let mut executors = self.described();
        // Their end is told right after the registration: until then they are no more lost than those that run.
        executors.extend(self.unreported.iter().map(|end| ExecutorDescription {
            app_id: end.app_id.clone(),
            executor_id: end.executor_id,
            cores: 0,
            memory_mb: 0,
            state: end.state,
        }));
        let message = to_master::Message::RegisterWorker(RegisterWorker {
            protocol_version: PROTOCOL_VERSION,
            worker_id,
            host,
            port,
            cores,
            memory_mb,
            executors,
            decommissioning: self.decommissioning,
            incarnation,
        });
        out.push(WorkerEffect::Send { attempt, message });
    }

    fn received(&mut self, now: Tick, attempt: Attempt, message: from_master::Message, out: &mut Vec<WorkerEffect>) {
        use from_master::Message;
        match message {
            Message::RegisteredWorker(m) => {
                self.search(now, News::Registered { attempt }, out);
                if self.client.registered_with().is_some() {
                    self.registered(now, &m, out);
                }
            }
            Message::RegisterWorkerFailed(m) if m.held => {
                warn!(reason = m.reason, "the master refused the registration; trying again");
                self.search(now, News::Held { attempt, reason: m.reason }, out);
            }
            Message::RegisterWorkerFailed(m) => self.search(now, News::Rejected { attempt, reason: m.reason }, out),
            Message::ReconnectWorker(_) => self.search(now, News::Forgotten { attempt }, out),
            Message::MasterInStandby(_) => self.search(now, News::Standby { attempt }, out),
            Message::LaunchExecutor(m) => match ExecutorKey::parse(&m.app_id, m.executor_id) {
                Ok(key) => self.launch_executor(key, m, out),
                Err(error) => self.refuse(now, attempt, &error, out),
            },
            Message::KillExecutor(m) => match ExecutorKey::parse(&m.app_id, m.executor_id) {
                Ok(key) => self.kill_executor(key, out),
                Err(error) => self.refuse(now, attempt, &error, out),
            },
            Message::ApplicationFinished(m) => match AppId::parse(&m.app_id) {
                Ok(app_id) => self.application_finished(app_id, out),
                Err(error) => self.refuse(now, attempt, &error, out),
            },
            other => debug!(?other, "not for a worker"),
        }
    }

    /// Leaves a master that says what cannot be.
    fn refuse(&mut self, now: Tick, attempt: Attempt, error: &BadName, out: &mut Vec<WorkerEffect>) {
        let reason = format!("the master sent what cannot be: {error}");
        out.push(WorkerEffect::Disconnect { attempt });
        self.search(now, News::StreamClosed { attempt, reason }, out);
    }

    fn registered(&mut self, now: Tick, m: &RegisteredWorker, out: &mut Vec<WorkerEffect>) {
        let interval = Duration::from_millis((m.worker_timeout_ms / 4).max(1));
        info!(worker_id = self.identity.worker_id, master = m.master_url, ?interval, "registered");
        self.beats = Some((interval, now + interval));
        // The registration may have been on its way when the word came.
        if self.decommissioning {
            self.tell_decommissioning(out);
        }
        for end in std::mem::take(&mut self.unreported) {
            self.send(to_master::Message::ExecutorStateChanged(end), out);
        }
        self.tell_latest_state(out);
    }

    fn beat(&mut self, now: Tick, out: &mut Vec<WorkerEffect>) {
        let Some((interval, due)) = self.beats.filter(|(_, due)| *due <= now) else { return };
        // Late beats are not made up for.
        self.beats = Some((interval, if due + interval > now { due + interval } else { now + interval }));
        let worker_id = self.identity.worker_id.clone();
        self.send(to_master::Message::Heartbeat(WorkerHeartbeat { worker_id }), out);
        self.tell_latest_state(out);
    }

    fn tell_latest_state(&self, out: &mut Vec<WorkerEffect>) {
        let state = WorkerLatestState {
            worker_id: self.identity.worker_id.clone(),
            executors: self.described(),
            applications: self.past.keys().map(AppId::to_string).collect(),
            decommissioning: self.decommissioning,
        };
        self.send(to_master::Message::WorkerLatestState(state), out);
    }

    fn decommission(&mut self, out: &mut Vec<WorkerEffect>) {
        if std::mem::replace(&mut self.decommissioning, true) {
            return;
        }
        let (worker_id, executors) = (&self.identity.worker_id, self.executors.len());
        info!(worker_id, executors, "decommissioning: no executors are taken any more");
        if self.is_registered() {
            self.tell_decommissioning(out);
        }
    }

    fn tell_decommissioning(&self, out: &mut Vec<WorkerEffect>) {
        let worker_id = self.identity.worker_id.clone();
        self.send(to_master::Message::WorkerDecommissioning(WorkerDecommissioning { worker_id }), out);
    }

    /// A launch that is on its way to a worker that has left is, for the master, one on a lost worker, and made up for.
    fn leave_when_empty(&mut self, out: &mut Vec<WorkerEffect>) {
        if self.decommissioning && self.executors.is_empty() && !std::mem::replace(&mut self.left, true) {
            info!(worker_id = self.identity.worker_id, "decommissioned: no executor is left, the worker ends");
            out.push(WorkerEffect::Leave);
        }
    }

    fn stop(&mut self, now: Tick, out: &mut Vec<WorkerEffect>) {
        // First the master: one that is still there would at once replace here what ends here.
        self.search(now, News::Stop, out);
        for (key, executor) in &mut self.executors {
            executor.killing = true;
            out.push(WorkerEffect::KillExecutor(key.clone()));
        }
    }

    pub(crate) fn send(&self, message: to_master::Message, out: &mut Vec<WorkerEffect>) {
        out.push(WorkerEffect::Send { attempt: self.client.attempt(), message });
    }
}

impl Machine for Worker {
    type Event = WorkerEvent;
    type Effect = WorkerEffect;

    fn handle(&mut self, now: Tick, event: WorkerEvent, out: &mut Vec<WorkerEffect>) {
        match event {
            WorkerEvent::Start => self.search(now, News::Start, out),
            WorkerEvent::Connected { attempt } => self.search(now, News::Connected { attempt }, out),
            WorkerEvent::ConnectFailed { attempt, error, permanent } => {
                self.search(now, News::ConnectFailed { attempt, error, permanent }, out);
            }
            WorkerEvent::Closed { attempt, reason } => {
                self.search(now, News::StreamClosed { attempt, reason }, out);
            }
            WorkerEvent::Received { attempt, message } if attempt == self.client.attempt() => {
                self.received(now, attempt, message, out);
            }
            WorkerEvent::Received { .. } => {} // of a stream that was given up
            WorkerEvent::ExecutorRegistered(key) => self.executor_registered(&key, out),
            WorkerEvent::ExecutorEnded { key, end } => self.executor_ended(key, end, out),
            WorkerEvent::Decommission => self.decommission(out),
            WorkerEvent::Stop => self.stop(now, out),
            WorkerEvent::Wake => {
                self.search(now, News::Wake, out);
                self.beat(now, out);
            }
        }
        self.leave_when_empty(out);
    }

    fn next_deadline(&self) -> Option<Tick> {
        self.beats.map(|(_, due)| due).into_iter().chain(self.client.next_deadline()).min()
    }

    fn wake() -> WorkerEvent {
        WorkerEvent::Wake
    }

    fn check_invariants(&self) -> Result<(), String> {
        for key in self.executors.keys() {
            if !self.past.get(&key.app_id).is_some_and(|ids| ids.contains(&key.executor_id)) {
                return Err(format!("executor {key} runs but was never launched"));
            }
        }
        for app_id in &self.finished {
            if !self.executors_of(app_id).all(|(_, e)| e.killing) || self.executors_of(app_id).next().is_none() {
                return Err(format!("{app_id} is over but its executors are not ending"));
            }
        }
        if self.left && (!self.decommissioning || !self.executors.is_empty()) {
            return Err("the worker leaves without being decommissioned and empty".to_owned());
        }
        if self.is_registered() && !self.unreported.is_empty() {
            return Err("a registered worker keeps the end of an executor to itself".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
