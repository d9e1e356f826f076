//! What one task attempt costs: when its parts began and ended, by the wall clock and by its thread's processor clock.
//!
//! Measured only where the driver asks for it, as somebody listens there: looking at the processor clock is a system call.

use std::time::{Duration, Instant};

use firesteel_events::TaskMetrics;
use firesteel_os::clock::thread_cpu;
use firesteel_storage::TaskMemory;

/// A moment by both clocks.
#[derive(Clone, Copy)]
struct Moment {
    wall: Instant,
    cpu: Duration,
}

impl Moment {
    fn now() -> Moment {
        Moment { wall: Instant::now(), cpu: thread_cpu() }
    }
}

/// Of one attempt, on its thread.
pub(crate) struct Meter {
    queued: Duration,
    began: Moment,
    decoded: Option<Moment>,
    ran: Option<Moment>,
}

impl Meter {
    /// A task that came at `arrived` begins.
    pub fn begin(arrived: Instant) -> Meter {
        let began = Moment::now();
        Meter { queued: began.wall.saturating_duration_since(arrived), began, decoded: None, ran: None }
    }

    /// All that it needs is decoded: it computes from now on.
    pub fn decoded(&mut self) {
        self.decoded = Some(Moment::now());
    }

    /// It has computed, or failed.
    pub fn ran(&mut self) {
        self.ran = Some(Moment::now());
    }

    /// What it cost, with `memory` as it was counted. `result_bytes` is the size of its encoded result.
    pub fn metrics(&self, memory: &TaskMemory, result_bytes: u64) -> TaskMetrics {
        let ran = self.ran.unwrap_or_else(Moment::now);
        // One that failed before has computed nothing.
        let decoded = self.decoded.unwrap_or(ran);
        TaskMetrics {
            queued: self.queued,
            deserialize: decoded.wall - self.began.wall,
            deserialize_cpu: decoded.cpu.saturating_sub(self.began.cpu),
            run: ran.wall - decoded.wall,
            cpu: ran.cpu.saturating_sub(decoded.cpu),
            result_serialization: ran.wall.elapsed(),
            result_bytes,
            ..memory.counters().metrics()
        }
    }
}
