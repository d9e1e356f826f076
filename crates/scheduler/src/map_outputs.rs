//! MapOutputTracker: where the outputs of each shuffle's map tasks lie.
//!
//! Called by the DAGScheduler's files only. Calls nobody. Locations travel with each stage attempt, so executors
//! never ask. An *epoch* counts losses: an executor whose outputs were dropped at epoch n is not dropped again on news
//! from an attempt that started before n. A *generation* counts, for shuffles that are indeterminate or read such ones,
//! how often output that had been there may have been replaced by other output: what was computed from different
//! generations must not be mixed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use firesteel_common::{ExecutorId, ShuffleId, TaskId};

use crate::effect::MapLocation;

/// Generations of the indeterminate shuffles that something was computed from.
pub(crate) type Generations = BTreeMap<ShuffleId, u32>;

/// The outputs of one shuffle.
#[derive(Debug)]
pub(crate) struct ShuffleOutputs {
    outputs: Vec<Option<MapLocation>>,
    /// Partitions that were there at some time.
    once: Vec<bool>,
    available: u32,
    indeterminate: bool,
    generation: u32,
    /// What the present outputs were computed from; empty when nothing is indeterminate.
    computed_from: Generations,
    snapshot: Option<Arc<Vec<MapLocation>>>,
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
    pub(crate) fn ensure(&mut self, shuffle: ShuffleId, maps: u32, indeterminate: bool) {
        self.shuffles.entry(shuffle).or_insert_with(|| ShuffleOutputs {
            outputs: vec![None; maps as usize],
            once: vec![false; maps as usize],
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

    /// Records an output unless there is one; says whether it was recorded.
    pub(crate) fn register(
        &mut self,
        shuffle: ShuffleId,
        map: u32,
        location: MapLocation,
        computed_from: &Generations,
    ) -> bool {
        let Some(s) = self.shuffles.get_mut(&shuffle) else { return false };
        let Some(slot) = s.outputs.get_mut(map as usize) else { return false };
        if slot.is_some() {
            return false;
        }
        *slot = Some(location);
        s.available += 1;
        s.snapshot = None;
        let was_there = std::mem::replace(&mut s.once[map as usize], true);
        let other_input = conflict(&s.computed_from, computed_from).is_some();
        if (was_there && s.indeterminate) || other_input {
            s.generation += 1;
        }
        if s.computed_from != *computed_from {
            s.computed_from.clone_from(computed_from);
        }
        true
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
            s.available = 0;
            s.snapshot = None;
            s.generation += 1;
            s.computed_from.clear();
            self.epoch += 1;
        }
    }

    /// What is missing of an indeterminate shuffle is about to be computed again: who has read it cannot go on with it.
    pub(crate) fn replace_missing(&mut self, shuffle: ShuffleId) {
        if let Some(s) = self.shuffles.get_mut(&shuffle) {
            for (output, once) in s.outputs.iter().zip(&mut s.once) {
                *once &= output.is_some();
            }
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
mod tests {
    use bytes::Bytes;

    use super::*;

    const S: ShuffleId = ShuffleId(1);

    fn at(executor: u32, task: u64) -> MapLocation {
        MapLocation {
            map_task: TaskId(task),
            executor: ExecutorId(executor),
            block_address: "h:1".into(),
            sizes: Bytes::new(),
        }
    }

    fn tracker(indeterminate: bool) -> MapOutputTracker {
        let mut t = MapOutputTracker::default();
        t.ensure(S, 2, indeterminate);
        assert!(t.register(S, 0, at(1, 10), &Generations::new()));
        assert!(t.register(S, 1, at(2, 11), &Generations::new()));
        t
    }

    #[test]
    fn locations_come_in_map_order_and_only_when_complete() {
        let mut t = tracker(false);
        let maps: Vec<u64> = t.locations(S).unwrap().iter().map(|l| l.map_task.0).collect();
        assert_eq!(maps, [10, 11]);
        t.unregister_executor(ExecutorId(2), 0);
        assert!(t.locations(S).is_none());
        assert_eq!(t.missing(S), [1]);
    }

    #[test]
    fn a_second_output_of_a_partition_is_not_recorded() {
        let mut t = tracker(false);
        assert!(!t.register(S, 0, at(2, 12), &Generations::new()));
        assert_eq!(t.locations(S).unwrap()[0].map_task, TaskId(10));
    }

    #[test]
    fn a_late_failure_does_not_drop_a_newer_output() {
        let mut t = tracker(false);
        assert!(t.unregister(S, 0, TaskId(10), ExecutorId(1)));
        assert!(t.register(S, 0, at(1, 20), &Generations::new()));
        assert!(!t.unregister(S, 0, TaskId(10), ExecutorId(1)));
        assert!(t.is_available(S));
    }

    #[test]
    fn an_executor_is_not_dropped_again_on_news_from_before_the_first_drop() {
        let mut t = tracker(false);
        let before = t.epoch();
        assert_eq!(t.unregister_executor(ExecutorId(1), before), [(S, 0)]);
        assert!(t.register(S, 0, at(1, 20), &Generations::new()));
        assert!(t.unregister_executor(ExecutorId(1), before).is_empty());
        assert!(t.is_available(S));
        assert_eq!(t.unregister_executor(ExecutorId(1), t.epoch()), [(S, 0)]);
    }

    #[test]
    fn outputs_outlive_their_executor_with_a_service_and_go_with_the_worker() {
        let mut t = tracker(false);
        t.add_service(ExecutorId(1), "h:7337");
        t.add_service(ExecutorId(3), "h:7337");
        assert!(t.remove_executor(ExecutorId(1), false).is_empty());
        assert!(t.is_available(S));
        assert_eq!(t.check(&BTreeSet::from([ExecutorId(2), ExecutorId(3)])), Ok(()));
        assert_eq!(t.remove_executor(ExecutorId(2), false), [(S, 1)], "no service has these");
        assert_eq!(t.remove_executor(ExecutorId(3), true), [(S, 0)]);
        assert!(t.service_of(ExecutorId(1)).is_none() && t.service_of(ExecutorId(3)).is_none());
    }

    #[test]
    fn a_moved_output_is_read_at_its_new_place_and_not_lost_with_the_old_one() {
        let mut t = tracker(false);
        let before = t.locations(S).unwrap();
        let (from, to, there) = (ExecutorId(1), ExecutorId(2), Arc::<str>::from("h:2"));
        assert!(!t.moved(S, TaskId(9), from, to, there.clone()), "another attempt's");
        assert!(t.moved(S, TaskId(10), from, to, there.clone()));
        assert!(!t.moved(S, TaskId(10), from, ExecutorId(3), there), "it is not there any more");
        assert_eq!(before[0].executor, from, "who has the old locations keeps them");
        let after = t.locations(S).unwrap();
        assert_eq!((after[0].executor, &*after[0].block_address), (to, "h:2"));
        assert!(!t.unregister(S, 0, TaskId(10), from));
        assert!(t.remove_executor(from, false).is_empty());
        assert!(t.is_available(S));
        assert_eq!(t.generations([S]), Generations::new(), "it is the same output");
        assert_eq!(t.remove_executor(to, false), [(S, 0), (S, 1)]);
    }

    #[test]
    fn replacing_indeterminate_output_makes_a_new_generation_and_first_output_does_not() {
        let mut t = tracker(true);
        assert_eq!(t.generations([S]), Generations::from([(S, 0)]));
        assert!(!t.would_replace(S));
        t.unregister_executor(ExecutorId(1), 0);
        assert!(t.would_replace(S));
        t.register(S, 0, at(2, 20), &Generations::new());
        let now = t.generations([S]);
        assert_eq!(conflict(&Generations::from([(S, 0)]), &now), Some(S));
        assert_eq!(conflict(&now, &now), None);
    }

    #[test]
    fn output_computed_from_another_generation_is_a_new_generation_too() {
        let mut t = MapOutputTracker::default();
        t.ensure(S, 1, false);
        let (old, new) = (Generations::from([(ShuffleId(0), 0)]), Generations::from([(ShuffleId(0), 1)]));
        t.register(S, 0, at(1, 10), &old);
        assert_eq!(t.generations([S]), Generations::from([(S, 0)]));
        t.unregister(S, 0, TaskId(10), ExecutorId(1));
        t.register(S, 0, at(1, 11), &old);
        assert_eq!(t.generations([S]), Generations::from([(S, 0)]));
        t.unregister(S, 0, TaskId(11), ExecutorId(1));
        t.register(S, 0, at(1, 12), &new);
        assert_eq!(t.generations([S]), Generations::from([(S, 1)]));
    }
}
