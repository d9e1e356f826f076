//! A driver's schedulers in the virtual cluster: jobs go in, and what they want done is done.

use std::{collections::BTreeSet, sync::Arc};

use firesteel_common::{CallSite, ExecutorId, JobId, ShuffleId, StageAttempt, TaskFailure, TaskId};
use firesteel_protocol::{BarrierAnswer, KillTask, LaunchTasks, StageBinary, TaskDescription, ToExecutor};
use firesteel_rpc::{
    master_client::Event,
    proto::deploy::{UnregisterApplication, to_master},
};
use firesteel_scheduler::{
    DriverEffect, DriverEvent, JobError, JobGraph, JobProperties, MapLocation, TaskSpec, addresses,
};

use crate::{
    barrier::is_barrier,
    cluster::{Action, Cluster},
    editions::decode_result,
    model,
    state::{driver::Submitted, network::Node, stage::StageInfo},
};

impl Cluster {
    pub(crate) fn submit_job(&mut self, d: usize, root: usize) {
        let driver = &mut self.drivers[d];
        if !driver.lives() {
            return;
        }
        driver.jobs_to_come -= 1;
        let job = JobId(driver.jobs.len() as u32);
        let graph = model::job_graph(&driver.program, root);
        let partitions: Vec<u32> = (0..graph.nodes[root].partitions).collect();
        let at = self.now;
        let group = self.rng.chance(30).then(|| "group".to_owned());
        let pool = self.rng.chance(50).then(|| ["a", "b"][self.rng.below(2) as usize].to_owned());
        let repeatable = self.rng.chance(70);
        let driver = &mut self.drivers[d];
        let submitted = Submitted {
            graph: Arc::new(graph.clone()),
            partitions: partitions.clone(),
            cancelled: false,
            repeatable,
            group: group.clone(),
            at,
        };
        driver.jobs.insert(job, submitted);
        self.note(format_args!(
            "user {d} submits {job}: {} with {} partitions",
            graph.nodes[root].rdd,
            partitions.len()
        ));
        let properties = JobProperties { pool, group, ..JobProperties::default() };
        self.driver_handle(
            d,
            DriverEvent::SubmitJob { site: CallSite::default(), job, graph, partitions, properties, repeatable },
        );
    }

    pub(crate) fn driver_handle(&mut self, d: usize, event: DriverEvent) {
        self.driver_handle_all(d, vec![event]);
    }

    pub(crate) fn driver_handle_all(&mut self, d: usize, events: Vec<DriverEvent>) {
        let mut out = Vec::new();
        self.touched.insert(Node::Driver(d));
        self.drivers[d].core.handle_all(self.now, events, &mut out);
        self.hear(d);
        for effect in out {
            self.driver_effect(d, effect);
        }
        self.check_peers(d);
        if let Err(e) = self.drivers[d].books.all_launched() {
            self.violated(e);
        }
    }

