//! The tables of the DAGScheduler.

use std::collections::{BTreeMap, VecDeque};

use firesteel_common::{JobId, StageAttempt, Tick};

use super::{
    job::{HeldJob, Job},
    release::Releases,
    stages::Stages,
};
use crate::{error::JobError, status::Past};

/// Jobs and their stages: those that run, those that wait, and what is left of others.
#[derive(Debug, Default)]
pub(crate) struct DagScheduler {
    pub(super) jobs: BTreeMap<JobId, Job>,
    pub(super) stages: Stages,
    /// Jobs with barrier stages for which there are too few slots.
    pub(super) held: BTreeMap<JobId, HeldJob>,
    /// Since when attempts of barrier stages need more slots than there are.
    pub(super) short: BTreeMap<StageAttempt, Tick>,
    pub(super) releases: Releases,
    /// Groups of which no job is run any more, the oldest first.
    pub(super) cancelled_groups: VecDeque<String>,
    /// Why no job can run any more.
    pub(super) closed: Option<JobError>,
    /// Jobs and stages that are over.
    pub(super) past: Past,
    /// Outputs that were there when a task's success was counted for them; none ever is.
    pub(super) doubles: u32,
}
