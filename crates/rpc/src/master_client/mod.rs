//! How a worker or a driver finds the leading master, stays registered with it, and finds the next one: a state
//! machine without I/O.
//!
//! ```text
//!            Connect            Register            Registered
//!  Waiting ──────────▶ Connecting ─────▶ Registering ─────────▶ Registered
//!     ▲  ▲                 │ failed, timed out │ standby, closed,   │ closed
//!     │  └── next round ───┴── next address ◀──┴── timed out        │
//!     └───────────────────────── lost ◀─────────────────────────────┘
//!  after the last round, or when every master said no for good: Stopped, with GiveUp
//! ```
//!
//! A round tries every master of the URL, one after the other. Between rounds it waits, longer each time, by a random
//! part that comes from the seed, so that the workers of a cluster do not come back all at once. Callers: the worker's
//! shell and machine, the driver's shell, the simulation.

mod backoff;
mod config;
mod error;
mod event;
#[cfg(test)]
mod tests;

use backoff::Backoff;
pub use config::MasterClientConfig;
pub use error::MasterError;
pub use event::{Attempt, Effect, Event};
use firesteel_common::Tick;
use firesteel_machine::Machine;

use crate::MasterUrl;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Idle,
    /// Between rounds.
    Waiting {
        until: Tick,
    },
    Connecting {
        until: Tick,
    },
    Registering {
        until: Tick,
    },
    Registered,
    Stopped,
}

/// One master of the URL.
#[derive(Debug)]
struct Master {
    address: String,
    /// How its last attempt ended.
    ended: String,
    /// It said no for good.
    permanent: bool,
}

/// The machine; see the module.
#[derive(Debug)]
pub struct MasterClient {
    config: MasterClientConfig,
    masters: Vec<Master>,
    state: State,
    /// Which master is tried or registered with.
    current: usize,
    attempt: Attempt,
    /// Rounds that have ended since the start or the last loss.
    rounds: u32,
    /// Masters tried in this round.
    tried: usize,
    backoff: Backoff,
    /// How often in a row somebody else had our place.
    held: u32,
}

/// So often a registration that somebody else's stands against is tried: for longer than a master takes to see that a
/// host is gone.
const HELD: u32 = 10;

impl MasterClient {
    /// A client of the masters of `url`; nothing happens before [`Event::Start`].
    pub fn new(url: &MasterUrl, config: MasterClientConfig, seed: u64) -> Self {
        let new = |address| Master { address, ended: "not tried".to_owned(), permanent: false };
        Self {
            masters: url.addresses().into_iter().map(new).collect(),
            state: State::Idle,
            current: 0,
            attempt: Attempt(0),
            rounds: 0,
            tried: 0,
            backoff: Backoff::new(config.backoff, config.backoff_max, seed),
            held: 0,
            config,
        }
    }

    /// The attempt whose connection is used, or being made, now.
    pub fn attempt(&self) -> Attempt {
        self.attempt
    }

    /// host:port of the master that we are registered with.
    pub fn registered_with(&self) -> Option<&str> {
        match self.state {
            State::Registered => Some(&self.masters[self.current].address),
            _ => None,
        }
    }

    /// Why no master was had, while it waits between two rounds: each master and how its last attempt ended.
    pub fn failed_round(&self) -> Option<String> {
        matches!(self.state, State::Waiting { .. }).then(|| error::tried(&self.tried_masters()))
    }

    fn tried_masters(&self) -> Vec<(String, String)> {
        self.masters.iter().map(|m| (m.address.clone(), m.ended.clone())).collect()
    }

    fn is_current(&self, attempt: Attempt) -> bool {
        attempt == self.attempt && !matches!(self.state, State::Idle | State::Waiting { .. } | State::Stopped)
    }

    fn connect(&mut self, now: Tick, out: &mut Vec<Effect>) {
        self.attempt.0 += 1;
        self.tried += 1;
        self.state = State::Connecting { until: now + self.config.connect_timeout };
        out.push(Effect::Connect { attempt: self.attempt, address: self.masters[self.current].address.clone() });
    }

    fn connected(&mut self, now: Tick, out: &mut Vec<Effect>) {
        if matches!(self.state, State::Connecting { .. }) {
            self.register(now, out);
        }
    }

    fn register(&mut self, now: Tick, out: &mut Vec<Effect>) {
        self.state = State::Registering { until: now + self.config.register_timeout };
        out.push(Effect::Register { attempt: self.attempt });
    }

    fn registered(&mut self) {
        if matches!(self.state, State::Registering { .. }) {
            self.state = State::Registered;
            self.rounds = 0;
            self.held = 0;
            self.backoff.reset();
            for master in &mut self.masters {
                master.permanent = false;
            }
        }
    }

    fn standby(&mut self, now: Tick, out: &mut Vec<Effect>) {
        match self.state {
            State::Registering { .. } => {
                out.push(Effect::Disconnect { attempt: self.attempt });
                self.failed(now, "it is a standby, not the leader".to_owned(), false, out);
            }
            // It has lost the leadership to another.
            State::Registered => {
                out.push(Effect::Disconnect { attempt: self.attempt });
                self.lost(now, "it is no longer the leader".to_owned(), out);
            }
            _ => (),
        }
    }

    fn rejected(&mut self, reason: String, out: &mut Vec<Effect>) {
        if matches!(self.state, State::Registering { .. }) {
            let address = self.masters[self.current].address.clone();
            out.push(Effect::Disconnect { attempt: self.attempt });
            self.state = State::Stopped;
            out.push(Effect::GiveUp { error: MasterError::Rejected { address, reason } });
        }
    }

