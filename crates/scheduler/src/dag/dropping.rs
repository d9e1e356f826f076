//! What is let go is dropped everywhere, at once or when `release` says so.

use firesteel_common::{RddId, ShuffleId};

use super::{dag_scheduler::DagScheduler, release::Release};
use crate::{
    block_locations::BlockLocations, effect::DriverEffect, map_outputs::MapOutputTracker, replication::Replication,
    tasks::task_scheduler::TaskScheduler,
};

/// Takes what nobody holds any more off all books.
#[derive(Debug)]
pub(crate) struct Dropping<'a> {
    pub(super) dag: &'a mut DagScheduler,
    pub(super) tasks: &'a TaskScheduler,
    pub(super) outputs: &'a mut MapOutputTracker,
    pub(super) blocks: &'a mut BlockLocations,
    pub(super) replication: &'a mut Replication,
}

impl Dropping<'_> {
    /// Nobody holds the shuffle any more.
    pub(crate) fn shuffle_removed(&mut self, shuffle: ShuffleId, out: &mut Vec<DriverEffect>) {
        if self.dag.stages.writer_of(shuffle).is_some() {
            self.dag.releases.let_go(shuffle);
        } else if self.outputs.remove(shuffle) {
            self.release(Release::Shuffle(shuffle), out);
        }
    }

    /// The user called `unpersist`: whatever tasks that run may still store, what is there goes at once.
    pub(crate) fn rdd_unpersisted(&mut self, rdd: RddId, out: &mut Vec<DriverEffect>) {
        self.replication.forget(rdd);
        self.drop_everywhere(Release::Rdd(rdd), out);
    }

    /// Nobody holds the RDD any more.
    pub(crate) fn rdd_removed(&mut self, rdd: RddId, out: &mut Vec<DriverEffect>) {
        self.replication.forget(rdd);
        self.release(Release::Rdd(rdd), out);
    }

    /// Drops what waited for tasks that have ended meanwhile.
    pub(super) fn release_due(&mut self, out: &mut Vec<DriverEffect>) {
        for what in self.dag.releases.take_waiting(self.tasks) {
            self.release(what, out);
        }
    }

    fn release(&mut self, what: Release, out: &mut Vec<DriverEffect>) {
        if self.dag.releases.may_drop(what) {
            self.drop_everywhere(what, out);
        }
    }

    fn drop_everywhere(&mut self, what: Release, out: &mut Vec<DriverEffect>) {
        match what {
            Release::Shuffle(shuffle) => out.push(DriverEffect::DropShuffle { shuffle }),
            Release::Rdd(rdd) => {
                self.blocks.remove_rdd(rdd);
                out.push(DriverEffect::DropRdd { rdd });
            }
        }
    }
}
