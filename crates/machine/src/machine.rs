//! What a state machine is to those that drive it.

use firesteel_common::Tick;

/// A plain struct that decides: the same events at the same times give the same effects in the same order.
pub trait Machine {
    /// What happens to it.
    type Event;
    /// What it wants done.
    type Effect;

    /// Takes one event that has happened by `now`, which never goes back, and appends what is to be done, in order.
    fn handle(&mut self, now: Tick, event: Self::Event, out: &mut Vec<Self::Effect>);

    /// When it wants [`Machine::wake`] next; `None` while nothing waits for time to pass. After that event the next deadline
    /// lies ahead.
    fn next_deadline(&self) -> Option<Tick>;

    /// The event that says that its deadline has come.
    fn wake() -> Self::Event;

    /// What holds after every event; the error says what is wrong.
    fn check_invariants(&self) -> Result<(), String>;
}
