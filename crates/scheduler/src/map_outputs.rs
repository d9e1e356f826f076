//! MapOutputTracker: where the outputs of each shuffle's map tasks lie.
//!
//! Changed by the DAGScheduler's files only, asked by [`crate::DriverCore`] as well. Calls nobody. Locations travel with each
//! stage attempt, so executors never ask. An *epoch* counts losses: an executor whose outputs were dropped at epoch n is
//! not dropped again on news from an attempt that started before n. A *generation* counts, for shuffles that are
//! indeterminate or read such ones, how often output that had been there may have been replaced by other output: what was
//! computed from different generations must not be mixed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use firesteel_common::{ExecutorId, RddId, ShuffleId, TaskId};

use crate::{effect::MapLocation, graph::GraphNode};

/// Generations of the indeterminate shuffles that something was computed from.
pub(crate) type Generations = BTreeMap<ShuffleId, u32>;

/// The outputs of one shuffle.
#[derive(Debug)]
pub(crate) struct ShuffleOutputs {
    outputs: Vec<Option<MapLocation>>,
    /// Partitions that were there at some time.
    once: Vec<bool>,
    /// The checksum of each partition that was there.
    checksums: Vec<Option<u64>>,
    /// The RDD that is shuffled, and the operator that made it.
    made_of: (RddId, &'static str),
    /// What its map tasks may read.
    parents: Vec<ShuffleId>,
    /// It was not known to be indeterminate until this partition came out differently.
    found_at: Option<u32>,
    available: u32,
    indeterminate: bool,
    generation: u32,
    /// What the present outputs were computed from; empty when nothing is indeterminate.
    computed_from: Generations,
    snapshot: Option<Arc<Vec<MapLocation>>>,
}

impl ShuffleOutputs {
    /// What is missing need not come out as it was.
    fn forget_missing(&mut self) {
        for (output, once) in self.outputs.iter().zip(&mut self.once) {
            *once &= output.is_some();
        }
    }
}

/// What became of an output that was to be recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Registered {
    /// Another one is there.
    Refused,
    /// It is recorded.
    Fits,
    /// It is recorded, and has other rows than the one which was lost, though it should have the same.
    Differs,
    /// It is recorded, and cannot be compared with the one which was lost.
    Unclear,
}

/// All shuffles of a Context.
#[derive(Debug, Default)]
pub(crate) struct MapOutputTracker {
    shuffles: BTreeMap<ShuffleId, ShuffleOutputs>,
    epoch: u64,
    dropped_at: BTreeMap<ExecutorId, u64>,
    /// The shuffle services that serve outputs of executors, by executor; an executor that is gone stays here as long as
    /// its service lives.
    services: BTreeMap<ExecutorId, Arc<str>>,
}

impl MapOutputTracker {
    /// Makes room for a shuffle; one that is known keeps its outputs.
    pub(crate) fn ensure(
        &mut self,
        shuffle: ShuffleId,
        mapped: &GraphNode,
        indeterminate: bool,
        parents: Vec<ShuffleId>,
    ) {
        let maps = mapped.partitions as usize;
        self.shuffles.entry(shuffle).or_insert_with(|| ShuffleOutputs {
            outputs: vec![None; maps],
            once: vec![false; maps],
            checksums: vec![None; maps],
            made_of: (mapped.rdd, mapped.operator),
            parents,
            found_at: None,
            available: 0,
            indeterminate,
            generation: 0,
            computed_from: Generations::new(),
            snapshot: None,
        });
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }

    pub(crate) fn is_available(&self, shuffle: ShuffleId) -> bool {
        self.shuffles.get(&shuffle).is_some_and(|s| s.available as usize == s.outputs.len())
    }

    /// Whether this output is there.
    pub(crate) fn has(&self, shuffle: ShuffleId, map: u32) -> bool {
        self.shuffles.get(&shuffle).and_then(|s| s.outputs.get(map as usize)).is_some_and(Option::is_some)
    }

    /// Map partitions without output, ascending.
    pub(crate) fn missing(&self, shuffle: ShuffleId) -> Vec<u32> {
        let Some(s) = self.shuffles.get(&shuffle) else { return Vec::new() };
        (0u32..).zip(&s.outputs).filter(|(_, o)| o.is_none()).map(|(i, _)| i).collect()
    }

    /// Whether computing what is missing would replace indeterminate output that had been there.
    pub(crate) fn would_replace(&self, shuffle: ShuffleId) -> bool {
        self.shuffles.get(&shuffle).is_some_and(|s| {
            s.indeterminate && s.outputs.iter().zip(&s.once).any(|(output, once)| output.is_none() && *once)
        })
    }

