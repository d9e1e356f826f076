//! What executors that leave are told: who takes what they hold, and whether their map outputs are to be taken, too; again
//! whenever that changes. Spark: `BlockManagerDecommissioner` asks for its peers now and then.
//!
//! Called by [`crate::DriverCore`] when executors came, went or are to leave; calls nobody.

use std::collections::BTreeMap;

use firesteel_common::ExecutorId;
use firesteel_protocol::{DecommissionExecutor, ToExecutor};

use crate::effect::DriverEffect;

/// What executors that leave were told last.
#[derive(Debug, Default)]
pub(crate) struct Farewells(BTreeMap<ExecutorId, DecommissionExecutor>);

impl Farewells {
    /// These leave, all that do, and are to do this now: tells those of which it is news.
    pub(crate) fn tell(&mut self, orders: BTreeMap<ExecutorId, DecommissionExecutor>, out: &mut Vec<DriverEffect>) {
        let news = orders.iter().filter(|(executor, orders)| self.0.get(executor) != Some(orders));
        out.extend(news.map(|(&executor, orders)| {
            let message = ToExecutor::DecommissionExecutor(orders.clone());
            DriverEffect::Tell { executor, message }
        }));
        self.0 = orders;
    }

    /// Nobody leaves who has been told nothing, and whoever was told leaves.
    pub(crate) fn check(&self, leaving: &[ExecutorId]) -> Result<(), String> {
        let told: Vec<ExecutorId> = self.0.keys().copied().collect();
        if told == leaving { Ok(()) } else { Err(format!("{leaving:?} leave, and {told:?} were told how")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_news_is_told() {
        let (mut farewells, mut out) = (Farewells::default(), Vec::new());
        let orders =
            |map_outputs| BTreeMap::from([(ExecutorId(3), DecommissionExecutor { peers: Vec::new(), map_outputs })]);
        farewells.tell(orders(true), &mut out);
        farewells.tell(orders(true), &mut out);
        assert_eq!(out.len(), 1, "{out:?}");
        farewells.tell(orders(false), &mut out);
        assert_eq!(out.len(), 2, "{out:?}");
        farewells.check(&[ExecutorId(3)]).unwrap();
        farewells.check(&[]).unwrap_err();
        farewells.tell(BTreeMap::new(), &mut out);
        farewells.check(&[]).unwrap();
    }
}
