//! The state that both directions of a connection share.

use std::sync::{
    OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::watch;

use super::door::Badge;

/// Goes forward only.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Phase {
    /// Messages flow.
    Open,
    /// Nothing is queued any more; what is queued is still sent.
    Draining,
    /// Over. What is queued is lost.
    Closed,
}

/// One connection's state, and why it ended.
pub(super) struct Link {
    pub addr: String,
    /// Its place at the door, where it was accepted.
    pub badge: Option<Badge>,
    phase: watch::Sender<Phase>,
    reason: OnceLock<String>,
    queued_bytes: AtomicUsize,
}

impl Link {
    /// Of a connection that was opened here.
    pub fn new(addr: String) -> Self {
        Self::with(addr, None)
    }

    /// Of a connection that was accepted.
    pub fn accepted(badge: Badge) -> Self {
        Self::with(badge.addr().to_string(), Some(badge))
    }

    fn with(addr: String, badge: Option<Badge>) -> Self {
        Self {
            addr,
            badge,
            phase: watch::Sender::new(Phase::Open),
            reason: OnceLock::new(),
            queued_bytes: AtomicUsize::new(0),
        }
    }

    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Why the connection is over, as far as it is.
    pub fn reason(&self) -> String {
        self.reason.get().cloned().unwrap_or_else(|| "the connection has ended".to_owned())
    }

    /// Goes on to `phase`, unless it is there or beyond. The first reason stays.
    pub fn end(&self, phase: Phase, reason: impl Into<String>) {
        let reason = self.reason.get_or_init(|| reason.into());
        let moved = self.phase.send_if_modified(|now| {
            let forward = *now < phase;
            *now = phase.max(*now);
            forward
        });
        if moved {
            tracing::debug!(addr = %self.addr, ?phase, reason, "connection ends");
        }
    }

    /// Completes when the connection is in `phase` or beyond.
    pub async fn reached(&self, phase: Phase) {
        // The error is "the sender is gone", which `self` holds.
        let _ = self.phase.subscribe().wait_for(|now| *now >= phase).await;
    }

    /// Accounts for a message that will be queued; false, and nothing accounted, when it does not fit.
    pub fn reserve(&self, bytes: usize, limit: usize) -> bool {
        let before = self.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
        let fits = before + bytes <= limit;
        if !fits {
            self.release(bytes);
        }
        fits
    }

    /// A message has left the queue.
    pub fn release(&self, bytes: usize) {
        self.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}
