//! Who leads. A master stands by until it is elected, takes over what the one before it knew, and may be deposed.
//!
//! ```text
//!  STANDBY ─ elected, nothing to recover ───────────────────────────────────────────────▶ ALIVE
//!    ▲   └── elected(records) ─▶ RECOVERING ─ all are back, or time is up ─▶ COMPLETING_RECOVERY ─┘ │
//!    └─────────────────────────────────────────── deposed ────────────────────────────────────────┘
//! ```
//!
//! Workers and applications look for a new leader by themselves when their streams end: to register again is what Spark's
//! `MasterChanged` asks them for. Executors that a worker brings along are adopted, and nothing is launched before it is
//! known what runs. Called by [`Master::handle`] and by the families of workers and applications.

use firesteel_common::{ExecutorKey, Tick, WorkerId};
use firesteel_rpc::proto::deploy::{ExecutorState, MasterInStandby, from_master::Message, to_master};
use tracing::{info, warn};

use crate::{
    applications::executor_added,
    event::{ConnectionId, MasterEffect},
    limits::{MOST_EXECUTORS_OF_WORKER, Pace},
    machine::Master,
    records::Records,
    state::{ApplicationInfo, Awaited, ExecutorInfo, Leadership, RecoveryState, WorkerInfo},
    workers::Described,
};

impl Master {
    /// Whether it leads, and how far it has come with what it took over.
    pub fn recovery_state(&self) -> RecoveryState {
        match &self.leadership {
            Leadership::Standby => RecoveryState::Standby,
            Leadership::Recovering(_) => RecoveryState::Recovering,
            Leadership::CompletingRecovery => RecoveryState::CompletingRecovery,
            Leadership::Alive => RecoveryState::Alive,
        }
    }

    /// This master leads from now on, and `records` is what the one before it knew. Spark: `ElectedLeader`, `beginRecovery`.
    pub(crate) fn elected(&mut self, now: Tick, records: Records) {
        if self.leadership != Leadership::Standby {
            return;
        }
        self.led_from = now;
        let until = now + self.rules.worker_timeout;
        let Records { mut workers, mut applications } = records;
        // Names begin with the time, so this is the order in which they registered, wherever they were kept.
        workers.sort_by(|a, b| a.id.cmp(&b.id));
        applications.sort_by(|a, b| a.id.cmp(&b.id));
        info!(workers = workers.len(), applications = applications.len(), "elected leader");
        let awaited = Awaited {
            until,
            workers: workers.iter().map(|record| record.id.clone()).collect(),
            applications: applications.iter().map(|record| record.id.clone()).collect(),
        };
        for record in workers {
            self.workers.insert(record.id.clone(), WorkerInfo::recovered(record, self.registered_workers, now, until));
            self.registered_workers += 1;
        }
        for record in applications {
            self.fifo.push(record.id.clone());
            self.applications.insert(record.id.clone(), ApplicationInfo::recovered(record, now, until));
        }
        self.leadership = Leadership::Recovering(awaited);
    }

    /// Another master leads, or soon will: what is known here is the other's to know, and who speaks to this one shall look
    /// for it. Spark's master ends its process (`RevokedLeadership`); this one can be elected again.
    pub(crate) fn deposed(&mut self, out: &mut Vec<MasterEffect>) {
        if self.leadership == Leadership::Standby {
            return;
        }
        warn!("deposed: another master leads");
        self.leadership = Leadership::Standby;
        let streams = std::mem::take(&mut self.parties).into_keys();
        out.extend(streams.map(|connection| MasterEffect::Close { connection }));
        self.workers.clear();
        self.applications.clear();
        self.executors.clear();
        self.over.clear();
        self.completed.clear();
        self.fifo.clear();
        self.pace = Pace::default();
    }

    /// Whatever somebody says to a master that does not lead, it is sent on.
    pub(crate) fn stand_by(&self, from: ConnectionId, message: &to_master::Message, out: &mut Vec<MasterEffect>) {
        // The stream's own business; done before the shell hands a stream over.
        if !matches!(message, to_master::Message::Handshake(_)) {
            out.push(MasterEffect::Send { to: from, message: Message::MasterInStandby(MasterInStandby {}) });
        }
    }

