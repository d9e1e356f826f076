//! What is told of handles that were dropped.

use firesteel_common::{BroadcastId, RddId, ShuffleId};

/// Something whose last handle was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Released {
    /// An RDD whose partitions were kept at some time.
    Rdd(RddId),
    /// A shuffle: no RDD and no running job refers to it.
    Shuffle(ShuffleId),
    /// A broadcast variable, which may have been destroyed instead.
    Broadcast(BroadcastId),
    /// What executors hold of a broadcast variable; the driver keeps it.
    BroadcastCopies(BroadcastId),
}

/// Hears what nobody holds any more, and frees it everywhere. Spark: `ContextCleaner`, which a garbage collector tells.
pub trait Cleaner: Send + Sync {
    /// Called from `Drop`, on any thread, also after the Context's end: never waits and never fails.
    fn released(&self, what: Released);
}
