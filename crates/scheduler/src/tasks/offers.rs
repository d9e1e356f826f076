//! Offers: free slots of executors are given to the tasks that wait, set by set in the order of the pools, each set from
//! the tasks that are near their data to those that are not.
//!
//! Methods of the TaskScheduler, called once after all events that have come together.

use std::collections::BTreeMap;

use firesteel_common::{ExecutorId, TaskId, Tick};

use super::{
    locality::Locality,
    place::Place,
    running::RunningTask,
    set_key::SetKey,
    task_scheduler::TaskScheduler,
    task_set::{TaskSetManager, TaskState},
};
use crate::{
    deadline::min_some,
    effect::{BarrierPlace, DriverEffect, TaskSpec},
};

/// How far a set has come in a round of offers.
#[derive(Debug)]
struct Visit {
    allowed: Locality,
    /// What is tried next; None when all was tried.
    level: Option<Locality>,
    /// The farthest at which a task with a preference was launched.
    farthest: Option<Locality>,
}

/// A task that was chosen for a slot, or ahead of one.
struct Launch {
    position: u32,
    place: Place,
    level: Locality,
    ahead: bool,
}

/// Tasks to launch, by executor.
type Launches = BTreeMap<ExecutorId, Vec<TaskSpec>>;

impl TaskScheduler {
    /// Launches what can be launched at `now`.
    pub(crate) fn offer(&mut self, now: Tick, out: &mut Vec<DriverEffect>) {
        self.recall_slow(now, out);
        self.find_slow(now);
        self.locality_deadline = None;
        let mut launches = Launches::new();
        // Nothing is launched ahead that could run at once elsewhere.
        for ahead in [false, true] {
            self.offer_round(now, ahead, &mut launches);
        }
        self.tell_barriers(out);
        out.extend(launches.into_iter().map(|(executor, tasks)| DriverEffect::LaunchTasks { executor, tasks }));
        self.watch_starvation(now, out);
    }

    /// Offers every executor's slots to the sets in the order of their pools, one at a time where several compete.
    fn offer_round(&mut self, now: Tick, ahead: bool, launches: &mut Launches) {
        let mut visits: BTreeMap<SetKey, Visit> = BTreeMap::new();
        while !self.executors.offers(ahead).is_empty() {
            let Some((key, alone)) = self.pools.first() else { break };
            let most = if alone { u32::MAX } else { 1 };
            if !self.offer_to(now, key, ahead, most, &mut visits, launches) {
                self.pools.set_aside(key);
            }
            self.note_waiting(key);
        }
        self.pools.end_round();
        let all_taken = self.executors.free.is_empty();
        for (key, visit) in visits {
            let Some(set) = self.sets.get_mut(&key) else { continue };
            if let (Some(level), true) = (visit.farthest, all_taken) {
                set.wait_anew(level, now);
            }
            if set.waiting > 0 && !all_taken {
                self.locality_deadline = min_some(self.locality_deadline, set.next_level_at());
            }
        }
    }

    /// Launches up to `most` tasks of a set. False when it can take nothing more in this round.
    fn offer_to(
        &mut self,
        now: Tick,
        key: SetKey,
        ahead: bool,
        mut most: u32,
        visits: &mut BTreeMap<SetKey, Visit>,
        launches: &mut Launches,
    ) -> bool {
        let Some(mut set) = self.sets.remove(&key) else { return false };
        if set.barrier {
            if !ahead {
                self.offer_barrier(now, key, &mut set, launches);
            }
            self.sets.insert(key, set);
            return false;
        }
        let visit = visits.entry(key).or_insert_with(|| Visit {
            allowed: set.allowed(now, &self.executors),
            level: (!ahead || !set.one_by_one).then_some(Locality::Process),
            farthest: None,
        });
        while let Some(level) = visit.level.filter(|_| most > 0 && set.waiting > 0) {
            let may = level == Locality::NoPreference || level <= visit.allowed;
            let found = if may && set.has_any_at(level) { self.find_task(&mut set, ahead, level) } else { None };
            let Some((place, position)) = found else {
                visit.level = level.farther();
                continue;
            };
            if level != Locality::NoPreference {
                visit.farthest = visit.farthest.max(Some(level));
            }
            self.launch(now, key, &mut set, Launch { position, place, level, ahead }, launches);
            most -= 1;
        }
        // A copy is late already: it takes any slot, but none that it would have to wait for.
        while !ahead && most > 0 && !set.slow.is_empty() && (visit.level.is_none() || set.waiting == 0) {
            let Some((place, position)) = self.find_place(|all, place| all.take_slow(&set, place), false) else {
                break;
            };
            set.slow.remove(&position);
            let launch = Launch { position, place, level: Locality::Any, ahead: false };
            self.launch(now, key, &mut set, launch, launches);
            most -= 1;
        }
        self.sets.insert(key, set);
        most == 0
    }

