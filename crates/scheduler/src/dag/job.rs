//! A job: as it is wanted, while it waits for slots, and while it runs.

use std::collections::BTreeSet;

use firesteel_common::{CallSite, StageId, Tick};
use firesteel_events::AccumulatorUpdate;

use super::result_sizes::ResultSizes;
use crate::{graph::JobGraph, map_outputs::Generations, properties::JobProperties};

/// A job that is valid and not planned yet.
#[derive(Debug)]
pub(crate) struct WantedJob {
    pub(crate) site: CallSite,
    pub(crate) graph: JobGraph,
    pub(crate) partitions: Vec<u32>,
    pub(crate) properties: JobProperties,
    pub(crate) repeatable: bool,
}

/// A job that waits for slots before it is planned.
#[derive(Debug)]
pub(crate) struct HeldJob {
    pub(super) wanted: WantedJob,
    pub(super) failed_checks: u32,
    pub(super) check_at: Tick,
}

/// A job that runs.
#[derive(Debug)]
pub(crate) struct Job {
    /// The action, and where it was called.
    pub(super) site: CallSite,
    pub(super) result_stage: StageId,
    /// Partitions of the root, in the order of the results.
    pub(super) partitions: Vec<u32>,
    pub(super) finished: Vec<bool>,
    pub(super) remaining: u32,
    /// Of results taken or being fetched.
    pub(super) results: ResultSizes,
    /// Results may be taken back.
    pub(super) repeatable: bool,
    /// What its result tasks added to accumulators, while it may be taken back.
    pub(super) accumulated: Vec<AccumulatorUpdate>,
    /// What the finished partitions were computed from, as far as it is indeterminate.
    pub(super) computed_from: Generations,
    pub(super) stages: BTreeSet<StageId>,
    pub(super) properties: JobProperties,
}

impl Job {
    /// A job that has no results yet, with the stages that it may need.
    pub(super) fn new(
        site: CallSite,
        partitions: Vec<u32>,
        properties: JobProperties,
        repeatable: bool,
        result_stage: StageId,
        stages: BTreeSet<StageId>,
    ) -> Self {
        let count = partitions.len();
        Job {
            site,
            result_stage,
            partitions,
            finished: vec![false; count],
            remaining: count as u32,
            results: ResultSizes::new(count),
            repeatable,
            accumulated: Vec::new(),
            computed_from: Generations::new(),
            stages,
            properties,
        }
    }

    /// Some of its results are there.
    pub(super) fn has_results(&self) -> bool {
        (self.remaining as usize) < self.finished.len()
    }

    /// Takes back what was handed over: all of it is to come again.
    pub(super) fn start_over(&mut self) {
        self.finished.fill(false);
        self.remaining = self.finished.len() as u32;
        self.results.clear_all();
        self.computed_from.clear();
        self.accumulated.clear();
    }
}
