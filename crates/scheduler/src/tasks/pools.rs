//! Pools: in which order the task sets of different jobs get slots (Spark's `Pool`, `FIFOSchedulingAlgorithm`,
//! `FairSchedulingAlgorithm`).
//!
//! ```text
//!   FIFO: one pool, its sets by job and stage          FAIR: pools by Share ─▶ sets of the pool, FIFO or by Share
//! ```
//!
//! Called by the TaskScheduler, which asks for the next set, offers it slots, and says what was launched and what ended;
//! each costs a time logarithmic in the number of pools and sets. A set that can take nothing of what is offered is set
//! aside until the end of the round.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::set_key::SetKey;
use crate::config::{DEFAULT_POOL, PoolConfig, SchedulingMode};

/// Index into the pools; a pool is never forgotten.
pub(crate) type PoolId = usize;

/// How well a pool or a task set is served already; who is smaller is served first.
#[derive(Clone, Copy, Debug)]
struct Share {
    /// Runs less than its minimum share.
    needy: bool,
    running: u32,
    /// The minimum share of the needy, the weight of others.
    divisor: u32,
}

impl Share {
    /// What goes in the order of its key alone.
    const NONE: Share = Share { needy: false, running: 0, divisor: 1 };

    fn new(running: u32, min_share: u32, weight: u32) -> Self {
        let needy = running < min_share;
        Share { needy, running, divisor: if needy { min_share } else { weight }.max(1) }
    }
}

impl Ord for Share {
    fn cmp(&self, other: &Self) -> Ordering {
        // running / divisor, without rounding.
        let ratio = |a: &Self, b: &Self| u64::from(a.running) * u64::from(b.divisor);
        other.needy.cmp(&self.needy).then_with(|| ratio(self, other).cmp(&ratio(other, self)))
    }
}

impl PartialOrd for Share {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Share {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Share {}

#[derive(Debug)]
struct Pool {
    config: PoolConfig,
    /// Tasks that take slots, of sets that are gone as well.
    running: u32,
    /// Its place among all pools by name, which decides between equal shares.
    rank: u32,
    /// Sets that may be offered slots in this round.
    ready: BTreeSet<(Share, SetKey)>,
}

impl Pool {
    fn new(config: PoolConfig) -> Self {
        Pool { config, running: 0, rank: 0, ready: BTreeSet::new() }
    }

    fn share(&self) -> Share {
        Share::new(self.running, self.config.min_share, self.config.weight)
    }
}

#[derive(Debug)]
struct Member {
    pool: PoolId,
    running: u32,
    /// Has tasks to launch.
    wants: bool,
    /// Can take nothing more in this round.
    aside: bool,
}

/// All pools and the task sets in them.
#[derive(Debug)]
pub(crate) struct Pools {
    mode: SchedulingMode,
    pools: Vec<Pool>,
    names: BTreeMap<Arc<str>, PoolId>,
    members: BTreeMap<SetKey, Member>,
    /// Pools with sets that are ready.
    order: BTreeSet<(Share, u32, PoolId)>,
    aside: Vec<SetKey>,
    /// Members that have tasks to launch.
    wanting: usize,
}

impl Pools {
    pub(crate) fn new(mode: SchedulingMode, configs: &[PoolConfig]) -> Self {
        let mut pools = Pools {
            mode,
            pools: Vec::new(),
            names: BTreeMap::new(),
            members: BTreeMap::new(),
            order: BTreeSet::new(),
            aside: Vec::new(),
            wanting: 0,
        };
        match mode {
            SchedulingMode::Fifo => pools.create(PoolConfig::named(DEFAULT_POOL)),
            SchedulingMode::Fair => configs.iter().for_each(|c| pools.create(c.clone())),
        }
        pools
    }

    fn create(&mut self, config: PoolConfig) {
        let id = self.pools.len();
        self.names.insert(config.name.as_str().into(), id);
        self.pools.push(Pool::new(config));
        for (rank, id) in (0u32..).zip(self.names.values()) {
            self.pools[*id].rank = rank;
        }
        self.order = self
            .pools
            .iter()
            .enumerate()
            .filter(|(_, p)| !p.ready.is_empty())
            .map(|(id, p)| (p.share(), p.rank, id))
            .collect();
    }

    /// The pool of that name, which is made if there is none; with FIFO there is but one.
    fn find(&mut self, name: Option<&str>) -> PoolId {
        if self.mode == SchedulingMode::Fifo {
            return 0;
        }
        let name = name.unwrap_or(DEFAULT_POOL);
        if let Some(id) = self.names.get(name) {
            return *id;
        }
        self.create(PoolConfig::named(name));
        self.pools.len() - 1
    }

    /// Adds a set without tasks to launch and says in which pool it is.
    pub(crate) fn add(&mut self, key: SetKey, pool: Option<&str>) -> PoolId {
        let pool = self.find(pool);
        self.members.insert(key, Member { pool, running: 0, wants: false, aside: false });
        pool
    }