    /// Records an output unless there is one.
    pub(crate) fn register(
        &mut self,
        shuffle: ShuffleId,
        map: u32,
        location: MapLocation,
        checksum: Option<u64>,
        computed_from: &Generations,
    ) -> Registered {
        let Some(s) = self.shuffles.get_mut(&shuffle) else { return Registered::Refused };
        let Some(slot) = s.outputs.get_mut(map as usize).filter(|slot| slot.is_none()) else {
            return Registered::Refused;
        };
        *slot = Some(location);
        s.available += 1;
        debug_assert!(s.available as usize <= s.outputs.len(), "{shuffle} counts {} outputs", s.available);
        s.snapshot = None;
        let was_there = std::mem::replace(&mut s.once[map as usize], true);
        let other_input = conflict(&s.computed_from, computed_from).is_some();
        let before = std::mem::replace(&mut s.checksums[map as usize], checksum);
        if (was_there && s.indeterminate) || other_input {
            s.generation += 1;
        }
        if other_input {
            // What is missing was made of something else.
            s.forget_missing();
        }
        if s.computed_from != *computed_from {
            s.computed_from.clone_from(computed_from);
        }
        match (before, checksum) {
            _ if !was_there || s.indeterminate || other_input => Registered::Fits,
            (Some(before), Some(now)) if before == now => Registered::Fits,
            (Some(_), Some(_)) => Registered::Differs,
            _ => Registered::Unclear,
        }
    }

    /// The RDD that is shuffled, and the operator that made it.
    pub(crate) fn made_of(&self, shuffle: ShuffleId) -> Option<(RddId, &'static str)> {
        Some(self.shuffles.get(&shuffle)?.made_of)
    }

    /// The partition which showed that the shuffle is indeterminate, where nothing else had said so.
    pub(crate) fn found_at(&self, shuffle: ShuffleId) -> Option<u32> {
        self.shuffles.get(&shuffle)?.found_at
    }

    /// The shuffle and all that may have been computed from it, whatever lies between, with their present generations.
    pub(crate) fn behind(&self, shuffle: ShuffleId) -> Generations {
        let mut behind: Generations =
            self.shuffles.get(&shuffle).map(|s| (shuffle, s.generation)).into_iter().collect();
        loop {
            let reads = |s: &ShuffleOutputs| s.parents.iter().any(|parent| behind.contains_key(parent));
            let more = self.shuffles.iter().filter(|(id, s)| !behind.contains_key(id) && reads(s));
            let more: Vec<(ShuffleId, u32)> = more.map(|(id, s)| (*id, s.generation)).collect();
            if more.is_empty() {
                return behind;
            }
            behind.extend(more);
        }
    }

    /// Those of `behind` that are among `shuffles` or that these may have been computed from.
    pub(crate) fn among(&self, behind: &Generations, shuffles: impl IntoIterator<Item = ShuffleId>) -> Generations {
        let mut found = Generations::new();
        let mut todo: Vec<ShuffleId> = shuffles.into_iter().collect();
        while let Some(id) = todo.pop() {
            if let Some(generation) = behind.get(&id)
                && found.insert(id, *generation).is_none()
                && let Some(s) = self.shuffles.get(&id)
            {
                todo.extend(&s.parents);
            }
        }
        found
    }

    /// A partition of the shuffle came out differently: it is indeterminate, and what `behind` has of outputs was computed
    /// from its old generation.
    pub(crate) fn found_indeterminate(&mut self, shuffle: ShuffleId, map: u32, behind: &Generations) {
        let old: Vec<(ShuffleId, Generations)> = behind
            .keys()
            .filter(|id| **id != shuffle)
            .filter_map(|id| Some((*id, self.among(behind, self.shuffles.get(id)?.parents.iter().copied()))))
            .collect();
        for (id, old) in old {
            let Some(s) = self.shuffles.get_mut(&id) else { continue };
            if s.available > 0 {
                old.into_iter().for_each(|(from, generation)| _ = s.computed_from.entry(from).or_insert(generation));
            } else {
                // Nothing of it is left: what is made in its place may well differ.
                s.forget_missing();
            }
        }
        if let Some(s) = self.shuffles.get_mut(&shuffle) {
            s.indeterminate = true;
            s.found_at = Some(map);
            s.generation += 1;
        }
    }

    /// Drops one output if it is still the one that `map_task` wrote, and still where `executor` is: one that was moved is
    /// not lost when it cannot be read at its old place.
    pub(crate) fn unregister(&mut self, shuffle: ShuffleId, map: u32, map_task: TaskId, executor: ExecutorId) -> bool {
        let Some(s) = self.shuffles.get_mut(&shuffle) else { return false };
        let Some(slot) = s.outputs.get_mut(map as usize) else { return false };
        if slot.as_ref().is_none_or(|l| l.map_task != map_task || l.executor != executor) {
            return false;
        }
        *slot = None;
        s.available -= 1;
        s.snapshot = None;
        self.epoch += 1;
        true
    }

