//! What must hold after each step, and at the end.

use std::time::Duration;

use firesteel_common::{ExecutorId, Tick};
use firesteel_machine::Machine;
use firesteel_scheduler::JobError;

use crate::{
    cluster::Cluster,
    editions::decode_result,
    model::{self, Record},
    state::{
        driver::{DriverNode, Submitted},
        network::{Node, Process},
        worker::{WORKER_CORES, WORKER_MEMORY_MB, WORKERS},
    },
};

/// A task that waits at an executor must begin or be called back in this time, however long those before it take; the
/// way there and back comes on top.
const LONGEST_WAIT: Duration = Duration::from_millis(30);

/// Once nothing goes wrong any more, a job must end in this time.
const LONGEST_JOB: Duration = Duration::from_secs(240);

/// Who is to leave and has nothing left to do must be gone in this time; the way of the word comes on top.
const LONGEST_FAREWELL: Duration = Duration::from_millis(500);

/// An executor must end in this time after its driver.
const LONGEST_ORPHAN: Duration = Duration::from_secs(60);

impl DriverNode {
    /// Whoever is to leave and is there was told so, and to hand over what nobody else will serve.
    fn check_leaving(&self) -> Result<(), String> {
        for executor in self.books.leaving.iter().filter(|e| self.has(**e)) {
            let orders = self.told_to_leave.get(executor).filter(|_| self.decommissioned.contains(executor));
            let Some(orders) = orders else {
                return Err(format!("{executor} is to leave and was not told"));
            };
            let served = self.features.shuffle_service && !self.books.with_worker.contains(executor);
            if !orders.map_outputs && !served {
                return Err(format!("{executor} is to leave without its map outputs, which nobody will serve"));
            }
        }
        Ok(())
    }
}

impl Cluster {
    /// The invariants of the machines that something has happened to, and what must hold between them.
    pub(crate) fn check_step(&mut self) -> Result<(), String> {
        for node in std::mem::take(&mut self.touched) {
            match node {
                Node::Master(m) => self.masters[m].machine.as_ref().map_or(Ok(()), |m| m.check_invariants()),
                Node::Worker(n) => self.workers[n].as_ref().map_or(Ok(()), |w| w.machine.check_invariants()),
                Node::Driver(d) => {
                    let driver = &self.drivers[d];
                    driver.core.check_invariants().and_then(|()| driver.roster.check_invariants())
                }
                Node::Executor(id) => self.executors.get(&id).map_or(Ok(()), |e| e.core.check_invariants()),
            }
            .map_err(|e| format!("{node}: {e}"))?;
        }
        self.check_executors()?;
        self.check_farewells()?;
        self.check_resources()?;
        for (d, driver) in self.drivers.iter().enumerate().filter(|(_, d)| d.lives()) {
            driver.check_leaving().map_err(|e| format!("driver {d}: {e}"))?;
            if !self.frozen.contains_key(&Node::Driver(d)) {
                driver.roster_books.check(self.now, self.calm_since).map_err(|e| format!("driver {d}: {e}"))?;
            }
            let waiting = driver.jobs.iter().filter(|(id, _)| !driver.over.contains_key(id));
            if let Some((id, _)) = waiting.into_iter().find(|(_, job)| self.calm_for(job.at) > LONGEST_JOB) {
                return Err(format!("{id} of driver {d} does not end although nothing goes wrong any more"));
            }
        }
        Ok(())
    }

    /// How long nothing has gone wrong after `since`.
    fn calm_for(&self, since: Tick) -> Duration {
        if self.frozen.is_empty() && self.partition.is_none() {
            self.now.since(since.max(self.calm_since).max(Tick::ZERO + self.faults.until))
        } else {
            Duration::ZERO
        }
    }

    fn check_executors(&self) -> Result<(), String> {
        for (id, e) in &self.executors {
            let behind = e.waiting.values().min().map(|since| self.now.since(self.calm_since.max(*since)));
            let undisturbed = self.frozen.is_empty() && self.partition.is_none();
            // Who would call it back is gone with its driver.
            let called_back = undisturbed && self.drivers[e.driver].lives();
            if behind.is_some_and(|wait| called_back && wait > LONGEST_WAIT + self.faults.delay * 4) {
                return Err(format!("a task waits behind others at {id} for {behind:?}"));
            }
            let owner = self.workers[id.worker].as_ref();
            let owned = owner.is_some_and(|w| {
                w.machine.executors().any(|key| key.executor_id == id.executor && key.app_id == e.app_id)
            });
            if !owned {
                return Err(format!("{id} has no owner"));
            }
            if let Some(over) = self.drivers[e.driver].over_since
                && undisturbed
                && self.now.since(over.max(self.calm_since).max(e.since)) > LONGEST_ORPHAN
            {
                return Err(format!("{id} lives on without its driver"));
            }
        }
        Ok(())
    }

