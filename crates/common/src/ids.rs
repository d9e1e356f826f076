//! Identifiers, each a type of its own so that one cannot stand in for another.

use std::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
};

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($raw:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
        pub struct $name(pub $raw);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

id!(
    /// An RDD of one Context; never used again within it.
    RddId(u32), "rdd "
);
id!(
    /// A shuffle of one Context.
    ShuffleId(u32), "shuffle "
);
id!(
    /// A value that every executor gets: a broadcast variable, or what the tasks of a stage share. Counted by process.
    BroadcastId(u32), "broadcast "
);
id!(
    /// A job: one call of an action.
    JobId(u32), "job "
);
id!(
    /// A stage: the pipelined steps between two shuffles.
    StageId(u32), "stage "
);
id!(
    /// One attempt of one task; unique within a Context, so that news of an old attempt is never taken for a new one's.
    TaskId(u64), "task "
);
id!(
    /// An executor of one application, numbered by the master; never used again within the application.
    ExecutorId(u32), "executor "
);

impl ExecutorId {
    /// The largest that travels: so many are left above it that counting on from it never runs over.
    pub const LAST: ExecutorId = ExecutorId(i32::MAX as u32);
}

impl BroadcastId {
    /// A number that nothing else in this process has.
    pub fn fresh() -> BroadcastId {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        BroadcastId(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// One attempt of a stage; the first has attempt 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct StageAttempt {
    /// The stage.
    pub stage: StageId,
    /// Which attempt of it, from 0.
    pub attempt: u32,
}

impl fmt::Display for StageAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.stage, self.attempt)
    }
}