    /// The worker has registered, or will not any more.
    pub(crate) fn await_worker_no_longer(&mut self, id: &str) {
        if let Leadership::Recovering(awaited) = &mut self.leadership {
            awaited.workers.remove(id);
        }
    }

    /// The application has registered, or will not any more.
    pub(crate) fn await_application_no_longer(&mut self, id: &str) {
        if let Leadership::Recovering(awaited) = &mut self.leadership {
            awaited.applications.remove(id);
        }
    }

    /// When those are given up that have not registered again.
    pub(crate) fn recovery_deadline(&self) -> Option<Tick> {
        match &self.leadership {
            Leadership::Recovering(awaited) => Some(awaited.until),
            _ => None,
        }
    }

    /// Ends the recovery when nobody is awaited any more, or who is awaited has not come in time: those are dropped, and
    /// executors are dealt out again. Spark: `completeRecovery`.
    pub(crate) fn complete_recovery(&mut self, now: Tick, out: &mut Vec<MasterEffect>) {
        let Leadership::Recovering(awaited) = &self.leadership else { return };
        if now < awaited.until && !(awaited.workers.is_empty() && awaited.applications.is_empty()) {
            return;
        }
        let (workers, applications) = (awaited.workers.clone(), awaited.applications.clone());
        self.leadership = Leadership::CompletingRecovery;
        for id in &workers {
            self.remove_worker(now, id, &format!("worker {id} was not heard of after the master had changed"), out);
        }
        for id in &applications {
            self.drop_application(now, id, "its driver was not heard of after the master had changed", out);
        }
        self.leadership = Leadership::Alive;
        let (lost_workers, lost_applications) = (workers.len(), applications.len());
        info!(
            lost_workers,
            lost_applications,
            executors = self.executors.len(),
            "recovery complete: resuming operations"
        );
        self.schedule(now, out);
    }

    /// Takes over what runs on a worker of the master before. What is of no known application, or more than it may have, stays
    /// a stranger.
    pub(crate) fn adopt_executors(
        &mut self,
        now: Tick,
        worker_id: &WorkerId,
        described: &[Described],
        out: &mut Vec<MasterEffect>,
    ) {
        if self.recovery_state() != RecoveryState::Recovering {
            return;
        }
        for d in described.iter().filter(|d| !d.state.is_finished()) {
            if !self.executors.contains_key(&d.key) {
                self.adopt_executor(now, worker_id, d, out);
            }
        }
    }

    fn adopt_executor(&mut self, now: Tick, worker_id: &WorkerId, d: &Described, out: &mut Vec<MasterEffect>) {
        let default_cores = self.rules.default_cores;
        let ExecutorKey { app_id, executor_id } = &d.key;
        let Some(application) = self.applications.get_mut(app_id) else { return };
        let Some(worker) = self.workers.get_mut(worker_id) else { return };
        let fits = d.cores <= worker.cores_free()
            && d.memory_mb <= worker.memory_free_mb()
            && worker.executors < MOST_EXECUTORS_OF_WORKER
            && (worker.decommissioning || d.cores <= application.cores_left(default_cores));
        if !fits || d.cores == 0 {
            return warn!(%worker_id, executor = %d.key, cores = d.cores, memory_mb = d.memory_mb, "executor not adopted: it is more than it may have");
        }
        worker.executors += 1;
        worker.cores_used += d.cores;
        worker.memory_used_mb += d.memory_mb;
        application.executors.insert(*executor_id);
        match worker.decommissioning {
            true => application.decommissioned += 1,
            false => application.cores_granted += d.cores,
        }
        application.next_executor_id = application.next_executor_id.max(executor_id.saturating_add(1));
        let executor = ExecutorInfo {
            worker_id: worker_id.clone(),
            cores: d.cores,
            memory_mb: d.memory_mb,
            state: d.state,
            killing: false,
            launched_at: now,
            running_since: (d.state == ExecutorState::Running).then_some(now),
            decommissioned: worker.decommissioning,
        };
        if application.may_log(now, app_id) {
            info!(%app_id, executor_id, %worker_id, cores = d.cores, "executor adopted");
        }
        let added = executor_added(*executor_id, &executor, worker);
        self.executors.insert(d.key.clone(), executor);
        self.tell_application(app_id, added, out);
    }
}
