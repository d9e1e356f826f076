//! What a driver was told and said, kept beside its schedulers: what they do is held against it.
//!
//! It is deliberately simple and forgets too much rather than too little, so that what it objects to is wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use firesteel_common::{ExecutorId, RddId, ShuffleId, StageAttempt, TaskFailure, TaskId};
use firesteel_protocol::{BlockUpdate, MapOutputMoved, ReplicateBlock, TaskOutcome, TaskUpdate};
use firesteel_scheduler::{BarrierPlace, ExclusionConfig, StageKind, TaskSpec};

use crate::{editions::Editions, state::stage::StageInfo};

/// A task that was launched and of whose end the driver has not heard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Launched {
    pub(crate) spec: TaskSpec,
    pub(crate) executor: ExecutorId,
}

/// An attempt of a barrier stage whose tasks are all to be launched now.
struct Due {
    places: Vec<BarrierPlace>,
    launched: usize,
}

/// Who came to a call, with what.
type Arrivals = BTreeMap<u32, (TaskId, Bytes)>;

/// Failures of partitions by executor.
type Failures = BTreeMap<ExecutorId, BTreeMap<u32, u32>>;

#[derive(Default)]
pub(crate) struct Books {
    /// Computing something twice gives the same, and no stage is made anew as a whole.
    pub(crate) steady: bool,
    /// What each output was made from.
    pub(crate) editions: Editions,
    /// Outputs that were counted: who has them, and which task wrote them.
    pub(crate) outputs: BTreeMap<(ShuffleId, u32), (ExecutorId, TaskId)>,
    pub(crate) tasks: BTreeMap<TaskId, Launched>,
    /// Tasks that have ended, whose large results are being fetched.
    pub(crate) fetching: BTreeMap<TaskId, ExecutorId>,
    /// Tasks that were told to end, as another had made their output.
    unwanted: BTreeSet<TaskId>,
    caches: BTreeSet<(ExecutorId, RddId, u32)>,
    /// Partitions of which copies are being made, and who was asked.
    copying: BTreeMap<(RddId, u32), ExecutorId>,
    hosts: BTreeMap<ExecutorId, String>,
    /// The shuffle services that serve outputs of executors.
    services: BTreeMap<ExecutorId, String>,
    /// Executors that were given back: they get no tasks, and nobody is sent to them.
    pub(crate) retired: BTreeSet<ExecutorId>,
    /// Executors that went with their workers, shuffle services and all.
    pub(crate) lost: BTreeSet<ExecutorId>,
    /// Executors that are decommissioned: they get no tasks, and their end is nobody's fault.
    pub(crate) leaving: BTreeSet<ExecutorId>,
    /// Those whose workers leave, too, and with them the shuffle services there.
    pub(crate) with_worker: BTreeSet<ExecutorId>,
    failures: BTreeMap<StageAttempt, Failures>,
    due: BTreeMap<StageAttempt, Due>,
    arrivals: BTreeMap<(StageAttempt, u32), Arrivals>,
    /// The attempts of barrier stages in which map tasks ran.
    made_in: BTreeMap<TaskId, StageAttempt>,
}

impl Books {
    pub(crate) fn new(steady: bool) -> Self {
        Books { steady, ..Books::default() }
    }

    pub(crate) fn registered(&mut self, executor: ExecutorId, host: &str, service: Option<&str>) {
        self.hosts.insert(executor, host.to_owned());
        self.services.extend(service.map(|s| (executor, s.to_owned())));
    }

    /// Its outputs are gone, unless they are served without it.
    pub(crate) fn executor_gone(&mut self, executor: ExecutorId, worker_lost: bool) {
        self.caches.retain(|(e, ..)| *e != executor);
        self.tasks.retain(|_, t| t.executor != executor);
        self.fetching.retain(|_, e| *e != executor);
        if worker_lost {
            self.service_lost(executor);
        } else if self.with_worker.contains(&executor) {
            self.drop_beside(executor);
        } else if !self.services.contains_key(&executor) {
            self.outputs.retain(|_, (e, _)| *e != executor);
        }
    }

