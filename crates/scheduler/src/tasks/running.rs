//! Tasks that were launched: what is known of one while it runs, and what is left to say when it is over.

use firesteel_common::{ExecutorId, Tick};

use super::{locality::Locality, pools::PoolId, set_key::SetKey};

/// A task that was launched and is not over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunningTask {
    pub(crate) set: SetKey,
    pub(crate) position: u32,
    pub(crate) executor: ExecutorId,
    pub(crate) pool: PoolId,
    /// When it was launched, or when it began, if it had to wait at its executor.
    pub(crate) since: Tick,
    /// It still takes a slot; false while its large result is fetched.
    pub(crate) has_slot: bool,
    /// Its executor said that it has begun; it does not say so of those that found a free slot.
    pub(crate) begun: bool,
    /// It was launched although no slot was free.
    pub(crate) ahead: bool,
    /// How far from its data.
    pub(crate) locality: Locality,
    /// It was called back, and comes unless it has begun before.
    pub(crate) recalled: bool,
}

/// What a task was, once it is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndedTask {
    pub(crate) set: SetKey,
    pub(crate) position: u32,
    pub(crate) index: u32,
    pub(crate) partition: u32,
    pub(crate) executor: ExecutorId,
    /// When it began.
    pub(crate) since: Tick,
    /// It had a large result, which was to be fetched.
    pub(crate) in_block: bool,
    /// Its set launches nothing more.
    pub(crate) zombie: bool,
    /// Its output was still wanted of it; false when it was killed because another attempt had been faster.
    pub(crate) wanted: bool,
}
