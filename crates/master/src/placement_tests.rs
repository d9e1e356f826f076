//! Placement: Spark's documented behaviour case by case, and what must hold for any input.

use proptest::prelude::*;

use super::*;

fn workers(offers: &[(u32, u64)]) -> Vec<WorkerOffer> {
    offers.iter().map(|&(cores, memory_mb)| WorkerOffer { cores, memory_mb, executors: u32::MAX }).collect()
}

fn demand(cores_left: u32, memory_mb: u64, cores_per_executor: Option<u32>) -> Demand {
    Demand { cores_left, memory_mb, cores_per_executor, executors_left: None }
}

fn grants(pairs: &[(u32, u32)]) -> Vec<Grant> {
    pairs.iter().map(|&(executors, cores)| Grant { executors, cores }).collect()
}

const THREE: &[(u32, u64)] = &[(10, 4096), (10, 4096), (10, 4096)];

#[test]
fn without_executor_cores_an_executor_takes_all_of_each_worker() {
    let all = demand(u32::MAX, 1024, None);
    assert_eq!(place(&all, &workers(THREE), true), grants(&[(1, 10), (1, 10), (1, 10)]));
    assert_eq!(place(&all, &workers(THREE), false), grants(&[(1, 10), (1, 10), (1, 10)]));
}

#[test]
fn cores_max_is_spread_evenly_or_consolidated() {
    assert_eq!(place(&demand(16, 1024, None), &workers(THREE), true), grants(&[(1, 6), (1, 5), (1, 5)]));
    assert_eq!(place(&demand(16, 1024, None), &workers(THREE), false), grants(&[(1, 10), (1, 6), (0, 0)]));
}

#[test]
fn with_executor_cores_several_executors_share_a_worker() {
    assert_eq!(place(&demand(16, 256, Some(2)), &workers(THREE), true), grants(&[(3, 2), (3, 2), (2, 2)]));
    assert_eq!(place(&demand(16, 256, Some(2)), &workers(THREE), false), grants(&[(5, 2), (3, 2), (0, 0)]));
}

#[test]
fn cores_that_do_not_make_an_executor_are_not_given_out() {
    // The example of Spark's source: 4 workers of 16 cores, 48 cores wanted in executors of 16. Dealing out single
    // cores would give each 12 and launch nothing.
    let four = workers(&[(16, 65536), (16, 65536), (16, 65536), (16, 65536)]);
    assert_eq!(place(&demand(48, 1024, Some(16)), &four, true), grants(&[(1, 16), (1, 16), (1, 16), (0, 0)]));
    assert_eq!(place(&demand(15, 1024, Some(16)), &four, true), grants(&[(0, 0); 4]));
}

#[test]
fn memory_bounds_the_executors_of_a_worker_but_not_the_cores_of_one() {
    let two = workers(&[(10, 2048), (10, 1000)]);
    assert_eq!(place(&demand(20, 1024, Some(1)), &two, true), grants(&[(2, 1), (0, 0)]));
    assert_eq!(place(&demand(20, 1024, None), &two, true), grants(&[(1, 10), (0, 0)]));
}

#[test]
fn nothing_is_placed_for_zero_cores() {
    assert_eq!(place(&demand(10, 1024, Some(0)), &workers(THREE), true), grants(&[(0, 0); 3]));
    assert_eq!(place(&demand(0, 1024, None), &workers(THREE), true), grants(&[(0, 0); 3]));
}

fn any_workers() -> impl Strategy<Value = Vec<WorkerOffer>> {
    let offer =
        (0u32..24, 0u64..8192).prop_map(|(cores, memory_mb)| WorkerOffer { cores, memory_mb, executors: u32::MAX });
    prop::collection::vec(offer, 0..8)
}

fn any_demand() -> impl Strategy<Value = Demand> {
    let left = prop_oneof![0u32..64, Just(u32::MAX)];
    (left, 1u64..4096, prop::option::of(1u32..9)).prop_map(|(c, m, e)| demand(c, m, e))
}

/// The same deal step by step, as Spark's source has it: what [`place`] must come to.
mod model {
    use super::*;