    /// An output is also with `to` now, at `address`, and read there from now on, if `map_task` wrote it and it is still
    /// registered as one of `from`. Whether it is.
    pub(crate) fn moved(
        &mut self,
        shuffle: ShuffleId,
        map_task: TaskId,
        from: ExecutorId,
        to: ExecutorId,
        address: Arc<str>,
    ) -> bool {
        let Some(s) = self.shuffles.get_mut(&shuffle) else { return false };
        let is_it = |l: &&mut MapLocation| l.map_task == map_task && l.executor == from;
        let Some(location) = s.outputs.iter_mut().flatten().find(is_it) else { return false };
        location.executor = to;
        location.block_address = address;
        s.snapshot = None;
        true
    }

    /// Whether the shuffle is one that somebody may read.
    pub(crate) fn knows(&self, shuffle: ShuffleId) -> bool {
        self.shuffles.contains_key(&shuffle)
    }

    /// Drops all outputs of a shuffle; what is computed in their place is something else.
    pub(crate) fn renew(&mut self, shuffle: ShuffleId) {
        if let Some(s) = self.shuffles.get_mut(&shuffle) {
            s.outputs.fill(None);
            s.once.fill(false);
            s.checksums.fill(None);
            s.available = 0;
            s.snapshot = None;
            s.generation += 1;
            s.computed_from.clear();
            self.epoch += 1;
        }
    }

    /// Drops all outputs of a shuffle, in whose place the same ones are to be made; when they are others, whoever has read
    /// the first ones must not be mixed with them. Of an indeterminate shuffle others are expected.
    pub(crate) fn unregister_all(&mut self, shuffle: ShuffleId) {
        let Some(s) = self.shuffles.get_mut(&shuffle) else { return };
        if s.indeterminate {
            return self.renew(shuffle);
        }
        s.outputs.fill(None);
        s.available = 0;
        s.snapshot = None;
        self.epoch += 1;
    }

    /// What is missing of an indeterminate shuffle is about to be computed again: who has read it cannot go on with it.
    pub(crate) fn replace_missing(&mut self, shuffle: ShuffleId) {
        if let Some(s) = self.shuffles.get_mut(&shuffle) {
            s.forget_missing();
            s.generation += 1;
        }
    }

    /// Drops all outputs of an executor, unless that was done since `seen`, the epoch at which the witness of the loss
    /// started. Returns what was dropped.
    pub(crate) fn unregister_executor(&mut self, executor: ExecutorId, seen: u64) -> Vec<(ShuffleId, u32)> {
        if self.dropped_at.get(&executor).is_some_and(|at| *at > seen) {
            return Vec::new();
        }
        let mut dropped = Vec::new();
        for (id, s) in &mut self.shuffles {
            for (map, slot) in (0u32..).zip(&mut s.outputs) {
                if slot.as_ref().is_some_and(|l| l.executor == executor) {
                    *slot = None;
                    s.available -= 1;
                    s.snapshot = None;
                    dropped.push((*id, map));
                }
            }
        }
        self.epoch += 1;
        self.dropped_at.insert(executor, self.epoch);
        dropped
    }

    /// The outputs of `executor` are served at `address`, also after its end.
    pub(crate) fn add_service(&mut self, executor: ExecutorId, address: &str) {
        let same = self.services.values().find(|known| ***known == *address).cloned();
        self.services.insert(executor, same.unwrap_or_else(|| address.into()));
    }

    /// Where a shuffle service serves the outputs of `executor`.
    pub(crate) fn service_of(&self, executor: ExecutorId) -> Option<&Arc<str>> {
        self.services.get(&executor)
    }

    /// An executor is gone for good. Drops its outputs, unless a shuffle service serves them; when the whole worker is
    /// gone, it drops all outputs that this served. Returns what was dropped.
    pub(crate) fn remove_executor(&mut self, executor: ExecutorId, worker_lost: bool) -> Vec<(ShuffleId, u32)> {
        let dropped = match self.services.get(&executor) {
            Some(_) if !worker_lost => return Vec::new(),
            Some(_) => {
                let dropped = self.unregister_beside(executor, u64::MAX);
                let service = self.services.remove(&executor);
                self.services.retain(|_, other| Some(&*other) != service.as_ref());
                dropped
            }
            None => self.unregister_executor(executor, u64::MAX),
        };
        self.forget_executor(executor);
        dropped
    }

