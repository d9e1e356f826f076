//! The way of status updates to the driver: sent at once when there is one, together when more came meanwhile or will
//! come in a moment.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use firesteel_rpc::proto::executor::{BarrierSync, StatusUpdate, status_update::State::Running as Begun};

/// Where an executor's messages go: the stream to the driver, or the driver itself in `local[N]`.
pub trait StatusSink: Send + Sync + 'static {
    /// Takes a batch, in order. Called by one thread at a time; must not wait for the driver.
    fn send(&self, updates: Vec<StatusUpdate>);

    /// Tells the driver that a task waits for the others of its barrier stage; the error says why it cannot be told.
    fn barrier(&self, sync: BarrierSync) -> Result<(), String>;

    /// Tells the driver that the executor lives.
    fn heartbeat(&self) {}

    /// Closes the way to the driver, after what was sent: the executor holds nothing any more and ends.
    fn leave(&self) {}

    /// Returns when everything sent has reached the driver, or after `limit`. Called when the process is about to abort,
    /// so the sink may close the stream for that.
    fn flush(&self, _limit: Duration) {}
}

/// As many are held at most.
const MOST_HELD: usize = 32;
/// What is held is sent after this time, or twice this time.
const HELD: Duration = Duration::from_millis(1);

#[derive(Default)]
struct State {
    queue: Vec<StatusUpdate>,
    sending: bool,
    /// The thread that sends what is held too long exists.
    thread: bool,
    /// It looks now and then, and need not be woken.
    watched: bool,
    closed: bool,
}

struct Shared {
    sink: Arc<dyn StatusSink>,
    state: Mutex<State>,
    idle: Condvar,
    held: Condvar,
}

/// Gathers what comes in while a batch is being handed over; whoever finds nobody sending sends.
///
/// What comes from a task that has the next one at hand may be held for a moment: of many short tasks each would
/// otherwise cost a message of its own, and with it several wake-ups.
pub(crate) struct StatusBatcher(Arc<Shared>);

impl StatusBatcher {
    pub fn new(sink: Arc<dyn StatusSink>) -> StatusBatcher {
        StatusBatcher(Arc::new(Shared { sink, state: Mutex::default(), idle: Condvar::new(), held: Condvar::new() }))
    }

    pub fn sink(&self) -> &Arc<dyn StatusSink> {
        &self.0.sink
    }

    pub fn push(&self, updates: Vec<StatusUpdate>) {
        if !updates.is_empty() {
            let mut state = self.0.lock();
            state.add(updates);
            self.0.send(state);
        }
    }

    /// Takes what need not be sent at once: more will come soon.
    pub fn hold(&self, updates: Vec<StatusUpdate>) {
        let mut state = self.0.lock();
        state.add(updates);
        if state.queue.len() >= MOST_HELD || !(state.watched || self.0.watch(&mut state)) {
            self.0.send(state);
        }
    }

    /// Waits until nothing is queued here nor on its way to the driver, at most for `limit`.
    pub fn flush(&self, limit: Duration) {
        let until = Instant::now() + limit;
        if self.hand_over(until) {
            self.0.sink.flush(until.saturating_duration_since(Instant::now()));
        }
    }

    /// Hands over what is queued, and closes the way to the driver behind it.
    pub fn leave(&self, limit: Duration) {
        if !self.hand_over(Instant::now() + limit) {
            tracing::warn!(?limit, "the last news did not go to the driver in time");
        }
        self.0.sink.leave();
    }

