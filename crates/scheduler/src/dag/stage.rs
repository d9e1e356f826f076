//! A stage: the pipelined steps between two shuffles, and what is known about its attempts.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use firesteel_common::{CallSite, JobId, RddId, ShuffleId, StageAttempt, StageId, Tick};
use firesteel_events::AccumulatorUpdate;

use crate::{effect::StageKind, graph::JobGraph, map_outputs::Generations, tasks::set_key::SetKey};

/// What a stage is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum StageState {
    /// Nothing: its output is there, or nobody has asked for it yet.
    Idle,
    /// Some parent's output is missing.
    Waiting,
    /// The tasks of this attempt are with the TaskScheduler.
    Running {
        /// Which attempt.
        attempt: u32,
    },
    /// An attempt failed; it is submitted again at this time.
    Failed {
        /// When it is submitted again.
        resubmit_at: Tick,
    },
}

/// What a result task made.
#[derive(Clone, Debug)]
pub(super) struct HeldResult {
    pub(super) bytes: Bytes,
    pub(super) accumulated: Vec<AccumulatorUpdate>,
}

/// What was true when an attempt started.
#[derive(Clone, Debug)]
pub(super) struct AttemptInfo {
    /// The MapOutputTracker's epoch.
    pub(super) epoch: u64,
    /// What its tasks read, as far as it is indeterminate.
    pub(super) direct: Generations,
    /// The same, and what that was computed from in turn.
    pub(super) reads: Generations,
}

#[derive(Debug)]
pub(super) struct Stage {
    pub(super) id: StageId,
    pub(super) kind: StageKind,
    pub(super) graph: Arc<JobGraph>,
    /// Index of its RDD in the graph.
    pub(super) node: usize,
    pub(super) rdd: RddId,
    /// What names it: the action that wants its results, or the operator whose output is shuffled.
    pub(super) site: CallSite,
    /// The shuffles that its tasks may read, with the stages that write them.
    pub(super) parents: Vec<(ShuffleId, StageId)>,
    /// Jobs that need it; the stage goes with the last of them.
    pub(super) jobs: BTreeSet<JobId>,
    /// The job that first asked for it: its place in the order of task sets.
    pub(super) priority: JobId,
    pub(super) state: StageState,
    pub(super) next_attempt: u32,
    /// Attempts that could not fetch since the last success.
    pub(super) failed_attempts: u32,
    /// Attempts whose tasks may still report.
    pub(super) attempts: BTreeMap<u32, AttemptInfo>,
    /// Shuffles that a task had to read although they lie behind cached RDDs.
    pub(super) required: BTreeSet<ShuffleId>,
    /// Indexes of the cached nodes of this stage.
    pub(super) cached_nodes: Vec<usize>,
    /// Its tasks wait for one another: all run at once, or none.
    pub(super) barrier: bool,
    /// Results of a barrier stage's attempt that runs.
    pub(super) held: BTreeMap<u32, HeldResult>,
    /// Some node has preferred hosts or is cached.
    pub(super) has_places: bool,
}

impl Stage {
    pub(super) fn attempt_id(&self, attempt: u32) -> StageAttempt {
        StageAttempt { stage: self.id, attempt }
    }

    pub(super) fn key(&self, attempt: u32) -> SetKey {
        (self.priority, self.attempt_id(attempt))
    }

    /// The attempt that launches tasks now.
    pub(super) fn running_attempt(&self) -> Option<u32> {
        match self.state {
            StageState::Running { attempt } => Some(attempt),
            _ => None,
        }
    }
}
