//! Deadlines that may not be set.

use firesteel_common::Tick;

/// The earlier of two times that may not be set.
pub(crate) fn min_some(a: Option<Tick>, b: Option<Tick>) -> Option<Tick> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
