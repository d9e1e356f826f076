//! Partitions of persisted RDDs: where they are found, and how one that was computed is kept.
//!
//! ```text
//!  stream(p) ─▶ memory ─▶ disk ─▶ another executor ─▶ computed ─▶ Unroll ─▶ kept as values, frames or a file
//!                                                                    └────▶ does not fit: streamed on, not kept
//! ```
//!
//! Called by [`crate::node::RddNode`]; calls the block manager of `storage`.

mod chain;
mod copies;
mod frames;
mod persisted;
mod pieces;
mod read;
mod unroll;

pub use self::{
    copies::copy_to_peers,
    persisted::{HeapOf, Persisted},
    read::get_or_compute,
};
