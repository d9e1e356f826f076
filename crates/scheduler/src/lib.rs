//! The driver's schedulers as pure state machines over opaque tasks: no clock, no socket, no thread, no code of users.
//!
//! ```text
//!   events ──▶ DriverCore ──▶ effects            (driver shell in `firesteel`, virtual cluster in `simulation`)
//!                 ├─ dag/               jobs, stages cut at shuffles, fetch failures, lost executors, cancellation
//!                 ├─ tasks/             TaskScheduler: slots, pools, retries, locality, speculation
//!                 ├─ map_outputs        MapOutputTracker: where shuffle outputs lie
//!                 ├─ block_locations    which executors hold which cached partitions
//!                 ├─ barrier            tasks of barrier stages wait for one another
//!                 ├─ replication        lost copies of cached partitions
//!                 ├─ farewells          what executors that leave are told
//!                 ├─ allocation         dynamic allocation: how many executors there shall be
//!                 ├─ status             how jobs and stages stand, for those who ask
//!                 └─ news               what happens, told to whoever listens
//! ```
//!
//! DriverCore is the top room: it owns the parts and lends them out for one event. A part's fields are its own; what others may
//! know or change of it are its methods.
//!
//! [`event`], [`effect`] and [`DriverCore::take_news`] are the whole interface; [`graph`] is what a job looks like here; [`DriverCore::check_invariants`]
//! says what must hold between any two events.

pub mod config;
pub mod effect;
pub mod error;
pub mod event;
pub mod graph;
pub mod properties;

mod allocation;
mod barrier;
mod block_locations;
mod dag;
mod deadline;
mod driver_core;
mod farewells;
mod invariants;
mod map_outputs;
mod news;
mod places;
mod replication;
mod status;
mod tasks;

pub use allocation::AllocationConfig;
pub use config::{ExclusionConfig, PoolConfig, SchedulerConfig, SchedulingMode, SpeculationConfig};
pub use driver_core::DriverCore;
pub use effect::{BarrierPlace, DriverEffect, MapLocation, StageKind, TaskSpec};
pub use error::JobError;
pub use event::{DriverEvent, JobSelection};
pub use graph::{GraphDep, GraphNode, JobGraph, Replicated};
pub use places::{BlockPeer, addresses};
pub use properties::JobProperties;
pub use status::{JobState, JobStatus, StageStatus};
