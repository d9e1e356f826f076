//! The user's programs and what goes wrong are planned, and each fault strikes in its time.

use std::time::Duration;

use firesteel_common::Tick;
use firesteel_scheduler::{DriverEvent, JobSelection};
use firesteel_worker::ExecutorEnd;

use crate::{
    cluster::{Action, Cluster},
    state::{
        faults::Fault,
        network::{Node, Process},
        worker::WORKERS,
    },
};

impl Cluster {
    /// Plans the user's programs, and what goes wrong.
    pub(crate) fn plan(&mut self) {
        self.drivers_to_come = [1, 1, 1, 1, 1, 1, 2, 2, 2, 3][self.rng.below(10) as usize];
        for n in 0..self.drivers_to_come {
            let at = if n == 0 { self.now } else { self.after(Duration::from_secs(10)) };
            self.schedule(at, Action::StartDriver);
        }
        if self.rng.chance(15) {
            let at = self.after(Duration::from_secs(8));
            self.schedule(at, Action::CancelJob);
        }
        use Fault as F;
        for fault in [
            F::CrashExecutor,
            F::CrashWorker,
            F::CrashMaster,
            F::CrashDriver,
            F::Freeze,
            F::Partition,
            F::CutLink,
            F::LoseData,
            F::Decommission,
        ] {
            self.plan_fault(fault);
        }
    }

    pub(crate) fn after(&mut self, at_most: Duration) -> Tick {
        self.now + Duration::from_nanos(self.rng.below(at_most.as_nanos() as u64))
    }

    fn plan_fault(&mut self, fault: Fault) {
        if let Some(mean) = self.faults.mean(fault) {
            let at = self.after(2 * mean);
            if at < Tick::ZERO + self.faults.until {
                self.schedule(at, Action::Fault(fault));
            }
        }
    }

    /// Something goes wrong now, and again later.
    pub(crate) fn strike(&mut self, fault: Fault) {
        match fault {
            Fault::CrashExecutor => self.crash_some_executor(),
            Fault::CrashWorker => {
                let (n, host) = (self.rng.below(WORKERS as u64) as usize, self.rng.chance(30));
                self.crash_worker(n, host);
            }
            Fault::CrashMaster => self.crash_master(),
            Fault::CrashDriver => self.crash_some_driver(),
            Fault::Freeze => self.freeze_some(),
            Fault::Partition => self.part_network(),
            Fault::CutLink => self.cut_some_link(),
            Fault::LoseData => self.lose_some_data(),
            Fault::Decommission => self.decommission_some(),
        }
        self.plan_fault(fault);
    }

    fn crash_some_driver(&mut self) {
        let alive: Vec<usize> = (0..self.drivers.len()).filter(|d| self.drivers[*d].lives()).collect();
        let Some(d) = self.rng.pick(&alive).copied() else { return };
        let (host, again) = (self.rng.chance(30), self.rng.chance(60));
        self.crash_driver(d, host);
        if again {
            self.drivers_to_come += 1;
            let at = self.after(Duration::from_secs(4));
            self.schedule(at, Action::StartDriver);
        }
    }

    pub(crate) fn cancel_some_job(&mut self) {
        let running: Vec<_> = (0..self.drivers.len())
            .filter(|d| self.drivers[*d].lives() && !self.frozen.contains_key(&Node::Driver(*d)))
            .flat_map(|d| self.drivers[d].jobs.keys().map(move |j| (d, *j)))
            .filter(|(d, j)| !self.drivers[*d].over.contains_key(j))
            .collect();
        if let Some((d, job)) = self.rng.pick(&running).copied() {
            self.note(format_args!("user {d} cancels {job}"));
            let reason = "no longer wanted".to_owned();
            let group = self.drivers[d].jobs[&job].group.clone().filter(|_| self.rng.chance(50));
            let driver = &mut self.drivers[d];
            let running = driver.jobs.iter_mut().filter(|(id, _)| !driver.over.contains_key(id));
            for (id, submitted) in running {
                submitted.cancelled |= *id == job || group.is_some() && submitted.group == group;
            }
            let event = match group {
                None => DriverEvent::CancelJob { job, reason },
                Some(group) => {
                    let which = JobSelection::Group { group, future: false };
                    DriverEvent::CancelJobs { which, reason }
                }
            };
            self.driver_handle(d, event);
        }
    }

    fn crash_some_executor(&mut self) {
        let alive: Vec<Process> = self.executors.keys().copied().collect();
        if let Some(id) = self.rng.pick(&alive).copied() {
            self.note(format_args!("{id} CRASHES"));
            if self.rng.chance(20) {
                // User code that calls exit, with a status that means nothing.
                let code = self.rng.pick(&[0, 1, 3, 50, 56]).copied();
                let end = ExecutorEnd { exit_code: code, message: "exited".to_owned(), ..ExecutorEnd::default() };
                self.executor_ends(id, end);
            } else {
                self.kill_process(id, "killed by signal 9");
            }
        }
    }

    fn lose_some_data(&mut self) {
        let blocks: Vec<_> =
            self.executors.iter().flat_map(|(id, e)| e.store.cache.keys().map(|b| (*id, *b))).collect();
        let (file, disk) = (self.rng.chance(50), self.rng.chance(10));
        if file && self.lose_some_file(disk) {
            return;
        }
        if let Some((id, block)) = self.rng.pick(&blocks).copied() {
            self.note(format_args!("{id} evicts partition {} of {} in silence", block.1, block.0));
            self.executors.get_mut(&id).map(|e| e.store.cache.remove(&block));
        }
    }
}
