//! The door of a served port: who stands before it, and who is through.
//!
//! ```text
//!  Arrivals ──accept──▶ stranger ──Badge::pass──▶ guest ──Badge::over──▶ stranger again ─▶ closed
//!                          └─ pushed out by others, out of time, or of too many bytes ─▶ closed
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use firesteel_common::Tick;
use tokio::sync::oneshot;

use super::HANDSHAKE;
use crate::{SparseLog, StrangerLimits, Strangers};

/// How long the answer to a handshake that took too long may take to reach the peer, before the connection is closed.
const LAST_WORD: Duration = Duration::from_millis(500);

/// One served port's.
pub(super) struct Door {
    pub log: SparseLog,
    started: Instant,
    state: Mutex<State>,
}

struct State {
    next: u64,
    /// Those that nobody has let in, or that have nothing to do here any more.
    strangers: Strangers,
    /// By which each open connection is told to close.
    open: BTreeMap<u64, oneshot::Sender<Closing>>,
    /// Who looks after the deadlines.
    watch: Option<Waker>,
}

/// Why a connection is closed from this side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Closing {
    /// Others wanted the place.
    PushedOut,
    /// Its time was over.
    Overdue,
}

/// A connection's place at the door. Cheap to clone.
#[derive(Clone)]
pub(super) struct Badge(Arc<Connection>);

struct Connection {
    door: Arc<Door>,
    number: u64,
    addr: SocketAddr,
    arrived: Instant,
    passed: AtomicBool,
}

impl Door {
    pub fn new(service: &'static str) -> Door {
        let limits = StrangerLimits { patience: HANDSHAKE + LAST_WORD, ..StrangerLimits::of_this_process() };
        let state = State { next: 0, strangers: Strangers::new(limits), open: BTreeMap::new(), watch: None };
        Door { log: SparseLog::new(service), started: Instant::now(), state: Mutex::new(state) }
    }

    /// Somebody has come; the receiver says when the connection has to be closed.
    pub fn enter(self: &Arc<Door>, addr: SocketAddr) -> (Badge, oneshot::Receiver<Closing>) {
        let (close, closing) = oneshot::channel();
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.open.insert(number, close);
        state.stands_before(self.now(), number, addr);
        drop(state);
        let (door, passed) = (self.clone(), AtomicBool::new(false));
        (Badge(Arc::new(Connection { door, number, addr, arrived: Instant::now(), passed })), closing)
    }

    /// Makes room for another descriptor, if a stranger has one.
    pub fn push_one_out(&self) {
        let mut state = self.state();
        if let Some(number) = state.strangers.oldest() {
            state.close(number, Closing::PushedOut);
        }
    }

    /// Closes whose time is over, and says what has to be said; the answer is when to look again, unless `watch` is woken
    /// before.
    pub fn look_around(&self, watch: &Waker) -> Option<Instant> {
        let mut state = self.state();
        while let Some(number) = state.strangers.overdue(self.now()) {
            state.close(number, Closing::Overdue);
        }
        state.watch = Some(watch.clone());
        let deadline = state.strangers.next_deadline().map(|tick| self.started + tick.since(Tick::ZERO));
        drop(state);
        if self.log.next_deadline().is_some_and(|due| due <= Instant::now()) {
            self.log.catch_up();
        }
        deadline.into_iter().chain(self.log.next_deadline()).min()
    }

    /// Closes every connection that nobody has let in.
    pub fn shut(&self) {
        let mut state = self.state();
        while let Some(number) = state.strangers.oldest() {
            state.close(number, Closing::PushedOut);
        }
    }

    fn now(&self) -> Tick {
        Tick::ZERO + self.started.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn stands_before(&mut self, now: Tick, number: u64, addr: SocketAddr) {
        if let Some(oldest) = self.strangers.arrived(now, number, addr.ip()) {
            self.close(oldest, Closing::PushedOut);
        }
    }

    fn close(&mut self, number: u64, why: Closing) {
        // One that is closed already is gone before it hears of it.
        let _ = self.open.remove(&number).map(|close| close.send(why));
    }
}

impl Badge {
    /// host:port of the peer's end.
    pub fn addr(&self) -> SocketAddr {
        self.0.addr
    }

    /// What its handshake may still take.
    pub fn patience(&self) -> Duration {
        HANDSHAKE.saturating_sub(self.0.arrived.elapsed())
    }

    /// Whether it was let in.
    pub fn has_passed(&self) -> bool {
        self.0.passed.load(Ordering::Relaxed)
    }

    /// It has shown who it is. False when it had to go meanwhile.
    pub fn pass(&self) -> bool {
        let passes = self.0.door.state().strangers.left(self.0.number);
        self.0.passed.store(passes, Ordering::Relaxed);
        passes
    }

    /// Its stream is over: if it stays open beyond that, it counts as a stranger again.
    pub fn over(&self) {
        if !self.0.passed.swap(false, Ordering::Relaxed) {
            return;
        }
        let mut state = self.0.door.state();
        if state.open.contains_key(&self.0.number) {
            state.stands_before(self.0.door.now(), self.0.number, self.0.addr);
        }
        if let Some(watch) = state.watch.take() {
            watch.wake();
        }
    }

    /// The connection is closed.
    pub fn gone(&self) {
        let mut state = self.0.door.state();
        state.strangers.left(self.0.number);
        state.open.remove(&self.0.number);
    }
}
