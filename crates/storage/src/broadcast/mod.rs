//! Values that every executor gets: broadcast variables and the data of large stages, in pieces.
//!
//! ```text
//!  driver: BlockManager with all pieces, Holders ◀── Question::Holders (who else?) ─── BroadcastFetcher (executor)
//!                  └───────────── pieces that nobody else has ──▶        │   ▲
//!  other executors: PieceSet ◀── Question::Pieces (which pieces?) ────────┘   │
//!                  └───────────── pieces ────────────────────────────────────┘
//! ```
//!
//! Each executor gets pieces in an order of its own and offers what it has at once, so that of many executors each piece
//! leaves the driver about once. Spark: `TorrentBroadcast`. Called by `rdd` for broadcast variables and by `executor` for
//! the data of stages; the driver's event loop says who comes and goes.

mod fetch;
mod held;
mod holders;
mod meta;
mod pieces;

pub use fetch::BroadcastFetcher;
pub use held::{Broadcasts, PieceSet};
pub use meta::BroadcastMeta;
pub use pieces::Pieces;
