//! RDDs: lineages of operators, how a partition is computed from them, and how a stage of one travels.
//!
//! ```text
//!  Rdd / With ──operators──▶ RddNode(Body) ──lineage::encode_stage──▶ bytes ──decode_stage──▶ StageTask::run
//!      │ actions                                                                                  │
//!      └──────▶ JobRunner (the Context)                              TaskContext ◀── executor ────┘
//! ```
//!
//! * [`Rdd`], [`With`], [`Partitioned`]: the users' handles. `operators/` has what they can do within a stage, `pair/` what needs a
//!   shuffle, `actions/` what starts jobs, [`sources`] where data comes from.
//! * [`node`]: one step of a lineage, and in `meta` what all have; [`pipe`], `zipped` and [`output`] are the common kinds.
//! * [`Lines`]: the lines of text files by reference. Where files lie, and how they are read and written, is `firesteel_files`'.
//! * [`custom`]: RDDs that a program writes itself.
//! * `checkpoint`: what an RDD is computed from is put into files or at executors instead.
//! * [`determinism`]: which RDDs come out the same when they are computed again.
//! * [`lineage`]: how a stage is encoded. What runs of it on an executor is a task of `firesteel_task`.
//! * [`Lazy`]: an environment that each process makes for itself.
//! * [`runner`]: what an RDD needs of its Context.

#![expect(
    clippy::disallowed_types,
    reason = "actions return maps as Spark's do, and what is known of a type is only looked up"
)]
#![expect(clippy::unused_unit, reason = "the operators' declarations name every closure's return type")]

#[macro_use]
mod operators;

mod actions;
mod barrier;
mod checkpoint;
mod concat;
pub mod custom;
mod debug;
pub mod determinism;
mod elements;
pub mod error;
mod flat_drop;
mod lazy;
pub mod lineage;
mod lines;
mod meta;
pub mod node;
pub mod output;
mod pair;
pub mod pipe;
mod rdd;
pub mod runner;
pub mod sources;
mod stats;
mod zipped;

pub use actions::{BoundedDouble, JobFuture, LocalIterator, Number, PartialResult};
pub use barrier::{BarrierWith, RddBarrier};
pub use custom::{CustomRdd, ParentInput, ParentRdds};
pub use error::{Error, Result};
pub use firesteel_files::text::TextRecord;
pub use lazy::Lazy;
pub use lines::{Lines, LinesWith};
pub use node::StorageLevel;
pub use operators::Emitter;
pub use pair::Partitioning;
pub use rdd::{Partitioned, PartitionedWith, Rdd, With};
pub use stats::Stats;
