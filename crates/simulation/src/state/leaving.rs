//! What an executor that is to go has looked at, asked and handed over.

use std::collections::BTreeMap;

use firesteel_common::ExecutorId;
use firesteel_executor::departure::{Departure, Item};

/// `spark.storage.decommission.maxReplicationFailuresPerBlock`.
pub(crate) const MOST_FAILURES: u32 = 3;

/// `spark.storage.decommission.shuffleBlocks.maxThreads`.
pub(crate) const AT_A_TIME: u32 = 2;

/// An executor that is to go: how it does is decided by production's machine.
pub(crate) struct Leaving {
    pub(crate) machine: Departure,
    /// What was here when it was looked last.
    pub(crate) looked: Vec<Item>,
    /// Who has taken what, and who has not.
    pub(crate) asked: BTreeMap<Item, BTreeMap<ExecutorId, bool>>,
    /// How often something was not taken since it was looked last.
    pub(crate) failures: BTreeMap<Item, u32>,
}

impl Leaving {
    /// It goes. The error says what it should not leave behind.
    pub(crate) fn check(&self) -> Result<(), String> {
        let peers = &self.machine.orders().peers;
        let none = BTreeMap::new();
        for item in &self.looked {
            let asked = self.asked.get(item).unwrap_or(&none);
            let taken = peers.iter().any(|peer| asked.get(&peer.executor) == Some(&true));
            let outputs = matches!(item, Item::Cached(..)) || self.machine.orders().map_outputs;
            let given_up = self.failures.get(item).is_some_and(|failures| *failures >= MOST_FAILURES);
            if outputs && !taken && !given_up && peers.iter().any(|peer| !asked.contains_key(&peer.executor)) {
                return Err(format!("{item:?} is left behind, which not all peers were asked to take"));
            }
        }
        Ok(())
    }
}
