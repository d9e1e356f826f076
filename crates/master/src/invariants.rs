//! What holds after every event, written once: see [`Machine::check_invariants`](firesteel_machine::Machine::check_invariants).

use crate::{
    machine::{Master, Party},
    state::Leadership,
};

impl Master {
    /// Checks the tables against each other; the error says what is wrong.
    pub(crate) fn tables_agree(&self) -> Result<(), String> {
        self.check_leadership()?;
        self.check_workers()?;
        self.check_applications()?;
        self.check_executors()?;
        self.check_parties()
    }

    fn check_leadership(&self) -> Result<(), String> {
        let nothing = self.workers.is_empty() && self.applications.is_empty() && self.executors.is_empty();
        ensure(self.leadership != Leadership::Standby || (nothing && self.parties.is_empty()), || {
            "a master that stands by has workers, applications or executors".to_owned()
        })?;
        ensure(self.leadership != Leadership::CompletingRecovery, || "a recovery stands still".to_owned())?;
        let Leadership::Recovering(awaited) = &self.leadership else { return Ok(()) };
        let workers = || awaited.workers.iter().map(|id| self.workers.get(id).map(|w| w.connection));
        let applications = || awaited.applications.iter().map(|id| self.applications.get(id).map(|a| a.connection));
        ensure(workers().chain(applications()).all(|stream| stream == Some(None)), || {
            "who is awaited is not known, or has come".to_owned()
        })
    }

    fn check_workers(&self) -> Result<(), String> {
        for (id, w) in &self.workers {
            let mine = || self.executors.values().filter(|e| e.worker_id == *id);
            let cores: u32 = mine().map(|e| e.cores).sum();
            let memory: u64 = mine().map(|e| e.memory_mb).sum();
            ensure(*id == w.id, || format!("worker {} is filed under {id}", w.id))?;
            ensure(mine().count() == w.executors as usize, || format!("worker {id} counts {} executors", w.executors))?;
            ensure(cores == w.cores_used && memory == w.memory_used_mb, || {
                format!("worker {id} counts {} cores, its executors have {cores}", w.cores_used)
            })?;
            ensure(cores <= w.cores && memory <= w.memory_mb, || {
                format!("worker {id} has {} cores and {} MiB but gave {cores} and {memory}", w.cores, w.memory_mb)
            })?;
            ensure(w.connection.is_some() != w.lost_at.is_some(), || {
                format!("worker {id} has a stream and a deadline, or neither")
            })?;
            ensure(mine().all(|e| e.decommissioned == w.decommissioning), || {
                format!("worker {id} is to leave and its executors are not, or the other way about")
            })?;
            let same_place = self.workers.values().filter(|o| (&o.host, o.port) == (&w.host, w.port)).count();
            ensure(same_place == 1, || format!("two workers at {}:{}", w.host, w.port))?;
        }
        Ok(())
    }

    fn check_applications(&self) -> Result<(), String> {
        let mut queued = self.fifo.clone();
        queued.sort();
        ensure(queued.iter().eq(self.applications.keys()), || "the queue is not the applications".to_owned())?;
        for (id, a) in &self.applications {
            let mine = || self.executors.iter().filter(|(key, _)| key.app_id == *id);
            ensure(mine().map(|(key, _)| key.executor_id).eq(a.executors.iter().copied()), || {
                format!("{id} lists other executors than it has")
            })?;
            let stay = || mine().filter(|(_, e)| !e.decommissioned);
            ensure(mine().count() - stay().count() == a.decommissioned as usize, || {
                format!("{id} counts {} decommissioned executors and has others", a.decommissioned)
            })?;
            let cores: u32 = stay().map(|(_, e)| e.cores).sum();
            ensure(cores == a.cores_granted, || format!("{id} counts {} cores but has {cores}", a.cores_granted))?;
            let wanted: u32 = stay().filter(|(_, e)| !e.killing).map(|(_, e)| e.cores).sum();
            ensure(wanted <= a.cores_limit(self.rules.default_cores), || format!("{id} has too many cores: {wanted}"))?;
            ensure(a.executors.iter().all(|e| *e < a.next_executor_id), || {
                format!("{id} would use an executor id again")
            })?;
            ensure(a.connection.is_some() != a.lost_at.is_some(), || {
                format!("{id} has a stream and a deadline, or neither")
            })?;
        }
        Ok(())
    }

    fn check_executors(&self) -> Result<(), String> {
        for (key, e) in &self.executors {
            ensure(self.workers.contains_key(&e.worker_id), || format!("executor {key} has no worker"))?;
            let owned = self.applications.contains_key(&key.app_id);
            ensure(owned || e.killing, || format!("executor {key} has no application and is not being killed"))?;
        }
        Ok(())
    }

    fn check_parties(&self) -> Result<(), String> {
        for (connection, party) in &self.parties {
            let theirs = match party {
                Party::Worker(id) => self.workers.get(id).and_then(|w| w.connection),
                Party::Application(id) => self.applications.get(id).and_then(|a| a.connection),
            };
            ensure(theirs == Some(*connection), || format!("{connection} is not what {party:?} speaks on"))?;
        }
        let streams = self.workers.values().filter(|w| w.connection.is_some()).count()
            + self.applications.values().filter(|a| a.connection.is_some()).count();
        ensure(streams == self.parties.len(), || "a party's stream is unknown".to_owned())
    }
}

fn ensure(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
