//! The view of a [`Master`] at a time.

use firesteel_common::{AppId, ExecutorKey, Tick};
use firesteel_rpc::proto::deploy::ExecutorState;

use super::{ApplicationState, ApplicationStatus, ExecutorStatus, MasterStatus, WorkerStatus};
use crate::{
    machine::Master,
    state::{ApplicationInfo, WorkerInfo},
};

impl Master {
    /// How things stand now.
    pub fn status(&self, now: Tick) -> MasterStatus {
        MasterStatus {
            url: self.rules.url.clone(),
            state: self.recovery_state(),
            workers: self.workers.values().map(|worker| self.worker_status(worker)).collect(),
            active_applications: self.fifo.iter().filter_map(|id| self.application_status(now, id)).collect(),
            completed_applications: self.completed.iter().cloned().collect(),
        }
    }

    /// Keeps one that is over to be shown.
    pub(crate) fn retain_completed(&mut self, application: ApplicationStatus) {
        self.completed.push_back(application);
        let too_many = self.completed.len().saturating_sub(self.rules.retained_applications);
        self.completed.drain(..too_many);
    }

    /// How a registered application stands.
    pub(crate) fn application_status(&self, now: Tick, id: &str) -> Option<ApplicationStatus> {
        let (id, application) = self.applications.get_key_value(id)?;
        let executors = self.executors_of(id, application);
        Some(ApplicationStatus {
            id: id.clone(),
            name: application.description.name.clone(),
            user: application.description.user.clone(),
            state: state_of(application, &executors),
            cores: application.cores_granted,
            memory_per_executor_mb: application.description.memory_per_executor_mb,
            registered_ms: self.wall_ms(application.registered_at),
            duration_ms: self.wall_ms(now) - self.wall_ms(application.registered_at),
            executors,
        })
    }

    fn executors_of(&self, app_id: &AppId, application: &ApplicationInfo) -> Vec<ExecutorStatus> {
        let status = |id: &u32| {
            let executor = self.executors.get(&ExecutorKey { app_id: app_id.clone(), executor_id: *id })?;
            Some(ExecutorStatus {
                id: *id,
                worker_id: executor.worker_id.clone(),
                state: if executor.decommissioned { ExecutorState::Decommissioned } else { executor.state },
                cores: executor.cores,
                memory_mb: executor.memory_mb,
            })
        };
        application.executors.iter().filter_map(status).collect()
    }

    fn worker_status(&self, worker: &WorkerInfo) -> WorkerStatus {
        WorkerStatus {
            id: worker.id.clone(),
            host: worker.host.clone(),
            port: worker.port,
            state: worker.state(),
            cores: worker.cores,
            cores_used: worker.cores_used,
            memory_mb: worker.memory_mb,
            memory_used_mb: worker.memory_used_mb,
            last_heartbeat_ms: self.wall_ms(worker.last_heard),
        }
    }

    /// The wall clock, milliseconds since 1970.
    fn wall_ms(&self, at: Tick) -> u64 {
        let since = u64::try_from(at.since(Tick::ZERO).as_millis()).unwrap_or(u64::MAX);
        self.epoch_ms.saturating_add(since)
    }
}

fn state_of(application: &ApplicationInfo, executors: &[ExecutorStatus]) -> ApplicationState {
    let runs = |e: &ExecutorStatus| matches!(e.state, ExecutorState::Running | ExecutorState::Decommissioned);
    match application.connection {
        None => ApplicationState::Unknown,
        Some(_) if executors.iter().any(runs) => ApplicationState::Running,
        Some(_) => ApplicationState::Waiting,
    }
}
