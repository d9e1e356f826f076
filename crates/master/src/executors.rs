//! Events of executors: their states, what a bad end leads to, and handing out cores. Called by [`Master::handle`] and
//! by the families of workers and applications.

use std::cmp::Reverse;

use firesteel_common::{AppId, ExecutorKey, Tick, WorkerId};
use firesteel_rpc::proto::deploy::{
    ExecutorState, ExecutorStateChanged, ExecutorUpdated, KillExecutor, KillExecutors, LaunchExecutor, Parting,
    RequestExecutors, from_master::Message,
};
use tracing::{info, warn};

use crate::{
    applications::executor_added,
    event::{ConnectionId, MasterEffect},
    limits,
    machine::{Master, Party},
    placement::{Demand, WorkerOffer, place},
    state::{ApplicationInfo, ExecutorInfo, RecoveryState, WorkerInfo, WorkerState},
};

/// How an executor ended, as far as the master knows.
pub(crate) struct ExecutorEnd {
    pub(crate) state: ExecutorState,
    pub(crate) message: String,
    pub(crate) exit_code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) stderr_tail: String,
    pub(crate) registered: bool,
    pub(crate) parting: Parting,
    pub(crate) worker_lost: bool,
}

impl ExecutorEnd {
    /// Nobody saw it end.
    pub(crate) fn lost(message: &str) -> ExecutorEnd {
        ExecutorEnd {
            state: ExecutorState::Lost,
            message: message.to_owned(),
            exit_code: None,
            signal: None,
            stderr_tail: String::new(),
            registered: false,
            parting: Parting::Unsaid,
            worker_lost: false,
        }
    }
}

impl Master {
    pub(crate) fn executor_state_changed(
        &mut self,
        now: Tick,
        from: ConnectionId,
        m: ExecutorStateChanged,
        out: &mut Vec<MasterEffect>,
    ) {
        let Some(Party::Worker(worker_id)) = self.parties.get(&from).cloned() else { return };
        let (state, parting) = (m.state(), m.parting());
        let key = match ExecutorKey::parse(&m.app_id, m.executor_id) {
            Ok(key) => key,
            Err(error) => return self.refuse(now, from, &error, out),
        };
        let ours = self.executors.get(&key).is_some_and(|e| e.worker_id == worker_id);
        match (ours, state.is_finished()) {
            (true, false) if state == ExecutorState::Running => self.executor_running(now, &key, out),
            (true, true) => {
                let end = ExecutorEnd {
                    state,
                    message: limits::shortened(m.message),
                    exit_code: m.exit_code,
                    signal: m.signal,
                    stderr_tail: limits::shortened(m.stderr_tail),
                    registered: m.registered,
                    parting,
                    worker_lost: false,
                };
                self.executor_ended(now, &key, end, out);
                self.schedule(now, out);
            }
            (false, false) => {
                let kill = KillExecutor { app_id: key.app_id.into(), executor_id: key.executor_id };
                self.tell_worker(&worker_id, Message::KillExecutor(kill), out);
            }
            _ => {}
        }
    }

    /// Its driver has accepted it: its worker can serve.
    pub(crate) fn executor_running(&mut self, now: Tick, key: &ExecutorKey, out: &mut Vec<MasterEffect>) {
        let Some(executor) = self.executors.get_mut(key).filter(|e| e.state == ExecutorState::Launching) else {
            return;
        };
        executor.state = ExecutorState::Running;
        executor.running_since = Some(now);
        let worker_id = executor.worker_id.clone();
        if let Some(application) = self.applications.get_mut(&key.app_id) {
            application.retries = 0;
        }
        self.worker_serves(&key.app_id, &worker_id);
        let update = ExecutorUpdated {
            executor_id: key.executor_id,
            state: ExecutorState::Running.into(),
            ..ExecutorUpdated::default()
        };
        self.tell_application(&key.app_id, Message::ExecutorUpdated(update), out);
    }

