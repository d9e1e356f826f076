//! DAGScheduler: jobs, their stages and what happens to them, one file a family of events.
//!
//! | file | family |
//! |---|---|
//! | `submission`, `cutting`, `walker` | a job arrives and is cut into stages |
//! | `attempts` | stages start when their parents are there |
//! | `barrier`, `barrier_needs` | stages whose tasks run all at once |
//! | `indeterminate` | what must not be mixed after a loss |
//! | `completion` | task success, results, the end of stages and jobs |
//! | `failure` | tasks that fail, fetch failures, resubmission |
//! | `executor_loss`, `decommission` | executors that come, disconnect, leave and go |
//! | `cancellation` | jobs that fail or are cancelled, and what goes with them |
//! | `dropping`, `release` | shuffles and kept RDDs that the user let go |
//! | `kept` | partitions that executors keep |
//! | `unschedulable` | executors that are blamed for failures, and what can run nowhere any more |
//! | `locality` | where a task would best run |
//! | `turn` | what is done after the events that have come together |
//! | `telling`, `standing` | what listeners are told, and those who ask |
//! | `invariants` | what must hold |
//!
//! ```text
//!  DriverCore ── event ──▶ DagHandler { the tables; TaskScheduler, MapOutputTracker, .. : borrowed } ──▶ effects, news
//!                            └─ dag_scheduler: DagScheduler { jobs (job), stages (stage, stages), releases, .. }
//! ```
//!
//! The event families are methods of the `handler`, which borrows what they use from [`crate::DriverCore`] for one event. What
//! needs less has less: `telling`, `kept`, `dropping` and `locality` borrow from it what they work with, and some may only read.
//! The fields of the tables are this folder's alone.

mod attempts;
mod barrier;
mod barrier_needs;
mod cancellation;
mod completion;
mod cutting;
pub(crate) mod dag_scheduler;
mod decommission;
mod dropping;
mod executor_loss;
mod failure;
pub(crate) mod handler;
mod indeterminate;
mod invariants;
pub(crate) mod job;
mod kept;
mod locality;
mod release;
mod result_sizes;
mod stage;
mod stages;
mod standing;
mod submission;
mod telling;
mod turn;
mod unschedulable;
mod walker;
