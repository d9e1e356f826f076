//! [`Bus`]: hands events to listeners. Each listener has a bounded queue and a thread of its own, so that a slow one costs
//! nobody but itself. Spark: `LiveListenerBus` and `AsyncEventQueue`.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use crate::{AppEvent, Listener};

/// A warning of lost events comes at most this often for each listener, as in Spark.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

/// Sends events to listeners. Cloning gives another handle on the same bus.
#[derive(Clone)]
pub struct Bus(Arc<Shared>);

struct Shared {
    /// What each thread holds while it lives.
    enter: fn() -> Box<dyn Any>,
    /// Some listener is there. Set before `queues`, so that who was told of a listener finds it.
    active: AtomicBool,
    queues: Mutex<Vec<Queue>>,
}

struct Queue {
    events: mpsc::SyncSender<Arc<AppEvent>>,
    state: Arc<QueueState>,
    /// Disconnected when the thread has heard all.
    ended: mpsc::Receiver<()>,
    thread: ThreadId,
    warned: Option<(Instant, u64)>,
}

#[derive(Default)]
struct QueueState {
    lost: AtomicU64,
    /// Removed, by the user or for a panic.
    gone: AtomicBool,
    name: String,
}

/// A listener on the bus. Dropping this leaves the listener where it is.
#[derive(Clone)]
pub struct ListenerHandle(Arc<QueueState>);

impl ListenerHandle {
    /// How many events it has lost because it was too slow.
    pub fn lost(&self) -> u64 {
        self.0.lost.load(Ordering::Acquire)
    }

    /// Whether it was removed: by [`ListenerHandle::remove`], or because it panicked.
    pub fn is_removed(&self) -> bool {
        self.0.gone.load(Ordering::Acquire)
    }

    /// Removes it: it gets no more events, not even those that wait for it. Spark: `removeSparkListener`.
    pub fn remove(&self) {
        self.0.gone.store(true, Ordering::Release);
    }
}

impl Default for Bus {
    fn default() -> Self {
        Bus::entering(|| Box::new(()))
    }
}

impl Bus {
    /// A bus whose threads call `enter` first and hold what it returns: where their log lines go.
    pub fn entering(enter: fn() -> Box<dyn Any>) -> Bus {
        Bus(Arc::new(Shared { enter, active: AtomicBool::new(false), queues: Mutex::default() }))
    }

    /// Adds a listener, for which at most `capacity` events wait. It hears of what is posted from now on.
    ///
    /// # Errors
    /// When no thread can be started for it.
    pub fn add(&self, mut listener: impl Listener, capacity: usize) -> std::io::Result<ListenerHandle> {
        let (events, inbox) = mpsc::sync_channel::<Arc<AppEvent>>(capacity.max(1));
        let state = Arc::new(QueueState { name: listener.name().to_owned(), ..QueueState::default() });
        let theirs = state.clone();
        let (end, ended) = mpsc::channel::<()>();
        let enter = self.0.enter;
        let hear = move || {
            let _end = end;
            let _entered = enter();
            for event in inbox {
                if theirs.gone.load(Ordering::Acquire) {
                    return;
                }
                if catch_unwind(AssertUnwindSafe(|| listener.on_event(&event))).is_err() {
                    theirs.gone.store(true, Ordering::Release);
                    tracing::warn!(listener = theirs.name, "a listener panicked and is removed");
                    // Its own drop may panic, too.
                    let _ = catch_unwind(AssertUnwindSafe(|| drop(listener)));
                    return;
                }
            }
        };
        let mut queues = self.queues();
        let thread = thread::Builder::new().name("firesteel-listener".into()).spawn(hear)?.thread().id();
        queues.push(Queue { events, state: state.clone(), ended, thread, warned: None });
        self.0.active.store(true, Ordering::Release);
        Ok(ListenerHandle(state))
    }

    /// Whether anybody listens. Costs one load.
    #[inline]
    pub fn is_active(&self) -> bool {
        self.0.active.load(Ordering::Acquire)
    }

    /// Hands an event to all listeners. Never waits for one: whose queue is full loses it.
    pub fn post(&self, event: AppEvent) {
        let event = Arc::new(event);
        let mut queues = self.queues();
        queues.retain_mut(|queue| queue.offer(&event));
        self.0.active.store(!queues.is_empty(), Ordering::Release);
    }

    /// Ends the bus: listeners get what waits for them, for at most `limit` together. Says how many had not heard all by
    /// then. What is posted later is heard by nobody.
    pub fn close(&self, limit: Duration) -> usize {
        let queues = std::mem::take(&mut *self.queues());
        self.0.active.store(false, Ordering::Release);
        let until = Instant::now() + limit;
        // Their threads end when they have taken all that waits.
        let ends: Vec<_> = queues.into_iter().map(|q| (q.ended, q.thread, q.state)).collect();
        ends.iter().filter(|(ended, thread, state)| !has_ended(ended, *thread, state, until)).count()
    }

