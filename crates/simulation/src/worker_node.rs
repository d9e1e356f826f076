//! A worker in the virtual cluster: the production [`Worker`], and the processes that it starts.

use std::time::Duration;

use firesteel_common::ExecutorKey;
use firesteel_master::MasterEvent;
use firesteel_rpc::{
    MasterUrl,
    master_client::{Attempt, MasterClientConfig},
    proto::deploy::{LaunchExecutor, from_master},
};
use firesteel_worker::{ExecutorEnd, Worker, WorkerEffect, WorkerEvent, WorkerIdentity};

use crate::{
    cluster::{Action, Cluster},
    executor_node::ExecutorNode,
    network::{LinkId, Message, Node, Process, Side},
};

/// Cores and MiB of each worker.
pub(crate) const WORKER_CORES: u32 = 4;
const WORKER_MEMORY_MB: u64 = 4096;

pub(crate) struct WorkerNode {
    pub(crate) machine: Worker,
    /// The connection of the latest attempt, while it stands.
    link: Option<(Attempt, LinkId)>,
    /// Which start of this worker it is: what was meant for an earlier one is not for it.
    pub(crate) start: u32,
}

impl Cluster {
    pub(crate) fn start_worker(&mut self, n: usize, url: &MasterUrl, start: u32) {
        let identity = WorkerIdentity {
            worker_id: format!("worker-{n}-{start}"),
            host: format!("host{n}"),
            port: 7078,
            cores: WORKER_CORES,
            memory_mb: WORKER_MEMORY_MB,
        };
        let machine = Worker::new(identity, url, MasterClientConfig::default(), self.rng.draw());
        self.workers[n] = Some(WorkerNode { machine, link: None, start });
        self.note(format_args!("worker {n} starts"));
        self.worker_handle(n, WorkerEvent::Start);
    }

    /// A worker dies, and with it, by their lifelines, all that it started.
    pub(crate) fn crash_worker(&mut self, n: usize, url: &MasterUrl) {
        let Some(worker) = self.workers[n].take() else { return };
        self.note(format_args!("worker {n} CRASHES"));
        self.close_all(Node::Worker(n));
        let mine: Vec<Process> = self.executors.iter().filter(|(_, e)| e.worker == n).map(|(id, _)| *id).collect();
        for id in mine {
            self.executor_vanishes(id);
        }
        let at = self.now + Duration::from_millis(500 + self.rng.below(3000));
        self.schedule(at, Action::StartWorker { worker: n, url: url.clone(), start: worker.start + 1 });
    }

    pub(crate) fn worker_received(&mut self, n: usize, link: LinkId, message: from_master::Message) {
        let attempt = self.workers[n].as_ref().and_then(|w| w.link).filter(|(_, l)| *l == link);
        if let Some((attempt, _)) = attempt {
            self.worker_handle(n, WorkerEvent::Received { attempt, message });
        }
    }

    pub(crate) fn worker_closed(&mut self, n: usize, link: LinkId) {
        let Some(worker) = self.workers[n].as_mut() else { return };
        if let Some((attempt, _)) = worker.link.filter(|(_, l)| *l == link) {
            worker.link = None;
            self.worker_handle(n, WorkerEvent::Closed { attempt, reason: "the connection ended".to_owned() });
        }
    }

    /// The answer to `Connect`, after the time that it takes.
    pub(crate) fn worker_connects(&mut self, n: usize, start: u32, attempt: Attempt) {
        if self.workers[n].as_ref().is_none_or(|w| w.start != start) {
            return;
        }
        if self.chance(self.faults.refuse_connection) {
            let error = "master:7077: connection refused".to_owned();
            return self.worker_handle(n, WorkerEvent::ConnectFailed { attempt, error, permanent: false });
        }
        let link = self.open(Node::Worker(n), Node::Master);
        if let Some(worker) = self.workers[n].as_mut() {
            worker.link = Some((attempt, link));
        }
        self.worker_handle(n, WorkerEvent::Connected { attempt });
    }

    pub(crate) fn worker_handle(&mut self, n: usize, event: WorkerEvent) {
        let mut out = Vec::new();
        let Some(worker) = self.workers[n].as_mut() else { return };
        let start = worker.start;
        worker.machine.handle(self.now, event, &mut out);
        for effect in out {
            match effect {
                WorkerEffect::Connect { attempt, .. } => {
                    let at = self.now + self.latency();
                    self.schedule(at, Action::WorkerConnects { worker: n, start, attempt });
                }
                WorkerEffect::Disconnect { attempt } => {
                    let link = self.workers[n].as_mut().and_then(|w| w.link.take_if(|(a, _)| *a == attempt));
                    if let Some((_, link)) = link {
                        self.close(link, Side::Opener);
                    }
                }
                WorkerEffect::Send { attempt, message } => {
                    let link = self.workers[n].as_ref().and_then(|w| w.link).filter(|(a, _)| *a == attempt);
                    if let Some((_, link)) = link {
                        self.send(link, Side::Opener, Message::ToMaster(message));
                    }
                }
                WorkerEffect::StartExecutor(launch) => self.start_executor(n, &launch),
                WorkerEffect::KillExecutor(key) => {
                    let at = self.now + Duration::from_millis(1 + self.rng.below(5));
                    let is_it =
                        |p: &&Process, e: &ExecutorNode| p.executor == key.executor_id && e.app_id == key.app_id;
                    let process = self.executors.iter().find(|(p, e)| is_it(p, e)).map(|(p, _)| *p);
                    if let Some(process) = process {
                        self.schedule(at, Action::KillProcess { process });
                    }
                }
                WorkerEffect::RemoveApplication { app_id } => {
                    self.note(format_args!("worker {n} removes the files of {app_id}"));
                }
                WorkerEffect::GiveUp { error } => self.violated(format!("worker {n} gives up: {error}")),
            }
        }
    }

    fn start_executor(&mut self, n: usize, launch: &LaunchExecutor) {
        let process = Process { pid: self.ever_started.len() as u32, executor: launch.executor_id };
        if !self.ever_started.insert((launch.app_id.clone(), launch.executor_id)) {
            self.violated(format!("executor {} of {} is started a second time", launch.executor_id, launch.app_id));
        }
        self.note(format_args!("worker {n} starts {process} for {}", launch.app_id));
        self.executors.insert(process, ExecutorNode::new(n, process, launch, self.now));
        let at = self.now + Duration::from_millis(5 + self.rng.below(40));
        self.schedule(at, Action::ExecutorBoots { process });
    }

    /// The process of an executor is gone and its worker, if it is still the same, sees that.
    pub(crate) fn executor_ends(&mut self, id: Process, end: ExecutorEnd) {
        let Some(node) = self.executors.get(&id) else { return };
        let (n, app_id) = (node.worker, node.app_id.clone());
        let Some(start) = self.workers[n].as_ref().map(|w| w.start) else { return };
        self.executor_vanishes(id);
        let at = self.now + Duration::from_millis(1);
        let key = ExecutorKey { app_id, executor_id: id.executor };
        self.schedule(at, Action::ProcessEnded { worker: n, start, key, end });
    }

    pub(crate) fn process_ended(&mut self, n: usize, start: u32, key: ExecutorKey, end: ExecutorEnd) {
        if self.workers[n].as_ref().is_some_and(|w| w.start == start) {
            self.worker_handle(n, WorkerEvent::ExecutorEnded { key, end });
        }
    }

    pub(crate) fn wake_master(&mut self) {
        self.master_handle(MasterEvent::Wake);
    }
}
