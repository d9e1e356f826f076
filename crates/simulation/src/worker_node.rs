//! A worker in the virtual cluster: the production [`Worker`], and the processes that it starts.

use std::time::Duration;

use firesteel_common::ExecutorKey;
use firesteel_machine::Machine;
use firesteel_rpc::{
    master_client::{Attempt, MasterClientConfig},
    proto::deploy::{LaunchExecutor, from_master},
};
use firesteel_worker::{ExecutorEnd, Worker, WorkerEffect, WorkerEvent, WorkerIdentity};

use crate::{
    cluster::{Action, Cluster},
    state::{
        executor::ExecutorNode,
        network::{LinkId, Message, Node, Process, Side},
        served::ServedFiles,
        worker::{WORKER_CORES, WORKER_MEMORY_MB, WorkerNode},
    },
};

impl Cluster {
    pub(crate) fn start_worker(&mut self, n: usize, start: u32) {
        let identity = WorkerIdentity {
            worker_id: format!("worker-{n}-{start}"),
            host: format!("host{n}"),
            port: 7078,
            cores: WORKER_CORES,
            memory_mb: WORKER_MEMORY_MB,
            incarnation: format!("worker {n} {start}").into_bytes(),
        };
        let machine = Worker::new(identity, &self.url, MasterClientConfig::default(), self.rng.draw());
        self.workers[n] =
            Some(WorkerNode { machine, link: None, start, kept_by_nothing: None, service: ServedFiles::new() });
        self.note(format_args!("worker {n} starts"));
        self.worker_handle(n, WorkerEvent::Start);
    }

    /// A worker dies, and with it, by their lifelines, all that it started.
    ///
    /// With its host nobody tells the others.
    pub(crate) fn crash_worker(&mut self, n: usize, host: bool) {
        let Some(worker) = self.workers[n].take() else { return };
        self.note(format_args!("worker {n} CRASHES{}", if host { " with its host" } else { "" }));
        self.frozen.remove(&Node::Worker(n));
        let mine: Vec<Process> = self.executors.keys().filter(|id| id.worker == n).copied().collect();
        if host {
            mine.iter().for_each(|id| self.fall_silent(Node::Executor(*id)));
            self.fall_silent(Node::Worker(n));
        }
        self.close_all(Node::Worker(n));
        for id in mine {
            self.executor_vanishes(id);
        }
        let most = if host { 40_000 } else { 3000 };
        let at = self.now + Duration::from_millis(500 + self.rng.below(most));
        self.schedule(at, Action::StartWorker { worker: n, start: worker.start + 1 });
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
    pub(crate) fn worker_connects(&mut self, n: usize, start: u32, attempt: Attempt, address: &str) {
        if self.workers[n].as_ref().is_none_or(|w| w.start != start) {
            return;
        }
        match self.reach_master(Node::Worker(n), address) {
            // No answer: the client's patience ends.
            None => {}
            Some(Err(error)) => {
                self.worker_handle(n, WorkerEvent::ConnectFailed { attempt, error, permanent: false });
            }
            Some(Ok(link)) => {
                if let Some(worker) = self.workers[n].as_mut() {
                    worker.link = Some((attempt, link));
                }
                self.worker_handle(n, WorkerEvent::Connected { attempt });
            }
        }
    }

    /// Opens a connection to one of the masters; None when no answer comes.
    pub(crate) fn reach_master(&mut self, from: Node, address: &str) -> Option<Result<LinkId, String>> {
        let m = self.url.addresses().iter().position(|a| a == address)?;
        let refused = self.chance(self.faults.refuse_connection);
        if !self.reaches(from, Node::Master(m)) {
            return None;
        }
        if refused || !self.masters[m].up {
            return Some(Err(format!("{address}: connection refused")));
        }
        Some(Ok(self.open(from, Node::Master(m), "")))
    }

    pub(crate) fn worker_handle(&mut self, n: usize, event: WorkerEvent) {
        let (mut out, mut leaves) = (Vec::new(), false);
        let Some(worker) = self.workers[n].as_mut() else { return };
        let start = worker.start;
        self.touched.insert(Node::Worker(n));
        worker.machine.handle(self.now, event, &mut out);
        for effect in out {
            match effect {
                WorkerEffect::Connect { attempt, address } => {
                    let at = self.now + self.latency();
                    self.schedule(at, Action::WorkerConnects { worker: n, start, attempt, address });
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
                WorkerEffect::StartExecutor { key, launch } => self.start_executor(n, key, &launch),
                WorkerEffect::KillExecutor(key) => {
                    self.check_kill(&key);
                    let at = self.now + Duration::from_millis(1 + self.rng.below(5));
                    let is_it = |p: &&Process, e: &ExecutorNode| {
                        p.worker == n && p.executor == key.executor_id && e.app_id == key.app_id
                    };
                    let process = self.executors.iter().find(|(p, e)| is_it(p, e)).map(|(p, _)| *p);
                    if let Some(process) = process {
                        self.schedule(at, Action::KillProcess { process });
                    }
                }
                WorkerEffect::RemoveApplication { app_id } => {
                    self.note(format_args!("worker {n} removes the files of {app_id}"));
                    self.remove_served(n, &app_id);
                }
                WorkerEffect::Leave => leaves = true,
                WorkerEffect::GiveUp { error } => self.violated(format!("worker {n} gives up: {error}")),
            }
        }
        if leaves {
            self.worker_leaves(n);
        }
    }

    /// A change of masters costs no executor of an application that goes on.
    fn check_kill(&mut self, key: &ExecutorKey) {
        let goes_on = self.drivers.iter().any(|d| d.app_id == *key.app_id && d.lives() && !d.removed);
        let asked = self.unwanted.contains(&(key.app_id.to_string(), key.executor_id));
        if self.faults.only_masters_change() && goes_on && !asked {
            self.violated(format!("executor {key} is killed though nobody but the master has changed"));
        }
    }

    fn start_executor(&mut self, n: usize, key: ExecutorKey, launch: &LaunchExecutor) {
        let process = Process { pid: self.ever_started.len() as u32, worker: n, executor: launch.executor_id };
        if !self.ever_started.insert((launch.app_id.clone(), launch.executor_id)) {
            self.violated(format!("executor {} of {} is started a second time", launch.executor_id, launch.app_id));
        }
        self.note(format_args!("worker {n} starts {process} for {}", launch.app_id));
        self.executors.insert(process, ExecutorNode::new(process, key.app_id, launch, self.now));
        let at = self.now + Duration::from_millis(5 + self.rng.below(40));
        self.schedule(at, Action::ExecutorBoots { process });
    }

    /// The process of an executor is gone and its worker, if it is still the same, sees that.
    pub(crate) fn executor_ends(&mut self, id: Process, end: ExecutorEnd) {
        let Some(node) = self.executors.get(&id) else { return };
        let (n, app_id) = (id.worker, node.app_id.clone());
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
}
