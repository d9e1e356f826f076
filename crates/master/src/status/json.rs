//! The view as JSON, with the names that Spark's `/json` has (`JsonProtocol.writeMasterState`), and the executors of each
//! application beside them.

use firesteel_common::tick::date_text;
use serde_json::{Value, json};

use super::{ApplicationState, ApplicationStatus, ExecutorStatus, MasterStatus, WorkerStatus};
use crate::state::{RecoveryState, WorkerState};

/// The page `/json`.
pub(super) fn master(status: &MasterStatus) -> Value {
    let MasterStatus { url, state, workers, active_applications, completed_applications } = status;
    // As Spark's, the sums are over those that take executors.
    let alive = || workers.iter().filter(|worker| worker.state == WorkerState::Alive);
    json!({
        "url": url,
        "workers": workers.iter().map(worker).collect::<Value>(),
        "aliveworkers": alive().count(),
        "cores": alive().map(|w| u64::from(w.cores)).sum::<u64>(),
        "coresused": alive().map(|w| u64::from(w.cores_used)).sum::<u64>(),
        "memory": alive().map(|w| w.memory_mb).sum::<u64>(),
        "memoryused": alive().map(|w| w.memory_used_mb).sum::<u64>(),
        "activeapps": active_applications.iter().map(application).collect::<Value>(),
        "completedapps": completed_applications.iter().map(application).collect::<Value>(),
        "activedrivers": [],
        "completeddrivers": [],
        "status": match state {
            RecoveryState::Standby => "STANDBY",
            RecoveryState::Recovering => "RECOVERING",
            RecoveryState::CompletingRecovery => "COMPLETING_RECOVERY",
            RecoveryState::Alive => "ALIVE",
        },
    })
}

fn worker(worker: &WorkerStatus) -> Value {
    json!({
        "id": worker.id.as_str(),
        "host": worker.host,
        "port": worker.port,
        "cores": worker.cores,
        "coresused": worker.cores_used,
        "coresfree": worker.cores.saturating_sub(worker.cores_used),
        "memory": worker.memory_mb,
        "memoryused": worker.memory_used_mb,
        "memoryfree": worker.memory_mb.saturating_sub(worker.memory_used_mb),
        "state": match worker.state {
            WorkerState::Alive => "ALIVE",
            WorkerState::Unknown => "UNKNOWN",
            WorkerState::Decommissioned => "DECOMMISSIONED",
        },
        "lastheartbeat": worker.last_heartbeat_ms,
    })
}

fn application(application: &ApplicationStatus) -> Value {
    json!({
        "id": application.id.as_str(),
        "starttime": application.registered_ms,
        "name": application.name,
        "cores": application.cores,
        "user": application.user,
        "memoryperexecutor": application.memory_per_executor_mb,
        "memoryperslave": application.memory_per_executor_mb,
        "submitdate": date_text(application.registered_ms / 1000),
        "state": match application.state {
            ApplicationState::Waiting => "WAITING",
            ApplicationState::Running => "RUNNING",
            ApplicationState::Finished => "FINISHED",
            ApplicationState::Failed => "FAILED",
            ApplicationState::Unknown => "UNKNOWN",
        },
        "duration": application.duration_ms,
        "executors": application.executors.iter().map(executor).collect::<Value>(),
    })
}

fn executor(executor: &ExecutorStatus) -> Value {
    json!({
        "id": executor.id,
        "worker": executor.worker_id.as_str(),
        "cores": executor.cores,
        "memory": executor.memory_mb,
        "state": executor.state.as_str_name(),
    })
}
