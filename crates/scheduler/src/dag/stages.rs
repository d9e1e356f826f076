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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use firesteel_common::{CallSite, JobId, RddId};

    use super::*;
    use crate::{
        graph::{GraphDep, GraphNode, JobGraph},
        map_outputs::MapOutputTracker,
    };

    const SHUFFLE: ShuffleId = ShuffleId(5);

    /// The stages of two jobs that read the same shuffle, and the jobs' result stages.
    fn two_jobs() -> (Stages, StageId, StageId) {
        let mapped = GraphNode { rdd: RddId(0), partitions: 3, ..GraphNode::default() };
        let deps = vec![GraphDep::Shuffle { shuffle: SHUFFLE, parent: 0, reducers: 2 }];
        let reduced = GraphNode { rdd: RddId(1), partitions: 2, deps, ..GraphNode::default() };
        let graph = Arc::new(JobGraph { nodes: vec![mapped, reduced], root: 1 });
        let (mut stages, mut outputs, mut out) = (Stages::default(), MapOutputTracker::default(), Vec::new());
        let mut cut = |job| stages.cut(JobId(job), CallSite::default(), &graph, &mut outputs, &mut out);
        let ((first, of_first), (second, of_second)) = (cut(0), cut(1));
        assert_eq!((of_first.len(), of_second.len()), (2, 2));
        stages.check().unwrap();
        (stages, first, second)
    }

    #[test]
    fn two_jobs_share_the_stage_that_writes_their_shuffle() {
        let (stages, first, second) = two_jobs();
        let writer = stages.writer_of(SHUFFLE).and_then(|id| stages.get(id)).unwrap();
        assert_eq!(writer.jobs, BTreeSet::from([JobId(0), JobId(1)]));
        assert_eq!(stages.iter().count(), 3);
        for reader in [first, second] {
            assert_eq!(stages.get(reader).unwrap().parents, [(SHUFFLE, writer.id)]);
        }
    }

    #[test]
    fn a_failed_stage_is_due_until_its_state_changes() {
        let (mut stages, first, _) = two_jobs();
        stages.set_state(first, StageState::Failed { resubmit_at: Tick(9) });
        stages.check().unwrap();
        assert_eq!((stages.next_resubmission(), stages.due(Tick(8))), (Some(Tick(9)), vec![]));
        assert_eq!(stages.due(Tick(9)), [first]);
        stages.set_state(first, StageState::Idle);
        assert_eq!((stages.next_resubmission(), stages.due(Tick(9))), (None, vec![]));
        stages.check().unwrap();
    }

    #[test]
    fn what_waits_for_nobody_is_found() {
        let (mut stages, first, _) = two_jobs();
        let writer = stages.writer_of(SHUFFLE).unwrap();
        stages.set_state(first, StageState::Waiting);
        let found = stages.check().unwrap_err();
        assert!(found.contains("none of its parents runs"), "{found}");
        stages.set_state(writer, StageState::Running { attempt: 0 });
        stages.check().unwrap();
        assert_eq!(stages.waiting_for(writer), [first]);
        stages.get_mut(writer).unwrap().jobs.clear();
        let found = stages.check().unwrap_err();
        assert!(found.contains("is kept for nobody"), "{found}");
        assert_eq!(stages.remove(writer).map(|s| s.id), Some(writer));
        assert_eq!(stages.writer_of(SHUFFLE), None);
    }
}
