//! Indeterminate output that had to be computed again: what was computed from its first edition must not be mixed with
//! what is computed from the second.

use firesteel_common::{ShuffleId, StageId};

use super::stage::Stage;
use crate::{
    driver_core::DriverCore,
    effect::{DriverEffect, StageKind},
    map_outputs::{Generations, conflict},
};

impl DriverCore {
    /// Whether an attempt of this stage would mix what was computed from different outputs of an indeterminate
    /// shuffle: its own finished part, its readers' finished parts, or cached partitions that it reads. Says who had
    /// read what.
    pub(super) fn indeterminate_conflict(&self, stage: &Stage) -> Option<(StageId, ShuffleId)> {
        let reads = self.outputs.generations(stage.parents.iter().map(|(s, _)| *s));
        if let Some(shuffle) = self.finished_from(stage).and_then(|old| conflict(old, &reads)) {
            return Some((stage.id, shuffle));
        }
        for i in &stage.cached_nodes {
            let cached = self.blocks.computed_from(stage.graph.nodes[*i].rdd);
            if let Some(shuffle) = cached.and_then(|old| conflict(old, &reads)) {
                return Some((stage.id, shuffle));
            }
        }
        let StageKind::ShuffleMap { shuffle, .. } = stage.kind else { return None };
        if !self.outputs.would_replace(shuffle) {
            return None;
        }
        let has_read = |reader: &&Stage| {
            reader.parents.iter().any(|(s, _)| *s == shuffle)
                && !self.missing_outputs(reader).is_empty()
                && self.finished_from(reader).is_some_and(|from| from.contains_key(&shuffle))
        };
        self.dag.stages.values().find(has_read).map(|reader| (reader.id, shuffle))
    }

    /// After a conflict: what is finished of the stage and what is cached in it is of no use to a later job either.
    pub(super) fn forget_mixed(&mut self, id: StageId, out: &mut Vec<DriverEffect>) {
        let Some(stage) = self.dag.stages.get(&id) else { return };
        if let StageKind::ShuffleMap { shuffle, .. } = stage.kind {
            self.outputs.unregister_all(shuffle);
        }
        for i in &stage.cached_nodes {
            let rdd = stage.graph.nodes[*i].rdd;
            self.blocks.remove_rdd(rdd);
            out.push(DriverEffect::DropRdd { rdd });
        }
    }

    /// What the finished part of a stage was computed from; None when nothing is finished.
    fn finished_from(&self, stage: &Stage) -> Option<&Generations> {
        match stage.kind {
            StageKind::ShuffleMap { shuffle, .. } => self.outputs.computed_from(shuffle),
            StageKind::Result { job } => {
                self.dag.jobs.get(&job).filter(|j| (j.remaining as usize) < j.finished.len()).map(|j| &j.computed_from)
            }
        }
    }
}
