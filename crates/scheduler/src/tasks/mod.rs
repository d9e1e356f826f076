//! TaskScheduler: gives the waiting tasks of all task sets to the free slots of executors.
//!
//! ```text
//!   dag/  ── submit, complete, retry, retire, cancel ──▶  TaskScheduler ──▶ LaunchTasks, RecallTasks, KillTask, NoResources
//!                                                          ├─ Pools (whose turn it is: FIFO or FAIR)
//!                                                          ├─ TaskSetManager (one a stage attempt: tasks, locality)
//!                                                          ├─ speculation (copies of slow tasks)
//!                                                          └─ Executors (slots, pace)
//! ```
//!
//! Where tasks are short, some are launched ahead of the free slots, so that an executor need not wait for the driver
//! after each one. They are called back when the tasks before them turn out not to be short; those that have not begun
//! then are given back and wait as before.
//!
//! It does not know what success or failure means for a job: the DAGScheduler's files decide that.
//!
//! | file | what |
//! |---|---|
//! | `task_scheduler` | the tables; tasks come in, end, are tried again |
//! | `offers` | free slots are given away |
//! | `ahead`, `pace` | tasks that are launched before a slot is free |
//! | `speculation`, `median` | copies of slow tasks |
//! | `avoidance`, `exclusion` | where tasks have failed too often |
//! | `executors`, `executor`, `leaving`, `comings` | who is there, comes, leaves and goes |
//! | `task_set`, `locality`, `pools` | the tasks of an attempt, where they best run, whose turn it is |
//! | `running`, `place`, `set_key` | what is said of a task that runs, of a slot, of a set |
//! | `questions` | what others may know |
//! | `invariants` | what must hold |
//!
//! The fields of all of these are this folder's alone.

mod ahead;
mod avoidance;
mod comings;
mod exclusion;
pub(crate) mod executor;
pub(crate) mod executors;
mod invariants;
mod leaving;
pub(crate) mod locality;
mod median;
mod offers;
mod pace;
mod place;
mod pools;
mod questions;
pub(crate) mod running;
pub(crate) mod set_key;
mod speculation;
pub(crate) mod task_scheduler;
pub(crate) mod task_set;
