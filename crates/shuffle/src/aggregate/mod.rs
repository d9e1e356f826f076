//! Combining by key in bounded memory: reduce_by_key, group_by_key, cogroup and the like, on both sides of a shuffle.
//!
//! ```text
//!  rows ───▶ hot table ─(not there, and it is full)─▶ rows of 256 parts, by hash ─(many)─▶ combined entries of the part
//!                                                             └─(no memory)─▶ spill file, by part ─▶ Merge
//!  finish ─▶ part after part: hot entries, combined entries and rows in one table that fits into the cache
//! ```
//!
//! A table beyond the size of the cache pays a miss for each row. So the first few thousand keys, which are the frequent
//! ones where some are, have a table that stays in the cache; all other rows are only appended to their part, and a part's
//! rows are combined together, when it has enough of them.
//!
//! **Order.** Keys come out part by part, and within a part in the order in which they first came. When and how often
//! something was combined or spilled changes nothing about it. Only a part which by itself exceeds the task's memory comes
//! out split further by hash.
//!
//! `aggregation.rs` takes rows in; `memory.rs` makes room; `drain.rs` hands out; all tables consist of `Entries`.

mod aggregated;
mod aggregation;
mod combine;
mod drain;
mod entries;
mod estimate;
mod memory;
mod part;

pub use aggregated::Aggregated;
pub use aggregation::Aggregation;
pub use combine::{Combine, group_pieces};
pub(crate) use entries::{Entries, Places};
pub(crate) use estimate::heap_bytes;

#[cfg(test)]
mod tests;
