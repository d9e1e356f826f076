//! The stream to the driver as a [`DriverLink`]: batches of a size that a message may have, and last words.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use firesteel_common::{TaskFailure, TaskId};
use firesteel_protocol::{TaskUpdate, ToDriver};
use firesteel_rpc::{
    MAX_MESSAGE_BYTES, SendError, Sender,
    proto::executor::{self as proto, to_driver::Message},
};
use prost::Message as _;

use crate::{attempt::failed, status::DriverLink};

/// Of updates in one message; leaves room for what surrounds them.
const BATCH_BYTES: usize = MAX_MESSAGE_BYTES - (64 << 10);

#[derive(Default)]
struct State {
    /// Set when the process is about to abort.
    last_words: bool,
    /// The driver has closed its side too, so it has everything that was sent.
    ended: bool,
    /// The executor was decommissioned and has closed its side.
    left: bool,
}

/// Whether the stream has ended, and whether the executor ended it to abort.
#[derive(Clone, Default)]
pub(crate) struct StreamEnd(Arc<(Mutex<State>, Condvar)>);

impl StreamEnd {
    /// Says that the stream has ended; returns whether the process is about to abort by itself.
    pub fn reached(&self) -> bool {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.ended = true;
        changed.notify_all();
        state.last_words
    }
}

impl StreamEnd {
    /// Whether the executor has ended the stream because it leaves.
    pub fn has_left(&self) -> bool {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).left
    }
}

/// Sends to the driver.
pub(crate) struct DriverStream {
    tx: Sender<proto::ToDriver>,
    executor_id: u32,
    end: StreamEnd,
}

impl DriverStream {
    pub fn new(tx: Sender<proto::ToDriver>, executor_id: u32, end: StreamEnd) -> DriverStream {
        DriverStream { tx, executor_id, end }
    }

    fn send_batch(&self, updates: Vec<proto::StatusUpdate>) -> Result<(), SendError> {
        let tasks: Vec<TaskId> = updates.iter().map(|u| TaskId(u.task_id)).collect();
        let message = Some(Message::StatusUpdates(proto::StatusUpdates { updates }));
        match self.tx.send(proto::ToDriver { message }) {
            // Only an update that is alone can be too large; the task must not seem to run for ever.
            Err(SendError::TooLarge { bytes, limit, .. }) => tasks.into_iter().try_for_each(|task| {
                let message = format!("the news of the task take {bytes} bytes, a message may have {limit}");
                let failure = TaskFailure::Exception { message, location: String::new(), panic: false };
                self.tx.send(ToDriver::StatusUpdates(vec![TaskUpdate::of(task, failed(failure))]).into())
            }),
            sent => sent,
        }
    }

    /// In messages of a size that they may have.
    fn send_updates(&self, updates: Vec<TaskUpdate>) -> Result<(), SendError> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for update in updates {
            let update = proto::StatusUpdate::from(update);
            // Its length and the field's tag take a few bytes more.
            let size = update.encoded_len() + 8;
            if bytes + size > BATCH_BYTES && !batch.is_empty() {
                self.send_batch(std::mem::take(&mut batch))?;
                bytes = 0;
            }
            bytes += size;
            batch.push(update);
        }
        if batch.is_empty() { Ok(()) } else { self.send_batch(batch) }
    }
}

impl DriverLink for DriverStream {
    fn send(&self, message: ToDriver) -> Result<(), String> {
        let sent = match message {
            ToDriver::StatusUpdates(updates) => self.send_updates(updates),
            other => self.tx.send(other.into()),
        };
        // A stream that is closed ends the executor; whoever receives from it does that.
        sent.map_err(|error| {
            tracing::warn!(executor_id = self.executor_id, %error, "the driver does not get a message");
            error.to_string()
        })
    }

    fn leave(&self) {
        self.end.0.0.lock().unwrap_or_else(PoisonError::into_inner).left = true;
        self.tx.close("the executor was decommissioned and holds nothing any more");
    }

    /// Closes the stream, which sends what is queued, and waits until the driver has closed its side in answer.
    fn flush(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let (state, changed) = &*self.end.0;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.last_words = true;
        self.tx.close("a panic aborts the executor");
        while !state.ended {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
