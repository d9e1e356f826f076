//! Where one task waits for the driver's answer. The executor makes it with the task, answers it, and wakes it when the
//! task is killed.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::kill::KillFlag;

/// Where a task of a barrier stage runs. Spark: `BarrierTaskInfo`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BarrierTaskInfo {
    /// Its executor's host.
    pub host: String,
    /// host:port of its executor's block server; `in-process` with `local[N]`.
    pub address: String,
}

/// A task's call, on its way to the driver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BarrierCall {
    /// Which of its calls, from 0.
    pub call: u32,
    /// It wants the others' messages.
    pub gathers: bool,
    /// What it hands them.
    pub message: Bytes,
}

/// Sends a call to the driver without waiting; the error says why that is not possible.
type SendCall = Box<dyn Fn(BarrierCall) -> Result<(), String> + Send + Sync>;

#[derive(Default)]
struct State {
    call: u32,
    answer: Option<Result<Vec<Bytes>, String>>,
}

/// One task's place at the barriers of its stage.
pub struct BarrierSync {
    tasks: Vec<BarrierTaskInfo>,
    send: SendCall,
    state: Mutex<State>,
    changed: Condvar,
}

impl BarrierSync {
    /// A task beside `tasks`, itself among them, whose calls go to `send`.
    pub fn new(
        tasks: Vec<BarrierTaskInfo>,
        send: impl Fn(BarrierCall) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        BarrierSync { tasks, send: Box::new(send), state: Mutex::default(), changed: Condvar::new() }
    }

    /// Where all tasks run, in the order of the partitions.
    pub fn tasks(&self) -> &[BarrierTaskInfo] {
        &self.tasks
    }

    /// Lets the task go on from this call, if it waits there.
    pub fn answer(&self, call: u32, result: Result<Vec<Bytes>, String>) {
        let mut state = self.lock();
        if state.call == call {
            state.answer.get_or_insert(result);
            self.changed.notify_all();
        }
    }

    /// The task's kill flag was set.
    pub fn wake(&self) {
        // With the lock, so that who has just looked at the flag waits already.
        let _state = self.lock();
        self.changed.notify_all();
    }

    /// Makes the task's next call and waits for the answer; None when the task is killed meanwhile.
    pub(super) fn call(&self, kill: &KillFlag, gathers: bool, message: Bytes) -> Option<Result<Vec<Bytes>, String>> {
        let call = self.lock().call;
        let sent = (self.send)(BarrierCall { call, gathers, message });
        let mut state = self.lock();
        let result = match sent {
            Err(reason) => Err(reason),
            Ok(()) => loop {
                if kill.reason().is_some() {
                    return None;
                }
                if let Some(result) = state.answer.take() {
                    break result;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            },
        };
        state.call += 1;
        state.answer = None;
        Some(result)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
