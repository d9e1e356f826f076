//! DAGScheduler: jobs, their stages and what happens to them, one file a family of events.
//!
//! | file | family |
//! |---|---|
//! | `submission` | a job arrives and is cut into stages |
//! | `attempts` | stages start when their parents are there |
//! | `barrier` | stages whose tasks run all at once |
//! | `indeterminate` | what must not be mixed after a loss |
//! | `completion` | task success, results, the end of stages and jobs |
//! | `failure` | tasks that fail, fetch failures, resubmission |
//! | `executor_loss` | executors that come, disconnect and go |
//! | `cancellation` | jobs that fail or are cancelled, and what goes with them |
//! | `release` | shuffles and kept RDDs that the user let go |
//! | `unschedulable` | executors that are blamed for failures, and what can run nowhere any more |
//! | `locality` | where a task would best run |
//!
//! The methods are on [`crate::DriverCore`], since they use the TaskScheduler, the MapOutputTracker and the block
//! locations; the tables of stages and jobs are here.

mod attempts;
mod barrier;
mod cancellation;
mod completion;
mod decommission;
mod executor_loss;
mod failure;
mod indeterminate;
mod locality;
mod release;
mod result_sizes;
pub(crate) mod stage;
pub(crate) mod submission;
mod unschedulable;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use firesteel_common::{CallSite, JobId, ShuffleId, StageAttempt, StageId, Tick};

use firesteel_events::AccumulatorUpdate;

use self::{
    barrier::HeldJob,
    release::{Leftover, Release},
    result_sizes::ResultSizes,
    stage::Stage,
};
use crate::{error::JobError, map_outputs::Generations, properties::JobProperties};

/// A job that runs.
#[derive(Debug)]
pub(crate) struct Job {
    /// The action, and where it was called.
    pub(crate) site: CallSite,
    pub(crate) result_stage: StageId,
    /// Partitions of the root, in the order of the results.
    pub(crate) partitions: Vec<u32>,
    pub(crate) finished: Vec<bool>,
    pub(crate) remaining: u32,
    /// Of results taken or being fetched.
    pub(crate) results: ResultSizes,
    /// Results may be taken back.
    pub(crate) repeatable: bool,
    /// What its result tasks added to accumulators, while it may be taken back.
    pub(crate) accumulated: Vec<AccumulatorUpdate>,
    /// What the finished partitions were computed from, as far as it is indeterminate.
    pub(crate) computed_from: Generations,
    pub(crate) stages: BTreeSet<StageId>,
    pub(crate) properties: JobProperties,
}

/// The tables of the DAGScheduler.
#[derive(Debug, Default)]
pub(crate) struct DagScheduler {
    pub(crate) jobs: BTreeMap<JobId, Job>,
    pub(crate) stages: BTreeMap<StageId, Stage>,
    /// The stage that writes a shuffle, while some job needs it.
    pub(crate) map_stages: BTreeMap<ShuffleId, StageId>,
    pub(crate) next_stage: u32,
    /// Jobs with barrier stages for which there are too few slots.
    pub(crate) held: BTreeMap<JobId, HeldJob>,
    /// Since when attempts of barrier stages need more slots than there are.
    pub(crate) short: BTreeMap<StageAttempt, Tick>,
    /// Stages to submit again, by the time of `StageState::Failed`.
    pub(crate) failed: BTreeSet<StageId>,
    /// Shuffles that the user let go while a job still needs them.
    pub(crate) drop_later: BTreeSet<ShuffleId>,
    /// Stages that are gone, of which tasks still run that were told to end.
    pub(crate) leftovers: BTreeMap<StageId, Leftover>,
    /// What is dropped when such tasks have ended.
    pub(crate) released: Vec<Release>,
    /// Groups of which no job is run any more, the oldest first.
    pub(crate) cancelled_groups: VecDeque<String>,
    /// Why no job can run any more.
    pub(crate) closed: Option<JobError>,
}
