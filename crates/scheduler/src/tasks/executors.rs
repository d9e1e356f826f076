//! The executors that the driver knows, and their slots.
//!
//! Changed by the TaskScheduler only; others ask.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use firesteel_common::{ExecutorId, TaskId, Tick};

use super::{
    executor::Executor,
    pace::{Pace, Pack},
    place::Place,
};
use crate::deadline::min_some;

/// All executors of a Context.
#[derive(Debug, Default)]
pub(crate) struct Executors {
    pub(super) known: BTreeMap<ExecutorId, Executor>,
    /// Connected executors that stay, with a free slot.
    pub(super) free: BTreeSet<ExecutorId>,
    /// Connected executors that stay, without a free slot, that end tasks so fast that more may wait there.
    pub(super) roomy: BTreeSet<ExecutorId>,
    /// Connected executors that stay, by host.
    hosts: BTreeMap<Arc<str>, u32>,
    /// Connected executors that stay, by rack.
    racks: BTreeMap<Arc<str>, u32>,
    /// The rack of each host of which it is known.
    rack_of: BTreeMap<Arc<str>, Arc<str>>,
    /// Ids that are over; an executor never comes back.
    gone: BTreeSet<ExecutorId>,
    /// Those that were decommissioned before they had registered, and whether with their worker.
    pub(super) leave_at_once: BTreeMap<ExecutorId, bool>,
    /// All that were ever decommissioned.
    pub(super) decommissioned: BTreeSet<ExecutorId>,
    /// Whose turn it is to get a task.
    cursor: ExecutorId,
    /// How long quick ones take together.
    pack: Pack,
    /// Some came, went or are to leave since that was last asked.
    pub(super) changed: bool,
}

impl Executors {
    /// No executors yet, on hosts in these racks.
    pub(crate) fn new(racks: &BTreeMap<String, String>) -> Self {
        let rack_of = racks.iter().map(|(host, rack)| (host.as_str().into(), rack.as_str().into())).collect();
        Executors { rack_of, ..Executors::default() }
    }

    /// Adds an executor. The error says why it is not taken.
    pub(super) fn add(&mut self, id: ExecutorId, host: &str, block_address: &str, cores: u32) -> Result<bool, String> {
        if self.gone.contains(&id) {
            return Err(format!("{id} was removed from this application"));
        }
        if let Some(e) = self.known.get(&id) {
            return if e.lost_at.is_some() {
                Err(format!("the connection of {id} had closed; a lost executor does not come back"))
            } else {
                Ok(false)
            };
        }
        let host: Arc<str> = host.into();
        let rack = self.rack_of(&host).cloned();
        *self.hosts.entry(host.clone()).or_default() += 1;
        if let Some(rack) = &rack {
            *self.racks.entry(rack.clone()).or_default() += 1;
        }
        self.known.insert(
            id,
            Executor {
                host,
                rack,
                block_address: block_address.into(),
                cores,
                used: 0,
                tasks: BTreeSet::new(),
                excluded: false,
                lost_at: None,
                leaving: None,
                pace: Pace::new(),
                news: false,
                launches: 0,
            },
        );
        self.note_room(id);
        self.changed = true;
        Ok(true)
    }

    /// An executor, if it is known.
    #[inline]
    pub(crate) fn get(&self, id: ExecutorId) -> Option<&Executor> {
        self.known.get(&id)
    }

    /// Whether it is known: it has registered, and its end has not been told.
    #[inline]
    pub(crate) fn is_known(&self, id: ExecutorId) -> bool {
        self.known.contains_key(&id)
    }

