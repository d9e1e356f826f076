//! Events of executors: launch, kill, registration with their driver, end, and the end of their application. Called by
//! [`Worker::handle`].

use firesteel_common::{AppId, ExecutorKey};
use firesteel_rpc::proto::deploy::{
    ExecutorDescription, ExecutorState, ExecutorStateChanged, LaunchExecutor, to_master,
};
use tracing::{info, warn};

use crate::{
    event::{ExecutorEnd, WorkerEffect},
    machine::Worker,
    status::ApplicationBrief,
};

/// An executor between its launch and its end.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Executor {
    pub(crate) cores: u32,
    pub(crate) memory_mb: u64,
    /// Of what application, for those who ask.
    pub(crate) application: ApplicationBrief,
    /// Its driver has accepted it.
    registered: bool,
    /// Its end was asked for.
    pub(crate) killing: bool,
}

impl Executor {
    pub(crate) fn state(&self) -> ExecutorState {
        if self.registered { ExecutorState::Running } else { ExecutorState::Launching }
    }
}

impl Worker {
    pub(crate) fn launch_executor(&mut self, key: ExecutorKey, launch: LaunchExecutor, out: &mut Vec<WorkerEffect>) {
        if !self.is_registered() {
            return warn!(%key, "a launch from a master that has not registered this worker is ignored");
        }
        let known = self.past.get(&key.app_id).is_some_and(|ids| ids.contains(&key.executor_id));
        if known || self.finished.contains(&key.app_id) {
            return warn!(%key, "launch repeated or too late");
        }
        if self.decommissioning {
            // Sent before the master knew.
            info!(%key, "launch refused: the worker is being decommissioned");
            let end =
                ExecutorEnd { message: "its worker is being decommissioned".to_owned(), ..ExecutorEnd::default() };
            return self.report(changed(&key, ExecutorState::Lost, end, false), out);
        }
        self.past.entry(key.app_id.clone()).or_default().insert(key.executor_id);
        info!(%key, cores = launch.cores, memory_mb = launch.memory_mb, "launching executor");
        let executor = Executor {
            cores: launch.cores,
            memory_mb: launch.memory_mb,
            application: ApplicationBrief::of(launch.application.as_ref()),
            registered: false,
            killing: false,
        };
        self.executors.insert(key.clone(), executor);
        out.push(WorkerEffect::StartExecutor { key, launch });
    }

    pub(crate) fn kill_executor(&mut self, key: ExecutorKey, out: &mut Vec<WorkerEffect>) {
        match self.executors.get_mut(&key) {
            Some(executor) => {
                executor.killing = true;
                out.push(WorkerEffect::KillExecutor(key));
            }
            // Whoever asks still counts with it: the news of its end, or its launch, was lost.
            None => {
                let end = ExecutorEnd { message: "its worker does not have it".to_owned(), ..ExecutorEnd::default() };
                self.report(changed(&key, ExecutorState::Lost, end, false), out);
            }
        }
    }

    pub(crate) fn application_finished(&mut self, app_id: AppId, out: &mut Vec<WorkerEffect>) {
        let mut alive = false;
        for (key, executor) in self.executors.iter_mut().filter(|(key, _)| key.app_id == app_id) {
            alive = true;
            if !std::mem::replace(&mut executor.killing, true) {
                out.push(WorkerEffect::KillExecutor(key.clone()));
            }
        }
        if alive {
            self.finished.insert(app_id);
        } else if self.past.remove(&app_id).is_some() {
            out.push(WorkerEffect::RemoveApplication { app_id });
        }
    }

    pub(crate) fn executor_registered(&mut self, key: &ExecutorKey, out: &mut Vec<WorkerEffect>) {
        let Some(executor) = self.executors.get_mut(key) else { return };
        if !std::mem::replace(&mut executor.registered, true) && self.is_registered() {
            self.report(changed(key, ExecutorState::Running, ExecutorEnd::default(), true), out);
        }
    }

    pub(crate) fn executor_ended(&mut self, key: ExecutorKey, end: ExecutorEnd, out: &mut Vec<WorkerEffect>) {
        let Some(executor) = self.executors.remove(&key) else { return };
        let state = if executor.killing {
            ExecutorState::Killed
        } else if end.exit_code.is_none() && end.signal.is_none() {
            ExecutorState::Failed
        } else {
            ExecutorState::Exited
        };
        info!(%key, ?state, end.message, "executor ended");
        self.retain_ended(executor.status(&key, state));
        self.report(changed(&key, state, end, executor.registered), out);
        if self.finished.contains(&key.app_id) && self.executors_of(&key.app_id).next().is_none() {
            self.finished.remove(&key.app_id);
            self.past.remove(&key.app_id);
            out.push(WorkerEffect::RemoveApplication { app_id: key.app_id });
        }
    }

    /// Tells the master, or keeps it until there is one.
    fn report(&mut self, change: ExecutorStateChanged, out: &mut Vec<WorkerEffect>) {
        if self.is_registered() {
            self.send(to_master::Message::ExecutorStateChanged(change), out);
        } else {
            self.unreported.push(change);
        }
    }

    pub(crate) fn executors_of<'a>(
        &'a self,
        app_id: &'a AppId,
    ) -> impl Iterator<Item = (&'a ExecutorKey, &'a Executor)> {
        self.executors.iter().filter(move |(key, _)| key.app_id == *app_id)
    }

    pub(crate) fn described(&self) -> Vec<ExecutorDescription> {
        self.executors
            .iter()
            .map(|(key, e)| ExecutorDescription {
                app_id: key.app_id.to_string(),
                executor_id: key.executor_id,
                cores: e.cores,
                memory_mb: e.memory_mb,
                state: e.state().into(),
            })
            .collect()
    }
}

fn changed(key: &ExecutorKey, state: ExecutorState, end: ExecutorEnd, registered: bool) -> ExecutorStateChanged {
    ExecutorStateChanged {
        app_id: key.app_id.to_string(),
        executor_id: key.executor_id,
        state: state.into(),
        message: end.message,
        exit_code: end.exit_code,
        signal: end.signal,
        stderr_tail: end.stderr_tail,
        registered,
        parting: end.parting.into(),
    }
}