    fn queues(&self) -> MutexGuard<'_, Vec<Queue>> {
        self.0.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the end of a listener's thread, not of the caller's own.
fn has_ended(ended: &mpsc::Receiver<()>, thread: ThreadId, state: &QueueState, until: Instant) -> bool {
    if thread == thread::current().id() {
        return true;
    }
    let left = until.saturating_duration_since(Instant::now());
    let late = ended.recv_timeout(left) == Err(mpsc::RecvTimeoutError::Timeout);
    if late {
        tracing::warn!(listener = state.name, "a listener has not heard all that happened when the application ends");
    }
    !late
}

impl Queue {
    /// False when the listener is gone.
    fn offer(&mut self, event: &Arc<AppEvent>) -> bool {
        if self.state.gone.load(Ordering::Acquire) {
            return false;
        }
        match self.events.try_send(event.clone()) {
            Ok(()) => true,
            Err(mpsc::TrySendError::Disconnected(_)) => false,
            Err(mpsc::TrySendError::Full(_)) => {
                let lost = self.state.lost.fetch_add(1, Ordering::AcqRel) + 1;
                self.warn(lost);
                true
            }
        }
    }

    fn warn(&mut self, lost: u64) {
        let now = Instant::now();
        let (at, told) = self.warned.unwrap_or((now, 0));
        if told == 0 || now.duration_since(at) >= BETWEEN_WARNINGS {
            let listener = &self.state.name;
            tracing::warn!(listener, lost = lost - told, "a listener is too slow and has lost events");
            self.warned = Some((now, lost));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(time: u64) -> AppEvent {
        AppEvent::ApplicationEnd { time }
    }

    fn time(event: &AppEvent) -> u64 {
        match event {
            AppEvent::ApplicationEnd { time } => *time,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_is_heard_in_order_and_before_the_bus_has_ended() {
        let bus = Bus::default();
        assert!(!bus.is_active());
        let (tx, rx) = mpsc::channel();
        bus.add(move |e: &AppEvent| tx.send(time(e)).unwrap(), 1000).unwrap();
        assert!(bus.is_active());
        (0..500).for_each(|t| bus.post(end(t)));
        assert_eq!(bus.close(Duration::from_secs(60)), 0);
        assert_eq!(rx.iter().collect::<Vec<_>>(), (0..500).collect::<Vec<_>>());
        assert!(!bus.is_active());
    }

    #[test]
    fn a_slow_listener_loses_the_newest_events_and_nobody_else_does() {
        let bus = Bus::default();
        let (go_on, wait) = mpsc::channel::<()>();
        let (begun, has_begun) = mpsc::channel();
        let (tx, rx) = mpsc::channel();
        let slow = bus.add(
            move |e: &AppEvent| {
                begun.send(()).unwrap();
                // An error is the end of the test's patience.
                let _ = wait.recv();
                tx.send(time(e)).unwrap();
            },
            3,
        );
        let (all, heard) = mpsc::channel();
        let quick = bus.add(move |e: &AppEvent| all.send(time(e)).unwrap(), 100).unwrap();
        bus.post(end(0));
        has_begun.recv().unwrap();
        // One is being heard, three wait, six are lost.
        (1..10).for_each(|t| bus.post(end(t)));
        assert_eq!((slow.as_ref().unwrap().lost(), quick.lost()), (6, 0));
        drop(go_on);
        assert_eq!(bus.close(Duration::from_secs(60)), 0);
        assert_eq!(rx.iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(heard.iter().collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_listener_that_panics_is_removed_and_the_others_go_on() {
        let bus = Bus::default();
        let bad = bus.add(|_: &AppEvent| panic!("of this test"), 10).unwrap();
        let (tx, rx) = mpsc::channel();
        bus.add(move |e: &AppEvent| tx.send(time(e)).unwrap(), 10).unwrap();
        bus.post(end(1));
        bus.post(end(2));
        assert_eq!(bus.close(Duration::from_secs(60)), 0);
        assert!(bad.is_removed());
        assert_eq!(rx.iter().collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn who_never_returns_does_not_keep_the_bus_from_ending_and_who_is_removed_hears_nothing() {
        let bus = Bus::default();
        let (_never, wait) = mpsc::channel::<()>();
        bus.add(move |_: &AppEvent| _ = wait.recv(), 10).unwrap();
        let removed = bus.add(|_: &AppEvent| panic!("it was removed"), 10).unwrap();
        removed.remove();
        bus.post(end(1));
        assert_eq!(bus.close(Duration::from_millis(20)), 1);
    }
}
