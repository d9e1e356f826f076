//! What the user let go: shuffles, and RDDs whose partitions were kept. Executors are told to drop them, but not before
//! the last task has ended that may still write them: what came after the word would stay for ever.

use std::collections::BTreeSet;

use firesteel_common::{RddId, ShuffleId, StageId};

use super::stage::Stage;
use crate::{
    driver_core::DriverCore,
    effect::{DriverEffect, StageKind},
};

/// Something that nobody holds any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Release {
    Shuffle(ShuffleId),
    Rdd(RddId),
}

/// What the tasks of a stage that is gone may still write.
#[derive(Debug)]
pub(crate) struct Leftover {
    shuffle: Option<ShuffleId>,
    kept: Vec<RddId>,
}

impl Leftover {
    fn may_write(&self, what: Release) -> bool {
        match what {
            Release::Shuffle(shuffle) => self.shuffle == Some(shuffle),
            Release::Rdd(rdd) => self.kept.contains(&rdd),
        }
    }
}

impl DriverCore {
    /// Remembers a stage that no job needs any more, if tasks of it run.
    pub(super) fn note_leftover(&mut self, stage: &Stage) {
        if !self.tasks.running.values().any(|r| r.set.1.stage == stage.id) {
            return;
        }
        let shuffle = match stage.kind {
            StageKind::ShuffleMap { shuffle, .. } => Some(shuffle),
            StageKind::Result { .. } => None,
        };
        let kept = stage.cached_nodes.iter().map(|i| stage.graph.nodes[*i].rdd).collect();
        self.dag.leftovers.insert(stage.id, Leftover { shuffle, kept });
    }

    pub(crate) fn shuffle_removed(&mut self, shuffle: ShuffleId, out: &mut Vec<DriverEffect>) {
        if self.dag.map_stages.contains_key(&shuffle) {
            self.dag.drop_later.insert(shuffle);
        } else if self.outputs.remove(shuffle) {
            self.release(Release::Shuffle(shuffle), out);
        }
    }

    pub(crate) fn rdd_unpersisted(&mut self, rdd: RddId, out: &mut Vec<DriverEffect>) {
        self.replication.forget(rdd);
        self.drop_everywhere(Release::Rdd(rdd), out);
    }

    pub(crate) fn rdd_removed(&mut self, rdd: RddId, out: &mut Vec<DriverEffect>) {
        self.replication.forget(rdd);
        self.release(Release::Rdd(rdd), out);
    }

    fn release(&mut self, what: Release, out: &mut Vec<DriverEffect>) {
        if self.dag.leftovers.values().any(|l| l.may_write(what)) {
            self.dag.released.push(what);
        } else {
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

    /// Drops what waited for tasks that have ended meanwhile.
    pub(crate) fn release_due(&mut self, out: &mut Vec<DriverEffect>) {
        if self.dag.leftovers.is_empty() {
            return;
        }
        let running: BTreeSet<StageId> = self.tasks.running.values().map(|r| r.set.1.stage).collect();
        self.dag.leftovers.retain(|stage, _| running.contains(stage));
        for what in std::mem::take(&mut self.dag.released) {
            self.release(what, out);
        }
    }
}
