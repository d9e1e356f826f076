//! Rules of `deploy.proto`.

use super::{
    BadField, Checked, LAST_PID, address, app_id, at_most, descriptor, each, executor_id, host, nested, none_or,
    number, one_of, optional, or_none, path, port, rules, said, up_to, worker_id,
};
use crate::proto::deploy::{
    ApplicationBinary, ApplicationDescription, ApplicationFinished, ApplicationHeartbeat, ApplicationRemoved,
    ExecutorAdded, ExecutorDescription, ExecutorLaunch, ExecutorState, ExecutorStateChanged, ExecutorUpdated,
    FromMaster, KillExecutor, KillExecutors, LaunchExecutor, MasterInStandby, Parting, ReconnectWorker,
    RegisterApplication, RegisterApplicationFailed, RegisterWorker, RegisterWorkerFailed, RegisteredApplication,
    RegisteredWorker, RequestExecutors, ToMaster, UnregisterApplication, WorkerDecommissioning, WorkerHeartbeat,
    WorkerLatestState, WorkerRemoved, from_master, to_master,
};

/// Bytes of the random word that tells processes apart, and of a token.
const PROOF: usize = 64;

/// Bytes of an application's name, of its user's, and of a master's URL.
const NAME: usize = 1024;

/// Bytes of the word that tells one start of a host from the next.
const BOOT_ID: usize = 64;

rules! {
    ToMaster { message: optional(nested) }
    FromMaster { message: optional(nested) }

    RegisterWorker {
        protocol_version: number,
        worker_id: worker_id,
        host: host,
        port: port,
        cores: number,
        memory_mb: number,
        executors: each(nested),
        decommissioning: number,
        incarnation: at_most(PROOF),
    }
    RegisteredWorker { master_url: at_most(NAME), worker_timeout_ms: number, duplicate: number }
    RegisterWorkerFailed { reason: said, held: number }
    ReconnectWorker { master_url: at_most(NAME) }
    WorkerHeartbeat { worker_id: worker_id }
    WorkerLatestState {
        worker_id: worker_id,
        executors: each(nested),
        applications: each(app_id),
        decommissioning: number,
    }
    WorkerDecommissioning { worker_id: worker_id }
    ExecutorDescription {
        app_id: app_id,
        executor_id: executor_id,
        cores: number,
        memory_mb: number,
        state: one_of::<ExecutorState>,
    }
    LaunchExecutor {
        app_id: app_id,
        executor_id: executor_id,
        cores: number,
        memory_mb: number,
        application: optional(nested),
    }
    KillExecutor { app_id: app_id, executor_id: executor_id }
    ExecutorStateChanged {
        app_id: app_id,
        executor_id: executor_id,
        state: one_of::<ExecutorState>,
        message: said,
        exit_code: number,
        signal: number,
        stderr_tail: said,
        registered: number,
        parting: one_of::<Parting>,
    }
    ApplicationFinished { app_id: app_id }
    MasterInStandby {}

    // Device, inode, size and time are compared with those of the file that is found, and nothing else.
    ApplicationBinary {
        build_hash: none_or(32),
        size: number,
        boot_id: at_most(BOOT_ID),
        driver_pid: up_to(LAST_PID.into()),
        driver_fd: descriptor,
        device: number,
        inode: number,
        modified_ns: number,
        block_address: or_none(address),
    }
    ApplicationDescription {
        name: at_most(NAME),
        cores_max: number,
        memory_per_executor_mb: number,
        cores_per_executor: number,
        driver_address: or_none(address),
        binary: optional(nested),
        user: at_most(NAME),
        started_ms: number,
        block_manager_port: port,
        port_max_retries: port,
        shuffle_service: number,
    }
    RegisterApplication {
        protocol_version: number,
        application: optional(nested),
        app_id: or_none(app_id),
        next_executor_id: executor_id,
        executor_limit: number,
        incarnation: at_most(PROOF),
        token: at_most(PROOF),
    }
    RegisteredApplication { app_id: app_id, master_url: at_most(NAME), token: at_most(PROOF) }
    RegisterApplicationFailed { reason: said }
    UnregisterApplication { app_id: app_id }
    ApplicationHeartbeat { app_id: app_id }
    RequestExecutors { app_id: app_id, total: number }
    KillExecutors { app_id: app_id, executor_ids: each(executor_id) }
    ExecutorAdded { executor_id: executor_id, worker_id: worker_id, host: host, cores: number, memory_mb: number }
    ExecutorUpdated {
        executor_id: executor_id,
        state: one_of::<ExecutorState>,
        message: said,
        exit_code: number,
        signal: number,
        stderr_tail: said,
        worker_lost: number,
        parting: one_of::<Parting>,
    }
    WorkerRemoved { worker_id: worker_id, message: said }
    ApplicationRemoved { reason: said }

    ExecutorLaunch {
        app_id: app_id,
        executor_id: executor_id,
        worker_id: worker_id,
        host: host,
        cores: number,
        memory_mb: number,
        driver_address: address,
        app_key: at_most(PROOF),
        local_dirs: each(path),
        binary: optional(nested),
        binary_cache_dir: or_none(path),
        bind_host: or_none(host),
        binary_cache_bytes: number,
        registered_path: or_none(path),
        block_manager_port: port,
        port_max_retries: port,
        shuffle_service_address: or_none(address),
        memory_record_path: or_none(path),
    }
}

impl Checked for to_master::Message {
    fn check(&self) -> Result<(), BadField> {
        use to_master::Message;
        match self {
            Message::Handshake(m) => m.check(),
            // The master answers them with what is wrong.
            Message::RegisterWorker(_) | Message::RegisterApplication(_) => Ok(()),
            Message::Heartbeat(m) => m.check(),
            Message::ExecutorStateChanged(m) => m.check(),
            Message::WorkerLatestState(m) => m.check(),
            Message::UnregisterApplication(m) => m.check(),
            Message::KillExecutors(m) => m.check(),
            Message::ApplicationHeartbeat(m) => m.check(),
            Message::RequestExecutors(m) => m.check(),
            Message::WorkerDecommissioning(m) => m.check(),
        }
    }
}

impl Checked for from_master::Message {
    fn check(&self) -> Result<(), BadField> {
        use from_master::Message;
        match self {
            Message::Handshake(m) => m.check(),
            Message::RegisteredWorker(m) => m.check(),
            Message::RegisterWorkerFailed(m) => m.check(),
            Message::ReconnectWorker(m) => m.check(),
            Message::LaunchExecutor(m) => m.check(),
            Message::KillExecutor(m) => m.check(),
            Message::ApplicationFinished(m) => m.check(),
            Message::MasterInStandby(m) => m.check(),
            Message::RegisteredApplication(m) => m.check(),
            Message::RegisterApplicationFailed(m) => m.check(),
            Message::ExecutorAdded(m) => m.check(),
            Message::ExecutorUpdated(m) => m.check(),
            Message::ApplicationRemoved(m) => m.check(),
            Message::WorkerRemoved(m) => m.check(),
        }
    }
}
