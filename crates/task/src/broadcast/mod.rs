//! [`Broadcast`]: a value that travels to each executor once, whatever uses it there.
//!
//! ```text
//!  sc.broadcast(value) ─▶ pieces in the driver's block manager      (none where executors are threads of this process)
//!  handle in an environment ─▶ its BroadcastMeta travels ─▶ handle in a task ── value() ─▶ BroadcastFetcher, decoded once
//!  last handle dropped, destroy ─▶ Cleaner ─▶ pieces and values go everywhere
//! ```
//!
//! Called by user code; `driver/` of crate `firesteel` carries the removal out, executors hold [`BroadcastValues`].

mod cell;
mod encode;
mod error;
mod handle;
mod raw;
mod source;
pub(crate) mod values;

pub use self::{
    error::BroadcastError,
    handle::Broadcast,
    source::{BroadcastSettings, BroadcastSource},
    values::BroadcastValues,
};
