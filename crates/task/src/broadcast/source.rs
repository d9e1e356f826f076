//! How and where a Context makes its broadcast variables.

use std::sync::Arc;

use firesteel_common::conf::{Conf, ConfError, keys};
use firesteel_storage::BlockManager;

use super::values::BroadcastValues;

/// How broadcast values travel.
#[derive(Clone, Copy, Debug)]
pub struct BroadcastSettings {
    /// Bytes of a piece (`spark.broadcast.blockSize`).
    pub piece_bytes: u64,
    /// Whether pieces are compressed where that halves them (`spark.broadcast.compress`).
    pub compress: bool,
    /// Whether pieces carry checksums (`spark.broadcast.checksum`).
    pub checksum: bool,
}

impl BroadcastSettings {
    /// Reads `spark.broadcast.*`.
    ///
    /// # Errors
    /// When a value cannot be read.
    pub fn from_conf(conf: &Conf) -> Result<BroadcastSettings, ConfError> {
        Ok(BroadcastSettings {
            piece_bytes: conf.get(&keys::BROADCAST_BLOCK_SIZE)?.0,
            compress: conf.get(&keys::BROADCAST_COMPRESS)?,
            checksum: conf.get(&keys::BROADCAST_CHECKSUM)?,
        })
    }
}

/// Where a Context's broadcast variables are made.
pub struct BroadcastSource {
    /// How they travel.
    pub settings: BroadcastSettings,
    /// The driver's blocks.
    pub blocks: Arc<BlockManager>,
    /// `host:port` of the driver's block server; `None` where executors are threads of this process and share the value.
    pub address: Option<String>,
    /// The values of this process.
    pub values: Arc<BroadcastValues>,
}
