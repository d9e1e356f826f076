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
    /// Executors that it can still take.
    pub executors: u32,
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

    /// How many steps a worker has room for: executors, or cores of its one executor.
    fn steps_of(&self, offer: &WorkerOffer) -> u32 {
        match self.cores_per_executor {
            _ if !self.fits(offer) => 0,
            None => offer.cores,
            Some(cores) => {
                let by_memory = offer.memory_mb.checked_div(self.memory_mb).unwrap_or(u64::MAX);
                (offer.cores / cores).min(u32::try_from(by_memory).unwrap_or(u32::MAX)).min(offer.executors)
            }
        }
    }

    /// Whether a worker with this much left can take an executor.
    pub fn fits(&self, offer: &WorkerOffer) -> bool {
        self.min_cores() > 0
            && offer.executors > 0
            && offer.cores >= self.min_cores()
            && offer.memory_mb >= self.memory_mb
    }
}

/// Places executors on workers, which come in the order of preference; the answer has one grant for each.
///
/// The time grows with the number of workers alone, not with cores or executors: what dealing out step by step would come
/// to is computed.
pub fn place(demand: &Demand, workers: &[WorkerOffer], spread_out: bool) -> Vec<Grant> {
    let step = demand.min_cores();
    if step == 0 {
        return vec![Grant::default(); workers.len()];
    }
    let cores = workers.iter().fold(0u32, |sum, w| sum.saturating_add(w.cores)).min(demand.cores_left);
    let mut capacities: Vec<u32> = workers.iter().map(|w| demand.steps_of(w)).collect();
    // In steps: executors, or cores of the one executor that a worker has.
    let wanted = match (demand.cores_per_executor, demand.executors_left) {
        (None, left) => {
            // Workers open in their order, and no more of them than executors are wanted.
            let open = capacities.iter_mut().filter(|capacity| **capacity > 0);
            open.skip(left.map_or(usize::MAX, |left| left as usize)).for_each(|capacity| *capacity = 0);
            cores
        }
        (Some(_), left) => (cores / step).min(left.unwrap_or(u32::MAX)),
    };
    let steps = if spread_out { spread(&capacities, wanted) } else { fill(&capacities, wanted) };
    steps
        .into_iter()
        .map(|steps| match demand.cores_per_executor {
            _ if steps == 0 => Grant::default(),
            None => Grant { executors: 1, cores: steps },
            Some(cores) => Grant { executors: steps, cores },
        })
        .collect()
}

/// Deals `wanted` steps out, round after round one to each worker that has room, in their order.
fn spread(capacities: &[u32], wanted: u32) -> Vec<u32> {
    let after = |rounds: u32| capacities.iter().map(|&capacity| u64::from(capacity.min(rounds))).sum::<u64>();
    // The most whole rounds that `wanted` is enough for.
    let (mut rounds, mut too_many) = (0, capacities.iter().max().map_or(0, |&most| u64::from(most)) + 1);
    while u64::from(rounds) + 1 < too_many {
        let middle = ((u64::from(rounds) + too_many) / 2) as u32;
        if after(middle) <= u64::from(wanted) { rounds = middle } else { too_many = middle.into() }
    }
    // What is left is less than a round.
    let mut left = u64::from(wanted) - after(rounds);
    let one_more = |&capacity: &u32| {
        let more = u32::from(capacity > rounds && left > 0);
        left -= u64::from(more);
        capacity.min(rounds) + more
    };
    capacities.iter().map(one_more).collect()
}

/// Gives each worker all that it has room for before the next gets any.
fn fill(capacities: &[u32], wanted: u32) -> Vec<u32> {
    let mut left = wanted;
    let take = |&capacity: &u32| {
        let taken = capacity.min(left);
        left -= taken;
        taken
    };
    capacities.iter().map(take).collect()
}

#[cfg(test)]
#[path = "placement_tests.rs"]
mod tests;