    /// Launches all tasks of a barrier set, if there is a slot for each.
    fn offer_barrier(&mut self, now: Tick, key: SetKey, set: &mut TaskSetManager, launches: &mut Launches) {
        if set.waiting == 0 || self.executors.free_slots() < set.waiting {
            return;
        }
        let mut places = BTreeMap::new();
        let mut level = Some(Locality::Process);
        // Nobody waits for a better place: that would hold back all of them.
        while let Some(at) = level.filter(|_| set.waiting > 0) {
            let found = if set.has_any_at(at) { self.find_task(set, false, at) } else { None };
            let Some((place, position)) = found else {
                level = at.farther();
                continue;
            };
            places.insert(position, place.executor);
            self.launch(now, key, set, Launch { position, place, level: at, ahead: false }, launches);
        }
        self.barriers.push((set.attempt, places.into_values().collect()));
    }

    /// What is to be known of the barrier sets that were launched, before their tasks are.
    fn tell_barriers(&mut self, out: &mut Vec<DriverEffect>) {
        for (attempt, executors) in std::mem::take(&mut self.barriers) {
            let known = executors.iter().filter_map(|id| Some((*id, self.executors.known.get(id)?)));
            let places = known.map(|(executor, e)| BarrierPlace {
                executor,
                host: e.host.clone(),
                block_address: e.block_address.clone(),
            });
            out.push(DriverEffect::BarrierStarted { attempt, places: places.collect() });
        }
    }

    fn find_task(&mut self, set: &mut TaskSetManager, ahead: bool, level: Locality) -> Option<(Place, u32)> {
        self.find_place(|_, place| set.take(place, level), ahead)
    }

    /// The first executor, in turns, with a slot for which `take` gives a task.
    fn find_place(&mut self, mut take: impl FnMut(&Self, &Place) -> Option<u32>, ahead: bool) -> Option<(Place, u32)> {
        for _ in 0..self.executors.offers(ahead).len() {
            let place = self.executors.next_offer(ahead)?;
            if let Some(position) = take(self, &place) {
                return Some((place, position));
            }
        }
        None
    }

    fn launch(&mut self, now: Tick, key: SetKey, set: &mut TaskSetManager, launch: Launch, launches: &mut Launches) {
        let Launch { position, place: Place { executor, .. }, level: locality, ahead } = launch;
        let task = TaskId(self.next_task);
        self.next_task += 1;
        let t = &set.tasks[position as usize];
        let spec = TaskSpec {
            task,
            stage: set.attempt,
            partition: t.partition,
            attempt_number: t.launches,
            speculative: t.state == TaskState::Running,
        };
        set.started(position, task);
        self.executors.take_slot(now, executor, task);
        self.pools.launched(set.pool, key);
        let running = RunningTask {
            set: key,
            position,
            executor,
            pool: set.pool,
            since: now,
            has_slot: true,
            begun: false,
            ahead,
            locality,
            recalled: false,
        };
        self.running.insert(task, running);
        launches.entry(executor).or_default().push(spec);
    }

    fn watch_starvation(&mut self, now: Tick, out: &mut Vec<DriverEffect>) {
        if self.pools.is_idle() || !self.running.is_empty() {
            self.starving = None;
            return;
        }
        let (since, warn_at) = *self.starving.get_or_insert((now, now + self.starvation_timeout));
        if now >= warn_at {
            let executors = self.executors.known.len() as u32;
            out.push(DriverEffect::NoResources { waited: now.since(since), executors });
            self.starving = Some((since, now + self.starvation_timeout));
        }
    }
}