    fn driver_effect(&mut self, d: usize, effect: DriverEffect) {
        match effect {
            DriverEffect::StageStarted { attempt, kind, rdd, tasks, shuffles, .. } => {
                self.check_read_places(d, attempt, &shuffles);
                self.note(format_args!("driver {d} starts {attempt} with {tasks} tasks: {kind:?}"));
                let graph = Arc::new(JobGraph {
                    nodes: self.drivers[d].program.clone(),
                    root: self.drivers[d].program.len() - 1,
                });
                let node = model::node_of(&graph, rdd);
                let barrier = is_barrier(&graph, node);
                let info = StageInfo { kind, graph, node, shuffles: shuffles.into_iter().collect(), barrier };
                self.drivers[d].latest.insert(attempt.stage, attempt.attempt);
                self.drivers[d].books.editions.started(attempt, &info);
                self.drivers[d].stages.insert(attempt, Arc::new(info));
            }
            DriverEffect::StageEnded { attempt } => {
                self.drivers[d].stages.remove(&attempt);
                self.drivers[d].ended.push(attempt);
                self.drivers[d].books.stage_ended(attempt);
            }
            DriverEffect::LaunchTasks { executor, tasks } => self.launch(d, executor, tasks),
            DriverEffect::Tell { executor, message } => self.driver_tells(d, executor, message),
            DriverEffect::RecallTasks { executor, tasks } => {
                self.tell_executor(d, executor.0, ToExecutor::RecallTasks(tasks))
            }
            DriverEffect::KillTask { executor, task, reason } => {
                self.tell_executor(d, executor.0, ToExecutor::KillTask(KillTask { task, reason }));
            }
            DriverEffect::FetchResult { executor, block_address, task, .. } => {
                self.drivers[d].books.fetching.insert(task, executor);
                let at = self.now + self.latency();
                self.schedule(at, Action::ResultFetched { driver: d, block_address, task });
            }
            DriverEffect::TaskFailed { task, stage, partition, executor, failure, .. } => {
                self.note(format_args!("driver {d}: {task} failed: {failure}"));
                self.fetch_failed(d, stage, &failure);
                let driver = &mut self.drivers[d];
                let rules = driver.features.config.exclusion.as_ref();
                let avoided = driver.books.failed(task, stage, partition, executor, &failure, rules);
                self.counts.avoided += usize::from(avoided);
            }
            DriverEffect::JobResult { job, index, bytes } => {
                if self.drivers[d].over.contains_key(&job)
                    || self.drivers[d].results.insert((job, index), bytes).is_some()
                {
                    self.violated(format!("result {index} of {job} came twice or too late"));
                }
            }
            DriverEffect::ResultsDiscarded { job } => {
                self.note(format_args!("the results of {job} count no more"));
                self.counts.discarded += 1;
                let driver = &mut self.drivers[d];
                driver.results.retain(|(of, _), _| *of != job);
                if driver.over.contains_key(&job) || !driver.jobs.get(&job).is_some_and(|j| j.repeatable) {
                    self.violated(format!("the results of {job} are taken back"));
                }
            }
            DriverEffect::OutputDiffers { shuffle, map, operator, .. } => {
                self.note(format_args!("output {map} of {shuffle} came out differently"));
                self.counts.differing += 1;
                if !self.drivers[d].program.iter().any(|n| n.operator == model::UNSTABLE) {
                    self.violated(format!("output {map} of {shuffle} ({operator}) cannot differ"));
                }
            }
            // Tasks here have no accumulators.
            DriverEffect::Accumulate { .. } => {}
            DriverEffect::JobSucceeded { job } => self.job_over(d, job, Ok(())),
            DriverEffect::JobFailed { job, error } => self.job_over(d, job, Err(error)),
            DriverEffect::StageSkipped { stage, shuffle, .. } => {
                self.note(format_args!("driver {d} skips {stage}: {shuffle} is there"));
            }
            DriverEffect::DropShuffle { shuffle } => self.tell_all(d, &ToExecutor::RemoveShuffle(shuffle)),
            DriverEffect::DropRdd { rdd } => self.tell_all(d, &ToExecutor::RemoveRdd(rdd)),
            DriverEffect::ExecutorRefused { executor, reason } => {
                self.tell_executor(d, executor.0, ToExecutor::RegisterExecutorFailed(reason));
                self.drop_link(d, executor, "the schedulers do not take it");
            }
            DriverEffect::BarrierStarted { attempt, places } => self.barrier_started(d, attempt, places),
            DriverEffect::AnswerBarrier { executor, task, call, result } => {
                self.answer_barrier(d, executor.0, BarrierAnswer { task, call, result });
            }
            DriverEffect::RequestExecutors { total } => self.request_executors(d, total),
            DriverEffect::RetireExecutors { executors } => self.retire_executors(d, executors),
            DriverEffect::DecommissionExecutor { executor } => self.decommission_executor(d, executor),
            DriverEffect::NoResources { waited, .. } => {
                self.note(format_args!("driver {d} warns: no resources for {waited:?}"));
            }
        }
    }

    /// Remembers which output could not be read, if it was for a stage's latest attempt: nobody may be sent there again.
    fn fetch_failed(&mut self, d: usize, stage: StageAttempt, failure: &TaskFailure) {
        let TaskFailure::FetchFailed { shuffle, map_task, map_index, executor, .. } = failure else { return };
        self.counts.fetch_failures += 1;
        let driver = &mut self.drivers[d];
        // A later attempt knows better places already.
        let latest = driver.latest.get(&stage.stage) == Some(&stage.attempt);
        if latest && *map_index != u32::MAX {
            driver.unreadable.insert((*shuffle, *map_task, *executor), failure.to_string());
        }
    }

    fn check_read_places(&mut self, d: usize, attempt: StageAttempt, shuffles: &[(ShuffleId, Arc<Vec<MapLocation>>)]) {
        let driver = &self.drivers[d];
        let bad = shuffles.iter().flat_map(|(s, all)| all.iter().map(|l| (*s, l))).find_map(|(s, l)| {
            if let Some(failure) = driver.unreadable.get(&(s, l.map_task, l.executor)) {
                return Some(format!("{attempt} is sent again to an output that could not be read: {failure}"));
            }
            if driver.books.lost.contains(&l.executor) {
                return Some(format!(
                    "{attempt} is sent to an output on {}, which is lost with its worker",
                    l.executor
                ));
            }
            if driver.features.shuffle_service {
                return None;
            }
            if driver.books.retired.contains(&l.executor) {
                return Some(format!("{attempt} is sent to an output on {}, which was given back", l.executor));
            }
            let since = driver.gone.get(&l.executor.0)?;
            Some(format!("{attempt} is sent to an output on {}, which is gone since {since:?}", l.executor))
        });
        let mixed =
            shuffles.iter().find_map(|(s, all)| driver.books.check_made(*s, all.iter().map(|l| l.map_task)).err());
        bad.into_iter().chain(mixed).for_each(|b| self.violated(b));
    }

