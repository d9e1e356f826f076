//! What the schedulers tell of what happens goes to the listeners, before the effects are carried out: who waits for the end of
//! a job finds that its listeners will hear of it.

use std::time::{SystemTime, UNIX_EPOCH};

use firesteel_events::AppEvent;
use firesteel_scheduler::{DriverEffect, DriverEvent};

use super::EventLoop;

/// The wall clock, in milliseconds since 1970.
pub fn since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
}

impl EventLoop {
    /// Has the schedulers handle events, and tells whoever listens what they say of it.
    pub(super) fn handle(&mut self, events: Vec<DriverEvent>, effects: &mut Vec<DriverEffect>) {
        self.core.listen(self.bus.is_active(), self.epoch);
        self.core.handle_all(self.now(), events, effects);
        if self.core.is_listened_to() {
            let news = self.core.take_news();
            match &mut self.held_back {
                Some(held) => held.extend(news),
                None => news.into_iter().for_each(|event| self.bus.post(event)),
            }
        }
    }

    /// The application has started: listeners hear that first, and then what happened meanwhile.
    pub(super) fn tell_started(&mut self, first: Vec<AppEvent>) {
        let held = self.held_back.take().unwrap_or_default();
        first.into_iter().chain(held).for_each(|event| self.bus.post(event));
    }
}
