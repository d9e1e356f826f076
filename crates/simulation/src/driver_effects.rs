//! The driver's schedulers in the virtual cluster: jobs go in, and what they want done is done.

use std::{collections::BTreeSet, sync::Arc};

use firesteel_common::{ExecutorId, JobId, StageAttempt, TaskId};
use firesteel_rpc::{
    master_client::Event,
    proto::deploy::{UnregisterApplication, to_master},
};
use firesteel_scheduler::{DriverEffect, DriverEvent, JobError, JobGraph, TaskSpec};

use crate::{
    cluster::{Action, Cluster},
    driver_node::Submitted,
    model,
    network::{Message, Side, ToExecutor},
    task_run::StageInfo,
};

impl Cluster {
    pub(crate) fn submit_job(&mut self, root: usize) {
        let job = JobId(self.driver.jobs.len() as u32);
        let graph = model::job_graph(&self.program, root);
        let partitions: Vec<u32> = (0..graph.nodes[root].partitions).collect();
        self.note(format_args!("user submits {job}: {} with {} partitions", graph.nodes[root].rdd, partitions.len()));
        let submitted = Submitted { graph: Arc::new(graph.clone()), partitions: partitions.clone(), cancelled: false };
        self.driver.jobs.insert(job, submitted);
        self.driver_handle(DriverEvent::SubmitJob { job, graph, partitions });
    }

    pub(crate) fn driver_handle(&mut self, event: DriverEvent) {
        let mut out = Vec::new();
        self.driver.core.handle(self.now, event, &mut out);
        for effect in out {
            self.driver_effect(effect);
        }
    }

    fn driver_effect(&mut self, effect: DriverEffect) {
        match effect {
            DriverEffect::StageStarted { attempt, kind, rdd, tasks, shuffles } => {
                self.note(format_args!("driver starts {attempt} with {tasks} tasks: {kind:?}"));
                let graph = Arc::new(JobGraph { nodes: self.program.clone(), root: self.program.len() - 1 });
                let node = model::node_of(&graph, rdd);
                let info = StageInfo { kind, graph, node, shuffles: shuffles.into_iter().collect() };
                self.driver.stages.insert(attempt, Arc::new(info));
            }
            DriverEffect::StageEnded { attempt } => {
                self.driver.stages.remove(&attempt);
                self.driver.ended.push(attempt);
            }
            DriverEffect::LaunchTasks { executor, tasks } => self.launch(executor, tasks),
            DriverEffect::RecallTasks { executor, tasks } => self.tell_executor(executor.0, ToExecutor::Recall(tasks)),
            DriverEffect::KillTask { executor, task, reason } => {
                self.tell_executor(executor.0, ToExecutor::Kill { task, reason });
            }
            DriverEffect::FetchResult { block_address, task, .. } => {
                let at = self.now + self.latency();
                self.schedule(at, Action::ResultFetched { block_address, task });
            }
            DriverEffect::TaskFailed { task, failure, .. } => {
                self.note(format_args!("driver: {task} failed: {failure}"))
            }
            DriverEffect::JobResult { job, index, bytes } => {
                if self.driver.over.contains_key(&job) || self.driver.results.insert((job, index), bytes).is_some() {
                    self.violated(format!("result {index} of {job} came twice or too late"));
                }
            }
            DriverEffect::JobSucceeded { job } => self.job_over(job, Ok(())),
            DriverEffect::JobFailed { job, error } => self.job_over(job, Err(error)),
            DriverEffect::StageSkipped { stage, shuffle, .. } => {
                self.note(format_args!("driver skips {stage}: {shuffle} is there"));
            }
            DriverEffect::DropShuffle { shuffle } => self.tell_all(&ToExecutor::DropShuffle(shuffle)),
            DriverEffect::DropRdd { rdd } => self.tell_all(&ToExecutor::DropRdd(rdd)),
            DriverEffect::ExecutorRefused { executor, reason } => {
                if let Some(link) = self.driver.executors.remove(&executor.0) {
                    self.send(link, Side::Listener, Message::ToExecutor(ToExecutor::Refused(reason)));
                    self.close(link, Side::Listener);
                }
            }
            DriverEffect::RequestExecutors { .. } | DriverEffect::RetireExecutors { .. } => {}
            DriverEffect::NoResources { waited, .. } => {
                self.note(format_args!("driver warns: no resources for {waited:?}"));
            }
        }
    }

    fn tell_all(&mut self, message: &ToExecutor) {
        let executors: Vec<u32> = self.driver.executors.keys().copied().collect();
        executors.into_iter().for_each(|e| self.tell_executor(e, message.clone()));
    }

    fn launch(&mut self, executor: ExecutorId, tasks: Vec<TaskSpec>) {
        let stages: BTreeSet<StageAttempt> = tasks.iter().map(|t| t.stage).collect();
        if let Some(missing) = stages.iter().find(|s| !self.driver.stages.contains_key(s)) {
            self.violated(format!("tasks of {missing} are launched while it is not known"));
        }
        let info = |t: TaskSpec| Some((t, self.driver.stages.get(&t.stage)?.clone()));
        let tasks = tasks.into_iter().filter_map(info).collect();
        let ended = std::mem::take(&mut self.driver.ended);
        self.tell_executor(executor.0, ToExecutor::Launch { tasks, ended });
    }

    pub(crate) fn result_fetched(&mut self, block_address: &str, task: TaskId) {
        let lost = self.chance(self.faults.lose_message);
        let store = self.executors.values_mut().find(|e| e.block_address == block_address).map(|e| &mut e.store);
        let result = store.filter(|_| !lost).and_then(|s| s.results.remove(&task));
        let result = result.ok_or_else(|| "connection refused".to_owned());
        self.driver_handle(DriverEvent::ResultFetched { task, result });
    }

    fn job_over(&mut self, job: JobId, end: Result<(), JobError>) {
        match &end {
            Ok(()) => self.note(format_args!("{job} SUCCEEDED")),
            Err(error) => self.note(format_args!("{job} FAILED: {error}")),
        }
        if self.driver.over.insert(job, end).is_some() {
            self.violated(format!("{job} ended twice"));
        }
    }

    /// The user's program ends.
    pub(crate) fn stop_driver(&mut self) {
        self.note(format_args!("driver ends"));
        self.driver.stopped = true;
        let app_id = self.driver.app_id.clone();
        self.tell_master(to_master::Message::UnregisterApplication(UnregisterApplication { app_id }));
        self.driver_handle(DriverEvent::Stop);
        self.tell_all(&ToExecutor::Stop);
        self.driver_search(Event::Stop);
    }
}
