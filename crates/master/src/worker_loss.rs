//! Workers that are lost, or have left: when that is so, and what it means for executors and applications. Called by
//! [`Master::handle`] and by the family of workers.

use firesteel_common::{Tick, WorkerId};
use firesteel_rpc::proto::deploy::{WorkerRemoved, from_master::Message};
use tracing::{info, warn};

use crate::{event::MasterEffect, executors::ExecutorEnd, machine::Master, records::RecordId, state::WorkerInfo};

impl Master {
    pub(crate) fn worker_disconnected(&mut self, now: Tick, id: &str) {
        // One that was to leave and had nothing left has done so.
        let lost_at = if self.has_left(id) { now } else { now + self.rules.worker_grace };
        if let Some(worker) = self.workers.get_mut(id) {
            info!(worker_id = id, "worker's stream closed");
            worker.connection = None;
            worker.lost_at = Some(lost_at);
        }
    }

    /// When this worker counts as lost if nothing is heard of it.
    pub(crate) fn worker_deadline(&self, worker: &WorkerInfo) -> Tick {
        let silent = worker.last_heard + self.rules.worker_timeout;
        worker.lost_at.map_or(silent, |lost| lost.min(silent))
    }

    pub(crate) fn remove_silent_workers(&mut self, now: Tick, out: &mut Vec<MasterEffect>) {
        let how = |w: &WorkerInfo| match w.connection {
            Some(_) => "sent no heartbeat and is lost",
            None if self.has_left(&w.id) => "was decommissioned and has left",
            None => "closed its stream and is lost",
        };
        let due: Vec<(WorkerId, &str)> =
            self.workers.values().filter(|w| self.worker_deadline(w) <= now).map(|w| (w.id.clone(), how(w))).collect();
        for (id, how) in due {
            self.remove_worker(now, &id, &format!("worker {id} {how}"), out);
        }
    }

    /// Whether an end of this worker is the end of its decommissioning.
    fn has_left(&self, id: &str) -> bool {
        self.workers.get(id).is_some_and(|w| w.decommissioning) && self.executors_of_worker(id).is_empty()
    }

    /// Forgets a worker; its executors are lost, and so is what its host's disk held for them.
    pub(crate) fn remove_worker(&mut self, now: Tick, id: &str, why: &str, out: &mut Vec<MasterEffect>) {
        match self.has_left(id) {
            true => info!(worker_id = id, why, "worker removed"),
            false => warn!(worker_id = id, why, "worker removed"),
        }
        for key in self.executors_of_worker(id) {
            let end = ExecutorEnd { worker_lost: true, ..ExecutorEnd::lost(why) };
            self.executor_ended(now, &key, end, out);
        }
        self.await_worker_no_longer(id);
        if let Some((id, worker)) = self.workers.remove_entry(id) {
            out.push(MasterEffect::Forget { id: RecordId::Worker(id) });
            if let Some(connection) = worker.connection {
                self.drop_connection(connection, out);
            }
        }
        // All of them: an application may have had executors there under an earlier master.
        for app_id in self.applications.keys() {
            let removed = WorkerRemoved { worker_id: id.to_owned(), message: why.to_owned() };
            self.tell_application(app_id, Message::WorkerRemoved(removed), out);
        }
        for application in self.applications.values_mut() {
            application.troubles.remove(id);
        }
    }
}
