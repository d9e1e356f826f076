//! A stage: the pipelined steps between two shuffles, and what is known about its attempts.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use firesteel_common::{CallSite, JobId, RddId, ShuffleId, StageAttempt, StageId, Tick};

use firesteel_events::AccumulatorUpdate;

use crate::{effect::StageKind, graph::JobGraph, map_outputs::Generations, tasks::SetKey};

/// What a stage is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StageState {
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
pub(crate) struct HeldResult {
    pub(crate) bytes: Bytes,
    pub(crate) accumulated: Vec<AccumulatorUpdate>,
}

/// What was true when an attempt started.
#[derive(Clone, Debug)]
pub(crate) struct AttemptInfo {
    /// The MapOutputTracker's epoch.
    pub(crate) epoch: u64,
    /// What its tasks read, as far as it is indeterminate.
    pub(crate) direct: Generations,
    /// The same, and what that was computed from in turn.
    pub(crate) reads: Generations,
}

#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) id: StageId,
    pub(crate) kind: StageKind,
    pub(crate) graph: Arc<JobGraph>,
    /// Index of its RDD in the graph.
    pub(crate) node: usize,
    pub(crate) rdd: RddId,
    /// What names it: the action that wants its results, or the operator whose output is shuffled.
    pub(crate) site: CallSite,
    /// The shuffles that its tasks may read, with the stages that write them.
    pub(crate) parents: Vec<(ShuffleId, StageId)>,
    /// Jobs that need it; the stage goes with the last of them.
    pub(crate) jobs: BTreeSet<JobId>,
    /// The job that first asked for it: its place in the order of task sets.
    pub(crate) priority: JobId,
    pub(crate) state: StageState,
    pub(crate) next_attempt: u32,
    /// Attempts that could not fetch since the last success.
    pub(crate) failed_attempts: u32,
    /// Attempts whose tasks may still report.
    pub(crate) attempts: BTreeMap<u32, AttemptInfo>,
    /// Shuffles that a task had to read although they lie behind cached RDDs.
    pub(crate) required: BTreeSet<ShuffleId>,
    /// Indexes of the cached nodes of this stage.
    pub(crate) cached_nodes: Vec<usize>,
    /// Its tasks wait for one another: all run at once, or none.
    pub(crate) barrier: bool,
    /// Results of a barrier stage's attempt that runs.
    pub(crate) held: BTreeMap<u32, HeldResult>,
    /// Some node has preferred hosts or is cached.
    pub(crate) has_places: bool,
}

impl Stage {
    pub(crate) fn attempt_id(&self, attempt: u32) -> StageAttempt {
        StageAttempt { stage: self.id, attempt }
    }

    pub(crate) fn key(&self, attempt: u32) -> SetKey {
        (self.priority, self.attempt_id(attempt))
    }

    /// The attempt that launches tasks now.
    pub(crate) fn running_attempt(&self) -> Option<u32> {
        match self.state {
            StageState::Running { attempt } => Some(attempt),
            _ => None,
        }
    }
}
