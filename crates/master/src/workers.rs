//! Events of workers: registration, heartbeats and reconciliation. Called by [`Master::handle`]. Their loss is in
//! `worker_loss.rs`.

use std::collections::BTreeSet;

use firesteel_common::{AppId, BadName, ExecutorKey, Tick, WorkerId};
use firesteel_rpc::proto::deploy::{
    ApplicationFinished, ExecutorDescription, ExecutorState, KillExecutor, ReconnectWorker, RegisterWorker,
    RegisterWorkerFailed, RegisteredWorker, WorkerLatestState, from_master::Message,
};
use tracing::{info, warn};

use crate::{
    event::{ConnectionId, MasterEffect},
    executors::ExecutorEnd,
    limits,
    machine::{Master, Party, version_mismatch},
    state::{ExecutorInfo, WorkerInfo},
};

impl Master {
    pub(crate) fn register_worker(
        &mut self,
        now: Tick,
        from: ConnectionId,
        m: RegisterWorker,
        out: &mut Vec<MasterEffect>,
    ) {
        let (id, executors) = match self.admit_worker(from, &m) {
            Ok(admitted) => admitted,
            Err((reason, held)) => {
                warn!(worker_id = m.worker_id, reason, "worker refused");
                let message = Message::RegisterWorkerFailed(RegisterWorkerFailed { reason, held });
                out.push(MasterEffect::Send { to: from, message });
                return;
            }
        };
        let same = |w: &WorkerInfo| {
            (&w.host, w.port, w.cores, w.memory_mb, &w.incarnation)
                == (&m.host, m.port, m.cores, m.memory_mb, &m.incarnation)
        };
        let duplicate = self.workers.get(&id).is_some_and(same);
        if duplicate {
            self.worker_came_back(now, from, &id, &executors, out);
        } else {
            self.worker_is_new(now, from, &id, &m, out);
        }
        self.await_worker_no_longer(&id);
        self.adopt_executors(now, &id, &executors, out);
        if m.decommissioning {
            self.decommission_worker(&id, out);
        }
        let message = Message::RegisteredWorker(RegisteredWorker {
            master_url: self.rules.url.clone(),
            worker_timeout_ms: u64::try_from(self.rules.worker_timeout.as_millis()).unwrap_or(u64::MAX),
            duplicate,
        });
        out.push(MasterEffect::Send { to: from, message });
        self.kill_strangers(now, &id, &executors, out);
        self.schedule(now, out);
    }

    /// The worker's name and its executors, when it may register; the error says why not, and whether another is in its way.
    fn admit_worker(
        &self,
        from: ConnectionId,
        m: &RegisterWorker,
    ) -> Result<(WorkerId, Vec<Described>), (String, bool)> {
        let bad = |e: BadName| (e.to_string(), false);
        let admitted = (WorkerId::parse(&m.worker_id).map_err(bad)?, described(&m.executors).map_err(bad)?);
        match (self.refusal_of_worker(from, m), self.held_by_other(from, m)) {
            (Some(reason), _) => Err((reason, false)),
            (None, Some(reason)) => Err((reason, true)),
            (None, None) => Ok(admitted),
        }
    }

    fn refusal_of_worker(&self, from: ConnectionId, m: &RegisterWorker) -> Option<String> {
        if let Some(reason) = version_mismatch(m.protocol_version) {
            return Some(reason);
        }
        if m.cores == 0 || m.memory_mb == 0 {
            let (cores, memory) = (m.cores, m.memory_mb);
            return Some(format!("a worker with {cores} cores and {memory} MiB has nothing to offer; give it both"));
        }
        if let Some(reason) = limits::refusal_of_worker(m) {
            return Some(reason);
        }
        if self.parties.get(&from).is_some_and(|p| !matches!(p, Party::Worker(id) if *id == m.worker_id)) {
            return Some("this stream is another worker's or application's already".to_owned());
        }
        None
    }

    /// Who has this worker's id or address and lives. It stays: two that take turns would each lose their executors for the
    /// other's.
    fn held_by_other(&self, from: ConnectionId, m: &RegisterWorker) -> Option<String> {
        let lives = |w: &&WorkerInfo| w.connection.is_some_and(|c| c != from);
        let there = |w: &WorkerInfo| (&w.host, w.port) == (&m.host, m.port);
        if let Some(known) = self.workers.get(m.worker_id.as_str()).filter(lives) {
            let itself = there(known) && known.incarnation == m.incarnation;
            return (!itself).then(|| {
                let (host, port) = (&known.host, known.port);
                format!("worker id {} is in use by a live worker at {host}:{port}; give this one another", known.id)
            });
        }
        let holder = self.workers.values().filter(lives).find(|w| there(w))?;
        Some(format!(
            "{}:{} is the address of the live worker {}: give this one a host name or address of its own (--host, \
             SPARK_LOCAL_IP), or end that one",
            m.host, m.port, holder.id
        ))
    }

