//! Executors that end badly: how long their worker is left alone by their application, and when the application cannot
//! go on. Called by the family of executors.
//!
//! ```text
//!  an executor ends badly on a worker ─▶ the application waits before it tries there again: not at all the first time,
//!        then 0.1 s, 0.2 s, 0.4 s .. 10 s; one that has run well there begins the row anew
//!  it ends so before it has registered, for the second time in a row ─▶ the worker is avoided: 30 s, 1 min .. 10 min
//!  all workers that are large enough are avoided, and no executor is there ─▶ the application fails, with the reasons
//! ```
//!
//! What one worker lacks (a directory, a library, the way to the driver) harms nobody whom another can serve. A worker that
//! registers anew is tried anew.

use std::time::Duration;

use firesteel_common::{ExecutorKey, Tick};
use firesteel_rpc::proto::deploy::ExecutorState;
use tracing::{info, warn};

use crate::{
    executors::ExecutorEnd,
    machine::Master,
    state::{ApplicationInfo, ExecutorInfo, Sickness, Trouble, WorkerInfo, WorkerState},
};

/// So many ends before registration in a row keep a worker away from the application.
const EARLY_ENDS: u32 = 2;

/// How long, the first time and at most.
const AVOIDED: Duration = Duration::from_secs(30);
const AVOIDED_AT_MOST: Duration = Duration::from_secs(600);

/// After the second bad end in a row the next executor waits so long; then twice as long each time, up to the second.
const BACKOFF: Duration = Duration::from_millis(100);
const BACKOFF_AT_MOST: Duration = Duration::from_secs(10);

/// An executor that was registered for so long has run well: what follows is another story.
const RAN_WELL: Duration = Duration::from_secs(3);

/// So many workers are named when an application fails.
const NAMED: usize = 5;

impl Trouble {
    /// Whether the worker is kept away from the application because executors do not even register there.
    pub fn is_avoided(&self) -> bool {
        self.early_ends >= EARLY_ENDS && self.until.is_some()
    }

    /// How long the worker is left alone after the latest end.
    fn pause(&self) -> Duration {
        match self.early_ends.checked_sub(EARLY_ENDS) {
            Some(more) => doubled(AVOIDED, more, AVOIDED_AT_MOST),
            None => self.ends.checked_sub(2).map_or(Duration::ZERO, |more| doubled(BACKOFF, more, BACKOFF_AT_MOST)),
        }
    }
}

fn doubled(first: Duration, times: u32, most: Duration) -> Duration {
    first.saturating_mul(1u32.checked_shl(times).unwrap_or(u32::MAX)).min(most)
}

impl Master {
    /// Notes a bad end; the answer is why its application may not go on.
    pub(crate) fn ended_badly(
        &mut self,
        now: Tick,
        key: &ExecutorKey,
        executor: &ExecutorInfo,
        end: &ExecutorEnd,
    ) -> Option<String> {
        self.note_trouble(now, key, executor, end);
        let application = self.applications.get_mut(&key.app_id)?;
        // Spark counts no normal exit.
        if end.exit_code != Some(0) {
            application.retries = application.retries.saturating_add(1);
        }
        let (application, most) = (self.applications.get(&key.app_id)?, self.rules.max_executor_retries);
        if most < 0 {
            return None;
        }
        let may_serve = |w: &&WorkerInfo| self.may_serve(application, w);
        if !end.registered && !self.has_executors(key, false) && !self.workers.values().any(|w| may_serve(&w)) {
            return Some(hopeless(application, end));
        }
        let elsewhere = self.workers.values().filter(|w| w.id != executor.worker_id).any(|w| may_serve(&w));
        if application.retries >= most && !elsewhere && !self.has_executors(key, true) {
            let (retries, what) = (application.retries, describe(end));
            return Some(format!(
                "{retries} executors in a row failed (spark.deploy.maxExecutorRetries); the last one: {what}"
            ));
        }
        None
    }

