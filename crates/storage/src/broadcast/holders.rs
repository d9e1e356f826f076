//! Who has pieces of what: the driver's side.

use std::collections::{BTreeMap, BTreeSet};

use firesteel_common::{BroadcastId, ExecutorId};

/// An executor asks no more peers than so many; in a large cluster each gets others.
const MOST_NAMED: usize = 8;

/// Executors and the values that they have or are getting.
#[derive(Debug, Default)]
pub(super) struct Holders {
    addresses: BTreeMap<ExecutorId, String>,
    of: BTreeMap<BroadcastId, BTreeSet<ExecutorId>>,
    turn: usize,
}

impl Holders {
    pub fn joined(&mut self, executor: ExecutorId, address: String) {
        self.addresses.insert(executor, address);
    }

    pub fn left(&mut self, executor: ExecutorId) {
        self.addresses.remove(&executor);
        for holders in self.of.values_mut() {
            holders.remove(&executor);
        }
    }

    /// Forgets a value, and says who had pieces of it.
    pub fn forget(&mut self, broadcast: BroadcastId) -> BTreeSet<ExecutorId> {
        self.of.remove(&broadcast).unwrap_or_default()
    }

    /// Some of the others that have pieces or will have; the asker is one of them from now on.
    pub fn ask(&mut self, broadcast: BroadcastId, asker: ExecutorId) -> Vec<&str> {
        let holders = self.of.entry(broadcast).or_default();
        if self.addresses.contains_key(&asker) {
            holders.insert(asker);
        }
        let others: Vec<&str> =
            holders.iter().filter(|e| **e != asker).filter_map(|e| self.addresses.get(e).map(String::as_str)).collect();
        self.turn = self.turn.wrapping_add(1);
        let start = if others.len() > MOST_NAMED { self.turn % others.len() } else { 0 };
        others.iter().cycle().skip(start).take(others.len().min(MOST_NAMED)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_named_until_they_leave_and_each_asker_in_turn_gets_others_of_many() {
        let mut h = Holders::default();
        let (b, e) = (BroadcastId(1), ExecutorId);
        (0..20).for_each(|i| h.joined(e(i), format!("h:{i}")));
        assert!(h.ask(b, e(0)).is_empty());
        assert_eq!(h.ask(b, e(1)), ["h:0"]);
        assert_eq!(h.ask(b, e(0)), ["h:1"]);
        (2..20).for_each(|i| _ = h.ask(b, e(i)));
        let (first, second) = (h.ask(b, e(0)).join(" "), h.ask(b, e(0)).join(" "));
        assert!(first.split(' ').count() == MOST_NAMED && first != second);
        (2..20).for_each(|i| h.left(e(i)));
        assert_eq!(h.ask(b, e(0)), ["h:1"]);
        h.forget(b);
        assert!(h.ask(b, e(0)).is_empty());
        assert!(h.ask(b, e(77)).len() == 1, "an unknown asker is told, but not named");
        assert!(h.ask(b, e(0)).is_empty());
    }
}
