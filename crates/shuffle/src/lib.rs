//! How records get from map tasks to reduce tasks.
//!
//! ```text
//!  map task                                              reduce task
//!  Partitioner ─▶ (Aggregation) ─▶ MapWriter            RecordReader ─▶ Aggregation, ExternalSorter, HashJoin
//!                                     │ frames              ▲ frames              │ no memory: spill files
//!                                     ▼                     │                     ▼
//!                  ShuffleManager: files ───────────▶ ShuffleBlocks         Spills ─▶ Reservation
//!                                                     (own files, or other executors' over storage)
//! ```
//!
//! A record is encoded once, straight into the buffer of its reducer; a buffer that is full is compressed into a frame of
//! whole records. A map task leaves one data file and one index file; a reducer's block in it is a run of frames.
//!
//! Callers: the operators of `rdd` write, read and combine; executor and driver own a [`ShuffleManager`]. This crate
//! calls `storage` for blocks of other executors and serves its own files as a `BlockSource`.

#![expect(
    clippy::disallowed_types,
    reason = "outputs and hosts are only looked up by their names; no state machine is in here"
)]

mod adoption;
pub mod aggregate;
mod block_body;
pub mod combine_table;
pub mod error;
pub mod files;
mod frame;
mod index;
pub mod join;
pub mod manager;
pub mod map_output;
mod merge;
mod open_outputs;
pub mod partitioner;
pub mod range_partitioner;
pub mod reader;
mod row_sum;
pub mod service;
pub mod shuffle_blocks;
pub mod sort_key;
pub mod sorter;
pub mod spill;
#[cfg(test)]
mod test_support;
pub mod writer;

pub use aggregate::{Aggregated, Aggregation, Combine, group_pieces};
pub use combine_table::CombineTable;
pub use error::ShuffleError;
pub use firesteel_storage::Abort;
pub use frame::Compression;
pub use join::{HashJoin, JoinShape, Rows};
pub use manager::{ShuffleConfig, ShuffleManager};
pub use map_output::{MapLocation, MapOutput, ShuffleInput, size_of_code, size_to_code};
pub use open_outputs::ReadBounds;
pub use partitioner::{HashPartitioner, Partitioner};
pub use range_partitioner::RangePartitioner;
pub use reader::RecordReader;
pub use service::{ApplicationShuffles, ServedOutputs};
pub use shuffle_blocks::ShuffleBlocks;
pub use sort_key::SortKey;
pub use sorter::{ExternalSorter, Sorted};
pub use spill::Spills;
pub use writer::MapWriter;
