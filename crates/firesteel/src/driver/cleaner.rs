//! What the user's program drops is freed by the event loop: from here it only gets to know.

use std::sync::mpsc;

use firesteel_scheduler::DriverEvent;
use firesteel_task::{Cleaner, Released};

use super::Message;

/// Tells the event loop, which may be the caller itself.
pub struct EventLoopCleaner(pub mpsc::Sender<Message>);

impl Cleaner for EventLoopCleaner {
    fn released(&self, what: Released) {
        let message = match what {
            Released::Rdd(rdd) => Message::Event(DriverEvent::RddRemoved { rdd }),
            Released::Shuffle(shuffle) => Message::Event(DriverEvent::ShuffleRemoved { shuffle }),
            Released::Broadcast(broadcast) => Message::DropBroadcast { broadcast, everywhere: true },
            Released::BroadcastCopies(broadcast) => Message::DropBroadcast { broadcast, everywhere: false },
        };
        // A loop that has ended has dropped everything.
        let _ = self.0.send(message);
    }
}
