//! The [`Worker`]: which executors run here, and what the master must hear of them.
//!
//! ```text
//!  shell or simulation ──handle(now, event)──▶ Worker ──▶ MasterClient    who finds, loses and finds again a master
//!                      ◀──────effects─────────
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use firesteel_common::Tick;
use firesteel_rpc::master_client::{Attempt, Effect as Search, Event as News, MasterClientConfig};
use firesteel_rpc::proto::deploy::{
    ExecutorDescription, ExecutorState, ExecutorStateChanged, KillExecutor, LaunchExecutor, RegisterWorker,
    RegisteredWorker, WorkerHeartbeat, WorkerLatestState, from_master, to_master,
};
use firesteel_rpc::{MasterClient, MasterUrl, PROTOCOL_VERSION};
use tracing::{debug, info, warn};

use crate::event::{ExecutorEnd, ExecutorKey, WorkerEffect, WorkerEvent};

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
}

/// An executor between its launch and its end.
#[derive(Clone, PartialEq, Debug)]
struct Executor {
    cores: u32,
    memory_mb: u64,
    /// Its driver has accepted it.
    registered: bool,
    /// Its end was asked for.
    killing: bool,
}

/// The worker's state machine. Spark: `org.apache.spark.deploy.worker.Worker`.
#[derive(Debug)]
pub struct Worker {
    identity: WorkerIdentity,
    client: MasterClient,
    /// The interval of heartbeats and when the next is due; `None` while no master has registered this worker.
    beats: Option<(Duration, Tick)>,
    executors: BTreeMap<ExecutorKey, Executor>,
    /// Executors that ran here, by application and until it ends: a repeated launch starts none a second time.
    past: BTreeMap<String, BTreeSet<u32>>,
    /// Applications that are over but have an executor that is not gone yet.
    finished: BTreeSet<String>,
    /// Ends that no master could be told of.
    unreported: Vec<ExecutorStateChanged>,
}

impl Worker {
    /// A worker without executors and without a master; `seed` spreads its attempts to find one.
    pub fn new(identity: WorkerIdentity, url: &MasterUrl, patience: MasterClientConfig, seed: u64) -> Worker {
        Worker {
            identity,
            client: MasterClient::new(url, patience, seed),
            beats: None,
            executors: BTreeMap::new(),
            past: BTreeMap::new(),
            finished: BTreeSet::new(),
            unreported: Vec::new(),
        }
    }

