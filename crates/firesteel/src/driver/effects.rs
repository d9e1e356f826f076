//! Carries out what the schedulers decide.

use std::{collections::BTreeMap, sync::Arc};

use firesteel_common::{BroadcastId, ExecutorId, JobId, TaskFailure, TaskId};
use firesteel_events::AccumulatorUpdate;
use firesteel_protocol::{BarrierAnswer, KillTask, TaskOutcome, TaskUpdate, ToDriver, ToExecutor};
use firesteel_rdd::{node::EncodedOp, runner::JobEvent};
use firesteel_scheduler::{DriverEffect, DriverEvent, StageKind};

use super::{EventLoop, ExecutorRequest, stages::users_code};
use crate::Error;

impl EventLoop {
    pub(super) fn carry_out_one(&mut self, effect: DriverEffect) {
        match effect {
            DriverEffect::StageStarted { attempt, kind, shuffles, tasks, properties, .. } => {
                tracing::debug!(stage = attempt.stage.0, attempt = attempt.attempt, tasks, "stage started");
                self.start_stage(attempt, kind, shuffles, &properties);
            }
            DriverEffect::StageEnded { attempt } => {
                self.stages.end(attempt);
                // Otherwise executors hear of it with their next tasks.
                let leaving = !self.core.leaving().is_empty();
                if std::mem::take(&mut self.blocks_held) || leaving || self.stages.many_ended() {
                    self.tell_ended();
                }
            }
            DriverEffect::LaunchTasks { executor, tasks } => {
                let (message, refused) = self.stages.launch(&self.core, executor, &tasks);
                self.send(executor, ToExecutor::LaunchTasks(message));
                self.refuse(executor, refused);
            }
            DriverEffect::BarrierStarted { attempt, places } => self.stages.start_barrier(attempt, &places),
            DriverEffect::AnswerBarrier { executor, task, call, result } => {
                self.send(executor, ToExecutor::BarrierAnswer(BarrierAnswer { task, call, result }));
            }
            DriverEffect::Tell { executor, message } => self.send(executor, message),
            DriverEffect::RecallTasks { executor, tasks } => self.send(executor, ToExecutor::RecallTasks(tasks)),
            DriverEffect::KillTask { executor, task, reason } => {
                self.send(executor, ToExecutor::KillTask(KillTask { task, reason }));
            }
            DriverEffect::FetchResult { block_address, task, block_id, .. } => {
                self.blocks_held = true;
                self.fetcher.request(block_address, block_id, task);
            }
            DriverEffect::TaskFailed { task, stage, partition, executor, failures, failure } => {
                let (task, executor, stage) = (task.0, executor.0, stage.stage.0);
                tracing::warn!(task, stage, partition, executor_id = executor, failures, "lost task: {failure}");
            }
            DriverEffect::JobResult { job, index, bytes } => {
                self.tell(job, JobEvent::Result { index: index as usize, bytes });
            }
            DriverEffect::ResultsDiscarded { job } => {
                tracing::info!(job = job.0, "the results so far count no more: what they were made of is made anew");
                self.tell(job, JobEvent::Discarded);
            }
            DriverEffect::OutputDiffers { shuffle, map, rdd, operator, compared: true } => tracing::warn!(
                shuffle = shuffle.0,
                partition = map,
                rdd = rdd.0,
                operator,
                "a lost partition came out with other records when it was computed again: something before this shuffle is \
                 not deterministic; what was made of the first ones is computed again"
            ),
            DriverEffect::OutputDiffers { shuffle, map, rdd, operator, compared: false } => tracing::info!(
                shuffle = shuffle.0,
                partition = map,
                rdd = rdd.0,
                operator,
                "a lost partition was computed again and cannot be compared with the first one, as memory was short"
            ),
            DriverEffect::Accumulate { updates } => self.accumulate(updates),
            DriverEffect::JobSucceeded { job } => self.end_job(job, JobEvent::Succeeded),
            DriverEffect::JobFailed { job, error } => self.end_job(job, JobEvent::Failed(Arc::new(error))),
            DriverEffect::StageSkipped { stage, shuffle, job } => {
                tracing::debug!(stage = stage.0, shuffle = shuffle.0, job = job.0, "stage skipped");
            }
            DriverEffect::DropShuffle { shuffle } => {
                self.send_all(ToExecutor::RemoveShuffle(shuffle));
                // What executors wrote that are gone.
                self.services.remove(shuffle);
            }
            DriverEffect::DropRdd { rdd } => self.send_all(ToExecutor::RemoveRdd(rdd)),
            DriverEffect::ExecutorRefused { executor, reason } => {
                self.send(executor, ToExecutor::RegisterExecutorFailed(reason));
                self.links.remove(&executor);
            }
            DriverEffect::RequestExecutors { total } => self.ask(ExecutorRequest::Total(total)),
            DriverEffect::RetireExecutors { executors } => {
                for (executor, reason) in executors {
                    tracing::info!(executor_id = executor.0, reason, "giving an executor back");
                    self.ask(ExecutorRequest::Retire { executor, reason });
                }
            }
            DriverEffect::DecommissionExecutor { executor } => {
                tracing::info!(executor_id = executor.0, "an executor is decommissioned; it gets no more tasks");
                self.ask(ExecutorRequest::Leaving(executor));
                // It waits for the end of the stages whose results it holds.
                self.tell_ended();
            }
            DriverEffect::NoResources { waited, executors } => tracing::warn!(
                waited_s = waited.as_secs(),
                executors,
                "the job has not accepted any resources; check that workers are registered and have enough cores and \
                 memory"
            ),
        }
    }

