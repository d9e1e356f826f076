//! Carries out what the schedulers decide, and translates the executors' news for them.

use std::sync::Arc;
use std::time::Duration;

use firesteel_common::{BroadcastId, ExecutorId, JobId, RddId, ShuffleId, TaskFailure, TaskId};
use firesteel_events::{AccumulatorUpdate, TaskReport};
use firesteel_rdd::{node::EncodedOp, runner::JobEvent};
use firesteel_rpc::{
    convert::failure_from_proto,
    metrics::{accumulators_from_proto, metrics_from_proto},
    proto::executor as proto,
};
use firesteel_scheduler::{BlockUpdate, DriverEffect, DriverEvent, MapOutput, StageKind, TaskOutcome, TaskUpdate};

use super::{EventLoop, ExecutorRequest, copies, stages::users_code};
use crate::Error;

impl EventLoop {
    pub(super) fn carry_out_one(&mut self, effect: DriverEffect) {
        match effect {
            DriverEffect::StageStarted { attempt, kind, shuffles, tasks, .. } => {
                tracing::debug!(stage = attempt.stage.0, attempt = attempt.attempt, tasks, "stage started");
                self.start_stage(attempt, kind, shuffles);
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
                self.send(executor, proto::to_executor::Message::LaunchTasks(message));
                self.refuse(executor, refused);
            }
            DriverEffect::BarrierStarted { attempt, places } => self.stages.start_barrier(attempt, &places),
            DriverEffect::AnswerBarrier { executor, task, call, result } => {
                let (messages, error) = match result {
                    Ok(messages) => (messages.iter().map(|m| m.to_vec()).collect(), String::new()),
                    Err(error) => (Vec::new(), error),
                };
                let answer = proto::BarrierAnswer { task_id: task.0, call, messages, error };
                self.send(executor, proto::to_executor::Message::BarrierAnswer(answer));
            }
            DriverEffect::RecallTasks { executor, tasks } => {
                let recall = proto::RecallTasks { task_ids: tasks.iter().map(|t| t.0).collect() };
                self.send(executor, proto::to_executor::Message::RecallTasks(recall));
            }
            DriverEffect::KillTask { executor, task, reason } => {
                let kill = proto::KillTask { task_id: task.0, reason };
                self.send(executor, proto::to_executor::Message::KillTask(kill));
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
                self.send_all(proto::to_executor::Message::RemoveShuffle(proto::RemoveShuffle {
                    shuffle_id: shuffle.0,
                }));
                // What executors wrote that are gone.
                self.services.remove(shuffle);
            }
            DriverEffect::DropRdd { rdd } => {
                self.send_all(proto::to_executor::Message::RemoveRdd(proto::RemoveRdd { rdd_id: rdd.0 }));
            }
            DriverEffect::ExecutorRefused { executor, reason } => {
                let refused = proto::RegisterExecutorFailed { reason };
                self.send(executor, proto::to_executor::Message::RegisterExecutorFailed(refused));
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
                self.peers_changed();
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
            self.send(executor, proto::to_executor::Message::LaunchTasks(message));
        }
    }

    /// Encodes a stage for its tasks. What cannot be encoded fails the jobs that need it.
    fn start_stage(
        &mut self,
        attempt: firesteel_common::StageAttempt,
        kind: StageKind,
        shuffles: Vec<(firesteel_common::ShuffleId, Arc<Vec<firesteel_scheduler::MapLocation>>)>,
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
        let started = output.and_then(|o| self.stages.start(attempt, root, o, shuffles));
        if let Err(e) = started {
            self.stages.start_failed(attempt, e);
        }
    }

    /// Tasks that could not be put into a message end as failed.
    fn refuse(&mut self, executor: ExecutorId, refused: Vec<(TaskId, Error)>) {
        if refused.is_empty() {
            return;
        }
        let failed = |(task, e): (TaskId, Error)| TaskUpdate {
            task,
            outcome: failed(e),
            blocks: Vec::new(),
            ran: Duration::ZERO,
            report: None,
        };
        let event = DriverEvent::TasksUpdated { executor, updates: refused.into_iter().map(failed).collect() };
        self.pending.push_back(event);
    }

    /// Asks the backend for a change of the executors.
    fn ask(&self, request: ExecutorRequest) {
        if let Some(requests) = &self.requests {
            requests(request);
        }
    }

    pub(super) fn send(&mut self, executor: ExecutorId, message: proto::to_executor::Message) {
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
            let remove = proto::RemoveBroadcast { broadcast_id: broadcast.0 };
            self.send(executor, proto::to_executor::Message::RemoveBroadcast(remove));
        }
    }

