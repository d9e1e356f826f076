//! The view as JSON, with the names that Spark's `/json` has (`JsonProtocol.writeWorkerState`), and how each executor stands
//! beside them.

use serde_json::{Value, json};

use super::{ExecutorStatus, WorkerStatus};

/// The page `/json`.
pub(super) fn worker(status: &WorkerStatus) -> Value {
    let running = &status.executors;
    json!({
        "id": status.id,
        "host": status.host,
        "port": status.port,
        "masterurl": status.master_url.as_deref().unwrap_or_default(),
        "state": if status.decommissioning { "DECOMMISSIONED" } else { "ALIVE" },
        "cores": status.cores,
        "coresused": running.iter().map(|e| u64::from(e.cores)).sum::<u64>(),
        "memory": status.memory_mb,
        "memoryused": running.iter().map(|e| e.memory_mb).sum::<u64>(),
        "executors": running.iter().map(executor).collect::<Value>(),
        "finishedexecutors": status.finished_executors.iter().map(executor).collect::<Value>(),
    })
}

fn executor(executor: &ExecutorStatus) -> Value {
    let application = &executor.application;
    json!({
        "id": executor.key.executor_id,
        "cores": executor.cores,
        "memory": executor.memory_mb,
        "state": executor.state.as_str_name(),
        "appid": executor.key.app_id.as_str(),
        "appdesc": {
            "name": application.name,
            "cores": application.cores_max.unwrap_or(0),
            "memoryperexecutor": application.memory_per_executor_mb,
            "memoryperslave": application.memory_per_executor_mb,
            "user": application.user,
        },
    })
}
