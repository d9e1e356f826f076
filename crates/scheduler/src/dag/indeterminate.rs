//! Indeterminate output that had to be computed again: what was computed from its first edition must not be mixed with
//! what is computed from the second. Map stages are rolled back: all their output is computed again. Jobs that have handed
//! out results already cannot be, and fail.

use firesteel_common::{ShuffleId, StageId, Tick};

use super::stage::Stage;
use crate::{
    driver_core::DriverCore,
    effect::{DriverEffect, StageKind},
    error::JobError,
    map_outputs::{Generations, conflict},
};

impl DriverCore {
    /// Before an attempt of the stage: rolls back what must not be mixed with what it reads or writes, or fails the jobs
    /// of which that is no longer possible. True when nothing was in the way; otherwise the stage is to be looked at anew.
    pub(super) fn clear_the_way(&mut self, now: Tick, id: StageId, out: &mut Vec<DriverEffect>) -> bool {
        let Some(stage) = self.dag.stages.get(&id) else { return false };
        let parents: Vec<ShuffleId> = stage.parents.iter().map(|(shuffle, _)| *shuffle).collect();
        if let Some(stale) = self.outputs.stale(&parents) {
            self.roll_back(now, stale, out);
            return false;
        }
        let reads = self.outputs.sources(parents.iter().copied());
        let cached = stage.cached_nodes.iter().find_map(|i| {
            let from = self.blocks.computed_from(stage.graph.nodes[*i].rdd)?;
            conflict(from, &reads)
        });
        if let Some(shuffle) = cached {
            // Tasks that are on their way to an end may still store partitions of the old edition.
            self.fail_mixed(id, shuffle, out);
            return false;
        }
        if let Some(shuffle) = self.finished_from(stage).and_then(|old| conflict(old, &reads)) {
            match stage.kind {
                StageKind::ShuffleMap { shuffle: own, .. } => self.roll_back(now, own, out),
                StageKind::Result { .. } => self.fail_mixed(id, shuffle, out),
            }
            return false;
        }
        let StageKind::ShuffleMap { shuffle: own, .. } = stage.kind else { return true };
        if !self.outputs.would_replace(own) {
            return true;
        }
        let has_read = |reader: &&Stage| {
            reader.parents.iter().any(|(s, _)| *s == own)
                && !self.missing_outputs(reader).is_empty()
                && self.finished_from(reader).is_some_and(|from| from.contains_key(&own))
        };
        let reader = self.dag.stages.values().find(has_read).map(|reader| (reader.id, reader.kind));
        match reader {
            Some((_, StageKind::ShuffleMap { shuffle, .. })) => self.roll_back(now, shuffle, out),
            Some((reader, StageKind::Result { .. })) => self.fail_mixed(reader, own, out),
            None => {
                self.outputs.replace_missing(own);
                return true;
            }
        }
        false
    }

    /// The stage could not read the shuffle, whose output will be computed again: what its other tasks make of the old
    /// edition counts no more. When that means that the stage's job cannot succeed, it fails now; true then.
    pub(super) fn reader_failed(&mut self, id: StageId, shuffle: ShuffleId, out: &mut Vec<DriverEffect>) -> bool {
        if self.outputs.would_replace(shuffle) {
            self.outputs.replace_missing(shuffle);
        }
        let Some(stage) = self.dag.stages.get(&id) else { return true };
        let present = self.outputs.generations([shuffle]);
        let mixed = self.finished_from(stage).is_some_and(|old| conflict(old, &present).is_some());
        if mixed && matches!(stage.kind, StageKind::Result { .. }) {
            self.fail_mixed(id, shuffle, out);
            return true;
        }
        false
    }

    /// All output of the shuffle is computed again when somebody needs it; what its stage is doing is of no use.
    fn roll_back(&mut self, now: Tick, shuffle: ShuffleId, out: &mut Vec<DriverEffect>) {
        self.outputs.renew(shuffle);
        let Some(id) = self.dag.map_stages.get(&shuffle).copied() else { return };
        let Some(stage) = self.dag.stages.get(&id) else { return };
        if stage.running_attempt().is_some() {
            let priority = stage.priority;
            self.give_up_attempt(now, id, out);
            self.tasks.cancel(priority, id, "the stage is rolled back, as what it reads is computed again", out);
        }
    }

    /// After a conflict that cannot be mended: what is finished of the stage and what is cached in it is of no use to a
    /// later job either.
    fn fail_mixed(&mut self, id: StageId, shuffle: ShuffleId, out: &mut Vec<DriverEffect>) {
        let Some(stage) = self.dag.stages.get(&id) else { return };
        if let StageKind::ShuffleMap { shuffle, .. } = stage.kind {
            self.outputs.renew(shuffle);
        }
        for i in &stage.cached_nodes {
            let rdd = stage.graph.nodes[*i].rdd;
            self.blocks.remove_rdd(rdd);
            out.push(DriverEffect::DropRdd { rdd });
        }
        self.abort_stage(id, &JobError::Indeterminate { stage: id, shuffle }, out);
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
