//! What goes wrong, and how often. A seed draws one of several climates, so that rare combinations get their turn and
//! calm runs stay among them.

use std::time::Duration;

use crate::model::Rng;

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
    /// A task takes a second or more.
    pub slow_task: u64,
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
        if rng.chance(70) {
            f.crash_executor = mean(300 + rng.below(3000));
        }
        if rng.chance(30) {
            f.crash_worker = mean(2000 + rng.below(6000));
        }
        if rng.chance(40) {
            f.lose_data = mean(100 + rng.below(1000));
        }
        f
    }
}
