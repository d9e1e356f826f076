//! The way of news to the driver: sent at once when there is one, those of tasks together when more came meanwhile or will
//! come in a moment.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use firesteel_protocol::{TaskOutcome, TaskUpdate, ToDriver};

/// The driver as an executor reaches it: the stream, or the driver itself in `local[N]`.
pub trait DriverLink: Send + Sync + 'static {
    /// Takes a message, in order with those of the same thread; must not wait for the driver. The error says why the driver
    /// cannot be told.
    fn send(&self, message: ToDriver) -> Result<(), String>;

    /// Closes the way to the driver, after what was sent: the executor holds nothing any more and ends.
    fn leave(&self) {}

    /// Returns when everything sent has reached the driver, or after `limit`. Called when the process is about to abort,
    /// so the link may close the stream for that.
    fn flush(&self, _limit: Duration) {}
}

/// As many are held at most.
const MOST_HELD: usize = 32;
/// What is held is sent after this time, or twice this time.
const HELD: Duration = Duration::from_millis(1);

#[derive(Default)]
struct State {
    queue: VecDeque<ToDriver>,
    sending: bool,
    /// The thread that sends what is held too long exists.
    thread: bool,
    /// It looks now and then, and need not be woken.
    watched: bool,
    closed: bool,
}

struct Shared {
    driver: Arc<dyn DriverLink>,
    state: Mutex<State>,
    idle: Condvar,
    held: Condvar,
}

/// Gathers what comes in while something is being handed over; whoever finds nobody sending sends.
///
/// What comes from a task that has the next one at hand may be held for a moment: of many short tasks each would
/// otherwise cost a message of its own, and with it several wake-ups.
pub(crate) struct StatusBatcher(Arc<Shared>);

impl StatusBatcher {
    pub fn new(driver: Arc<dyn DriverLink>) -> StatusBatcher {
        StatusBatcher(Arc::new(Shared { driver, state: Mutex::default(), idle: Condvar::new(), held: Condvar::new() }))
    }

    pub fn driver(&self) -> &Arc<dyn DriverLink> {
        &self.0.driver
    }

    /// News of tasks.
    pub fn push(&self, updates: Vec<TaskUpdate>) {
        if !updates.is_empty() {
            let mut state = self.0.lock();
            state.add(updates);
            self.0.send(state);
        }
    }

    /// Other news, behind those of tasks that came before.
    pub fn tell(&self, message: ToDriver) {
        let mut state = self.0.lock();
        state.queue.push_back(message);
        self.0.send(state);
    }

    /// Takes what need not be sent at once: more will come soon.
    pub fn hold(&self, updates: Vec<TaskUpdate>) {
        let mut state = self.0.lock();
        state.add(updates);
        if state.held() >= MOST_HELD || !(state.watched || self.0.watch(&mut state)) {
            self.0.send(state);
        }
    }

    /// Waits until nothing is queued here nor on its way to the driver, at most for `limit`.
    pub fn flush(&self, limit: Duration) {
        let until = Instant::now() + limit;
        if self.hand_over(until) {
            self.0.driver.flush(until.saturating_duration_since(Instant::now()));
        }
    }

    /// Hands over what is queued, and closes the way to the driver behind it.
    pub fn leave(&self, limit: Duration) {
        if !self.hand_over(Instant::now() + limit) {
            tracing::warn!(?limit, "the last news did not go to the driver in time");
        }
        self.0.driver.leave();
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
    /// Adds to the news of tasks that are last in the queue.
    fn add(&mut self, updates: Vec<TaskUpdate>) {
        let Some(ToDriver::StatusUpdates(queued)) = self.queue.back_mut() else {
            return self.queue.push_back(ToDriver::StatusUpdates(updates));
        };
        for update in updates {
            // That a task has begun is no news together with its end.
            let begun =
                |u: &TaskUpdate| u.task == update.task && u.outcome == TaskOutcome::Running && u.blocks.is_empty();
            if let Some(i) = queued.iter().rev().take(MOST_HELD).position(begun) {
                queued.remove(queued.len() - 1 - i);
            }
            queued.push(update);
        }
    }

    /// News of tasks that wait for more.
    fn held(&self) -> usize {
        match self.queue.back() {
            Some(ToDriver::StatusUpdates(queued)) => queued.len(),
            _ => 0,
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
        while let Some(message) = state.queue.pop_front() {
            drop(state);
            // A driver that has ended wants no news; that its stream broke was said where it did.
            let _ = self.driver.send(message);
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

    use firesteel_common::{ExecutorId, RddId, ShuffleId, TaskId};
    use firesteel_protocol::{BlockUpdate, MapOutputMoved};

    use super::*;

    fn tasks(message: &ToDriver) -> Vec<u64> {
        match message {
            ToDriver::StatusUpdates(updates) => updates.iter().map(|u| u.task.0).collect(),
            _ => Vec::new(),
        }
    }

    /// Hands a message over only when it is told to.
    struct Slow {
        begun: Mutex<mpsc::Sender<()>>,
        go_on: Mutex<mpsc::Receiver<()>>,
        batches: Mutex<Vec<Vec<u64>>>,
    }

    impl DriverLink for Slow {
        fn send(&self, message: ToDriver) -> Result<(), String> {
            self.begun.lock().unwrap().send(()).unwrap();
            self.go_on.lock().unwrap().recv().unwrap();
            self.batches.lock().unwrap().push(tasks(&message));
            Ok(())
        }
    }

    fn update(task: u64) -> Vec<TaskUpdate> {
        vec![TaskUpdate::of(TaskId(task), TaskOutcome::GivenBack)]
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

    /// Takes messages as they come.
    #[derive(Default)]
    struct Quick(Mutex<Vec<ToDriver>>);

    impl DriverLink for Quick {
        fn send(&self, message: ToDriver) -> Result<(), String> {
            self.0.lock().unwrap().push(message);
            Ok(())
        }
    }

    #[test]
    fn what_is_held_goes_with_the_next_or_when_it_is_much_or_soon_by_itself() {
        let quick = Arc::new(Quick::default());
        let batcher = StatusBatcher::new(quick.clone());
        let sent = || -> Vec<u64> { quick.0.lock().unwrap().iter().flat_map(tasks).collect() };
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
    fn other_news_come_in_order_between_those_of_tasks() {
        let quick = Arc::new(Quick::default());
        let batcher = StatusBatcher::new(quick.clone());
        let moved = MapOutputMoved { shuffle: ShuffleId(1), map_task: TaskId(1), to: ExecutorId(2) };
        let (moved, blocks) =
            (ToDriver::MapOutputMoved(moved), ToDriver::BlockUpdates(vec![BlockUpdate::dropped(RddId(1), 0)]));
        batcher.hold(update(1));
        batcher.tell(moved.clone());
        batcher.tell(blocks.clone());
        batcher.push(update(2));
        let expected = [ToDriver::StatusUpdates(update(1)), moved, blocks, ToDriver::StatusUpdates(update(2))];
        assert_eq!(*quick.0.lock().unwrap(), expected);
    }

    #[test]
    fn that_a_task_has_begun_is_not_told_together_with_its_end() {
        let quick = Arc::new(Quick::default());
        let batcher = StatusBatcher::new(quick.clone());
        batcher.0.lock().add(vec![TaskUpdate::of(TaskId(1), TaskOutcome::Running)]);
        batcher.push(update(1));
        assert_eq!(*quick.0.lock().unwrap(), [ToDriver::StatusUpdates(update(1))]);
    }
}