    /// Executors that were there together count once, as when their host is cut off for a while.
    fn note_trouble(&mut self, now: Tick, key: &ExecutorKey, executor: &ExecutorInfo, end: &ExecutorEnd) {
        let worker_id = &executor.worker_id;
        let Some(application) = self.applications.get_mut(&key.app_id) else { return };
        let ran_well = executor.running_since.is_some_and(|since| since + RAN_WELL <= now);
        let before = application.troubles.get(worker_id).filter(|_| !ran_well);
        if before.is_some_and(|trouble| key.executor_id < trouble.next_executor_id) {
            return;
        }
        let (ends, early_ends) = before.map_or((0, 0), |trouble| (trouble.ends, trouble.early_ends));
        let mut trouble = Trouble {
            ends: ends.saturating_add(1),
            early_ends: if end.registered { 0 } else { early_ends.saturating_add(1) },
            reason: describe(end),
            until: None,
            next_executor_id: application.next_executor_id,
        };
        let pause = trouble.pause();
        trouble.until = (!pause.is_zero()).then(|| now + pause);
        if trouble.is_avoided() {
            let (app_id, reason) = (&key.app_id, &trouble.reason);
            warn!(%app_id, %worker_id, ?pause, reason, "executors end before they register: the worker is avoided");
        } else if trouble.until.is_some() {
            info!(
                app_id = %key.app_id,
                %worker_id,
                ?pause,
                ends = trouble.ends,
                "executors end soon: the next one waits"
            );
        }
        if let Some(worker) = self.workers.get_mut(worker_id).filter(|_| !end.registered) {
            let ends = worker.sickness.as_ref().map_or(0, |s| s.early_ends).saturating_add(1);
            worker.sickness = Some(Sickness { early_ends: ends, reason: trouble.reason.clone() });
        }
        application.troubles.insert(worker_id.clone(), trouble);
    }

    /// An executor runs on a worker: it can serve this application, and others.
    pub(crate) fn worker_serves(&mut self, app_id: &str, worker_id: &str) {
        if let Some(worker) = self.workers.get_mut(worker_id)
            && worker.sickness.take().is_some()
        {
            info!(worker_id, "executors run on this worker again");
        }
        let Some(application) = self.applications.get_mut(app_id) else { return };
        if let Some(trouble) = application.troubles.get_mut(worker_id) {
            if trouble.is_avoided() {
                trouble.until = None;
            }
            trouble.early_ends = 0;
        }
    }

    /// The worker has registered on another stream: whatever was wrong may be over. Who is wrong is avoided again at once.
    pub(crate) fn try_worker_again(&mut self, worker_id: &str) {
        for trouble in self.applications.values_mut().filter_map(|a| a.troubles.get_mut(worker_id)) {
            trouble.until = None;
        }
    }

    /// Workers whose time is up are tried again.
    pub(crate) fn end_pauses(&mut self, now: Tick) {
        for trouble in self.applications.values_mut().flat_map(|a| a.troubles.values_mut()) {
            trouble.until = trouble.until.filter(|until| *until > now);
        }
    }

    /// When the next worker is tried again by an application.
    pub(crate) fn pauses_end(&self) -> Option<Tick> {
        self.applications.values().flat_map(|a| a.troubles.values()).filter_map(|trouble| trouble.until).min()
    }

    /// Whether the worker may run executors of the application, now or when others have given back what they have.
    fn may_serve(&self, application: &ApplicationInfo, worker: &WorkerInfo) -> bool {
        let avoided = application.troubles.get(&worker.id).is_some_and(Trouble::is_avoided);
        worker.state() != WorkerState::Decommissioned && !avoided && self.demand_of(application).fits(&worker.whole())
    }

    /// Whether the application of `key` has an executor that is to live, or only counting those that its driver has.
    fn has_executors(&self, key: &ExecutorKey, running: bool) -> bool {
        let of_application = self.executors.iter().filter(|(other, _)| other.app_id == key.app_id);
        of_application.filter(|(_, e)| !e.killing).any(|(_, e)| !running || e.state == ExecutorState::Running)
    }
}

/// Why no worker is left: those that are avoided, with their reasons.
fn hopeless(application: &ApplicationInfo, end: &ExecutorEnd) -> String {
    let avoided: Vec<_> = application.troubles.iter().filter(|(_, trouble)| trouble.is_avoided()).collect();
    if avoided.is_empty() {
        return format!("no worker is left that could run its executors; the last one: {}", describe(end));
    }
    let mut text = "no worker can run the executors of this application: they end before they can register".to_owned();
    for (worker_id, trouble) in avoided.iter().take(NAMED) {
        text.push_str(&format!("\non worker {worker_id}: {}", trouble.reason));
    }
    if avoided.len() > NAMED {
        text.push_str(&format!("\nand on {} other workers", avoided.len() - NAMED));
    }
    text
}

/// An end in words: exit code or signal, what was said, the end of stderr.
pub(crate) fn describe(end: &ExecutorEnd) -> String {
    let mut text = match (end.exit_code, end.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "it did not start".to_owned(),
    };
    for (label, part) in [("; ", &end.message), ("; the end of its stderr:\n", &end.stderr_tail)] {
        if !part.is_empty() {
            text.push_str(label);
            text.push_str(part.trim_end());
        }
    }
    text
}