    /// Waits until nothing is queued here, and says whether that was in time.
    fn hand_over(&self, until: Instant) -> bool {
        self.0.send(self.0.lock());
        let mut state = self.0.lock();
        while state.sending {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.0.idle.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for StatusBatcher {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.held.notify_all();
    }
}

impl State {
    fn add(&mut self, updates: Vec<StatusUpdate>) {
        for update in updates {
            // That a task has begun is no news together with its end. News of blocks alone have that form, too, and each counts.
            let alike = |u: &StatusUpdate| u.task_id == update.task_id && u.blocks.is_empty();
            let begun = |u: &StatusUpdate| alike(u) && matches!(u.state, Some(Begun(_)));
            if let Some(i) = self.queue.iter().rev().take(MOST_HELD).position(begun) {
                self.queue.remove(self.queue.len() - 1 - i);
            }
            self.queue.push(update);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends what is queued, unless somebody does that already.
    fn send<'a>(&'a self, mut state: MutexGuard<'a, State>) {
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

    /// Sees to it that what is held is sent in time. False when there is no thread for that.
    fn watch(self: &Arc<Self>, state: &mut State) -> bool {
        if !state.thread {
            let shared = self.clone();
            let thread = std::thread::Builder::new().name("firesteel-status".into());
            match thread.spawn(move || shared.send_held()) {
                Ok(_) => state.thread = true,
                Err(error) => {
                    tracing::warn!(%error, "cannot start the thread that sends the news of short tasks");
                    return false;
                }
            }
        }
        state.watched = true;
        self.held.notify_one();
        true
    }

    fn send_held(&self) {
        let mut state = self.lock();
        while !state.closed {
            if !state.watched {
                state = self.held.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state = self.held.wait_timeout(state, HELD).unwrap_or_else(PoisonError::into_inner).0;
            // Nothing held this time: somebody has to wake it the next time.
            state.watched = !state.queue.is_empty();
            self.send(state);
            state = self.lock();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use firesteel_rpc::proto::executor::BlockUpdate;

    use super::*;

    /// Hands over a batch only when it is told to.
    struct Slow {
        begun: Mutex<mpsc::Sender<()>>,
        go_on: Mutex<mpsc::Receiver<()>>,
        batches: Mutex<Vec<Vec<u64>>>,
    }

    impl StatusSink for Slow {
        fn barrier(&self, _: BarrierSync) -> Result<(), String> {
            Err("no driver".to_owned())
        }

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

    /// Takes batches as they come.
    #[derive(Default)]
    struct Quick(Mutex<Vec<Vec<StatusUpdate>>>);

    impl StatusSink for Quick {
        fn barrier(&self, _: BarrierSync) -> Result<(), String> {
            Err("no driver".to_owned())
        }

        fn send(&self, updates: Vec<StatusUpdate>) {
            self.0.lock().unwrap().push(updates);
        }
    }

    #[test]
    fn what_is_held_goes_with_the_next_or_when_it_is_much_or_soon_by_itself() {
        let quick = Arc::new(Quick::default());
        let batcher = StatusBatcher::new(quick.clone());
        let sent = || -> Vec<u64> { quick.0.lock().unwrap().iter().flatten().map(|u| u.task_id).collect() };
        batcher.hold(update(1));
        batcher.push(update(2));
        assert_eq!(sent(), [1, 2]);
        (3..3 + MOST_HELD as u64).for_each(|task| batcher.hold(update(task)));
        assert_eq!(sent().len(), 2 + MOST_HELD);
        batcher.hold(update(99));
        let until = Instant::now() + Duration::from_secs(60);
        while sent().last() != Some(&99) {
            assert!(Instant::now() < until, "what is held is never sent");
            std::thread::yield_now();
        }
    }

    #[test]
    fn news_of_blocks_are_all_told() {
        let quick = Arc::new(Quick::default());
        let batcher = StatusBatcher::new(quick.clone());
        let of_block = |partition| StatusUpdate {
            task_id: u64::MAX,
            state: Some(Begun(Default::default())),
            blocks: vec![BlockUpdate { partition, ..Default::default() }],
            ..StatusUpdate::default()
        };
        batcher.push((0..3).map(of_block).chain(update(u64::MAX)).collect());
        let told: Vec<u32> =
            quick.0.lock().unwrap().iter().flatten().flat_map(|u| &u.blocks).map(|b| b.partition).collect();
        assert_eq!(told, [0, 1, 2]);
    }

    #[test]
    fn that_a_task_has_begun_is_not_told_together_with_its_end() {
        let quick = Arc::new(Quick::default());
        let batcher = StatusBatcher::new(quick.clone());
        let begun = StatusUpdate { task_id: 1, state: Some(Begun(Default::default())), ..Default::default() };
        batcher.0.lock().queue.push(begun);
        batcher.push(update(1));
        assert!(quick.0.lock().unwrap().iter().flatten().all(|u| u.state.is_none()));
    }
}