    /// The same worker over a new stream, or a repeated message on its old one.
    fn worker_came_back(
        &mut self,
        now: Tick,
        from: ConnectionId,
        id: &WorkerId,
        executors: &[Described],
        out: &mut Vec<MasterEffect>,
    ) {
        let Some(worker) = self.workers.get_mut(id) else { return };
        let old = worker.connection.replace(from);
        worker.last_heard = now;
        worker.lost_at = None;
        if old == Some(from) {
            return;
        }
        if let Some(old) = old {
            self.drop_connection(old, out);
        }
        self.parties.insert(from, Party::Worker(id.clone()));
        info!(worker_id = %id, "worker came back");
        self.try_worker_again(id);
        // What it does not have any more ended unseen, or its launch was lost with the old stream.
        let listed = listed(executors);
        for key in self.executors_of_worker(id) {
            if !listed.contains(&key) {
                let end = ExecutorEnd::lost("its worker came back without it");
                self.executor_ended(now, &key, end, out);
            }
        }
    }

    fn worker_is_new(
        &mut self,
        now: Tick,
        from: ConnectionId,
        id: &WorkerId,
        m: &RegisterWorker,
        out: &mut Vec<MasterEffect>,
    ) {
        let replaced: Vec<WorkerId> = self
            .workers
            .values()
            .filter(|w| w.id == *id || (w.host == m.host && w.port == m.port))
            .map(|w| w.id.clone())
            .collect();
        for old in replaced {
            // A repeated registration with other figures comes on the very stream that must stay open.
            if let Some(worker) = self.workers.get_mut(&old).filter(|w| w.connection == Some(from)) {
                worker.connection = None;
                self.parties.remove(&from);
            }
            self.remove_worker(now, &old, &format!("worker {id} at the same address replaced it"), out);
        }
        let order = self.registered_workers;
        self.registered_workers += 1;
        self.parties.insert(from, Party::Worker(id.clone()));
        let worker = WorkerInfo {
            id: id.clone(),
            host: m.host.clone(),
            port: m.port,
            incarnation: m.incarnation.clone(),
            cores: m.cores,
            memory_mb: m.memory_mb,
            executors: 0,
            cores_used: 0,
            memory_used_mb: 0,
            connection: Some(from),
            last_heard: now,
            lost_at: None,
            order,
            decommissioning: false,
            sickness: None,
        };
        out.push(MasterEffect::Persist { record: worker.record() });
        self.workers.insert(id.clone(), worker);
        info!(worker_id = %id, cores = m.cores, memory_mb = m.memory_mb, "worker registered");
    }

    /// Notes that a worker is alive. When the master does not know it on this stream, it is told to register again and
    /// the answer is false.
    pub(crate) fn worker_heard(
        &mut self,
        now: Tick,
        from: ConnectionId,
        id: &str,
        out: &mut Vec<MasterEffect>,
    ) -> bool {
        if let Some(worker) = self.workers.get_mut(id).filter(|w| w.connection == Some(from)) {
            worker.last_heard = now;
            return true;
        }
        let message = Message::ReconnectWorker(ReconnectWorker { master_url: self.rules.url.clone() });
        out.push(MasterEffect::Send { to: from, message });
        false
    }

    /// What the worker runs, against what it should run. Whatever got lost between the two is mended here.
    pub(crate) fn worker_latest_state(
        &mut self,
        now: Tick,
        from: ConnectionId,
        m: &WorkerLatestState,
        out: &mut Vec<MasterEffect>,
    ) {
        if !self.worker_heard(now, from, &m.worker_id, out) {
            return;
        }
        let (id, executors) = match WorkerId::parse(&m.worker_id).and_then(|id| Ok((id, described(&m.executors)?))) {
            Ok(admitted) => admitted,
            Err(error) => return self.refuse(now, from, &error, out),
        };
        if m.decommissioning {
            self.decommission_worker(&id, out);
        }
        self.kill_strangers(now, &id, &executors, out);
        // It has not heard of their end, and keeps files that nobody will ask for.
        for app_id in m.applications.iter().filter(|app_id| !self.applications.contains_key(app_id.as_str())) {
            let finished = ApplicationFinished { app_id: app_id.clone() };
            self.tell_worker(&id, Message::ApplicationFinished(finished), out);
        }
        for described in &executors {
            if described.state == ExecutorState::Running {
                self.executor_running(now, &described.key, out);
            }
        }
        // A launch may still have been on its way when the worker spoke, and for as long as the worker stood still: what is
        // missing is killed. The worker hears that after the launch, and says so if it has nothing to kill.
        let listed = listed(&executors);
        for key in self.executors_of_worker(&id) {
            let old = self.executors.get(&key).is_some_and(|e| e.launched_at + self.settle_time() <= now);
            if old && !listed.contains(&key) {
                self.kill_executor(&key.app_id, key.executor_id, out);
            }
        }
        self.schedule(now, out);
    }