    /// Takes back what an executor had, tells its driver, and decides whether its application may go on. The caller
    /// schedules.
    pub(crate) fn executor_ended(
        &mut self,
        now: Tick,
        key: &ExecutorKey,
        end: ExecutorEnd,
        out: &mut Vec<MasterEffect>,
    ) {
        let Some(executor) = self.executors.remove(key) else { return };
        if let Some(worker) = self.workers.get_mut(&executor.worker_id) {
            worker.executors -= 1;
            worker.cores_used -= executor.cores;
            worker.memory_used_mb -= executor.memory_mb;
        }
        let Some(application) = self.applications.get_mut(&key.app_id) else { return };
        if application.may_log(now, &key.app_id) {
            info!(app_id = %key.app_id, executor_id = key.executor_id, state = ?end.state, end.message, "executor ended");
        }
        application.executors.remove(&key.executor_id);
        match executor.decommissioned {
            true => application.decommissioned -= 1,
            false => application.cores_granted -= executor.cores,
        }
        let update = ExecutorUpdated {
            executor_id: key.executor_id,
            state: end.state.into(),
            message: end.message.clone(),
            exit_code: end.exit_code,
            signal: end.signal,
            stderr_tail: end.stderr_tail.clone(),
            worker_lost: end.worker_lost,
            parting: end.parting.into(),
        };
        self.tell_application(&key.app_id, Message::ExecutorUpdated(update), out);
        // An end that somebody wished, or that came with its worker's, says nothing about the application.
        let wished = executor.killing || executor.decommissioned || end.parting == Parting::InOrder;
        if !wished
            && matches!(end.state, ExecutorState::Exited | ExecutorState::Failed)
            && let Some(reason) = self.ended_badly(now, key, &executor, &end)
        {
            self.fail_application(now, &key.app_id, reason, out);
        }
    }

    /// The application wants so many executors from now on. Those above are not killed: its driver says which.
    pub(crate) fn request_executors(
        &mut self,
        now: Tick,
        from: ConnectionId,
        m: &RequestExecutors,
        out: &mut Vec<MasterEffect>,
    ) {
        if self.is_of_application(from, &m.app_id)
            && let Some(application) = self.applications.get_mut(m.app_id.as_str())
        {
            if application.may_log(now, &m.app_id) {
                info!(app_id = m.app_id, total = m.total, "application asked for executors");
            }
            application.executor_limit = Some(m.total);
            self.schedule(now, out);
        }
    }

    pub(crate) fn kill_executors(&mut self, from: ConnectionId, m: &KillExecutors, out: &mut Vec<MasterEffect>) {
        if let Some(Party::Application(app_id)) = self.parties.get(&from).cloned()
            && app_id == m.app_id
        {
            for &executor_id in &m.executor_ids {
                self.kill_executor(&app_id, executor_id, out);
            }
        }
    }

    /// Asks its worker for its end; it counts until the worker says that it is gone.
    pub(crate) fn kill_executor(&mut self, app_id: &AppId, executor_id: u32, out: &mut Vec<MasterEffect>) {
        let key = ExecutorKey { app_id: app_id.clone(), executor_id };
        let Some(executor) = self.executors.get_mut(&key) else { return };
        executor.killing = true;
        let worker_id = executor.worker_id.clone();
        let kill = KillExecutor { app_id: key.app_id.into(), executor_id };
        self.tell_worker(&worker_id, Message::KillExecutor(kill), out);
    }

    /// Hands out what is free: the first application gets all that it may have before the second gets anything.
    /// Spark: `startExecutorsOnWorkers`.
    pub(crate) fn schedule(&mut self, now: Tick, out: &mut Vec<MasterEffect>) {
        // Before all are back it is not known what is free.
        if self.recovery_state() != RecoveryState::Alive {
            return;
        }
        for app_id in self.fifo.clone() {
            self.schedule_application(now, &app_id, out);
            // The others come when it has what it may have.
            if self.pace.next_deadline().is_some() {
                break;
            }
        }
    }

    /// What the application still asks for.
    pub(crate) fn demand_of(&self, application: &ApplicationInfo) -> Demand {
        Demand {
            cores_left: application.cores_left(self.rules.default_cores),
            memory_mb: application.description.memory_per_executor_mb,
            cores_per_executor: application.description.cores_per_executor,
            executors_left: {
                let most = limits::MOST_EXECUTORS_OF_APPLICATION;
                let there = u32::try_from(application.executors.len()).unwrap_or(u32::MAX);
                let limit = application.executor_limit.unwrap_or(most).min(most);
                Some(limit.saturating_sub(there - application.decommissioned))
            },
        }
    }

