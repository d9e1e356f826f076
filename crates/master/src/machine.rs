//! The [`Master`] itself: its tables, the way of an event to its family, and what all families share.
//!
//! ```text
//!  shell or simulation ──handle(now, event)──▶ Master ─┬─ roles.rs          who may say what
//!                                                      ├─ workers.rs        RegisterWorker, heartbeats; worker_loss.rs
//!                                                      ├─ recovery.rs       who leads, what it takes over; records.rs
//!                      ◀──────effects──────────────────┼─ decommission.rs   workers that are to leave
//!                                                      ├─ applications.rs   RegisterApplication, the loss of its stream
//!                                                      ├─ executors.rs      states, scheduling; trouble.rs  bad ends
//!                                                      │    └─ placement.rs  who gets which cores (pure)
//!                                                      ├─ status/           how things stand, for those who ask
//!                                                      └─ invariants.rs     what holds after every event
//! ```

use std::collections::{BTreeMap, VecDeque};

use firesteel_common::{AppId, BadName, ExecutorKey, Tick, WorkerId};
use firesteel_machine::Machine;
use firesteel_rpc::{
    Issuer,
    proto::deploy::{from_master, to_master},
};
use tracing::warn;

use crate::{
    config::MasterRules,
    event::{ConnectionId, MasterEffect, MasterEvent},
    limits::Pace,
    roles::role_of,
    state::{ApplicationInfo, ExecutorInfo, Leadership, OverApplication, WorkerInfo},
    status::ApplicationStatus,
};

/// Whose stream it is. That of an application is opened by its driver, wherever that runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Party {
    Worker(WorkerId),
    Application(AppId),
}

/// The master's state machine. Spark: `org.apache.spark.deploy.master.Master`.
#[derive(Clone, PartialEq, Debug)]
pub struct Master {
    pub(crate) rules: MasterRules,
    pub(crate) issuer: Issuer,
    /// Wall clock at tick 0, milliseconds since 1970: application ids tell when they began.
    pub(crate) epoch_ms: u64,
    pub(crate) leadership: Leadership,
    /// When it was elected last.
    pub(crate) led_from: Tick,
    pub(crate) workers: BTreeMap<WorkerId, WorkerInfo>,
    pub(crate) applications: BTreeMap<AppId, ApplicationInfo>,
    pub(crate) executors: BTreeMap<ExecutorKey, ExecutorInfo>,
    /// The latest applications that are over, should their drivers come back.
    pub(crate) over: BTreeMap<AppId, OverApplication>,
    /// The latest applications that are over, as they are shown, oldest first.
    pub(crate) completed: VecDeque<ApplicationStatus>,
    /// Applications in the order of their registration: the first gets what it wants first.
    pub(crate) fifo: Vec<AppId>,
    pub(crate) parties: BTreeMap<ConnectionId, Party>,
    /// How fast executors are launched.
    pub(crate) pace: Pace,
    pub(crate) registered_workers: u64,
    pub(crate) registered_applications: u64,
}

impl Master {
    /// A master that stands by; `epoch_ms` is the wall clock at tick 0 in milliseconds since 1970, and `issuer` proves
    /// which applications are known to this master or to one before it.
    pub fn new(rules: MasterRules, epoch_ms: u64, issuer: Issuer) -> Master {
        Master {
            rules,
            issuer,
            epoch_ms,
            leadership: Leadership::Standby,
            led_from: Tick::ZERO,
            workers: BTreeMap::new(),
            applications: BTreeMap::new(),
            executors: BTreeMap::new(),
            over: BTreeMap::new(),
            completed: VecDeque::new(),
            fifo: Vec::new(),
            parties: BTreeMap::new(),
            pace: Pace::default(),
            registered_workers: 0,
            registered_applications: 0,
        }
    }

    /// Whether this is the stream of a registered worker or application.
    pub fn knows(&self, connection: ConnectionId) -> bool {
        self.parties.contains_key(&connection)
    }

    /// The registered workers by id.
    pub fn workers(&self) -> &BTreeMap<WorkerId, WorkerInfo> {
        &self.workers
    }

    /// The registered applications by id.
    pub fn applications(&self) -> &BTreeMap<AppId, ApplicationInfo> {
        &self.applications
    }

    /// The executors that have not ended.
    pub fn executors(&self) -> &BTreeMap<ExecutorKey, ExecutorInfo> {
        &self.executors
    }