    fn send_all(&mut self, message: proto::to_executor::Message) {
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

/// A task that failed of what is no panic.
fn failed(why: impl std::fmt::Display) -> TaskOutcome {
    let (message, location) = (why.to_string(), String::new());
    TaskOutcome::Failed(TaskFailure::Exception { message, location, panic: false })
}

/// An executor's news in the schedulers' words and in their order; the copies of blocks that it says others have are news
/// of those.
pub fn events_of_status(executor: ExecutorId, updates: Vec<proto::StatusUpdate>, events: &mut Vec<DriverEvent>) {
    let mut gathered = Vec::new();
    for mut update in updates {
        let moved = match &update.state {
            Some(proto::status_update::State::Moved(moved)) => Some(*moved),
            _ => None,
        };
        // A copy counts while its original is known, so that the end of that comes after it, and its beginning before.
        let dropped = update.blocks.iter().any(|block| !block.stored);
        let copies = copies::of(&mut update);
        let (first, then) = if moved.is_some() {
            (None, None)
        } else if dropped {
            (None, Some(update))
        } else {
            (Some(update), None)
        };
        gathered.extend(first.map(|update| update_of(executor, update)));
        if (moved.is_some() || !copies.is_empty()) && !gathered.is_empty() {
            events.push(DriverEvent::TasksUpdated { executor, updates: std::mem::take(&mut gathered) });
        }
        events.extend(copies);
        gathered.extend(then.map(|update| update_of(executor, update)));
        events.extend(moved.map(|m| DriverEvent::MapOutputMoved {
            executor,
            shuffle: ShuffleId(m.shuffle_id),
            map_task: TaskId(m.map_task_id),
            to: ExecutorId(m.to_executor_id),
        }));
    }
    if !gathered.is_empty() {
        events.push(DriverEvent::TasksUpdated { executor, updates: gathered });
    }
}

/// An executor's news in the schedulers' words.
fn update_of(executor: ExecutorId, update: proto::StatusUpdate) -> TaskUpdate {
    // A task whose end nobody understands would otherwise be waited for for ever.
    let outcome = outcome_of(update.state).unwrap_or_else(|| {
        tracing::warn!(executor_id = executor.0, task = update.task_id, "a status update without a state");
        failed("the executor sent a status update without a state that this driver knows")
    });
    let blocks = update
        .blocks
        .into_iter()
        .map(|b| BlockUpdate { rdd: RddId(b.rdd_id), partition: b.partition, stored: b.stored, bytes: b.memory_bytes })
        .collect();
    let ran = Duration::from_nanos(update.run_nanos);
    let report = update.report.map(|report| {
        let metrics = report.metrics.as_ref().map(metrics_from_proto);
        Box::new(TaskReport { metrics, accumulators: accumulators_from_proto(report.accumulators) })
    });
    TaskUpdate { task: TaskId(update.task_id), outcome, blocks, ran, report }
}

fn outcome_of(state: Option<proto::status_update::State>) -> Option<TaskOutcome> {
    use proto::{payload::Place, status_update::State, success::Output};
    Some(match state? {
        State::Running(_) => TaskOutcome::Running,
        State::GivenBack(_) => TaskOutcome::GivenBack,
        // No news of a task: see `events_of_status`.
        State::Moved(_) => return None,
        State::Success(success) => match success.output? {
            Output::Result(payload) => match payload.place? {
                Place::Inline(bytes) => TaskOutcome::Result(bytes),
                Place::Block(block) => TaskOutcome::ResultInBlock { block_id: block.block_id, size: block.size },
                // Nobody but the driver gets results.
                Place::Broadcast(_) => return None,
            },
            Output::MapStatus(status) => {
                let (map_task, checksum) = (TaskId(status.map_task_id), status.checksum);
                TaskOutcome::MapOutput(MapOutput { map_task, sizes: status.sizes.into(), checksum })
            }
        },
        State::Failure(failure) => TaskOutcome::Failed(failure_from_proto(failure).ok()?),
    })
}
