//! The shuffle service of a worker in the virtual cluster: map outputs of applications that want it so lie with the worker
//! and are read there, also after the end of the executors that wrote them. They end with the worker or the application.

use firesteel_common::{ShuffleId, TaskId};
use firesteel_scheduler::MapLocation;

use crate::{
    cluster::Cluster,
    model::Record,
    state::{
        network::{Node, Process},
        served::{Served, worker_at},
    },
};

impl Cluster {
    /// A map task has written its output.
    pub(crate) fn keep_output(&mut self, here: Process, shuffle: ShuffleId, task: TaskId, blocks: Vec<Vec<Record>>) {
        let Some(executor) = self.executors.get_mut(&here) else { return };
        if executor.shuffle_service.is_none() {
            executor.store.files.insert((shuffle, task), blocks);
        } else if let Some(worker) = self.workers[here.worker].as_mut() {
            let served = Served { writer: here.executor, blocks };
            worker.service.insert((executor.driver, shuffle, task), served);
        }
    }

    /// What a map output holds for a reducer; the error says why it cannot be had.
    pub(crate) fn read_block(
        &mut self,
        here: Process,
        shuffle: ShuffleId,
        l: &MapLocation,
        reduce: u32,
    ) -> Result<Vec<Record>, &'static str> {
        let driver = self.executors.get(&here).ok_or("nobody reads")?.driver;
        let (holder, file) = match worker_at(&l.block_address) {
            Some(n) => {
                let worker = self.workers[n].as_ref().ok_or("connection refused")?;
                (Node::Worker(n), worker.service.get(&(driver, shuffle, l.map_task)).map(|s| &s.blocks))
            }
            None => {
                let holder = self.executors.iter().find(|(_, e)| e.block_address == *l.block_address);
                let (id, holder) = holder.ok_or("connection refused")?;
                let worker = self.workers[id.worker].as_ref();
                let served = || Some(&worker?.service.get(&(driver, shuffle, l.map_task))?.blocks);
                (Node::Executor(*id), holder.store.files.get(&(shuffle, l.map_task)).or_else(served))
            }
        };
        if !self.reaches(Node::Executor(here), holder) {
            return Err("no answer");
        }
        let records = file.ok_or("no such file")?.get(reduce as usize).cloned().unwrap_or_default();
        if self.drivers[driver].gone.contains_key(&l.executor.0) {
            self.counts.outlived += 1;
        }
        Ok(records)
    }

    /// Nobody wants the shuffle any more.
    pub(crate) fn drop_served(&mut self, id: Process, shuffle: ShuffleId) {
        let Some(driver) = self.executors.get(&id).map(|e| e.driver) else { return };
        if let Some(worker) = self.workers[id.worker].as_mut() {
            worker.service.retain(|(d, s, _), _| (*d, *s) != (driver, shuffle));
        }
    }

    /// The worker removes what an application had.
    pub(crate) fn remove_served(&mut self, n: usize, app_id: &str) {
        let Some(driver) = self.drivers.iter().position(|d| d.app_id == app_id) else { return };
        if let Some(worker) = self.workers[n].as_mut() {
            worker.service.retain(|(d, ..), _| *d != driver);
        }
    }

    /// A shuffle file, or all of a disk, is lost. False when there is none.
    pub(crate) fn lose_some_file(&mut self, disk: bool) -> bool {
        let executors = self.executors.iter().flat_map(|(id, e)| e.store.files.keys().map(|(s, t)| (Err(*id), *s, *t)));
        let served = self.workers.iter().enumerate().flat_map(|(n, w)| w.iter().map(move |w| (n, w)));
        let served = served.flat_map(|(n, w)| w.service.keys().map(move |(d, s, t)| (Ok((n, *d)), *s, *t)));
        let files: Vec<(Result<(usize, usize), Process>, ShuffleId, TaskId)> = executors.chain(served).collect();
        let Some((holder, shuffle, task)) = self.rng.pick(&files).copied() else { return false };
        match holder {
            Err(id) => {
                let Some(executor) = self.executors.get_mut(&id) else { return false };
                if disk {
                    executor.store.files.clear();
                    self.note(format_args!("{id} LOSES its disk"));
                } else {
                    executor.store.files.remove(&(shuffle, task));
                    self.note(format_args!("{id} LOSES the file of {shuffle} {task}"));
                }
            }
            Ok((n, driver)) => {
                let Some(worker) = self.workers[n].as_mut() else { return false };
                if disk {
                    worker.service.clear();
                    self.note(format_args!("worker {n} LOSES the disk that its shuffle service serves"));
                } else {
                    let writer = worker.service.remove(&(driver, shuffle, task)).map_or(0, |file| file.writer);
                    self.note(format_args!(
                        "worker {n} LOSES the file of {shuffle} {task} by executor {writer} of driver {driver}"
                    ));
                }
            }
        }
        true
    }
}
