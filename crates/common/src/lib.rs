//! What every other crate shares and nothing else: identifiers, the virtual clock's [`Tick`], the typed reasons for
//! which tasks fail, which partitions depend on which ([`NarrowMap`]), the element trait [`Data`], the record codec, the fixed-seed hash, the hash of contents, the form of log
//! lines, and the way to standard error.
//!
//! This crate calls nobody; every crate of the workspace calls it.

#![expect(
    clippy::disallowed_types,
    reason = "users' maps are elements, and what is known of a type is only looked up by its name"
)]

mod bulk;
pub mod call_site;
pub mod codec;
pub mod conf;
pub mod console;
pub mod content_hash;
pub mod data;
pub mod determinism;
pub mod failure;
pub mod hash;
pub mod ids;
pub mod logging;
pub mod names;
pub mod narrow_map;
pub mod size;
pub mod tick;

/// A string of which up to 24 bytes lie in the value itself: short words cost no allocation.
pub use call_site::CallSite;
pub use compact_str::CompactString as Str;
pub use data::{Data, Env, Key};
pub use determinism::DeterministicLevel;
pub use failure::TaskFailure;
pub use ids::{BroadcastId, ExecutorId, JobId, RddId, ShuffleId, StageAttempt, StageId, TaskId};
pub use names::{AppId, BadName, ExecutorKey, WorkerId};
pub use narrow_map::NarrowMap;
pub use size::MemSize;
pub use tick::Tick;