    /// Drops all outputs that lie beside those of `executor`, with the same shuffle service, or else its own; as
    /// [`MapOutputTracker::unregister_executor`] does.
    pub(crate) fn unregister_beside(&mut self, executor: ExecutorId, seen: u64) -> Vec<(ShuffleId, u32)> {
        let service = self.services.get(&executor).cloned();
        let beside = |(other, s): (&ExecutorId, &Arc<str>)| (Some(s) == service.as_ref()).then_some(*other);
        let mut all: BTreeSet<ExecutorId> = self.services.iter().filter_map(beside).collect();
        all.insert(executor);
        all.into_iter().flat_map(|one| self.unregister_executor(one, seen)).collect()
    }

    /// The locations in map order, or None when some output is missing.
    pub(crate) fn locations(&mut self, shuffle: ShuffleId) -> Option<Arc<Vec<MapLocation>>> {
        let s = self.shuffles.get_mut(&shuffle)?;
        if s.available as usize != s.outputs.len() {
            return None;
        }
        let outputs = &s.outputs;
        Some(s.snapshot.get_or_insert_with(|| Arc::new(outputs.iter().flatten().cloned().collect())).clone())
    }

    /// The present generation of those among `shuffles` that are indeterminate, themselves or by what they read.
    pub(crate) fn generations(&self, shuffles: impl IntoIterator<Item = ShuffleId>) -> Generations {
        let known = shuffles.into_iter().filter_map(|id| Some((id, self.shuffles.get(&id)?)));
        let unsteady = |s: &ShuffleOutputs| s.indeterminate || !s.computed_from.is_empty();
        known.filter(|(_, s)| unsteady(s)).map(|(id, s)| (id, s.generation)).collect()
    }

    /// The present generation of those among `shuffles` that are indeterminate, and of what they were computed from.
    pub(crate) fn sources(&self, shuffles: impl IntoIterator<Item = ShuffleId> + Clone) -> Generations {
        let mut all = self.generations(shuffles.clone());
        for from in shuffles.into_iter().filter_map(|id| self.computed_from(id)) {
            from.iter().for_each(|(id, generation)| _ = all.entry(*id).or_insert(*generation));
        }
        all
    }

    /// One of `shuffles` that was computed from another edition of something than the others are, or were computed from.
    pub(crate) fn stale(&self, shuffles: &[ShuffleId]) -> Option<ShuffleId> {
        let mut newest = self.generations(shuffles.iter().copied());
        for from in shuffles.iter().filter_map(|id| self.computed_from(*id)) {
            for (id, generation) in from {
                let known = newest.entry(*id).or_insert(*generation);
                *known = (*known).max(*generation);
            }
        }
        let is_stale = |id: &&ShuffleId| self.computed_from(**id).is_some_and(|from| conflict(from, &newest).is_some());
        shuffles.iter().find(is_stale).copied()
    }

    /// What the present outputs of `shuffle` were computed from.
    pub(crate) fn computed_from(&self, shuffle: ShuffleId) -> Option<&Generations> {
        self.shuffles.get(&shuffle).filter(|s| s.available > 0).map(|s| &s.computed_from)
    }

    /// The executors with which output lies that may be read again and that no shuffle service serves.
    pub(crate) fn servers(&self) -> BTreeSet<ExecutorId> {
        let executors = self.shuffles.values().flat_map(|s| s.outputs.iter().flatten().map(|l| l.executor));
        executors.filter(|executor| !self.services.contains_key(executor)).collect()
    }

    /// Forgets a shuffle; whether it was known.
    pub(crate) fn remove(&mut self, shuffle: ShuffleId) -> bool {
        self.shuffles.remove(&shuffle).is_some()
    }

    /// An executor that never comes back needs no epoch any more.
    fn forget_executor(&mut self, executor: ExecutorId) {
        self.dropped_at.remove(&executor);
    }

    /// Counts agree with the outputs, and every output lies on one of `executors` or with a shuffle service.
    pub(crate) fn check(&self, executors: &BTreeSet<ExecutorId>) -> Result<(), String> {
        for (id, s) in &self.shuffles {
            let there = s.outputs.iter().flatten().count();
            if there != s.available as usize {
                return Err(format!("{id} counts {} outputs and has {there}", s.available));
            }
            let held = |l: &&MapLocation| executors.contains(&l.executor) || self.services.contains_key(&l.executor);
            if let Some(l) = s.outputs.iter().flatten().find(|l| !held(l)) {
                return Err(format!("{id} has an output on {}, which is gone", l.executor));
            }
            if s.outputs.iter().zip(&s.once).any(|(output, once)| output.is_some() && !once) {
                return Err(format!("{id} has an output that it never had"));
            }
        }
        Ok(())
    }
}

/// The first shuffle that both were computed from, in different generations.
pub(crate) fn conflict(a: &Generations, b: &Generations) -> Option<ShuffleId> {
    a.iter().find(|(id, generation)| b.get(id).is_some_and(|other| other != *generation)).map(|(id, _)| *id)
}

#[cfg(test)]
#[path = "map_outputs_tests.rs"]
mod tests;