    /// Whoever leaves ends when it has nothing left to do.
    fn check_farewells(&mut self) -> Result<(), String> {
        let undisturbed = self.frozen.is_empty() && self.partition.is_none();
        let longest = LONGEST_FAREWELL + self.faults.delay * 4;
        let (now, calm_since) = (self.now, self.calm_since);
        let too_long =
            |since: Option<Tick>| undisturbed && since.is_some_and(|s| now.since(s.max(calm_since)) > longest);
        let ids: Vec<Process> = self.executors.keys().copied().collect();
        for id in ids {
            let keeps_nothing = self.executor_leaves(id) && !self.still_holds(id);
            let Some(node) = self.executors.get_mut(&id) else { continue };
            let over = keeps_nothing && node.tasks.is_empty();
            node.kept_by_nothing = over.then_some(node.kept_by_nothing.unwrap_or(now));
            if too_long(node.kept_by_nothing) {
                return Err(format!("{id} is to leave, has nothing left to do and does not end"));
            }
        }
        for n in 0..WORKERS {
            let empty = !self.executors.keys().any(|id| id.worker == n);
            let Some(worker) = self.workers[n].as_mut() else { continue };
            let over = empty && worker.machine.is_decommissioning();
            worker.kept_by_nothing = over.then_some(worker.kept_by_nothing.unwrap_or(now));
            if too_long(worker.kept_by_nothing) {
                return Err(format!("worker {n} is to leave, has no executors and does not end"));
            }
        }
        Ok(())
    }

    /// Whether the executor knows that it is to leave, or its driver, which has a connection to it.
    fn executor_leaves(&self, id: Process) -> bool {
        let Some(node) = self.executors.get(&id) else { return false };
        let driver = &self.drivers[node.driver];
        let told = driver.lives() && driver.app_id == node.app_id && driver.executors.contains_key(&id.executor);
        node.leaving.is_some() || told && driver.books.leaving.contains(&ExecutorId(id.executor))
    }

    /// What runs on a worker, whatever the master's books say, is never more than it has.
    fn check_resources(&self) -> Result<(), String> {
        for n in 0..WORKERS {
            let here = || self.executors.iter().filter(|(id, _)| id.worker == n).map(|(_, e)| e);
            let (cores, memory): (u32, u64) = (here().map(|e| e.cores).sum(), here().map(|e| e.memory_mb).sum());
            if cores > WORKER_CORES || memory > WORKER_MEMORY_MB {
                return Err(format!(
                    "worker {n} has {WORKER_CORES} cores and {WORKER_MEMORY_MB} MiB, and its executors {cores} and {memory}"
                ));
            }
        }
        Ok(())
    }

    /// Every job has ended as it must, and nothing is left.
    pub(crate) fn check_end(&self) -> Result<(), String> {
        for driver in self.drivers.iter().filter(|d| !d.crashed) {
            for (id, job) in &driver.jobs {
                match driver.over.get(id) {
                    None => return Err(format!("{id} did not end")),
                    Some(Ok(())) => {
                        let decode = |i: u32| {
                            let bytes = driver.results.get(&(*id, i)).ok_or(format!("{id} lacks result {i}"))?;
                            Ok(decode_result(bytes)?.1)
                        };
                        let results: Vec<Vec<Record>> =
                            (0..job.partitions.len() as u32).map(decode).collect::<Result<_, String>>()?;
                        model::check(&job.graph, &job.partitions, &results).map_err(|e| format!("{id}: {e}"))?;
                    }
                    Some(Err(error)) if self.may_fail(driver, job, error) => {}
                    Some(Err(error)) => return Err(format!("{id} ended as it must not: {error:?}")),
                }
            }
        }
        if let Some(id) = self.executors.keys().next() {
            return Err(format!("{id} is left over"));
        }
        let Some(master) = self.master() else { return Err("no master leads at the end".to_owned()) };
        if !master.executors().is_empty() || !master.applications().is_empty() {
            return Err("the master keeps what is over".to_owned());
        }
        let cores: u32 = master.workers().values().map(|w| w.cores_free()).sum();
        let all = WORKER_CORES * master.workers().len() as u32;
        if cores == all { Ok(()) } else { Err(format!("{cores} of {all} cores are free at the end")) }
    }

    /// Whether something went wrong that excuses the error.
    fn may_fail(&self, driver: &DriverNode, job: &Submitted, error: &JobError) -> bool {
        let f = &self.faults;
        let gone = [f.crash_executor, f.crash_worker, f.crash_master, f.freeze, f.partition, f.cut_link];
        let gone = gone.iter().any(Option::is_some) || f.lose_message > 0;
        match error {
            JobError::Cancelled { .. } => job.cancelled,
            JobError::Indeterminate { .. } => job.graph.nodes.iter().any(model::salts),
            JobError::OutputDiffers { .. } => job.graph.nodes.iter().any(|n| n.operator == model::UNSTABLE),
            // One sick worker is no excuse, unless the other leaves.
            JobError::NoExecutors { .. } => {
                let alone = f.sick_worker > 0 && f.decommission.is_some();
                driver.removed && (gone || f.refuse_connection > 0 || alone)
            }
            // Also code that ends its executor, and results that cannot be fetched, count as failures.
            JobError::TaskFailed { .. } | JobError::BarrierFailed { .. } => f.fail_task + f.sick_executor > 0 || gone,
            JobError::Excluded { .. } => {
                let fails = f.fail_task + f.sick_executor > 0 || f.lose_data.is_some() || gone;
                driver.features.config.exclusion.is_some() && fails
            }
            JobError::BarrierUnsupported { .. } => job.graph.nodes.iter().any(|n| n.barrier),
            JobError::BarrierSlots { needed, slots } => {
                needed > slots && job.graph.nodes.iter().any(|n| n.barrier && n.partitions == *needed)
            }
            JobError::FetchFailedTooOften { .. } => f.lose_data.is_some() || gone,
            _ => false,
        }
    }
}