    /// Takes one event and appends what is to be done.
    pub fn handle(&mut self, now: Tick, event: WorkerEvent, out: &mut Vec<WorkerEffect>) {
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
            WorkerEvent::Stop => self.stop(now, out),
            WorkerEvent::Wake => {
                self.search(now, News::Wake, out);
                self.beat(now, out);
            }
        }
        debug_assert_eq!(self.check_invariants(), Ok(()));
    }

    /// When [`WorkerEvent::Wake`] is due next, `None` when nothing waits for time to pass.
    pub fn next_deadline(&self) -> Option<Tick> {
        self.beats.map(|(_, due)| due).into_iter().chain(self.client.next_deadline()).min()
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

    /// The executors that have not ended.
    pub fn executors(&self) -> impl Iterator<Item = &ExecutorKey> {
        self.executors.keys()
    }

    /// What holds after every event; the error says what is wrong.
    pub fn check_invariants(&self) -> Result<(), String> {
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
        if self.is_registered() && !self.unreported.is_empty() {
            return Err("a registered worker keeps the end of an executor to itself".to_owned());
        }
        Ok(())
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
        let WorkerIdentity { worker_id, host, port, cores, memory_mb } = self.identity.clone();
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
            Message::RegisterWorkerFailed(m) => self.search(now, News::Rejected { attempt, reason: m.reason }, out),
            Message::ReconnectWorker(_) => self.search(now, News::Forgotten { attempt }, out),
            Message::MasterInStandby(_) => self.search(now, News::Standby { attempt }, out),
            Message::LaunchExecutor(m) => self.launch_executor(m, out),
            Message::KillExecutor(m) => self.kill_executor(m, out),
            Message::ApplicationFinished(m) => self.application_finished(m.app_id, out),
            other => debug!(?other, "not for a worker"),
        }
    }

    fn registered(&mut self, now: Tick, m: &RegisteredWorker, out: &mut Vec<WorkerEffect>) {
        let interval = Duration::from_millis((m.worker_timeout_ms / 4).max(1));
        info!(worker_id = self.identity.worker_id, master = m.master_url, ?interval, "registered");
        self.beats = Some((interval, now + interval));
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
        let state = WorkerLatestState { worker_id: self.identity.worker_id.clone(), executors: self.described() };
        self.send(to_master::Message::WorkerLatestState(state), out);
    }

    fn launch_executor(&mut self, launch: LaunchExecutor, out: &mut Vec<WorkerEffect>) {
        let key = ExecutorKey { app_id: launch.app_id.clone(), executor_id: launch.executor_id };
        if !self.is_registered() {
            return warn!(%key, "a launch from a master that has not registered this worker is ignored");
        }
        let past = self.past.entry(key.app_id.clone()).or_default();
        if self.finished.contains(&key.app_id) || !past.insert(key.executor_id) {
            return warn!(%key, "launch repeated or too late");
        }
        info!(%key, cores = launch.cores, memory_mb = launch.memory_mb, "launching executor");
        let executor = Executor { cores: launch.cores, memory_mb: launch.memory_mb, registered: false, killing: false };
        self.executors.insert(key, executor);
        out.push(WorkerEffect::StartExecutor(launch));
    }

    fn kill_executor(&mut self, m: KillExecutor, out: &mut Vec<WorkerEffect>) {
        let key = ExecutorKey { app_id: m.app_id, executor_id: m.executor_id };
        match self.executors.get_mut(&key) {
            Some(executor) => {
                executor.killing = true;
                out.push(WorkerEffect::KillExecutor(key));
            }
            // Whoever asks still counts with it: the news of its end, or its launch, was lost.
            None => {
                let end = ExecutorEnd { message: "its worker does not have it".to_owned(), ..ExecutorEnd::default() };
                self.report(changed(&key, ExecutorState::Lost, end, false), out);
            }
        }
    }

    fn application_finished(&mut self, app_id: String, out: &mut Vec<WorkerEffect>) {
        let mut alive = false;
        for (key, executor) in self.executors.iter_mut().filter(|(key, _)| key.app_id == app_id) {
            alive = true;
            if !std::mem::replace(&mut executor.killing, true) {
                out.push(WorkerEffect::KillExecutor(key.clone()));
            }
        }
        if alive {
            self.finished.insert(app_id);
        } else if self.past.remove(&app_id).is_some() {
            out.push(WorkerEffect::RemoveApplication { app_id });
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

    fn executor_registered(&mut self, key: &ExecutorKey, out: &mut Vec<WorkerEffect>) {
        let Some(executor) = self.executors.get_mut(key) else { return };
        if !std::mem::replace(&mut executor.registered, true) && self.is_registered() {
            self.report(changed(key, ExecutorState::Running, ExecutorEnd::default(), true), out);
        }
    }

    fn executor_ended(&mut self, key: ExecutorKey, end: ExecutorEnd, out: &mut Vec<WorkerEffect>) {
        let Some(executor) = self.executors.remove(&key) else { return };
        let state = if executor.killing {
            ExecutorState::Killed
        } else if end.exit_code.is_none() && end.signal.is_none() {
            ExecutorState::Failed
        } else {
            ExecutorState::Exited
        };
        info!(%key, ?state, end.message, "executor ended");
        self.report(changed(&key, state, end, executor.registered), out);
        if self.finished.contains(&key.app_id) && self.executors_of(&key.app_id).next().is_none() {
            self.finished.remove(&key.app_id);
            self.past.remove(&key.app_id);
            out.push(WorkerEffect::RemoveApplication { app_id: key.app_id });
        }
    }

    fn send(&self, message: to_master::Message, out: &mut Vec<WorkerEffect>) {
        out.push(WorkerEffect::Send { attempt: self.client.attempt(), message });
    }

    /// Tells the master, or keeps it until there is one.
    fn report(&mut self, change: ExecutorStateChanged, out: &mut Vec<WorkerEffect>) {
        if self.is_registered() {
            self.send(to_master::Message::ExecutorStateChanged(change), out);
        } else {
            self.unreported.push(change);
        }
    }

    fn executors_of<'a>(&'a self, app_id: &'a str) -> impl Iterator<Item = (&'a ExecutorKey, &'a Executor)> {
        self.executors.iter().filter(move |(key, _)| key.app_id == app_id)
    }

    fn described(&self) -> Vec<ExecutorDescription> {
        self.executors
            .iter()
            .map(|(key, e)| ExecutorDescription {
                app_id: key.app_id.clone(),
                executor_id: key.executor_id,
                cores: e.cores,
                memory_mb: e.memory_mb,
                state: if e.registered { ExecutorState::Running } else { ExecutorState::Launching }.into(),
            })
            .collect()
    }
}

fn changed(key: &ExecutorKey, state: ExecutorState, end: ExecutorEnd, registered: bool) -> ExecutorStateChanged {
    ExecutorStateChanged {
        app_id: key.app_id.clone(),
        executor_id: key.executor_id,
        state: state.into(),
        message: end.message,
        exit_code: end.exit_code,
        signal: end.signal,
        stderr_tail: end.stderr_tail,
        registered,
    }
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
