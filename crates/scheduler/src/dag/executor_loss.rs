//! Executors that come, disconnect and go. With one go its running tasks, its cached partitions and its map outputs; the
//! last stay where a shuffle service serves them, until that is gone too.

use std::time::Duration;

use firesteel_common::{ExecutorId, ShuffleId, TaskFailure, Tick};
use firesteel_events::AppEvent;
use firesteel_protocol::RegisterExecutor;

use super::handler::DagHandler;
use crate::effect::DriverEffect;

/// An executor that was given back has this long to end; then it counts as gone, whatever became of it.
pub(super) const RETIREMENT: Duration = Duration::from_secs(30);

impl DagHandler<'_> {
    pub(crate) fn executor_registered(
        &mut self,
        executor: ExecutorId,
        register: &RegisterExecutor,
        out: &mut Vec<DriverEffect>,
    ) {
        let RegisterExecutor { host, block_address, shuffle_service, cores, .. } = register;
        let slots = cores / self.config.task_cpus.max(1);
        if slots == 0 {
            let needed = self.config.task_cpus;
            let reason = format!("it has {cores} cores, fewer than a task takes ({needed}, spark.task.cpus)");
            out.push(DriverEffect::ExecutorRefused { executor, reason });
        } else {
            match self.tasks.add_executor(executor, host, block_address, slots) {
                Err(reason) => out.push(DriverEffect::ExecutorRefused { executor, reason }),
                Ok(new) => {
                    shuffle_service.iter().for_each(|service| self.outputs.add_service(executor, service));
                    if new {
                        let added = |time| AppEvent::ExecutorAdded { executor, time, host: host.clone(), slots };
                        self.news.say(added);
                    }
                }
            }
        }
        self.tasks.apply_health();
    }

    pub(crate) fn executor_disconnected(&mut self, now: Tick, executor: ExecutorId) {
        self.tasks.disconnect(executor, now + self.config.loss_reason_wait);
    }

    pub(crate) fn executor_removed(
        &mut self,
        now: Tick,
        executor: ExecutorId,
        message: &str,
        by_application: bool,
        worker_lost: bool,
        out: &mut Vec<DriverEffect>,
    ) {
        let not_begun = self.tasks.not_begun(executor);
        let by_application = by_application && !self.tasks.executors().was_decommissioned(executor);
        let worker_lost = worker_lost || self.service_leaves_with(executor);
        let Some(tasks) = self.tasks.remove_executor(executor) else {
            // It was given up before; that the shuffle service went, too, is news all the same.
            if worker_lost {
                self.drop_outputs(now, executor, by_application, message, true, out);
            }
            return;
        };
        self.tasks.forget_health(executor);
        self.news.say(|time| AppEvent::ExecutorRemoved { executor, time, reason: message.to_owned() });
        if by_application {
            self.tasks.launch_one_by_one(&tasks);
        }
        self.blocks.remove_executor(executor);
        let dropped = self.outputs.remove_executor(executor, worker_lost);
        for task in tasks {
            // What waited for its turn has ended nobody.
            let by_application = by_application && not_begun.binary_search(&task).is_err();
            let failure = TaskFailure::ExecutorLost { executor, by_application, message: message.to_owned() };
            self.task_failed(now, task, failure, out);
        }
        let failure = TaskFailure::ExecutorLost { executor, by_application, message: message.to_owned() };
        self.redo_lost(now, &dropped, failure, out);
    }

    /// An executor is about to end by the driver's wish: it gets nothing any more, and nobody is sent to what it holds,
    /// unless others serve that.
    pub(crate) fn give_back(&mut self, now: Tick, executor: ExecutorId, out: &mut Vec<DriverEffect>) {
        self.tasks.disconnect(executor, now + RETIREMENT);
        self.blocks.remove_executor(executor);
        self.drop_outputs(now, executor, false, "it was given back", false, out);
    }

    /// What lies with the executor is lost, unless a shuffle service serves it, which may be lost as well.
    fn drop_outputs(
        &mut self,
        now: Tick,
        executor: ExecutorId,
        by_application: bool,
        message: &str,
        worker_lost: bool,
        out: &mut Vec<DriverEffect>,
    ) {
        let dropped = self.outputs.remove_executor(executor, worker_lost);
        let failure = TaskFailure::ExecutorLost { executor, by_application, message: message.to_owned() };
        self.redo_lost(now, &dropped, failure, out);
    }

    /// A worker is gone: what its shuffle service had goes off the books. The end of an executor that it still ran is told
    /// by itself.
    pub(crate) fn worker_removed(
        &mut self,
        now: Tick,
        executors: &[ExecutorId],
        message: &str,
        out: &mut Vec<DriverEffect>,
    ) {
        for &executor in executors {
            let known = self.tasks.executor(executor);
            if known.is_some_and(|e| !e.is_connected()) {
                // Why it is gone is awaited no longer.
                self.executor_removed(now, executor, message, false, true, out);
            } else if self.outputs.service_of(executor).is_some() {
                self.drop_outputs(now, executor, false, message, true, out);
            }
        }
    }

    /// Removes executors that disconnected and whose reason did not come in time.
    pub(super) fn remove_overdue(&mut self, now: Tick, out: &mut Vec<DriverEffect>) {
        for executor in self.tasks.executors().overdue(now) {
            self.executor_removed(now, executor, "its connection closed and no reason became known", false, false, out);
        }
    }

    /// Map stages that run make lost outputs again at once; others when somebody needs them.
    pub(crate) fn redo_lost(
        &mut self,
        now: Tick,
        lost: &[(ShuffleId, u32)],
        failure: TaskFailure,
        out: &mut Vec<DriverEffect>,
    ) {
        for (shuffle, map) in lost {
            let stage = self.dag.stages.writer_of(*shuffle).and_then(|id| self.dag.stages.get(id));
            let Some(stage) = stage else { continue };
            if stage.barrier {
                // Tasks of it that run may wait for the one that is to run again.
                self.restart_barrier(now, stage.id, failure.clone(), out);
            } else if let Some(attempt) = stage.running_attempt() {
                self.tasks.redo(stage.key(attempt), *map);
            }
        }
    }
}