    fn tell_all(&mut self, d: usize, message: &ToExecutor) {
        let executors: Vec<u32> = self.drivers[d].executors.keys().copied().collect();
        executors.into_iter().for_each(|e| self.tell_executor(d, e, message.clone()));
    }

    fn launch(&mut self, d: usize, executor: ExecutorId, tasks: Vec<TaskSpec>) {
        let stages: BTreeSet<StageAttempt> = tasks.iter().map(|t| t.stage).collect();
        if let Some(missing) = stages.iter().find(|s| !self.drivers[d].stages.contains_key(s)) {
            self.violated(format!("tasks of {missing} are launched while it is not known"));
        }
        if let Some(since) = self.drivers[d].gone.get(&executor.0) {
            self.violated(format!("tasks are sent to {executor}, which is lost since {since:?}"));
        }
        for spec in &tasks {
            let driver = &mut self.drivers[d];
            let Some(stage) = driver.stages.get(&spec.stage).cloned() else { continue };
            let rules = driver.features.config.exclusion.as_ref();
            if let Err(e) = driver.books.launch(executor, *spec, &stage, rules) {
                self.violated(e);
            }
        }
        self.counts.speculative += tasks.iter().filter(|t| t.speculative).count();
        let known = stages.iter().filter_map(|s| Some((*s, self.drivers[d].stages.get(s)?.clone())));
        let known: Vec<(StageAttempt, Arc<StageInfo>)> = known.collect();
        let binary = |(stage, info): &(_, _)| StageBinary { stage: *stage, data: self.stages_sent.encode(info) };
        let stages = known.iter().map(binary).collect();
        let describe = |t: TaskSpec| TaskDescription {
            task: t.task,
            stage: t.stage,
            partition: t.partition,
            attempt_number: t.attempt_number,
            peers: addresses(&self.drivers[d].core.peers_of(executor, t.partition)),
            ..TaskDescription::default()
        };
        let tasks = tasks.into_iter().filter(|t| known.iter().any(|(s, _)| *s == t.stage)).map(describe).collect();
        let ended = std::mem::take(&mut self.drivers[d].ended);
        self.tell_executor(d, executor.0, ToExecutor::LaunchTasks(LaunchTasks { stages, tasks, ended }));
    }

    pub(crate) fn result_fetched(&mut self, d: usize, block_address: &str, task: TaskId) {
        if !self.drivers[d].lives() {
            return;
        }
        let lost = self.chance(self.faults.lose_message);
        let holder = self.executors.iter().find(|(_, e)| e.block_address == block_address).map(|(id, _)| *id);
        let holder = holder.filter(|h| !lost && self.reaches(Node::Driver(d), Node::Executor(*h)));
        let result = holder.and_then(|h| self.executors.get_mut(&h)?.store.results.remove(&task));
        let result = result.ok_or_else(|| "connection refused".to_owned());
        self.drivers[d].books.fetching.remove(&task);
        self.driver_handle(d, DriverEvent::ResultFetched { task, result });
    }

    fn job_over(&mut self, d: usize, job: JobId, end: Result<(), JobError>) {
        match &end {
            Ok(()) => {
                self.note(format_args!("{job} SUCCEEDED"));
                self.check_editions(d, job);
            }
            Err(error) => self.note(format_args!("{job} FAILED: {error}")),
        }
        let told = self.drivers[d].heard.over.get(&job);
        if told.is_some_and(|succeeded| *succeeded != end.is_ok()) || told.is_none() && end.is_ok() {
            self.violated(format!("driver {d} tells another end of {job}: {end:?}"));
        }
        if self.drivers[d].over.insert(job, end).is_some() {
            self.violated(format!("{job} ended twice"));
        }
    }

    /// A job that succeeded used one edition of everything.
    fn check_editions(&mut self, d: usize, job: JobId) {
        let driver = &self.drivers[d];
        let results = driver.results.range((job, 0)..=(job, u32::MAX)).map(|(_, bytes)| decode_result(bytes));
        let made_in: Result<Vec<StageAttempt>, String> = results.map(|r| Ok(r?.0)).collect();
        if let Err(e) = made_in.and_then(|attempts| driver.books.editions.check(attempts)) {
            self.violated(format!("{job} succeeded from a mix: {e}"));
        }
    }

    /// The user's program ends.
    pub(crate) fn stop_driver(&mut self, d: usize) {
        self.note(format_args!("driver {d} ends"));
        self.drivers[d].over_since = Some(self.now);
        let app_id = self.drivers[d].app_id.clone();
        self.tell_master(d, to_master::Message::UnregisterApplication(UnregisterApplication { app_id }));
        self.driver_handle(d, DriverEvent::Stop);
        self.tell_all(d, &ToExecutor::StopExecutor);
        self.driver_search(d, Event::Stop);
    }
}