    pub(super) fn place(demand: &Demand, workers: &[WorkerOffer], spread_out: bool) -> Vec<Grant> {
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
        let grant = |(&executors, &cores): (&u32, &u32)| match executors {
            0 => Grant::default(),
            _ => Grant { executors, cores: demand.cores_per_executor.unwrap_or(cores) },
        };
        round.executors.iter().zip(&round.cores).map(grant).collect()
    }

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
            if executors >= offer.executors {
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
}

#[test]
fn the_largest_numbers_take_no_longer_than_small_ones() {
    // Step by step each of these would take seconds to hours, and the test would not end.
    let huge = vec![WorkerOffer { cores: u32::MAX, memory_mb: u64::MAX, executors: u32::MAX }; 1000];
    for per in [None, Some(1), Some(7), Some(u32::MAX)] {
        for spread in [true, false] {
            for executors_left in [None, Some(u32::MAX), Some(3)] {
                let d = Demand { executors_left, ..demand(u32::MAX, 1, per) };
                let cores: u64 =
                    place(&d, &huge, spread).iter().map(|g| u64::from(g.executors) * u64::from(g.cores)).sum();
                assert!(cores <= u64::from(u32::MAX) && cores > 0, "{d:?}: {cores}");
            }
        }
    }
}

proptest! {
    #[test]
    fn it_comes_to_what_dealing_step_by_step_comes_to(
        d in any_demand(), left in prop::option::of(0u32..40), memory in 0u64..4096, mut ws in any_workers(), spread: bool,
        most in prop::collection::vec(0u32..12, 8),
    ) {
        ws.iter_mut().zip(most).for_each(|(w, most)| w.executors = most);
        let d = Demand { executors_left: left, memory_mb: memory, ..d };
        prop_assert_eq!(place(&d, &ws, spread), model::place(&d, &ws, spread));
    }

    #[test]
    fn never_more_than_a_worker_has_or_an_application_may(d in any_demand(), ws in any_workers(), spread: bool) {
        let placed = place(&d, &ws, spread);
        prop_assert_eq!(placed.len(), ws.len());
        for (grant, worker) in placed.iter().zip(&ws) {
            prop_assert!(grant.executors * grant.cores <= worker.cores);
            prop_assert!(u64::from(grant.executors) * d.memory_mb <= worker.memory_mb);
            match d.cores_per_executor {
                None => prop_assert!(grant.executors <= 1),
                Some(cores) => prop_assert!(grant.executors == 0 || grant.cores == cores),
            }
        }
        prop_assert!(placed.iter().map(|g| g.executors * g.cores).sum::<u32>() <= d.cores_left);
    }

    #[test]
    fn nothing_that_could_be_placed_is_left_over(d in any_demand(), ws in any_workers(), spread: bool) {
        let placed = place(&d, &ws, spread);
        let left = d.cores_left - placed.iter().map(|g| g.executors * g.cores).sum::<u32>();
        if left < d.cores_per_executor.unwrap_or(1) {
            return Ok(());
        }
        for (grant, worker) in placed.iter().zip(&ws) {
            let rest = WorkerOffer {
                cores: worker.cores - grant.executors * grant.cores,
                memory_mb: worker.memory_mb - u64::from(grant.executors) * d.memory_mb,
                executors: u32::MAX,
            };
            let grows = d.cores_per_executor.is_none() && grant.executors == 1 && rest.cores > 0;
            prop_assert!(!grows && (!d.fits(&rest) || (d.cores_per_executor.is_none() && grant.executors == 1)));
        }
    }

    #[test]
    fn spreading_out_differs_by_at_most_one_step_where_there_is_room(
        cores_left in 0u32..64, count in 1usize..8, per in prop::option::of(1u32..5), spread: bool,
    ) {
        // Equal workers with room for all: a fair deal when spreading, at most one partly used worker otherwise.
        let ws = vec![WorkerOffer { cores: 64, memory_mb: 1 << 20, executors: u32::MAX }; count];
        let step = per.unwrap_or(1);
        let steps: Vec<u32> = place(&demand(cores_left, 1, per), &ws, spread)
            .iter()
            .map(|g| g.executors * g.cores / step)
            .collect();
        prop_assert_eq!(steps.iter().sum::<u32>(), cores_left / step);
        if spread {
            prop_assert!(steps.iter().max().unwrap() - steps.iter().min().unwrap() <= 1);
        } else {
            let full = 64 / step;
            let used: Vec<u32> = steps.iter().copied().filter(|&s| s > 0).collect();
            prop_assert!(used.iter().rev().skip(1).all(|&s| s == full));
        }
    }
}
