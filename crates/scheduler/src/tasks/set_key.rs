//! What names a task set.

use firesteel_common::{JobId, StageAttempt};

/// Names a task set; the order is the order in which sets of a FIFO pool get slots.
pub(crate) type SetKey = (JobId, StageAttempt);