    /// Its worker is gone, and with it who served its outputs.
    pub(crate) fn service_lost(&mut self, executor: ExecutorId) {
        self.drop_beside(executor);
        self.lost.insert(executor);
        if let Some(service) = self.services.remove(&executor) {
            self.services.retain(|_, other| *other != service);
        }
    }

    /// It is given back, or its connection is gone: the schedulers need not count with its outputs any more.
    pub(crate) fn disconnected(&mut self, executor: ExecutorId) {
        if self.with_worker.contains(&executor) {
            self.drop_beside(executor);
        } else if !self.services.contains_key(&executor) {
            self.outputs.retain(|_, (e, _)| *e != executor);
        }
    }

    /// Another executor has an output now. Whether the schedulers count with that one is not known when it is on its way out.
    pub(crate) fn moved(
        &mut self,
        from: ExecutorId,
        MapOutputMoved { shuffle, map_task, to }: MapOutputMoved,
        there: bool,
    ) {
        let is_it = |(s, _): &(ShuffleId, u32), at: &(ExecutorId, TaskId)| *s == shuffle && *at == (from, map_task);
        if there && !self.leaving.contains(&to) && !self.retired.contains(&to) {
            self.outputs.iter_mut().filter(|(s, at)| is_it(s, at)).for_each(|(_, at)| at.0 = to);
        } else {
            self.outputs.retain(|s, at| !is_it(s, at));
        }
    }

    fn drop_beside(&mut self, executor: ExecutorId) {
        let service = self.services.get(&executor);
        let services = &self.services;
        self.outputs.retain(|_, (e, _)| *e != executor && (service.is_none() || services.get(e) != service));
    }

    /// Kept partitions came or went.
    pub(crate) fn blocks_updated(&mut self, executor: ExecutorId, by_task: bool, updates: &[BlockUpdate]) {
        for u in updates {
            let partition = (u.rdd, u.partition);
            if self.copying.get(&partition) == Some(&executor) && !by_task {
                self.copying.remove(&partition);
            }
            // A copy counts where its original is known.
            let known =
                |caches: &BTreeSet<(ExecutorId, RddId, u32)>| caches.iter().any(|(_, r, p)| (*r, *p) == partition);
            if u.stored && (by_task || known(&self.caches)) {
                self.caches.insert((executor, u.rdd, u.partition));
            }
            if known(&self.caches) {
                self.caches.extend(u.replicas.iter().map(|replica| (*replica, u.rdd, u.partition)));
            }
            if !u.stored {
                self.caches.remove(&(executor, u.rdd, u.partition));
            }
        }
    }

    /// An executor is asked to have another copy of a partition made.
    pub(crate) fn copying(&mut self, executor: ExecutorId, block: &ReplicateBlock) {
        self.copying.insert((block.rdd, block.partition), executor);
    }

    /// Who was asked for another copy of the partition and has not answered.
    pub(crate) fn copier(&self, rdd: RddId, partition: u32) -> Option<ExecutorId> {
        self.copying.get(&(rdd, partition)).copied()
    }

    /// News of a task, before its schedulers get them.
    pub(crate) fn updated(
        &mut self,
        executor: ExecutorId,
        update: &TaskUpdate,
        stages: &BTreeMap<StageAttempt, Arc<StageInfo>>,
    ) {
        self.blocks_updated(executor, true, &update.blocks);
        if update.outcome == TaskOutcome::Running {
            return;
        }
        let Some(task) = self.tasks.get(&update.task).copied().filter(|t| t.executor == executor) else { return };
        self.tasks.remove(&update.task);
        if let TaskOutcome::MapOutput(output) = &update.outcome {
            self.editions.made(output.map_task, task.spec.stage, output.checksum.unwrap_or_default());
        }
        if self.unwanted.remove(&update.task) {
            return;
        }
        if let (TaskOutcome::MapOutput(output), Some(stage)) = (&update.outcome, stages.get(&task.spec.stage))
            && let StageKind::ShuffleMap { shuffle, .. } = stage.kind
        {
            // Of two copies the first counts, and the other is to end, whatever becomes of this one's output.
            let (id, partition) = (task.spec.stage.stage, task.spec.partition);
            let copies = self.tasks.iter().filter(|(_, t)| (t.spec.stage.stage, t.spec.partition) == (id, partition));
            self.unwanted.extend(copies.map(|(task, _)| *task));
            self.outputs.entry((shuffle, task.spec.partition)).or_insert((executor, output.map_task));
        }
    }

