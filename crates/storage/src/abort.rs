//! A request to stop waiting. Fetches ask it between blocks and about ten times a second while they wait for the peer.

use std::{fmt, sync::Arc};

type Ask = dyn Fn() -> Option<String> + Send + Sync;

/// Answers whether a fetch shall be given up, and why. A task passes its kill flag in this form.
#[derive(Clone, Default)]
pub struct Abort(Option<Arc<Ask>>);

impl Abort {
    /// Never asks to stop.
    pub fn never() -> Abort {
        Abort(None)
    }

    /// Stops as soon as `ask` gives a reason.
    pub fn new(ask: impl Fn() -> Option<String> + Send + Sync + 'static) -> Abort {
        Abort(Some(Arc::new(ask)))
    }

    /// The reason to stop, if there is one now.
    pub fn reason(&self) -> Option<String> {
        self.0.as_ref().and_then(|ask| ask())
    }
}

impl fmt::Debug for Abort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Abort(..)" } else { "Abort(never)" })
    }
}