    pub(crate) fn remove(&mut self, key: SetKey) {
        self.note(key, false);
        self.members.remove(&key);
    }

    /// Whether the set has tasks to launch.
    pub(crate) fn note(&mut self, key: SetKey, wants: bool) {
        let Some(m) = self.members.get(&key).filter(|m| m.wants != wants) else { return };
        let pool = m.pool;
        self.edit(pool, key, |_, m| m.wants = wants);
        if wants {
            self.wanting += 1;
        } else {
            self.wanting -= 1;
        }
        debug_assert!(self.wanting <= self.members.len(), "{} of {} sets want slots", self.wanting, self.members.len());
    }

    /// A task of the set took a slot.
    pub(crate) fn launched(&mut self, pool: PoolId, key: SetKey) {
        self.edit(pool, key, |p, m| {
            p.running += 1;
            m.running += 1;
        });
    }

    /// A task of the set, which may be gone, takes no slot any more.
    pub(crate) fn ended(&mut self, pool: PoolId, key: SetKey) {
        if self.members.get(&key).is_some_and(|m| m.running > 0) {
            self.edit(pool, key, |p, m| {
                p.running = p.running.saturating_sub(1);
                m.running -= 1;
            });
        } else {
            self.reorder(pool, |p| p.running = p.running.saturating_sub(1));
        }
    }

    /// The set that gets the next slot, and whether it competes with no other.
    pub(crate) fn first(&self) -> Option<(SetKey, bool)> {
        let (_, _, id) = self.order.first()?;
        let pool = &self.pools[*id];
        let (_, key) = pool.ready.first()?;
        let alone = self.order.len() == 1 && (pool.config.mode == SchedulingMode::Fifo || pool.ready.len() == 1);
        Some((*key, alone))
    }

    /// The set can take nothing more in this round.
    pub(crate) fn set_aside(&mut self, key: SetKey) {
        let Some(pool) = self.members.get(&key).map(|m| m.pool) else { return };
        self.edit(pool, key, |_, m| m.aside = true);
        self.aside.push(key);
    }

    /// The next round begins: nobody is aside.
    pub(crate) fn end_round(&mut self) {
        for key in std::mem::take(&mut self.aside) {
            if let Some(pool) = self.members.get(&key).map(|m| m.pool) {
                self.edit(pool, key, |_, m| m.aside = false);
            }
        }
    }

    /// Nobody has tasks to launch.
    pub(crate) fn is_idle(&self) -> bool {
        self.wanting == 0
    }

    /// Whether the set counts as one that has tasks to launch.
    pub(crate) fn wants(&self, key: SetKey) -> bool {
        self.members.get(&key).is_some_and(|m| m.wants)
    }

    /// Sets that have tasks to launch.
    pub(crate) fn wanting(&self) -> impl Iterator<Item = &SetKey> {
        self.members.iter().filter(|(_, m)| m.wants).map(|(key, _)| key)
    }

    /// Sets that are known, for the invariants.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &SetKey> {
        self.members.keys()
    }

    /// Tasks that take slots, by pool, for the invariants.
    pub(crate) fn running(&self) -> impl Iterator<Item = (&str, u32)> {
        self.pools.iter().map(|p| (p.config.name.as_str(), p.running))
    }

    /// Changes a set and its pool and puts both where they belong in the order.
    fn edit(&mut self, id: PoolId, key: SetKey, change: impl FnOnce(&mut Pool, &mut Member)) {
        let Some(m) = self.members.get_mut(&key) else { return };
        let pool = &mut self.pools[id];
        let fair = pool.config.mode == SchedulingMode::Fair;
        let place = |m: &Member| (if fair { Share::new(m.running, 0, 1) } else { Share::NONE }, key);
        let before = (m.wants && !m.aside).then(|| place(m));
        let pool_before = (!pool.ready.is_empty()).then(|| pool.share());
        change(pool, m);
        let after = (m.wants && !m.aside).then(|| place(m));
        if before != after {
            before.map(|b| pool.ready.remove(&b));
            after.map(|a| pool.ready.insert(a));
        }
        self.replace(id, pool_before);
    }

    fn reorder(&mut self, id: PoolId, change: impl FnOnce(&mut Pool)) {
        let pool = &mut self.pools[id];
        let before = (!pool.ready.is_empty()).then(|| pool.share());
        change(pool);
        self.replace(id, before);
    }

    fn replace(&mut self, id: PoolId, before: Option<Share>) {
        let pool = &self.pools[id];
        let after = (!pool.ready.is_empty()).then(|| pool.share());
        // Alone, its place does not depend on its share.
        if self.pools.len() == 1 && before.is_some() == after.is_some() {
            return;
        }
        if self.pools.len() == 1 {
            self.order.clear();
        } else if let Some(before) = before {
            self.order.remove(&(before, pool.rank, id));
        }
        if let Some(after) = after {
            self.order.insert((after, pool.rank, id));
        }
    }
}
