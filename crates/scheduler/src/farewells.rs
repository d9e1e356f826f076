//! What executors that leave are told: who takes what they hold, and whether their map outputs are to be taken, too; again
//! whenever that changes. Spark: `BlockManagerDecommissioner` asks for its peers now and then.

use std::collections::BTreeMap;

use firesteel_common::ExecutorId;
use firesteel_protocol::{DecommissionExecutor, ToExecutor};

use crate::{cached_places::addresses, driver_core::DriverCore, effect::DriverEffect};

/// What executors that leave were told last.
#[derive(Debug, Default)]
pub(crate) struct Farewells(BTreeMap<ExecutorId, DecommissionExecutor>);

impl Farewells {
    /// These leave. What they are to do now is returned for those of which it is news.
    fn tell(&mut self, orders: BTreeMap<ExecutorId, DecommissionExecutor>) -> Vec<(ExecutorId, DecommissionExecutor)> {
        let news = orders.iter().filter(|(executor, orders)| self.0.get(executor) != Some(orders));
        let news = news.map(|(executor, orders)| (*executor, orders.clone())).collect();
        self.0 = orders;
        news
    }
}

impl DriverCore {
    /// Executors came, went or are to leave: others may be there now for what those hold that leave.
    pub(crate) fn tell_leaving(&mut self, out: &mut Vec<DriverEffect>) {
        let orders = self.leaving().into_iter().map(|executor| {
            let peers = addresses(&self.peers_of(executor, executor.0));
            (executor, DecommissionExecutor { peers, map_outputs: self.outputs_leave_with(executor) })
        });
        let orders = orders.collect();
        for (executor, orders) in self.farewells.tell(orders) {
            out.push(DriverEffect::Tell { executor, message: ToExecutor::DecommissionExecutor(orders) });
        }
    }
}
