//! What the application of a driver makes use of: a seed draws it, so that features meet each other and every fault.

use std::time::Duration;

use firesteel_scheduler::{
    AllocationConfig, ExclusionConfig, PoolConfig, SchedulerConfig, SchedulingMode, SpeculationConfig,
};

use crate::{
    cluster::Cluster,
    model::Rng,
    state::{
        features::Features,
        worker::{WORKER_CORES, WORKERS},
    },
};

impl Cluster {
    /// What the next driver's schedulers work by. A task takes two cores only where executors have them.
    pub(crate) fn draw_features(&mut self, executor_cores: Option<u32>) -> Features {
        let mut config = SchedulerConfig::default();
        let rng = &mut self.rng;
        config.speculation = rng.chance(40).then(|| speculation(rng));
        if rng.chance(30) {
            config.mode = SchedulingMode::Fair;
            let (weight, min_share) = (1 + rng.below(4) as u32, rng.below(3) as u32);
            let mode = if rng.chance(50) { SchedulingMode::Fair } else { SchedulingMode::Fifo };
            config.pools = vec![PoolConfig { mode, weight, min_share, ..PoolConfig::named("a") }];
        }
        if rng.chance(15) && executor_cores.is_some_and(|cores| cores >= 2) {
            config.task_cpus = 2;
        }
        if rng.chance(30) {
            let wait = Duration::from_millis(rng.below(500));
            (config.locality_wait_process, config.locality_wait_node, config.locality_wait_rack) = (wait, wait, wait);
        }
        if rng.chance(30) {
            config.racks = (0..WORKERS).map(|n| (format!("host{n}"), format!("rack{}", n % 2))).collect();
        }
        let shuffle_service = rng.chance(30);
        config.unregister_output_on_host = shuffle_service && rng.chance(30);
        config.exclusion = rng.chance(30).then(|| exclusion(rng));
        let slots = executor_cores.unwrap_or(WORKER_CORES) / config.task_cpus;
        config.allocation = rng.chance(30).then(|| allocation(rng, shuffle_service, slots));
        config.decommission_idle = config.allocation.is_some() && rng.chance(40);
        config.decommission_kill_timeout = rng.chance(40).then(|| Duration::from_millis(200 + rng.below(5000)));
        config.barrier_sync_timeout = Duration::from_millis(10_000 + rng.below(50_000));
        config.barrier_check_interval = Duration::from_millis(100 + rng.below(900));
        config.barrier_check_failures = 10 + rng.below(10) as u32;
        // Together with dynamic allocation they are refused, which is seen often enough.
        let barrier_percent = match (rng.chance(25), &config.allocation) {
            (true, None) => 10 + rng.below(40),
            (true, Some(_)) if rng.chance(10) => 10,
            _ => 0,
        };
        self.counts.with_service += usize::from(shuffle_service);
        self.counts.with_allocation += usize::from(config.allocation.is_some());
        self.counts.with_exclusion += usize::from(config.exclusion.is_some());
        Features { config, shuffle_service, barrier_percent }
    }
}

fn speculation(rng: &mut Rng) -> SpeculationConfig {
    SpeculationConfig {
        interval: Duration::from_millis(10 + rng.below(150)),
        multiplier: 1.5 + rng.below(3) as f64,
        quantile: [0.2, 0.5, 0.75, 0.9][rng.below(4) as usize],
        min_task_runtime: Duration::from_millis(1 + rng.below(100)),
        duration_threshold: rng.chance(30).then_some(Duration::from_millis(300)),
    }
}

fn exclusion(rng: &mut Rng) -> ExclusionConfig {
    ExclusionConfig {
        task_attempts_per_executor: 1 + rng.below(2) as u32,
        task_attempts_per_node: 2 + rng.below(3) as u32,
        stage_tasks_per_executor: 1 + rng.below(3) as u32,
        stage_executors_per_node: 1 + rng.below(3) as u32,
        application_tasks_per_executor: 1 + rng.below(3) as u32,
        application_executors_per_node: 1 + rng.below(3) as u32,
        timeout: Duration::from_millis(300 + rng.below(10_000)),
        kill: rng.chance(30),
        fetch_failure: rng.chance(20),
        unschedulable_timeout: Duration::from_millis(500 + rng.below(5_000)),
    }
}

/// Without the shuffle service executors must be kept that hold shuffle files.
fn allocation(rng: &mut Rng, shuffle_service: bool, slots: u32) -> AllocationConfig {
    let ms = Duration::from_millis;
    let idle_timeout = ms(100 + rng.below(3000));
    AllocationConfig {
        min: rng.below(2) as u32,
        initial: rng.below(4) as u32,
        max: if rng.chance(50) { 2 + rng.below(5) as u32 } else { u32::MAX },
        backlog_timeout: ms(50 + rng.below(1000)),
        sustained_backlog_timeout: ms(50 + rng.below(1000)),
        idle_timeout,
        cached_idle_timeout: rng.chance(50).then(|| idle_timeout + ms(rng.below(3000))),
        shuffle_tracking: !shuffle_service || rng.chance(50),
        shuffle_timeout: rng.chance(40).then(|| ms(500 + rng.below(5000))),
        ratio: if rng.chance(70) { 1.0 } else { 0.5 },
        slots: slots.max(1),
    }
}
