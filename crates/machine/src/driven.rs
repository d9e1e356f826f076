//! A machine in real time.

use std::time::Instant;

use firesteel_common::Tick;

use crate::Machine;

/// A machine and the clock that it goes by: tick 0 is when it was put here.
#[derive(Debug)]
pub struct Driven<M> {
    machine: M,
    origin: Instant,
}

impl<M: Machine> Driven<M> {
    /// Its time begins now.
    pub fn new(machine: M) -> Driven<M> {
        Driven { machine, origin: Instant::now() }
    }

    /// The machine, to ask it.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// The machine's time.
    pub fn now(&self) -> Tick {
        Tick::ZERO + self.origin.elapsed()
    }

    /// When it wants to be woken.
    pub fn deadline(&self) -> Option<Instant> {
        self.machine.next_deadline().map(|tick| self.origin + tick.since(Tick::ZERO))
    }

    /// Hands it an event that happens now, and gives what is to be done, in order.
    pub fn handle(&mut self, event: M::Event) -> Vec<M::Effect> {
        let mut effects = Vec::new();
        self.machine.handle(self.now(), event, &mut effects);
        debug_assert_eq!(self.machine.check_invariants(), Ok(()));
        effects
    }
}
