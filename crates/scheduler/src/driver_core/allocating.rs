//! Dynamic allocation is told of the load, and what it decides is done.

use std::collections::BTreeSet;

use firesteel_common::{ExecutorId, Tick};

use super::DriverCore;
use crate::{
    allocation::{ExecutorLoad, Load},
    effect::DriverEffect,
    tasks::executor::Executor,
};

impl DriverCore {
    /// Looks whether executors are missing or idle.
    pub(super) fn allocate(&mut self, now: Tick, out: &mut Vec<DriverEffect>) {
        if self.allocation.as_ref().is_none_or(|a| !a.is_due(now)) {
            return;
        }
        let load = self.load();
        let Some(allocation) = &mut self.allocation else { return };
        let decision = allocation.check(now, &load);
        out.extend(decision.total.map(|total| DriverEffect::RequestExecutors { total }));
        if self.config.decommission_idle {
            for (executor, _) in decision.retire {
                self.dag().executor_decommissioning(now, executor, false, out);
            }
        } else if !decision.retire.is_empty() {
            for (executor, _) in &decision.retire {
                self.dag().give_back(now, *executor, out);
            }
            out.push(DriverEffect::RetireExecutors { executors: decision.retire });
        }
    }

    fn load(&self) -> Load {
        let known = self.tasks.executors();
        let servers = if known.any_idle() { self.outputs.servers() } else { BTreeSet::new() };
        let load = |(id, e): (ExecutorId, &Executor)| ExecutorLoad {
            id,
            slots: e.slots(),
            busy: e.is_busy(),
            launches: e.launches(),
            caches: self.blocks.holds_any(id),
            serves_shuffle: servers.contains(&id),
        };
        let (waiting, running) = self.tasks.load();
        Load { waiting, running, executors: known.iter().filter(|(_, e)| e.stays()).map(load).collect() }
    }
}
