//! What happens in an application, as one typed stream: jobs, stage attempts, tasks, executors and kept partitions, with
//! the fields of Spark's listener events.
//!
//! ```text
//!  DriverCore (machine) ──AppEvent──▶ driver's event loop ──▶ Bus ──queue──▶ thread ──▶ Listener
//!  Context: start, settings, end ─────────────────────────────▶ └───queue──▶ thread ──▶ Listener
//! ```
//!
//! * [`AppEvent`]: what happened, with [`StageInfo`], [`TaskInfo`] and [`TaskMetrics`] (`event`, `info`, `metrics`).
//! * [`Listener`]: who hears of it. Its doc comment says what order and what loss to expect.
//! * [`Bus`]: hands events to listeners, each on a thread of its own. Nothing waits for a listener.
//! * [`AccumulatorUpdate`]: what a task added to an accumulator; travels with the task's end.
//!
//! Called by `scheduler` and `simulation`, which make events, and by `firesteel`, which hands them on.

mod accumulator;
mod bus;
mod event;
mod info;
mod listener;
mod metrics;

pub use accumulator::AccumulatorUpdate;
pub use bus::{Bus, ListenerHandle};
pub use event::{AppEvent, JobEnd, TaskEnd};
pub use info::{RddInfo, StageInfo, TaskInfo, TaskKind, TaskLocality};
pub use listener::Listener;
pub use metrics::{
    InputMetrics, OutputMetrics, ShuffleReadMetrics, ShuffleWriteMetrics, SpillMetrics, TaskMetrics, TaskReport,
};