    fn received(&mut self, now: Tick, from: ConnectionId, message: to_master::Message, out: &mut Vec<MasterEffect>) {
        use to_master::Message;
        if self.leadership == Leadership::Standby {
            return self.stand_by(from, &message, out);
        }
        match message {
            // The stream's own business; done before the shell hands a stream over.
            Message::Handshake(_) => {}
            Message::RegisterWorker(m) => self.register_worker(now, from, m, out),
            Message::Heartbeat(m) => {
                self.worker_heard(now, from, &m.worker_id, out);
            }
            Message::WorkerDecommissioning(m) => self.worker_decommissioning(now, from, &m.worker_id, out),
            Message::WorkerLatestState(m) => self.worker_latest_state(now, from, &m, out),
            Message::ExecutorStateChanged(m) => self.executor_state_changed(now, from, m, out),
            Message::RegisterApplication(m) => self.register_application(now, from, m, out),
            Message::UnregisterApplication(m) => self.unregister_application(now, from, &m.app_id, out),
            Message::ApplicationHeartbeat(m) => self.application_heartbeat(now, from, &m.app_id, out),
            Message::RequestExecutors(m) => self.request_executors(now, from, &m, out),
            Message::KillExecutors(m) => self.kill_executors(from, &m, out),
        }
    }

    pub(crate) fn closed(&mut self, now: Tick, connection: ConnectionId) {
        match self.parties.remove(&connection) {
            Some(Party::Worker(id)) => self.worker_disconnected(now, &id),
            Some(Party::Application(id)) => self.application_disconnected(now, &id),
            None => {}
        }
    }

    fn wake(&mut self, now: Tick, out: &mut Vec<MasterEffect>) {
        self.complete_recovery(now, out);
        self.remove_silent_workers(now, out);
        self.remove_silent_applications(now, out);
        self.end_pauses(now);
        self.pace.wake(now);
        self.schedule(now, out);
    }

    /// Ends the stream of a peer that sends what cannot be.
    pub(crate) fn refuse(&mut self, now: Tick, from: ConnectionId, error: &BadName, out: &mut Vec<MasterEffect>) {
        warn!(connection = %from, %error, "closing a stream");
        self.closed(now, from);
        out.push(MasterEffect::Close { connection: from });
    }

    /// Gives up a stream: nothing more is sent on it or taken from it.
    pub(crate) fn drop_connection(&mut self, connection: ConnectionId, out: &mut Vec<MasterEffect>) {
        self.parties.remove(&connection);
        out.push(MasterEffect::Close { connection });
    }

    /// Whether the stream is that application's.
    pub(crate) fn is_of_application(&self, from: ConnectionId, app_id: &str) -> bool {
        matches!(self.parties.get(&from), Some(Party::Application(id)) if id == app_id)
    }

    /// Says something to a worker; while it has no stream it misses it and is set right when it registers again.
    pub(crate) fn tell_worker(&self, id: &str, message: from_master::Message, out: &mut Vec<MasterEffect>) {
        if let Some(to) = self.workers.get(id).and_then(|w| w.connection) {
            out.push(MasterEffect::Send { to, message });
        }
    }

    /// Says something on an application's stream, if it has one.
    pub(crate) fn tell_application(&self, app_id: &str, message: from_master::Message, out: &mut Vec<MasterEffect>) {
        if let Some(to) = self.applications.get(app_id).and_then(|a| a.connection) {
            out.push(MasterEffect::Send { to, message });
        }
    }
}

impl Machine for Master {
    type Event = MasterEvent;
    type Effect = MasterEffect;

    fn handle(&mut self, now: Tick, event: MasterEvent, out: &mut Vec<MasterEffect>) {
        match event {
            MasterEvent::Received { from, role, message } => match role_of(&message).is_none_or(|only| only == role) {
                true => self.received(now, from, message, out),
                false => self.out_of_role(now, from, role, &message, out),
            },
            MasterEvent::Closed { connection } => self.closed(now, connection),
            MasterEvent::Elected { records } => self.elected(now, records),
            MasterEvent::Deposed => self.deposed(out),
            MasterEvent::Wake => self.wake(now, out),
        }
        self.complete_recovery(now, out);
    }

    fn next_deadline(&self) -> Option<Tick> {
        let workers = self.workers.values().map(|w| self.worker_deadline(w));
        let applications = self.applications.values().filter_map(|a| self.application_deadline(a));
        let recovery = self.recovery_deadline();
        workers.chain(applications).chain(self.pauses_end()).chain(self.pace.next_deadline()).chain(recovery).min()
    }

    fn wake() -> MasterEvent {
        MasterEvent::Wake
    }

    fn check_invariants(&self) -> Result<(), String> {
        self.tables_agree()
    }
}

/// Why a registration that speaks another protocol version is refused.
pub(crate) fn version_mismatch(theirs: u32) -> Option<String> {
    let ours = firesteel_rpc::PROTOCOL_VERSION;
    (theirs != ours).then(|| {
        format!("the master speaks protocol version {ours}, you speak {theirs}; run the same release on both sides")
    })
}
