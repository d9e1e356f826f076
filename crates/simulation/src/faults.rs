//! What goes wrong, and how often. A seed draws one of several climates, so that rare combinations get their turn and
//! calm runs stay among them.

use std::time::Duration;

use firesteel_common::Tick;
use firesteel_scheduler::DriverEvent;
use firesteel_worker::ExecutorEnd;

use crate::{
    cluster::{Action, Cluster, WORKERS},
    model::Rng,
    network::Process,
};

/// Chances in 10,000, each time the thing could happen, until `until`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Faults {
    /// After this time nothing goes wrong any more, so that every job must come to its end.
    pub until: Duration,
    /// A message is lost, and its connection with it.
    pub lose_message: u64,
    /// A message arrives twice.
    pub repeat_message: u64,
    /// A connection is refused.
    pub refuse_connection: u64,
    /// Longest delay of a message.
    pub delay: Duration,
    /// A task fails by its own fault.
    pub fail_task: u64,
    /// A task takes up to three seconds.
    pub slow_task: u64,
    /// Longest time of other tasks.
    pub task_time: Duration,
    /// Mean time between crashes of executors; None for never.
    pub crash_executor: Option<Duration>,
    /// Mean time between crashes of workers.
    pub crash_worker: Option<Duration>,
    /// Mean time between losses of a shuffle file or a cached partition.
    pub lose_data: Option<Duration>,
}

impl Faults {
    /// Nothing goes wrong.
    pub fn none() -> Self {
        Faults {
            until: Duration::ZERO,
            lose_message: 0,
            repeat_message: 0,
            refuse_connection: 0,
            delay: Duration::from_millis(2),
            fail_task: 0,
            slow_task: 0,
            task_time: Duration::from_millis(30),
            crash_executor: None,
            crash_worker: None,
            lose_data: None,
        }
    }

    /// The climate of a seed.
    pub fn draw(rng: &mut Rng) -> Self {
        let mut f = Faults { until: Duration::from_secs(20), ..Faults::none() };
        let mean = |ms| Some(Duration::from_millis(ms));
        if rng.chance(60) {
            f.lose_message = 20 + rng.below(100);
            f.refuse_connection = 500;
        }
        if rng.chance(60) {
            f.repeat_message = 300;
        }
        if rng.chance(50) {
            f.delay = Duration::from_millis(1 + rng.below(60));
        }
        if rng.chance(50) {
            f.fail_task = 50 + rng.below(400);
            f.slow_task = 300;
        }
        if rng.chance(40) {
            // So short that some are launched ahead of the free slots.
            f.task_time = Duration::from_millis(1);
            f.delay = Duration::from_micros(100 + rng.below(1000));
        } else if rng.chance(60) {
            f.task_time = Duration::from_millis(50 + rng.below(500));
        }
        if rng.chance(70) {
            f.crash_executor = mean(100 + rng.below(2500));
        }
        if rng.chance(30) {
            f.crash_worker = mean(2000 + rng.below(6000));
        }
        if rng.chance(40) {
            f.lose_data = mean(20 + rng.below(500));
        }
        f
    }
}

impl Cluster {
    /// Jobs at random times, and the first of each kind of fault.
    pub(crate) fn plan(&mut self) {
        self.jobs_to_come = 2 + self.rng.below(4) as u32;
        for _ in 0..self.jobs_to_come {
            let at = self.after(Duration::from_secs(8));
            let root = self.rng.below(self.program.len() as u64) as usize;
            self.schedule(at, Action::SubmitJob { root });
        }
        if self.rng.chance(15) {
            let at = self.after(Duration::from_secs(8));
            self.schedule(at, Action::CancelJob);
        }
        self.plan_fault(self.faults.crash_executor, || Action::CrashExecutor);
        self.plan_fault(self.faults.crash_worker, || Action::CrashWorker);
        self.plan_fault(self.faults.lose_data, || Action::LoseData);
    }

    fn after(&mut self, at_most: Duration) -> Tick {
        self.now + Duration::from_nanos(self.rng.below(at_most.as_nanos() as u64))
    }

    fn plan_fault(&mut self, mean: Option<Duration>, action: impl Fn() -> Action) {
        if let Some(mean) = mean {
            let at = self.after(2 * mean);
            if at < Tick::ZERO + self.faults.until {
                self.schedule(at, action());
            }
        }
    }

    pub(crate) fn crash_some_worker(&mut self) {
        let n = self.rng.below(WORKERS as u64) as usize;
        let url = self.url.clone();
        self.crash_worker(n, &url);
        self.plan_fault(self.faults.crash_worker, || Action::CrashWorker);
    }

    pub(crate) fn cancel_some_job(&mut self) {
        let running: Vec<_> = self.driver.jobs.keys().filter(|j| !self.driver.over.contains_key(j)).copied().collect();
        if let Some(job) = self.rng.pick(&running).copied() {
            self.note(format_args!("user cancels {job}"));
            if let Some(submitted) = self.driver.jobs.get_mut(&job) {
                submitted.cancelled = true;
            }
            self.driver_handle(DriverEvent::CancelJob { job, reason: "no longer wanted".to_owned() });
        }
    }

    pub(crate) fn crash_some_executor(&mut self) {
        let alive: Vec<Process> = self.executors.keys().copied().collect();
        if let Some(id) = self.rng.pick(&alive).copied() {
            self.note(format_args!("{id} CRASHES"));
            if self.rng.chance(20) {
                // User code that calls exit(3).
                let end = ExecutorEnd { exit_code: Some(3), message: "exited".to_owned(), ..ExecutorEnd::default() };
                self.executor_ends(id, end);
            } else {
                self.kill_process(id, "killed by signal 9");
            }
        }
        self.plan_fault(self.faults.crash_executor, || Action::CrashExecutor);
    }

    pub(crate) fn lose_some_data(&mut self) {
        let files: Vec<_> = self.executors.iter().flat_map(|(id, e)| e.store.files.keys().map(|f| (*id, *f))).collect();
        let blocks: Vec<_> =
            self.executors.iter().flat_map(|(id, e)| e.store.cache.keys().map(|b| (*id, *b))).collect();
        if self.rng.chance(50) {
            if let Some((id, file)) = self.rng.pick(&files).copied() {
                self.note(format_args!("{id} LOSES the file of {} {}", file.0, file.1));
                self.executors.get_mut(&id).map(|e| e.store.files.remove(&file));
            }
        } else if let Some((id, block)) = self.rng.pick(&blocks).copied() {
            self.note(format_args!("{id} evicts partition {} of {} in silence", block.1, block.0));
            self.executors.get_mut(&id).map(|e| e.store.cache.remove(&block));
        }
        self.plan_fault(self.faults.lose_data, || Action::LoseData);
    }
}