    /// The schedulers say that a task failed. Whether its executor is avoided by the stage from now on.
    pub(crate) fn failed(
        &mut self,
        task: TaskId,
        stage: StageAttempt,
        partition: u32,
        executor: ExecutorId,
        failure: &TaskFailure,
        rules: Option<&ExclusionConfig>,
    ) -> bool {
        self.tasks.remove(&task);
        if let TaskFailure::FetchFailed { map_index, executor, .. } = failure
            && *map_index != u32::MAX
        {
            self.drop_beside(*executor);
        }
        let Some(rules) = rules.filter(|_| failure.counts()) else { return false };
        // One that is gone is blamed for nothing.
        if matches!(failure, TaskFailure::ExecutorLost { .. }) || self.leaving.contains(&executor) {
            return false;
        }
        let tasks = self.failures.entry(stage).or_default().entry(executor).or_default();
        let news = !tasks.contains_key(&partition);
        *tasks.entry(partition).or_default() += 1;
        news && tasks.len() as u32 == rules.stage_tasks_per_executor
    }

    pub(crate) fn stage_ended(&mut self, attempt: StageAttempt) {
        self.failures.remove(&attempt);
        self.arrivals.retain(|(a, _), _| *a != attempt);
    }

    /// A task is launched. The error says why it must not be.
    pub(crate) fn launch(
        &mut self,
        executor: ExecutorId,
        spec: TaskSpec,
        stage: &StageInfo,
        rules: Option<&ExclusionConfig>,
    ) -> Result<(), String> {
        let TaskSpec { task, partition, stage: attempt, .. } = spec;
        if self.retired.contains(&executor) {
            return Err(format!("{task} is sent to {executor}, which was given back"));
        }
        if self.leaving.contains(&executor) {
            return Err(format!("{task} is sent to {executor}, which is decommissioned"));
        }
        if let (Some(rules), Some(failures)) = (rules, self.failures.get(&attempt)) {
            self.check_avoided(executor, partition, rules, failures)
                .map_err(|e| format!("{task} of {attempt}: {e}"))?;
        }
        if let StageKind::ShuffleMap { shuffle, .. } = stage.kind {
            if let Some((holder, _)) = self.outputs.get(&(shuffle, partition)).filter(|_| self.steady) {
                return Err(format!("map {partition} of {shuffle} runs again, and {holder} has its output"));
            }
            if stage.barrier {
                self.made_in.insert(task, attempt);
            }
        }
        if stage.barrier {
            let due = self.due.get_mut(&attempt).ok_or(format!("{task} of a barrier stage is launched alone"))?;
            let place = due.places.get(partition as usize).map(|p| p.executor);
            if place != Some(executor) || spec.speculative || spec.attempt_number > 0 {
                return Err(format!("{task} of a barrier stage is launched on {executor} and not on {place:?}"));
            }
            due.launched += 1;
        }
        self.tasks.insert(task, Launched { spec, executor });
        Ok(())
    }

    fn check_avoided(
        &self,
        executor: ExecutorId,
        partition: u32,
        rules: &ExclusionConfig,
        failures: &Failures,
    ) -> Result<(), String> {
        let of = |e: &ExecutorId| failures.get(e).and_then(|t| t.get(&partition)).copied().unwrap_or(0);
        let host = self.hosts.get(&executor);
        let here = failures.keys().filter(|e| self.hosts.get(e) == host);
        let stage_avoids =
            |e: &&ExecutorId| failures.get(e).is_some_and(|tasks| tasks.len() as u32 >= rules.stage_tasks_per_executor);
        let facts = [
            (of(&executor) >= rules.task_attempts_per_executor, "the task failed there too often"),
            (
                here.clone().map(of).sum::<u32>() >= rules.task_attempts_per_node,
                "the task failed on that host too often",
            ),
            (stage_avoids(&&executor), "too many tasks of the stage failed there"),
            (
                here.filter(stage_avoids).count() as u32 >= rules.stage_executors_per_node,
                "too many tasks of the stage failed on that host",
            ),
        ];
        let bad = facts.iter().find(|(avoided, _)| *avoided);
        bad.map_or(Ok(()), |(_, why)| Err(format!("partition {partition} is sent to {executor} although {why}")))
    }

