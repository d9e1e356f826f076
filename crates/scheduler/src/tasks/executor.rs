//! One executor: its slots, its tasks, and how it stands.

use std::{collections::BTreeSet, sync::Arc};

use firesteel_common::{TaskId, Tick};

use super::pace::{Pace, Pack};

/// How an executor leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Leaving {
    /// When it is killed, unless it has gone before; `None`: never.
    pub(super) kill_at: Option<Tick>,
    /// Its worker leaves, too, and with it the shuffle service there.
    pub(super) worker: bool,
}

/// An executor that the driver knows.
#[derive(Debug)]
pub(crate) struct Executor {
    pub(super) host: Arc<str>,
    pub(super) rack: Option<Arc<str>>,
    pub(super) block_address: Arc<str>,
    /// Tasks that it runs at a time.
    pub(super) cores: u32,
    /// Tasks launched there and not yet reported as ended. What exceeds the cores waits there.
    pub(super) used: u32,
    /// All tasks of it that are not over, also those whose large result is being fetched.
    pub(super) tasks: BTreeSet<TaskId>,
    /// It gets no tasks for a time, as too many have failed there.
    pub(super) excluded: bool,
    /// Its stream closed; until then its loss reason is awaited.
    pub(super) lost_at: Option<Tick>,
    /// It is decommissioned: it ends its tasks and gets no more.
    pub(super) leaving: Option<Leaving>,
    pub(super) pace: Pace,
    /// Tasks ended since the pace was last measured.
    pub(super) news: bool,
    /// Tasks ever launched there.
    pub(super) launches: u64,
}

impl Executor {
    #[inline]
    pub(crate) fn host(&self) -> &Arc<str> {
        &self.host
    }

    /// host:port of its block server.
    #[inline]
    pub(crate) fn block_address(&self) -> &Arc<str> {
        &self.block_address
    }

    /// Tasks that it runs at a time.
    pub(crate) fn slots(&self) -> u32 {
        self.cores
    }

    /// It has tasks that are not over.
    pub(crate) fn is_busy(&self) -> bool {
        !self.tasks.is_empty()
    }

    /// Tasks ever launched there.
    pub(crate) fn launches(&self) -> u64 {
        self.launches
    }

    /// Its stream is open.
    #[inline]
    pub(crate) fn is_connected(&self) -> bool {
        self.lost_at.is_none()
    }

    /// It leaves, and its worker with it, and thus the shuffle service there.
    pub(crate) fn leaves_with_worker(&self) -> bool {
        self.leaving.is_some_and(|l| l.worker)
    }

    /// It is connected and stays: it may get tasks, unless it is excluded.
    #[inline]
    pub(crate) fn stays(&self) -> bool {
        self.lost_at.is_none() && self.leaving.is_none()
    }

    /// Tasks that wait there for a slot.
    pub(crate) fn waiting(&self) -> u32 {
        self.used.saturating_sub(self.cores)
    }

    /// How many tasks may be launched there although all slots are taken.
    pub(crate) fn room(&self) -> u32 {
        if self.used < self.cores { 0 } else { self.pace.ahead().saturating_sub(self.waiting()) }
    }

    /// When what waits there has waited too long, unless tasks end before.
    pub(super) fn overdue_at(&self, pack: &Pack) -> Option<Tick> {
        (self.waiting() > 0 && self.pace.ahead() > 0).then(|| self.pace.overdue_at(pack))
    }
}
