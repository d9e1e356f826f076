//! Blocks: what an executor keeps for itself and for others, and how others get it.
//!
//! ```text
//!  BlockManager ── MemoryStore      cached partitions, results (BlockWriter), stage data
//!    │               ├─ DiskStore      cached partitions that do not fit, or shall not be, in memory
//!    │               └─ MemoryManager ◀── TaskMemory ◀── Reservation    one pool for blocks and for tasks
//!    ▲  implements BlockSource      shuffle files and the application binary are registered with it
//!    │ open(id), and what else its process offers (Served)
//!  BlockServer ◀── framed TCP ──  BlockClient ── BlockStream   (pipelined, pooled, checksummed)
//! ```
//!
//! [`broadcast`]: values that all executors get, piece by piece, from the driver and from each other.
//!
//! Callers: executor and driver start a [`BlockServer`] over their [`BlockManager`]; `shuffle` reads remote map outputs
//! through a [`BlockClient`]; `rdd` caches partitions in the [`MemoryStore`]. This crate calls `rpc` for the handshake
//! that opens every connection.

#![expect(
    clippy::disallowed_types,
    reason = "blocks and connections are only looked up by their names; no state machine is in here"
)]

pub mod abort;
mod acceptor;
mod answering;
pub mod block_id;
pub mod block_manager;
pub mod block_writer;
pub mod broadcast;
pub mod buffer;
pub mod client;
mod connection;
pub mod disk_store;
pub mod error;
pub mod frame;
pub mod holders;
mod input;
pub mod local_dirs;
pub mod memory_manager;
pub mod memory_store;
mod question;
pub mod replication;
pub mod reservation;
pub mod served;
pub mod server;
pub mod source;
pub mod storage_level;
pub mod storage_reservation;
pub mod stream;
pub mod task_counters;
mod task_memory;
mod wire;

pub use abort::Abort;
pub use block_id::{BlockId, ParseBlockIdError};
pub use block_manager::BlockManager;
pub use block_writer::{BlockWriter, WrittenBlock};
pub use broadcast::{BroadcastFetcher, BroadcastMeta};
pub use buffer::BlockBuffer;
pub use client::{BlockClient, ClientConfig, Retries};
pub use disk_store::DiskStore;
pub use error::BlockError;
pub use frame::{Frame, FrameReader, FrameWriter};
pub use holders::Holders;
pub use local_dirs::LocalDirs;
pub use memory_manager::{MemoryConfig, MemoryManager};
pub use memory_store::MemoryStore;
pub use question::Question;
pub use replication::BlockNetwork;
pub use reservation::Reservation;
pub use served::Served;
pub use server::BlockServer;
pub use source::{ApplicationSources, BlockData, BlockSource, MapOutputs, NotAdopted, NotRemoved, ShuffleFiles};
pub use storage_level::StorageLevel;
pub use storage_reservation::StorageReservation;
pub use stream::{BlockStream, ScratchFile};
pub use task_counters::{Counter, TaskCounters};
pub use task_memory::TaskMemory;
