//! Dynamic allocation in the virtual cluster: what a driver asks its master for, and gives back.

use firesteel_backend::RosterEvent;
use firesteel_common::ExecutorId;
use firesteel_rpc::proto::deploy::{RequestExecutors, to_master};

use crate::cluster::Cluster;

impl Cluster {
    /// The driver wants so many executors in all, now and whenever it registers.
    pub(crate) fn request_executors(&mut self, d: usize, total: u32) {
        self.counts.requests += 1;
        self.note(format_args!("driver {d} wants {total} executors"));
        self.drivers[d].executor_limit = Some(total);
        let app_id = self.drivers[d].app_id.clone();
        if !app_id.is_empty() {
            self.tell_master(d, to_master::Message::RequestExecutors(RequestExecutors { app_id, total }));
        }
    }

    /// The driver gives executors back, as they are idle or as too much fails there.
    pub(crate) fn retire_executors(&mut self, d: usize, executors: Vec<(ExecutorId, String)>) {
        for (executor, reason) in executors {
            self.note(format_args!("driver {d} gives {executor} back: {reason}"));
            let fails = reason.contains("excludeOnFailure");
            let leaves = self.drivers[d].books.leaving.contains(&executor);
            if leaves && !fails {
                self.counts.overdue += 1;
            } else if fails {
                self.counts.expelled += 1;
            } else {
                self.check_idle(d, executor);
            }
            let driver = &mut self.drivers[d];
            driver.books.retired.insert(executor);
            driver.books.disconnected(executor);
            self.roster_handle(d, RosterEvent::Retire { executor, reason });
        }
    }

    /// Dynamic allocation gives an executor back, at once or after it has handed over what it holds: nobody needs it, and
    /// enough others stay.
    pub(crate) fn check_idle(&mut self, d: usize, executor: ExecutorId) {
        self.counts.retired += 1;
        let driver = &self.drivers[d];
        let Some(allocation) = &driver.features.config.allocation else {
            return self.violated(format!("{executor} is given back, and nobody asked for that"));
        };
        let caches = allocation.cached_idle_timeout.is_none();
        let outputs = allocation.shuffle_tracking && allocation.shuffle_timeout.is_none();
        let (min, leaving) = (allocation.min as usize, &driver.books.leaving);
        let others = driver.executors.keys().map(|e| ExecutorId(*e)).filter(|e| *e != executor);
        let left = others.filter(|e| driver.has(*e) && !leaving.contains(e)).count();
        if let Err(e) = driver.books.check_idle(executor, caches, outputs) {
            return self.violated(e);
        }
        if left < min {
            self.violated(format!("{executor} is given back and {left} of at least {min} are left"));
        }
    }
}