    /// How long a launch may be on its way: a worker beats at a quarter of its timeout.
    fn settle_time(&self) -> std::time::Duration {
        self.rules.worker_timeout / 4
    }

    /// Kills what runs on the worker without being the master's wish.
    fn kill_strangers(
        &mut self,
        now: Tick,
        worker_id: &WorkerId,
        described: &[Described],
        out: &mut Vec<MasterEffect>,
    ) {
        let mut gone: BTreeSet<AppId> = BTreeSet::new();
        for d in described {
            let known = self.executors.get(&d.key).filter(|e| e.worker_id == *worker_id);
            if !self.applications.contains_key(&d.key.app_id) {
                gone.insert(d.key.app_id.clone());
            }
            if known.is_some_and(|e| !e.killing) || (known.is_none() && d.state.is_finished()) {
                continue;
            }
            if known.is_none() {
                self.count_stranger(now, worker_id, d);
            }
            let kill = KillExecutor { app_id: d.key.app_id.to_string(), executor_id: d.key.executor_id };
            self.tell_worker(worker_id, Message::KillExecutor(kill), out);
        }
        for app_id in gone {
            let finished = ApplicationFinished { app_id: app_id.into() };
            self.tell_worker(worker_id, Message::ApplicationFinished(finished), out);
        }
    }

    /// What is of an earlier master has its cores and memory until it is gone, as all that is being killed: they are not
    /// handed out before.
    fn count_stranger(&mut self, now: Tick, worker_id: &WorkerId, d: &Described) {
        if self.executors.contains_key(&d.key) {
            return; // said to be elsewhere: its number is not free to be counted here
        }
        let Some(worker) = self.workers.get_mut(worker_id) else { return };
        let (cores, memory_mb) = (d.cores.min(worker.cores_free()), d.memory_mb.min(worker.memory_free_mb()));
        worker.executors += 1;
        worker.cores_used += cores;
        worker.memory_used_mb += memory_mb;
        let decommissioned = worker.decommissioning;
        if let Some(application) = self.applications.get_mut(&d.key.app_id) {
            application.executors.insert(d.key.executor_id);
            match decommissioned {
                true => application.decommissioned += 1,
                false => application.cores_granted += cores,
            }
            application.next_executor_id = application.next_executor_id.max(d.key.executor_id.saturating_add(1));
        }
        let executor = ExecutorInfo {
            worker_id: worker_id.clone(),
            cores,
            memory_mb,
            state: d.state,
            killing: true,
            launched_at: now,
            running_since: (d.state == ExecutorState::Running).then_some(now),
            decommissioned,
        };
        self.executors.insert(d.key.clone(), executor);
    }

    pub(crate) fn executors_of_worker(&self, id: &str) -> Vec<ExecutorKey> {
        self.executors.iter().filter(|(_, e)| *e.worker_id == *id).map(|(key, _)| key.clone()).collect()
    }
}

/// An executor as its worker describes it.
pub(crate) struct Described {
    pub(crate) key: ExecutorKey,
    pub(crate) cores: u32,
    pub(crate) memory_mb: u64,
    pub(crate) state: ExecutorState,
}

fn described(executors: &[ExecutorDescription]) -> Result<Vec<Described>, BadName> {
    let described = |d: &ExecutorDescription| {
        let key = ExecutorKey::parse(&d.app_id, d.executor_id)?;
        Ok(Described { key, cores: d.cores, memory_mb: d.memory_mb, state: d.state() })
    };
    executors.iter().map(described).collect()
}

fn listed(described: &[Described]) -> BTreeSet<ExecutorKey> {
    described.iter().map(|d| d.key.clone()).collect()
}
