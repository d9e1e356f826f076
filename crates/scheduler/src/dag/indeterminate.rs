//! Indeterminate output that had to be computed again: what was computed from its first edition must not be mixed with
//! what is computed from the second. Map stages are rolled back: all their output is computed again. So are the results of
//! a job on which nobody acts before it has succeeded. Jobs whose results are acted upon one by one cannot be, and fail.
//!
//! What is known to be indeterminate is kept apart before it is computed again. No other output is trusted either: each has
//! a checksum of its rows, and where a lost one comes out differently, it is treated as if that had been known before.

use firesteel_common::{JobId, ShuffleId, StageId, Tick};

use super::{handler::DagHandler, stage::Stage};
use crate::{
    effect::{DriverEffect, StageKind},
    error::JobError,
    map_outputs::{Generations, Registered, conflict},
};

impl DagHandler<'_> {
    /// Before an attempt of the stage: rolls back what must not be mixed with what it reads or writes, or fails the jobs
    /// of which that is no longer possible. True when nothing was in the way; otherwise the stage is to be looked at anew.
    pub(super) fn clear_the_way(&mut self, now: Tick, id: StageId, out: &mut Vec<DriverEffect>) -> bool {
        let Some(stage) = self.dag.stages.get(id) else { return false };
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
                StageKind::Result { job } => self.roll_back_results(now, id, job, shuffle, out),
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
        let reader = self.dag.stages.iter().find(has_read).map(|reader| (reader.id, reader.kind));
        match reader {
            Some((_, StageKind::ShuffleMap { shuffle, .. })) => self.roll_back(now, shuffle, out),
            Some((reader, StageKind::Result { job })) => self.roll_back_results(now, reader, job, own, out),
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
        let Some(stage) = self.dag.stages.get(id) else { return true };
        let present = self.outputs.generations([shuffle]);
        let mixed = self.finished_from(stage).is_some_and(|old| conflict(old, &present).is_some());
        let kind = stage.kind;
        match kind {
            // The attempt ends with the failure.
            StageKind::Result { job } if mixed && self.discard_results(job, out) => false,
            StageKind::Result { .. } if mixed => {
                self.fail_mixed(id, shuffle, out);
                true
            }
            _ => false,
        }
    }

    /// After output was recorded that had been there before: where its rows are not the same, what was computed from the
    /// first ones is set apart.
    pub(super) fn compare(
        &mut self,
        shuffle: ShuffleId,
        map: u32,
        registered: Registered,
        out: &mut Vec<DriverEffect>,
    ) {
        let compared = match registered {
            Registered::Refused | Registered::Fits => return,
            Registered::Differs => true,
            Registered::Unclear => false,
        };
        let (rdd, operator) = self.outputs.made_of(shuffle).unwrap_or_default();
        out.push(DriverEffect::OutputDiffers { shuffle, map, rdd, operator, compared });
        if compared {
            self.set_apart(shuffle, map);
        }
    }

    /// The shuffle's output is of two editions from now on: all that was computed from it so far is of the first.
    fn set_apart(&mut self, shuffle: ShuffleId, map: u32) {
        let behind = self.outputs.behind(shuffle);
        self.outputs.found_indeterminate(shuffle, map, &behind);
        for stage in self.dag.stages.iter_mut() {
            let parents = || stage.parents.iter().map(|(s, _)| *s);
            let old = self.outputs.among(&behind, parents());
            if old.is_empty() {
                continue;
            }
            let direct: Generations = parents().filter_map(|s| Some((s, *behind.get(&s)?))).collect();
            for attempt in stage.attempts.values_mut() {
                note(&mut attempt.direct, &direct);
                note(&mut attempt.reads, &old);
            }
            if let StageKind::Result { job } = stage.kind
                && let Some(job) = self.dag.jobs.get_mut(&job)
                && job.has_results()
            {
                note(&mut job.computed_from, &old);
            }
        }
        let outputs = &self.outputs;
        self.blocks.note_sources(|read| outputs.among(&behind, read.iter().copied()));
    }

    /// Has all results of a job computed again, or fails the job when some of them were acted upon.
    fn roll_back_results(
        &mut self,
        now: Tick,
        id: StageId,
        job: JobId,
        shuffle: ShuffleId,
        out: &mut Vec<DriverEffect>,
    ) {
        if self.discard_results(job, out) {
            self.stop_attempt(now, id, out);
        } else {
            self.fail_mixed(id, shuffle, out);
        }
    }

    /// Takes back what was handed over, if that is allowed.
    fn discard_results(&mut self, id: JobId, out: &mut Vec<DriverEffect>) -> bool {
        let Some(job) = self.dag.jobs.get_mut(&id).filter(|job| job.repeatable) else { return false };
        job.start_over();
        out.push(DriverEffect::ResultsDiscarded { job: id });
        true
    }

    /// All output of the shuffle is computed again when somebody needs it; what its stage is doing is of no use.
    fn roll_back(&mut self, now: Tick, shuffle: ShuffleId, out: &mut Vec<DriverEffect>) {
        self.outputs.renew(shuffle);
        if let Some(id) = self.dag.stages.writer_of(shuffle) {
            self.stop_attempt(now, id, out);
        }
    }

    /// What the stage is doing is of no use.
    fn stop_attempt(&mut self, now: Tick, id: StageId, out: &mut Vec<DriverEffect>) {
        let Some(stage) = self.dag.stages.get(id) else { return };
        if stage.running_attempt().is_some() {
            let priority = stage.priority;
            let why = "the stage is rolled back, as what it reads is computed again";
            self.give_up_attempt(now, id, &why, out);
            self.tasks.cancel(priority, id, why, out);
        }
    }

    /// After a conflict that cannot be mended: what is finished of the stage and what is cached in it is of no use to a
    /// later job either.
    fn fail_mixed(&mut self, id: StageId, shuffle: ShuffleId, out: &mut Vec<DriverEffect>) {
        let Some(stage) = self.dag.stages.get(id) else { return };
        if let StageKind::ShuffleMap { shuffle, .. } = stage.kind {
            self.outputs.renew(shuffle);
        }
        for i in &stage.cached_nodes {
            let rdd = stage.graph.nodes[*i].rdd;
            self.blocks.remove_rdd(rdd);
            out.push(DriverEffect::DropRdd { rdd });
        }
        let (rdd, operator) = self.outputs.made_of(shuffle).unwrap_or_default();
        let error = match self.outputs.found_at(shuffle) {
            Some(partition) => JobError::OutputDiffers { stage: id, shuffle, partition, rdd, operator },
            None => JobError::Indeterminate { stage: id, shuffle, rdd, operator },
        };
        self.abort_stage(id, &error, out);
    }

    /// What the finished part of a stage was computed from; None when nothing is finished.
    fn finished_from(&self, stage: &Stage) -> Option<&Generations> {
        match stage.kind {
            StageKind::ShuffleMap { shuffle, .. } => self.outputs.computed_from(shuffle),
            StageKind::Result { job } => self.dag.jobs.get(&job).filter(|j| j.has_results()).map(|j| &j.computed_from),
        }
    }
}

/// Adds what is not known yet.
fn note(to: &mut Generations, old: &Generations) {
    old.iter().for_each(|(shuffle, generation)| _ = to.entry(*shuffle).or_insert(*generation));
}