    /// All tasks of a barrier stage attempt are about to be launched. The error says what cannot be.
    pub(crate) fn barrier_due(&mut self, attempt: StageAttempt, places: Vec<BarrierPlace>) -> Result<(), String> {
        match self.due.insert(attempt, Due { places, launched: 0 }) {
            None => Ok(()),
            Some(_) => Err(format!("{attempt} is launched twice")),
        }
    }

    /// The schedulers have said all that they wanted: barrier stages are launched as a whole.
    pub(crate) fn all_launched(&mut self) -> Result<(), String> {
        for (attempt, due) in std::mem::take(&mut self.due) {
            if due.launched != due.places.len() {
                return Err(format!("{} of {} tasks of {attempt} are launched", due.launched, due.places.len()));
            }
        }
        Ok(())
    }

    /// A task waits at a barrier.
    pub(crate) fn arrived(&mut self, task: TaskId, call: u32, message: &Bytes) {
        if let Some(t) = self.tasks.get(&task) {
            let arrivals = self.arrivals.entry((t.spec.stage, call)).or_default();
            arrivals.entry(t.spec.partition).or_insert((task, message.clone()));
        }
    }

    /// A task may go on: all of its attempt run at this time, and have said what it is told.
    pub(crate) fn may_go_on(&self, task: TaskId, call: u32, tasks: u32, messages: &[Bytes]) -> Result<(), String> {
        let Some(t) = self.tasks.get(&task) else { return Err(format!("{task} has ended and may go on")) };
        let none = Arrivals::new();
        let arrivals = self.arrivals.get(&(t.spec.stage, call)).unwrap_or(&none);
        if !(0..tasks).eq(arrivals.keys().copied()) {
            return Err(format!("{task} may go on at call {call} with {} of {tasks} tasks", arrivals.len()));
        }
        if let Some((ended, _)) = arrivals.values().find(|(task, _)| !self.tasks.contains_key(task)) {
            return Err(format!("{task} may go on at call {call} although {ended} has ended"));
        }
        let said = arrivals.values().map(|(_, message)| message);
        let right = messages.is_empty() || said.eq(messages.iter());
        if right { Ok(()) } else { Err(format!("{task} is told {messages:?} at call {call}")) }
    }

    /// Output of a barrier stage is of one attempt.
    pub(crate) fn check_made(&self, shuffle: ShuffleId, maps: impl Iterator<Item = TaskId>) -> Result<(), String> {
        let attempts: BTreeSet<StageAttempt> = maps.filter_map(|task| self.made_in.get(&task).copied()).collect();
        if attempts.len() < 2 { Ok(()) } else { Err(format!("{shuffle} is read from several attempts: {attempts:?}")) }
    }

    /// An executor is given back for being idle. The error says for what it is still needed.
    pub(crate) fn check_idle(&self, executor: ExecutorId, caches: bool, outputs: bool) -> Result<(), String> {
        if let Some((task, _)) = self.tasks.iter().find(|(_, t)| t.executor == executor) {
            return Err(format!("{executor} is given back while {task} runs there"));
        }
        if let Some((task, _)) = self.fetching.iter().find(|(_, e)| **e == executor) {
            return Err(format!("{executor} is given back while the result of {task} is fetched"));
        }
        let cached = self.caches.iter().find(|(e, ..)| *e == executor).filter(|_| caches && self.steady);
        if let Some((_, rdd, partition)) = cached {
            return Err(format!("{executor} is given back with partition {partition} of {rdd}"));
        }
        let served = self.services.contains_key(&executor);
        let output =
            self.outputs.iter().find(|(_, (e, _))| *e == executor).filter(|_| outputs && !served && self.steady);
        match output {
            Some(((shuffle, map), _)) => Err(format!("{executor} is given back with the output {map} of {shuffle}")),
            None => Ok(()),
        }
    }
}
