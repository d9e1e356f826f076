//! What the programs of the benchmark share: the seeded data, the points of the logistic regression, and the protocol by
//! which `bench-compare` drives an application.
//!
//! `dev/bench` runs it all. `bench-suite` is the application of this cluster, `spark/` Spark's, `bench-plain` the
//! hand-written program with two threads; all three print what [`serve`] says. `bench-data` writes the input files.

mod data;
mod protocol;

pub use data::{DIMENSIONS, Point, edge, mix};
pub use protocol::{Outcome, Timed, argument, number, run_work, serve, timed};