    /// All that are known, by their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ExecutorId, &Executor)> {
        self.known.iter().map(|(id, e)| (*id, e))
    }

    /// The connected ones that leave.
    pub(crate) fn leaving(&self) -> Vec<ExecutorId> {
        let leaving = self.known.iter().filter(|(_, e)| e.is_connected() && e.leaving.is_some());
        leaving.map(|(id, _)| *id).collect()
    }

    /// Stops offering an executor's slots. Says whether that is news.
    pub(super) fn disconnect(&mut self, id: ExecutorId, reason_awaited_until: Tick) -> bool {
        let Some(e) = self.known.get_mut(&id).filter(|e| e.lost_at.is_none()) else { return false };
        e.lost_at = Some(reason_awaited_until);
        self.changed = true;
        if e.leaving.is_none() {
            self.close(id);
        }
        true
    }

    /// Counts an executor, which takes tasks no more, out.
    pub(super) fn close(&mut self, id: ExecutorId) {
        let Some(e) = self.known.get(&id) else { return };
        let (host, rack) = (e.host.clone(), e.rack.clone());
        self.note_room(id);
        one_less(&mut self.hosts, &host);
        if let Some(rack) = rack {
            one_less(&mut self.racks, &rack);
        }
    }

    /// Forgets an executor; its id is never taken again. Returns the tasks it had, if it was known.
    pub(super) fn remove(&mut self, id: ExecutorId) -> Option<BTreeSet<TaskId>> {
        self.disconnect(id, Tick::ZERO);
        self.gone.insert(id);
        self.leave_at_once.remove(&id);
        self.known.remove(&id).map(|e| e.tasks)
    }

    /// Disconnected executors whose reason has been awaited long enough.
    pub(crate) fn overdue(&self, now: Tick) -> Vec<ExecutorId> {
        self.known.iter().filter(|(_, e)| e.lost_at.is_some_and(|at| at <= now)).map(|(id, _)| *id).collect()
    }

    pub(super) fn next_overdue(&self) -> Option<Tick> {
        self.known.values().filter_map(|e| e.lost_at).min()
    }

    /// Whether its stream is open.
    #[inline]
    pub(crate) fn is_connected(&self, id: ExecutorId) -> bool {
        self.known.get(&id).is_some_and(|e| e.lost_at.is_none())
    }

    pub(super) fn takes_tasks(&self, id: ExecutorId) -> bool {
        self.known.get(&id).is_some_and(Executor::stays)
    }

    /// Whether it will never come, or never come back.
    pub(super) fn is_gone(&self, id: ExecutorId) -> bool {
        self.gone.contains(&id)
    }

    pub(super) fn on_host(&self, host: &str) -> bool {
        self.hosts.contains_key(host)
    }

    /// The host of an executor that is known.
    pub(crate) fn host_of(&self, id: ExecutorId) -> Option<Arc<str>> {
        self.known.get(&id).map(|e| e.host.clone())
    }

    /// Connected executors that get tasks.
    pub(super) fn places(&self) -> Vec<Place> {
        let there = self.known.iter().filter(|(_, e)| e.stays() && !e.excluded);
        there.map(|(id, e)| Place { executor: *id, host: e.host.clone(), rack: e.rack.clone() }).collect()
    }

    /// Whether the application avoids some executor that is there.
    pub(super) fn any_excluded(&self) -> bool {
        self.known.values().any(|e| e.excluded)
    }

    /// Excludes those that are to be excluded, and no others.
    pub(super) fn set_excluded(&mut self, excluded: impl Fn(ExecutorId, &str) -> bool) {
        let mut changed = Vec::new();
        for (id, e) in &mut self.known {
            let now = excluded(*id, &e.host);
            if std::mem::replace(&mut e.excluded, now) != now {
                changed.push(*id);
            }
        }
        changed.into_iter().for_each(|id| self.note_room(id));
    }

    /// Whether a connected executor runs on a host of this rack.
    pub(super) fn on_rack(&self, rack: &str) -> bool {
        self.racks.contains_key(rack)
    }

    /// Connected executors that stay, as they are counted by host.
    pub(super) fn on_hosts(&self) -> u32 {
        self.hosts.values().sum()
    }

    /// Hosts with connected executors.
    pub(super) fn hosts(&self) -> usize {
        self.hosts.len()
    }

    /// The rack of a host, if it is known.
    pub(crate) fn rack_of(&self, host: &str) -> Option<&Arc<str>> {
        self.rack_of.get(host)
    }

    /// The next executor with a free slot, or with room for a task that waits, in turns, so that tasks spread.
    pub(super) fn next_offer(&mut self, ahead: bool) -> Option<Place> {
        let offers = self.offers(ahead);
        let executor = offers.range(self.cursor..).next().or_else(|| offers.first()).copied()?;
        self.cursor = ExecutorId(executor.0.wrapping_add(1));
        let e = self.known.get(&executor)?;
        Some(Place { executor, host: e.host.clone(), rack: e.rack.clone() })
    }

    /// Whether some came, went or are to leave since this was last asked.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Executors with a free slot, or those with room for a task that waits.
    pub(super) fn offers(&self, ahead: bool) -> &BTreeSet<ExecutorId> {
        if ahead { &self.roomy } else { &self.free }
    }

    /// Slots of the executors that get tasks, taken or not.
    pub(crate) fn slots(&self) -> u32 {
        self.known.values().filter(|e| e.stays() && !e.excluded).map(|e| e.cores).sum()
    }

    /// Slots that nobody has taken.
    pub(super) fn free_slots(&self) -> u32 {
        self.free.iter().filter_map(|id| self.known.get(id)).map(|e| e.cores.saturating_sub(e.used)).sum()
    }

    /// Whether a connected executor that stays has no tasks.
    pub(crate) fn any_idle(&self) -> bool {
        self.known.values().any(|e| e.stays() && e.tasks.is_empty())
    }

    /// Launches `task` there.
    pub(super) fn take_slot(&mut self, now: Tick, id: ExecutorId, task: TaskId) {
        if let Some(e) = self.known.get_mut(&id) {
            if e.used == 0 {
                e.pace.begins(now);
            }
            e.used += 1;
            e.launches += 1;
            e.tasks.insert(task);
            self.note_room(id);
        }
    }

    /// A task takes no slot any more: it has ended, or it was given back.
    pub(super) fn free_slot(&mut self, id: ExecutorId, ended: bool) {
        if let Some(e) = self.known.get_mut(&id) {
            e.used = e.used.saturating_sub(1);
            if ended {
                e.pace.ends();
                e.news = true;
            }
            debug_assert!(e.is_plausible(), "{id} counts {} tasks and has {}", e.used, e.tasks.len());
            self.note_room(id);
        }
    }

    /// A task there ran for so long; zero is not known.
    pub(super) fn ran(&mut self, id: ExecutorId, time: Duration) {
        if let Some(e) = self.known.get_mut(&id).filter(|_| !time.is_zero()) {
            e.pace.ran(time);
        }
    }

    /// The task is over in every respect.
    pub(super) fn end_task(&mut self, id: ExecutorId, task: TaskId) {
        if let Some(e) = self.known.get_mut(&id) {
            e.tasks.remove(&task);
        }
    }

    /// Measures the executors' pace. Returns those where more tasks wait than should, and how many may stay.
    pub(super) fn measure(&mut self, now: Tick) -> Vec<(ExecutorId, u32)> {
        let mut slow = Vec::new();
        let mut changed = Vec::new();
        for (id, e) in self.known.iter_mut().filter(|(_, e)| e.lost_at.is_none()) {
            let news = std::mem::take(&mut e.news);
            if news {
                e.pace.measure(now, e.cores, &mut self.pack);
            }
            // Also where nothing waits: what is launched ahead has all the time before it.
            let overdue = e.pace.ahead() > 0 && (news || e.used > 0) && e.pace.overdue_at(&self.pack) <= now;
            if overdue {
                e.pace.is_overdue(now);
            }
            // Not at every small change: what comes back must be launched again.
            if (news || overdue) && e.waiting() > e.pace.ahead() * 4 {
                slow.push((*id, e.pace.ahead()));
            }
            if news || overdue {
                changed.push(*id);
            }
        }
        changed.into_iter().for_each(|id| self.note_room(id));
        slow
    }

    pub(super) fn next_measure(&self) -> Option<Tick> {
        self.known
            .values()
            .filter(|e| e.lost_at.is_none())
            .filter_map(|e| e.overdue_at(&self.pack))
            .fold(None, |first, at| min_some(first, Some(at)))
    }

    fn note_room(&mut self, id: ExecutorId) {
        let e = self.known.get(&id).filter(|e| e.stays() && !e.excluded);
        let (free, roomy) = e.map_or((false, false), |e| (e.used < e.cores, e.room() > 0));
        let mut note = |set: fn(&mut Self) -> &mut BTreeSet<ExecutorId>, offered: bool| {
            if offered {
                set(self).insert(id)
            } else {
                set(self).remove(&id)
            };
        };
        note(|all| &mut all.free, free);
        note(|all| &mut all.roomy, roomy);
    }
}

fn one_less(counts: &mut BTreeMap<Arc<str>, u32>, key: &str) {
    if let Some(n) = counts.get_mut(key) {
        *n -= 1;
        if *n == 0 {
            counts.remove(key);
        }
    }
}