    /// Adds what tasks added to their accumulators.
    fn accumulate(&self, updates: Vec<AccumulatorUpdate>) {
        for AccumulatorUpdate { id, value } in updates {
            let merged = users_code("adding to an accumulator", || Ok(self.accumulators.merge(id, &value)?));
            if let Err(error) = merged {
                tracing::error!(accumulator = id, "what a task added is lost: {error}");
            }
        }
    }

    /// Tells executors of the stages that ended.
    pub(super) fn tell_ended(&mut self) {
        for (executor, message) in self.stages.take_ended() {
            self.send(executor, ToExecutor::LaunchTasks(message));
        }
    }

    /// Encodes a stage for its tasks. What cannot be encoded fails the jobs that need it.
    fn start_stage(
        &mut self,
        attempt: firesteel_common::StageAttempt,
        kind: StageKind,
        shuffles: Vec<(firesteel_common::ShuffleId, Arc<Vec<firesteel_scheduler::MapLocation>>)>,
        properties: &BTreeMap<String, String>,
    ) {
        let (root, output) = match kind {
            StageKind::Result { job } => match self.jobs.get(&job) {
                Some(job) => (job.root.clone(), Ok(EncodedOp { desc: job.output.desc, env: job.output.env.clone() })),
                None => return,
            },
            StageKind::ShuffleMap { shuffle, .. } => match self.jobs.values().find_map(|j| j.shuffles.get(&shuffle)) {
                Some(shuffle) => (
                    shuffle.parent(),
                    users_code("encoding the environment of a shuffle", || shuffle.output().map_err(Into::into)),
                ),
                None => return,
            },
        };
        let started = output.and_then(|o| self.stages.start(attempt, root, o, shuffles, properties));
        if let Err(e) = started {
            self.stages.start_failed(attempt, e);
        }
    }

    /// Tasks that could not be put into a message end as failed.
    fn refuse(&mut self, executor: ExecutorId, refused: Vec<(TaskId, Error)>) {
        if refused.is_empty() {
            return;
        }
        let failed = |(task, e): (TaskId, Error)| {
            // Of what is no panic.
            let (message, location) = (e.to_string(), String::new());
            TaskUpdate::of(task, TaskOutcome::Failed(TaskFailure::Exception { message, location, panic: false }))
        };
        let message = ToDriver::StatusUpdates(refused.into_iter().map(failed).collect());
        self.pending.push_back(DriverEvent::Heard { executor, message });
    }

    /// Asks the backend for a change of the executors.
    fn ask(&self, request: ExecutorRequest) {
        if let Some(requests) = &self.requests {
            requests(request);
        }
    }

    pub(super) fn send(&mut self, executor: ExecutorId, message: ToExecutor) {
        let Some(link) = self.links.get(&executor) else { return };
        if let Err(e) = link.send(message) {
            tracing::warn!(executor_id = executor.0, "cannot reach the executor: {e}");
            self.links.remove(&executor);
            self.pending.push_back(DriverEvent::ExecutorDisconnected { executor });
        }
    }

    /// Tells those who have pieces of a value to drop them.
    pub(super) fn drop_broadcast(&mut self, broadcast: BroadcastId, everywhere: bool) {
        let manager = self.blocks.manager.clone();
        let holders = if everywhere {
            manager.remove_broadcast(broadcast)
        } else {
            manager.broadcasts().forget_holders(broadcast)
        };
        for executor in holders {
            self.send(executor, ToExecutor::RemoveBroadcast(broadcast));
        }
    }

    fn send_all(&mut self, message: ToExecutor) {
        let executors: Vec<ExecutorId> = self.links.keys().copied().collect();
        for executor in executors {
            self.send(executor, message.clone());
        }
    }

    fn tell(&self, job: JobId, event: JobEvent) {
        if let Some(job) = self.jobs.get(&job) {
            // The action's thread may have given up its end: the job is then cancelled or nobody wants it.
            let _ = job.events.send(event);
        }
    }

    fn end_job(&mut self, job: JobId, event: JobEvent) {
        self.tell(job, event);
        if let Some(ended) = self.jobs.remove(&job) {
            tracing::debug!(job = job.0, site = %ended.site, "job ended");
            // May be the last that holds values of the user's types.
            let dropped = users_code("dropping the lineage of a job", move || {
                drop(ended);
                Ok(())
            });
            if let Err(e) = dropped {
                tracing::error!(job = job.0, "{e}");
            }
        }
    }
}
