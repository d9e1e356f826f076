//! What goes wrong, and how often. A seed draws one of several climates, so that rare combinations get their turn and
//! calm runs stay among them.

use std::time::Duration;

use crate::model::Rng;

/// What goes wrong, each by a plan of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Fault {
    CrashExecutor,
    CrashWorker,
    CrashMaster,
    CrashDriver,
    Freeze,
    Partition,
    CutLink,
    LoseData,
    Decommission,
}

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
    /// A task of every fourth executor fails.
    pub sick_executor: u64,
    /// An executor of the first worker ends before it can register. The others serve: no excuse for a job that fails.
    pub sick_worker: u64,
    /// A task takes up to three seconds.
    pub slow_task: u64,
    /// A task of every third executor takes up to three seconds.
    pub slow_executor: u64,
    /// Longest time of other tasks.
    pub task_time: Duration,
    /// Cached partitions that an executor has room for.
    pub cache_blocks: usize,
    /// Mean time between crashes of executors; None for never.
    pub crash_executor: Option<Duration>,
    /// Mean time between crashes of workers, alone or with their hosts.
    pub crash_worker: Option<Duration>,
    /// Mean time between crashes of the leading master.
    pub crash_master: Option<Duration>,
    /// What a master knew of workers and applications is kept for the one that is elected after it.
    pub recovery: bool,
    /// Mean time between crashes of drivers.
    pub crash_driver: Option<Duration>,
    /// Mean time between stops of some process, which goes on later.
    pub freeze: Option<Duration>,
    /// Mean time between partitions of the network, which are healed later.
    pub partition: Option<Duration>,
    /// Mean time between cuts of some connection.
    pub cut_link: Option<Duration>,
    /// Mean time between losses of a shuffle file, a cached partition or a whole disk.
    pub lose_data: Option<Duration>,
    /// Mean time between decommissions of a worker or an executor: in good order, so no excuse for a job that fails.
    pub decommission: Option<Duration>,
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
            sick_executor: 0,
            sick_worker: 0,
            slow_task: 0,
            slow_executor: 0,
            task_time: Duration::from_millis(30),
            cache_blocks: 1000,
            crash_executor: None,
            crash_worker: None,
            crash_master: None,
            recovery: false,
            crash_driver: None,
            freeze: None,
            partition: None,
            cut_link: None,
            lose_data: None,
            decommission: None,
        }
    }

    /// The climate of a seed.
    pub fn draw(rng: &mut Rng) -> Self {
        let mut f = Faults { until: Duration::from_secs(20), ..Faults::none() };
        let mean = |ms| Some(Duration::from_millis(ms));
        if rng.chance(50) {
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
        if rng.chance(15) {
            f.sick_executor = 1000 + rng.below(7000);
        }
        if rng.chance(25) {
            f.slow_executor = 3000 + rng.below(7000);
        }
        if rng.chance(40) {
            // So short that some are launched ahead of the free slots.
            f.task_time = Duration::from_millis(1);
            f.delay = Duration::from_micros(100 + rng.below(1000));
        } else if rng.chance(60) {
            f.task_time = Duration::from_millis(50 + rng.below(500));
        }
        if rng.chance(40) {
            f.cache_blocks = 1 + rng.below(6) as usize;
        }
        if rng.chance(60) {
            f.crash_executor = mean(100 + rng.below(2500));
        }
        if rng.chance(30) {
            f.crash_worker = mean(2000 + rng.below(6000));
        }
        if rng.chance(25) {
            f.crash_master = mean(1000 + rng.below(6000));
        }
        if rng.chance(15) {
            f.crash_driver = mean(2000 + rng.below(8000));
        }
        if rng.chance(30) {
            f.freeze = mean(500 + rng.below(5000));
        }
        if rng.chance(20) {
            f.partition = mean(1000 + rng.below(6000));
        }
        if rng.chance(25) {
            f.cut_link = mean(100 + rng.below(2000));
        }
        if rng.chance(40) {
            f.lose_data = mean(20 + rng.below(500));
        }
        if rng.chance(30) {
            f.decommission = mean(300 + rng.below(5000));
        }
        // From numbers beside the seed's own.
        let mut aside = rng.clone();
        if aside.chance(20) {
            f.sick_worker = if aside.chance(50) { 10_000 } else { 1000 + aside.below(9000) };
        }
        f.recovery = aside.chance(50);
        if aside.chance(4) {
            let crash_master = mean(1000 + aside.below(4000));
            f = Faults { until: f.until, crash_master, recovery: true, ..Faults::none() };
        }
        f
    }

    /// Masters change, and all that they knew is kept: nobody has a reason to end an executor but its driver.
    pub(crate) fn only_masters_change(&self) -> bool {
        let calm = Faults { until: self.until, crash_master: self.crash_master, recovery: true, ..Faults::none() };
        *self == calm
    }

    pub(crate) fn mean(&self, fault: Fault) -> Option<Duration> {
        match fault {
            Fault::CrashExecutor => self.crash_executor,
            Fault::CrashWorker => self.crash_worker,
            Fault::CrashMaster => self.crash_master,
            Fault::CrashDriver => self.crash_driver,
            Fault::Freeze => self.freeze,
            Fault::Partition => self.partition,
            Fault::CutLink => self.cut_link,
            Fault::LoseData => self.lose_data,
            Fault::Decommission => self.decommission,
        }
    }
}
