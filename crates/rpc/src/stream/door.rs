//! The door of a served port: who stands before it, and who is through.
//!
//! ```text
//!  Arrivals ──accept──▶ stranger ──Badge::pass──▶ newcomer ◀─Badge::set_known─▶ guest
//!                          │                         │                           └─Badge::over─▶ stranger again ─▶ closed
//!                          └─ pushed out by others, out of time, or of too many bytes ─▶ closed
//! ```

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::Waker,
    time::{Duration, Instant},
};

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
    /// Those that are through the handshake, and that nobody here knows yet.
    newcomers: Strangers,
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
    /// Its time was over before its handshake was.
    Overdue,
    /// It was let in and did not say in time what it came for.
    Unknown,
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
    known: AtomicBool,
}

impl Door {
    pub fn new(service: &'static str) -> Door {
        let limits = StrangerLimits { patience: HANDSHAKE + LAST_WORD, ..StrangerLimits::of_this_process() };
        let (strangers, newcomers) = (Strangers::new(limits), Strangers::new(limits.of_newcomers()));
        let state = State { next: 0, strangers, newcomers, open: BTreeMap::new(), watch: None };
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
        let (door, passed, known) = (self.clone(), AtomicBool::new(false), AtomicBool::new(false));
        (Badge(Arc::new(Connection { door, number, addr, arrived: Instant::now(), passed, known })), closing)
    }

    /// Makes room for another descriptor, if a stranger has one.
    pub fn push_one_out(&self) {
        let mut state = self.state();
        if let Some(number) = state.strangers.oldest().or_else(|| state.newcomers.oldest()) {
            state.close(number, Closing::PushedOut);
        }
    }

    /// Closes whose time is over, and says what has to be said; the answer is when to look again, unless `watch` is woken
    /// before.
    pub fn look_around(&self, watch: &Waker) -> Option<Instant> {
        let mut state = self.state();
        let now = self.now();
        while let Some(number) = state.strangers.overdue(now) {
            state.close(number, Closing::Overdue);
        }
        while let Some(number) = state.newcomers.overdue(now) {
            state.close(number, Closing::Unknown);
        }
        state.watch = Some(watch.clone());
        let deadline = state.strangers.next_deadline().into_iter().chain(state.newcomers.next_deadline()).min();
        let deadline = deadline.map(|tick| self.started + tick.since(Tick::ZERO));
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

    fn is_new(&mut self, now: Tick, number: u64, addr: SocketAddr) {
        if let Some(oldest) = self.newcomers.arrived(now, number, addr.ip()) {
            self.close(oldest, Closing::PushedOut);
        }
    }

    /// A deadline has come that whoever looks after them does not know of.
    fn look_again(&mut self) {
        if let Some(watch) = self.watch.take() {
            watch.wake();
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

    /// Says that it is closed for this reason.
    pub fn refused(&self, why: &str) {
        self.0.door.log.refused(self.0.addr, why);
    }

    /// What its handshake may still take.
    pub fn patience(&self) -> Duration {
        HANDSHAKE.saturating_sub(self.0.arrived.elapsed())
    }

    /// Whether it was let in.
    pub fn has_passed(&self) -> bool {
        self.0.passed.load(Ordering::Relaxed)
    }

    /// Whether somebody here knows it.
    pub fn is_known(&self) -> bool {
        self.0.known.load(Ordering::Relaxed)
    }

    /// It has shown who it is, and is a newcomer. False when it had to go meanwhile.
    pub fn pass(&self) -> bool {
        let mut state = self.0.door.state();
        let passes = state.strangers.left(self.0.number);
        if passes {
            state.is_new(self.0.door.now(), self.0.number, self.0.addr);
        }
        self.0.passed.store(passes, Ordering::Relaxed);
        passes
    }

    /// Whether it belongs to somebody whom its port's owner knows, and so may be idle for as long as it likes.
    pub fn set_known(&self, known: bool) {
        if !self.has_passed() || self.0.known.swap(known, Ordering::Relaxed) == known {
            return;
        }
        let mut state = self.0.door.state();
        match known {
            true => _ = state.newcomers.left(self.0.number),
            false if state.open.contains_key(&self.0.number) => {
                state.is_new(self.0.door.now(), self.0.number, self.0.addr);
                state.look_again();
            }
            false => {}
        }
    }

    /// Its stream is over: if it stays open beyond that, it counts as a stranger again.
    pub fn over(&self) {
        if !self.0.passed.swap(false, Ordering::Relaxed) {
            return;
        }
        let mut state = self.0.door.state();
        state.newcomers.left(self.0.number);
        if state.open.contains_key(&self.0.number) {
            state.stands_before(self.0.door.now(), self.0.number, self.0.addr);
        }
        state.look_again();
    }

    /// The connection is closed.
    pub fn gone(&self) {
        let mut state = self.0.door.state();
        state.strangers.left(self.0.number);
        state.newcomers.left(self.0.number);
        state.open.remove(&self.0.number);
    }
}
