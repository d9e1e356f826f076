//! What the tasks of a stage attempt share, and how it travels.

use std::{collections::BTreeMap, sync::Arc};

use firesteel_common::ShuffleId;
use firesteel_protocol::Payload;
use firesteel_scheduler::{JobGraph, MapLocation, StageKind};

/// What all tasks of a stage attempt share; it travels with them.
#[derive(Clone, Debug)]
pub(crate) struct StageInfo {
    pub(crate) kind: StageKind,
    pub(crate) graph: Arc<JobGraph>,
    pub(crate) node: usize,
    pub(crate) shuffles: BTreeMap<ShuffleId, Arc<Vec<MapLocation>>>,
    /// Its tasks wait for one another.
    pub(crate) barrier: bool,
}

/// The data of all stage attempts that were ever sent: what travels is the number of one.
#[derive(Debug, Default)]
pub(crate) struct StagesSent(Vec<Arc<StageInfo>>);

impl StagesSent {
    /// A stage as it travels.
    pub(crate) fn encode(&mut self, stage: &Arc<StageInfo>) -> Payload {
        let known = self.0.iter().rposition(|sent| Arc::ptr_eq(sent, stage));
        let number = known.unwrap_or_else(|| {
            self.0.push(stage.clone());
            self.0.len() - 1
        });
        Payload::Inline(number.to_le_bytes().to_vec().into())
    }

    /// The stage that has come.
    pub(crate) fn of(&self, data: &Payload) -> Option<Arc<StageInfo>> {
        let Payload::Inline(bytes) = data else { return None };
        self.0.get(usize::from_le_bytes(bytes.as_ref().try_into().ok()?)).cloned()
    }
}
