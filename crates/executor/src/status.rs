//! The way of status updates to the driver: sent at once when there is one, together when more came meanwhile.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use firesteel_rpc::proto::executor::StatusUpdate;

/// Where an executor's messages go: the stream to the driver, or the driver itself in `local[N]`.
pub trait StatusSink: Send + Sync + 'static {
    /// Takes a batch, in order. Called from task threads, one at a time; must not wait for the driver.
    fn send(&self, updates: Vec<StatusUpdate>);

    /// Tells the driver that the executor lives.
    fn heartbeat(&self) {}

    /// Returns when everything sent has reached the driver, or after `limit`. Called when the process is about to abort,
    /// so the sink may close the stream for that.
    fn flush(&self, _limit: Duration) {}
}

#[derive(Default)]
struct State {
    queue: Vec<StatusUpdate>,
    sending: bool,
}

/// Gathers what comes in while a batch is being handed over; whoever finds nobody sending sends.
pub(crate) struct StatusBatcher {
    sink: Arc<dyn StatusSink>,
    state: Mutex<State>,
    idle: Condvar,
}

impl StatusBatcher {
    pub fn new(sink: Arc<dyn StatusSink>) -> StatusBatcher {
        StatusBatcher { sink, state: Mutex::default(), idle: Condvar::new() }
    }

    pub fn sink(&self) -> &dyn StatusSink {
        &*self.sink
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn push(&self, updates: Vec<StatusUpdate>) {
        if updates.is_empty() {
            return;
        }
        let mut state = self.lock();
        state.queue.extend(updates);
        if state.sending {
            return;
        }
        state.sending = true;
        while !state.queue.is_empty() {
            let batch = std::mem::take(&mut state.queue);
            drop(state);
            self.sink.send(batch);
            state = self.lock();
        }
        state.sending = false;
        self.idle.notify_all();
    }

    /// Waits until nothing is queued here nor on its way to the driver, at most for `limit`.
    pub fn flush(&self, limit: Duration) {
        let until = Instant::now() + limit;
        let mut state = self.lock();
        while state.sending {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.idle.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        self.sink.flush(until.saturating_duration_since(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Hands over a batch only when it is told to.
    struct Slow {
        begun: Mutex<mpsc::Sender<()>>,
        go_on: Mutex<mpsc::Receiver<()>>,
        batches: Mutex<Vec<Vec<u64>>>,
    }

    impl StatusSink for Slow {
        fn send(&self, updates: Vec<StatusUpdate>) {
            self.begun.lock().unwrap().send(()).unwrap();
            self.go_on.lock().unwrap().recv().unwrap();
            self.batches.lock().unwrap().push(updates.iter().map(|u| u.task_id).collect());
        }
    }

    fn update(task_id: u64) -> Vec<StatusUpdate> {
        vec![StatusUpdate { task_id, ..Default::default() }]
    }

    #[test]
    fn a_single_update_goes_at_once_and_those_that_come_meanwhile_go_together() {
        let (begun, has_begun) = mpsc::channel();
        let (go_on, wait) = mpsc::channel();
        let slow =
            Arc::new(Slow { begun: Mutex::new(begun), go_on: Mutex::new(wait), batches: Mutex::new(Vec::new()) });
        let batcher = Arc::new(StatusBatcher::new(slow.clone()));
        let first = {
            let b = batcher.clone();
            std::thread::spawn(move || b.push(update(1)))
        };
        has_begun.recv().unwrap();
        for task in 2..5 {
            batcher.push(update(task));
        }
        go_on.send(()).unwrap();
        go_on.send(()).unwrap();
        first.join().unwrap();
        batcher.flush(Duration::from_secs(60));
        assert_eq!(*slow.batches.lock().unwrap(), [vec![1], vec![2, 3, 4]]);
    }
}
