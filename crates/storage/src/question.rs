//! What is asked of a block server that is no block.

use std::fmt;

use firesteel_common::{BroadcastId, ExecutorId};

/// A question, with an answer of its own type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Question {
    /// Which pieces of a value the server has; answered when there are more than `known` of them, or after a moment.
    Pieces {
        /// Which value.
        broadcast: BroadcastId,
        /// How many pieces the asker knows of.
        known: u32,
    },
    /// Who else has pieces of a value or is getting them, a question to the driver, which counts the asker among them from
    /// then on.
    Holders {
        /// Which value.
        broadcast: BroadcastId,
        /// Who asks.
        executor: ExecutorId,
    },
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Question::Pieces { broadcast, .. } => write!(f, "which pieces of {broadcast} it has"),
            Question::Holders { broadcast, .. } => write!(f, "who has pieces of {broadcast}"),
        }
    }
}
