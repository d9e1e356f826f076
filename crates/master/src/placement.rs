//! How many cores of which worker an application gets: a pure function, called by the executors' event family.
//!
//! The rules are Spark's (`Master.scheduleExecutorsOnWorkers`):
//!
//! * Without `spark.executor.cores` an application gets at most one executor a worker in one round, which grows core
//!   by core. With it, executors of that size are packed side by side on a worker.
//! * Spreading out deals executors (or cores) round-robin over the workers; consolidating fills a worker before it
//!   goes on to the next. Workers come in the order of their free cores, most first.

/// What a worker has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WorkerOffer {
    /// Free cores.
    pub cores: u32,
    /// Free memory, MiB.
    pub memory_mb: u64,
}

/// What an application asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Demand {
    /// Cores that it may still get.
    pub cores_left: u32,
    /// Memory of an executor, MiB.
    pub memory_mb: u64,
    /// Cores of an executor; `None`: one executor a worker with all the cores that it can get.
    pub cores_per_executor: Option<u32>,
    /// Executors that it still wants; `None`: as many as it can get.
    pub executors_left: Option<u32>,
}

/// The executors of one round on one worker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Grant {
    /// How many.
    pub executors: u32,
    /// Cores of each.
    pub cores: u32,
}

impl Demand {
    fn min_cores(&self) -> u32 {
        self.cores_per_executor.unwrap_or(1)
    }

    /// Whether a worker with this much left can take an executor.
    pub fn fits(&self, offer: &WorkerOffer) -> bool {
        self.min_cores() > 0 && offer.cores >= self.min_cores() && offer.memory_mb >= self.memory_mb
    }
}

/// Places executors on workers, which come in the order of preference; the answer has one grant for each.
pub fn place(demand: &Demand, workers: &[WorkerOffer], spread_out: bool) -> Vec<Grant> {
    let mut round = Round {
        demand,
        workers,
        cores: vec![0; workers.len()],
        executors: vec![0; workers.len()],
        to_assign: workers.iter().fold(0u32, |sum, w| sum.saturating_add(w.cores)).min(demand.cores_left),
    };
    let mut open: Vec<usize> = (0..workers.len()).filter(|&w| round.can_grow(w)).collect();
    while !open.is_empty() {
        for &worker in &open {
            while round.can_grow(worker) {
                round.grow(worker);
                if spread_out {
                    break;
                }
            }
        }
        open.retain(|&w| round.can_grow(w));
    }
    round
        .executors
        .iter()
        .zip(&round.cores)
        .map(|(&executors, &cores)| Grant { executors, cores: demand.cores_per_executor.unwrap_or(cores) })
        .map(|grant| if grant.executors == 0 { Grant::default() } else { grant })
        .collect()
}

/// The state of one call of [`place`].
struct Round<'a> {
    demand: &'a Demand,
    workers: &'a [WorkerOffer],
    cores: Vec<u32>,
    executors: Vec<u32>,
    to_assign: u32,
}

impl Round<'_> {
    /// Whether `worker` can take one step more: an executor, or a core for the one that it has.
    fn can_grow(&self, worker: usize) -> bool {
        let (offer, step) = (&self.workers[worker], self.demand.min_cores());
        if step == 0 || self.to_assign < step || offer.cores - self.cores[worker] < step {
            return false;
        }
        let executors = self.executors[worker];
        if self.demand.cores_per_executor.is_none() && executors > 0 {
            return true; // its executor grows, which costs no memory
        }
        if self.demand.executors_left.is_some_and(|left| self.executors.iter().sum::<u32>() >= left) {
            return false;
        }
        offer.memory_mb.saturating_sub(u64::from(executors).saturating_mul(self.demand.memory_mb))
            >= self.demand.memory_mb
    }

    fn grow(&mut self, worker: usize) {
        let step = self.demand.min_cores();
        self.to_assign -= step;
        self.cores[worker] += step;
        match self.demand.cores_per_executor {
            None => self.executors[worker] = 1,
            Some(_) => self.executors[worker] += 1,
        }
    }
}

#[cfg(test)]
#[path = "placement_tests.rs"]
mod tests;