    fn schedule_application(&mut self, now: Tick, app_id: &AppId, out: &mut Vec<MasterEffect>) {
        let Some(application) = self.applications.get(app_id).filter(|a| a.connection.is_some()) else { return };
        let demand = self.demand_of(application);
        if demand.executors_left == Some(0) {
            return self.say_bound_of(app_id);
        }
        if demand.cores_left < demand.cores_per_executor.unwrap_or(1) {
            return;
        }
        let left_alone = |w: &WorkerInfo| {
            application.troubles.get(&w.id).is_some_and(|trouble| trouble.until.is_some_and(|until| until > now))
        };
        let mut usable: Vec<_> = self
            .workers
            .values()
            .filter(|w| w.state() == WorkerState::Alive && demand.fits(&w.offer()))
            .filter(|w| !left_alone(w))
            .collect();
        usable.sort_by_key(|w| (w.sickness.is_some(), Reverse(w.cores_free()), w.order));
        let offers: Vec<WorkerOffer> = usable.iter().map(|w| w.offer()).collect();
        let ids: Vec<WorkerId> = usable.iter().map(|w| w.id.clone()).collect();
        let never = !self.workers.is_empty() && !self.workers.values().any(|w| demand.fits(&w.whole()));
        if let Some(application) = self.applications.get_mut(app_id)
            && never
            && !std::mem::replace(&mut application.warned, true)
        {
            let (cores, memory_mb) = (demand.cores_per_executor.unwrap_or(1), demand.memory_mb);
            let (largest, most) = (self.workers.values().map(|w| w.cores), self.workers.values().map(|w| w.memory_mb));
            let (largest, most) = (largest.max().unwrap_or(0), most.max().unwrap_or(0));
            warn!(
                %app_id,
                cores,
                memory_mb,
                "no worker is large enough for an executor of this application: the workers have up to {largest} cores and \
                 {most} MiB; lower spark.executor.cores or spark.executor.memory, or start a larger worker"
            );
        }
        let grants = place(&demand, &offers, self.rules.spread_out);
        let granted: u64 = grants.iter().map(|grant| u64::from(grant.executors)).sum();
        let mut room = self.pace.room(now);
        if u64::from(room) < granted {
            self.pace.fall_short();
        }
        let told = granted <= limits::TOLD_ONE_BY_ONE.into();
        let mut launched = 0;
        for (worker_id, grant) in ids.iter().zip(grants) {
            for _ in 0..grant.executors.min(room) {
                self.launch_executor(now, app_id, worker_id, grant.cores, told, out);
                launched += 1;
            }
            room -= grant.executors.min(room);
        }
        self.pace.launched(launched);
        if !told && launched > 0 {
            info!(%app_id, executors = launched, wanted = granted, memory_mb = demand.memory_mb, "executors launched");
        }
    }

    /// Says once that an application gets no more executors although it wants them: it has as many as one may have.
    pub(crate) fn say_bound_of(&mut self, app_id: &AppId) {
        let most = limits::MOST_EXECUTORS_OF_APPLICATION;
        let Some(application) = self.applications.get_mut(app_id) else { return };
        let wanted = application.executor_limit;
        if wanted.is_none_or(|wanted| wanted > most) && !std::mem::replace(&mut application.bounded, true) {
            warn!(
                %app_id,
                ?wanted,
                "this application has {most} executors and gets no more, whatever it asks for: give each more cores \
                 (spark.executor.cores)"
            );
        }
    }

    fn launch_executor(
        &mut self,
        now: Tick,
        app_id: &AppId,
        worker_id: &WorkerId,
        cores: u32,
        told: bool,
        out: &mut Vec<MasterEffect>,
    ) {
        let Some(application) = self.applications.get_mut(app_id) else { return };
        let Some(worker) = self.workers.get_mut(worker_id) else { return };
        let executor_id = application.next_executor_id;
        let memory_mb = application.description.memory_per_executor_mb;
        application.next_executor_id += 1;
        application.executors.insert(executor_id);
        application.cores_granted += cores;
        worker.executors += 1;
        let is_full = worker.executors == limits::MOST_EXECUTORS_OF_WORKER;
        if is_full && worker.cores_used + cores < worker.cores && application.may_log(now, app_id) {
            let (executors, idle) = (worker.executors, worker.cores - worker.cores_used - cores);
            warn!(%worker_id, %app_id, executors, idle, "this worker takes no more executors, however many cores it has left");
        }
        worker.cores_used += cores;
        worker.memory_used_mb += memory_mb;
        let executor = ExecutorInfo {
            worker_id: worker_id.clone(),
            cores,
            memory_mb,
            state: ExecutorState::Launching,
            killing: false,
            launched_at: now,
            running_since: None,
            decommissioned: false,
        };
        if told {
            info!(%app_id, executor_id, %worker_id, cores, memory_mb, "executor launched");
        }
        let added = executor_added(executor_id, &executor, worker);
        let launch = LaunchExecutor {
            app_id: app_id.to_string(),
            executor_id,
            cores,
            memory_mb,
            application: Some(application.description.clone()),
        };
        self.executors.insert(ExecutorKey { app_id: app_id.clone(), executor_id }, executor);
        self.tell_worker(worker_id, Message::LaunchExecutor(launch), out);
        self.tell_application(app_id, added, out);
    }
}
