//! Dynamic allocation in the virtual cluster: what a driver asks its master for, and gives back.

use firesteel_common::ExecutorId;
use firesteel_rpc::proto::deploy::{KillExecutors, RequestExecutors, to_master};

use crate::{cluster::Cluster, network::Side};

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
        let allocation = self.drivers[d].features.config.allocation.clone();
        let min = allocation.as_ref().map_or(0, |a| a.min as usize);
        for (executor, reason) in executors {
            self.note(format_args!("driver {d} gives {executor} back: {reason}"));
            let fails = reason.contains("excludeOnFailure");
            let leaves = self.drivers[d].books.leaving.contains(&executor);
            if leaves && !fails {
                self.counts.overdue += 1;
            } else if fails {
                self.counts.expelled += 1;
            } else {
                self.counts.retired += 1;
                let caches = allocation.as_ref().is_some_and(|a| a.cached_idle_timeout.is_none());
                let outputs = allocation.as_ref().is_some_and(|a| a.shuffle_tracking && a.shuffle_timeout.is_none());
                if let Err(e) = self.drivers[d].books.check_idle(executor, caches, outputs) {
                    self.violated(e);
                }
            }
            let driver = &mut self.drivers[d];
            driver.books.retired.insert(executor);
            driver.books.disconnected(executor);
            let connected = driver.executors.remove(&executor.0);
            let left = driver.executors.len();
            if !fails && !leaves && left < min {
                self.violated(format!("{executor} is given back and {left} of at least {min} are left"));
            }
            if let Some(connected) = connected {
                self.close(connected.link, Side::Listener);
            }
            let app_id = self.drivers[d].app_id.clone();
            let kill = KillExecutors { app_id, executor_ids: vec![executor.0] };
            self.tell_master(d, to_master::Message::KillExecutors(kill));
        }
    }
}
