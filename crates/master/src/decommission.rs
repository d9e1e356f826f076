//! Workers that are to leave the cluster: their executors live on, but nothing is placed there any more, and their
//! applications get others in their place. Called by [`Master::handle`] and by the families of workers and applications.

use firesteel_common::Tick;
use firesteel_rpc::proto::deploy::{ExecutorState, ExecutorUpdated, from_master::Message};
use tracing::info;

use crate::{
    event::{ConnectionId, MasterEffect},
    machine::Master,
    state::WorkerInfo,
};

impl Master {
    pub(crate) fn worker_decommissioning(
        &mut self,
        now: Tick,
        from: ConnectionId,
        id: &str,
        out: &mut Vec<MasterEffect>,
    ) {
        if self.worker_heard(now, from, id, out) {
            self.decommission_worker(id, out);
            self.schedule(now, out);
        }
    }

    /// Notes that a worker is to leave, takes its executors out of their applications' accounts and tells the drivers. The
    /// cores stay taken until the executors are gone, so that nobody gets them. The caller schedules.
    /// Spark: `decommissionWorker`.
    pub(crate) fn decommission_worker(&mut self, id: &str, out: &mut Vec<MasterEffect>) {
        let Some(worker) = self.workers.get_mut(id).filter(|w| !w.decommissioning) else { return };
        worker.decommissioning = true;
        let executors = self.executors_of_worker(id);
        info!(worker_id = id, state = "DECOMMISSIONED", executors = executors.len(), "worker is decommissioned");
        for key in executors {
            let Some(executor) = self.executors.get_mut(&key) else { continue };
            executor.decommissioned = true;
            if let Some(application) = self.applications.get_mut(&key.app_id) {
                application.cores_granted -= executor.cores;
                application.decommissioned += 1;
            }
            if let Some(worker) = self.workers.get(id) {
                self.tell_application(&key.app_id, executor_decommissioned(key.executor_id, worker), out);
            }
        }
    }
}

pub(crate) fn executor_decommissioned(executor_id: u32, worker: &WorkerInfo) -> Message {
    Message::ExecutorUpdated(ExecutorUpdated {
        executor_id,
        state: ExecutorState::Decommissioned.into(),
        message: format!("worker {} on {} is being decommissioned", worker.id, worker.host),
        ..ExecutorUpdated::default()
    })
}