    fn is_held(&mut self, now: Tick, reason: String, out: &mut Vec<Effect>) {
        if !matches!(self.state, State::Registering { .. }) {
            return;
        }
        self.held += 1;
        if self.held >= HELD {
            return self.rejected(reason, out);
        }
        out.push(Effect::Disconnect { attempt: self.attempt });
        self.failed(now, reason, false, out);
    }

    fn forgotten(&mut self, now: Tick, out: &mut Vec<Effect>) {
        if self.state == State::Registered {
            self.register(now, out);
        }
    }

    fn closed(&mut self, now: Tick, reason: String, out: &mut Vec<Effect>) {
        match self.state {
            State::Registered => self.lost(now, reason, out),
            State::Connecting { .. } | State::Registering { .. } => self.failed(now, reason, false, out),
            State::Idle | State::Waiting { .. } | State::Stopped => (),
        }
    }

    fn lost(&mut self, now: Tick, reason: String, out: &mut Vec<Effect>) {
        let master = &mut self.masters[self.current];
        master.ended = format!("lost: {reason}");
        out.push(Effect::Lost { address: master.address.clone(), reason });
        self.rounds = 0;
        // The new leader is more likely another one.
        self.current = (self.current + 1) % self.masters.len();
        self.wait(now);
    }

    /// The current attempt has come to nothing: on to the next master, the next round, or the end.
    fn failed(&mut self, now: Tick, reason: String, permanent: bool, out: &mut Vec<Effect>) {
        let master = &mut self.masters[self.current];
        master.ended = reason;
        master.permanent = permanent;
        self.current = (self.current + 1) % self.masters.len();
        if self.tried < self.masters.len() {
            return self.connect(now, out);
        }
        self.rounds += 1;
        if self.rounds >= self.config.rounds || self.masters.iter().all(|master| master.permanent) {
            self.state = State::Stopped;
            let error = MasterError::Unreachable { rounds: self.rounds, masters: self.tried_masters() };
            return out.push(Effect::GiveUp { error });
        }
        self.wait(now);
    }

    fn wait(&mut self, now: Tick) {
        self.tried = 0;
        self.state = State::Waiting { until: now + self.backoff.next() };
    }

    fn wake(&mut self, now: Tick, out: &mut Vec<Effect>) {
        if self.next_deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        match self.state {
            State::Waiting { .. } => self.connect(now, out),
            State::Connecting { .. } | State::Registering { .. } => {
                let (what, after) = match self.state {
                    State::Connecting { .. } => ("no connection", self.config.connect_timeout),
                    _ => ("no answer to the registration", self.config.register_timeout),
                };
                out.push(Effect::Disconnect { attempt: self.attempt });
                self.failed(now, format!("{what} within {after:?}"), false, out);
            }
            State::Idle | State::Registered | State::Stopped => (),
        }
    }

    fn stop(&mut self, out: &mut Vec<Effect>) {
        if matches!(self.state, State::Connecting { .. } | State::Registering { .. } | State::Registered) {
            out.push(Effect::Disconnect { attempt: self.attempt });
        }
        self.state = State::Stopped;
    }
}

impl Machine for MasterClient {
    type Event = Event;
    type Effect = Effect;

    fn handle(&mut self, now: Tick, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Start if self.state == State::Idle => self.connect(now, out),
            Event::Start => (),
            Event::Stop => self.stop(out),
            Event::Wake => self.wake(now, out),
            Event::Connected { attempt } if self.is_current(attempt) => self.connected(now, out),
            // A connection that stands after it was given up must not stay open.
            Event::Connected { attempt } => out.push(Effect::Disconnect { attempt }),
            Event::ConnectFailed { attempt, error, permanent } if self.is_current(attempt) => {
                if matches!(self.state, State::Connecting { .. }) {
                    self.failed(now, error, permanent, out);
                }
            }
            Event::StreamClosed { attempt, reason } if self.is_current(attempt) => self.closed(now, reason, out),
            Event::Standby { attempt } if self.is_current(attempt) => self.standby(now, out),
            Event::Registered { attempt } if self.is_current(attempt) => self.registered(),
            Event::Rejected { attempt, reason } if self.is_current(attempt) => self.rejected(reason, out),
            Event::Held { attempt, reason } if self.is_current(attempt) => self.is_held(now, reason, out),
            Event::Forgotten { attempt } if self.is_current(attempt) => self.forgotten(now, out),
            Event::ConnectFailed { .. }
            | Event::StreamClosed { .. }
            | Event::Standby { .. }
            | Event::Registered { .. }
            | Event::Rejected { .. }
            | Event::Held { .. }
            | Event::Forgotten { .. } => (),
        }
    }

    fn next_deadline(&self) -> Option<Tick> {
        match self.state {
            State::Waiting { until } | State::Connecting { until } | State::Registering { until } => Some(until),
            State::Idle | State::Registered | State::Stopped => None,
        }
    }

    fn wake() -> Event {
        Event::Wake
    }

    fn check_invariants(&self) -> Result<(), String> {
        match () {
            () if self.current >= self.masters.len() => {
                Err(format!("master {} of {}", self.current, self.masters.len()))
            }
            () if self.tried > self.masters.len() => Err(format!("{} masters were tried in one round", self.tried)),
            () if self.rounds > self.config.rounds.max(1) => Err(format!("{} rounds were tried", self.rounds)),
            () => Ok(()),
        }
    }
}
