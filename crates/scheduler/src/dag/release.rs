//! What the user let go: shuffles, and RDDs whose partitions were kept. Executors are told to drop them, but not before
//! the last task has ended that may still write them: what came after the word would stay for ever.

use std::collections::{BTreeMap, BTreeSet};

use firesteel_common::{RddId, ShuffleId, StageId};

use super::stage::Stage;
use crate::{effect::StageKind, invariants::hold, tasks::task_scheduler::TaskScheduler};

/// Something that nobody holds any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Release {
    Shuffle(ShuffleId),
    Rdd(RddId),
}

/// What the tasks of a stage that is gone may still write.
#[derive(Debug)]
struct Leftover {
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

/// What is to be dropped and cannot be yet.
#[derive(Debug, Default)]
pub(super) struct Releases {
    /// Shuffles that the user let go while a job still needs them.
    let_go: BTreeSet<ShuffleId>,
    /// Stages that are gone, of which tasks still run that were told to end.
    leftovers: BTreeMap<StageId, Leftover>,
    /// What is dropped when such tasks have ended.
    waiting: Vec<Release>,
}

impl Releases {
    /// The user let the shuffle go, and a job needs it.
    pub(super) fn let_go(&mut self, shuffle: ShuffleId) {
        self.let_go.insert(shuffle);
    }

    /// No job needs the shuffle any more. Whether the user had let it go.
    pub(super) fn take_let_go(&mut self, shuffle: ShuffleId) -> bool {
        self.let_go.remove(&shuffle)
    }

    /// Remembers a stage that no job needs any more, if tasks of it run.
    pub(super) fn note_leftover(&mut self, stage: &Stage, tasks: &TaskScheduler) {
        if !tasks.runs_any_of(stage.id) {
            return;
        }
        let shuffle = match stage.kind {
            StageKind::ShuffleMap { shuffle, .. } => Some(shuffle),
            StageKind::Result { .. } => None,
        };
        let kept = stage.cached_nodes.iter().map(|i| stage.graph.nodes[*i].rdd).collect();
        self.leftovers.insert(stage.id, Leftover { shuffle, kept });
    }

    /// Whether it can be dropped now; otherwise it waits for the tasks that may still write it.
    pub(super) fn may_drop(&mut self, what: Release) -> bool {
        let written = self.leftovers.values().any(|l| l.may_write(what));
        if written {
            self.waiting.push(what);
        }
        !written
    }

    /// What waited, to be asked of again, as tasks may have ended meanwhile.
    pub(super) fn take_waiting(&mut self, tasks: &TaskScheduler) -> Vec<Release> {
        if self.leftovers.is_empty() {
            return Vec::new();
        }
        let running = tasks.stages_that_run();
        self.leftovers.retain(|stage, _| running.contains(stage));
        std::mem::take(&mut self.waiting)
    }

    /// Nothing waits for what can never come.
    pub(super) fn check(&self, is_needed: impl Fn(ShuffleId) -> bool) -> Result<(), String> {
        let idle = self.let_go.iter().find(|shuffle| !is_needed(**shuffle));
        hold!(idle.is_none(), "{idle:?} was let go, no job needs it, and it is kept");
        let free = self.waiting.iter().find(|what| !self.leftovers.values().any(|l| l.may_write(**what)));
        hold!(free.is_none(), "{free:?} is let go and kept, and no task may write it");
        Ok(())
    }
}
