//! The stages that some job needs, and which of them writes a shuffle.

use std::collections::{BTreeMap, BTreeSet};

use firesteel_common::{ShuffleId, StageId, Tick};

use super::stage::{Stage, StageState};
use crate::{effect::StageKind, invariants::hold};

/// All stages of all jobs that run.
#[derive(Debug, Default)]
pub(super) struct Stages {
    known: BTreeMap<StageId, Stage>,
    /// The stage that writes a shuffle, while some job needs it.
    writers: BTreeMap<ShuffleId, StageId>,
    next: u32,
    /// Stages to submit again, by the time of `StageState::Failed`.
    failed: BTreeSet<StageId>,
}

impl Stages {
    #[inline]
    pub(super) fn get(&self, id: StageId) -> Option<&Stage> {
        self.known.get(&id)
    }

    /// A stage to be changed; its state is changed by [`Stages::set_state`] alone.
    #[inline]
    pub(super) fn get_mut(&mut self, id: StageId) -> Option<&mut Stage> {
        self.known.get_mut(&id)
    }

    /// All of them, by their ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Stage> {
        self.known.values()
    }

    /// All of them, to be changed as [`Stages::get_mut`] says.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stage> {
        self.known.values_mut()
    }

    /// The stage that writes a shuffle, while some job needs it.
    #[inline]
    pub(super) fn writer_of(&self, shuffle: ShuffleId) -> Option<StageId> {
        self.writers.get(&shuffle).copied()
    }

    /// A number that no stage has had.
    pub(super) fn next_id(&mut self) -> StageId {
        let id = StageId(self.next);
        self.next += 1;
        id
    }

    /// Adds a stage that does nothing yet.
    pub(super) fn insert(&mut self, stage: Stage) {
        debug_assert_eq!(stage.state, StageState::Idle, "{} is new", stage.id);
        if let StageKind::ShuffleMap { shuffle, .. } = stage.kind {
            self.writers.insert(shuffle, stage.id);
        }
        self.known.insert(stage.id, stage);
    }

    /// Forgets a stage that no job needs any more, and returns it.
    pub(super) fn remove(&mut self, id: StageId) -> Option<Stage> {
        let stage = self.known.remove(&id)?;
        debug_assert!(stage.jobs.is_empty(), "{id} is still needed");
        self.failed.remove(&id);
        if let StageKind::ShuffleMap { shuffle, .. } = stage.kind {
            self.writers.remove(&shuffle);
        }
        Some(stage)
    }

    pub(super) fn set_state(&mut self, id: StageId, state: StageState) {
        let Some(stage) = self.known.get_mut(&id) else { return };
        stage.state = state;
        match state {
            StageState::Failed { .. } => self.failed.insert(id),
            _ => self.failed.remove(&id),
        };
    }

    /// Stages that wait for the outputs of `parent`, ascending.
    pub(super) fn waiting_for(&self, parent: StageId) -> Vec<StageId> {
        let waits = |s: &&Stage| s.state == StageState::Waiting && s.parents.iter().any(|(_, of)| *of == parent);
        self.known.values().filter(waits).map(|s| s.id).collect()
    }

    /// Failed stages that are to be submitted again by `now`.
    pub(super) fn due(&self, now: Tick) -> Vec<StageId> {
        let due = |id: &StageId| self.resubmission(*id).is_some_and(|at| at <= now);
        self.failed.iter().copied().filter(due).collect()
    }

    /// When the next failed stage is submitted again.
    pub(super) fn next_resubmission(&self) -> Option<Tick> {
        self.failed.iter().filter_map(|id| self.resubmission(*id)).min()
    }

    fn resubmission(&self, id: StageId) -> Option<Tick> {
        match self.known.get(&id)?.state {
            StageState::Failed { resubmit_at } => Some(resubmit_at),
            _ => None,
        }
    }

    /// The tables agree, and nothing waits for what can never come.
    pub(super) fn check(&self) -> Result<(), String> {
        for (id, stage) in &self.known {
            hold!(!stage.jobs.is_empty(), "{id} is kept for nobody");
            hold!(
                self.failed.contains(id) == matches!(stage.state, StageState::Failed { .. }),
                "{id} is to be resubmitted and is not, or the reverse"
            );
            if let StageKind::ShuffleMap { shuffle, .. } = stage.kind {
                hold!(self.writer_of(shuffle) == Some(*id), "{id} is not known to write {shuffle}");
            }
            if stage.state == StageState::Waiting {
                let comes = |(_, parent): &(ShuffleId, StageId)| {
                    self.get(*parent).is_some_and(|parent| parent.state != StageState::Idle)
                };
                hold!(stage.parents.iter().any(comes), "{id} waits and none of its parents runs");
            }
        }
        let gone = self.writers.values().chain(&self.failed).find(|id| !self.known.contains_key(id));
        hold!(gone.is_none(), "{gone:?} is gone and is remembered");
        Ok(())
    }
}
