//! The shuffle files that a worker serves, and where it is reached.

use std::collections::BTreeMap;

use firesteel_common::{ShuffleId, TaskId};

use crate::model::Record;

/// A map output that a service serves.
pub(crate) struct Served {
    /// The executor that wrote it, or took it over.
    pub(crate) writer: u32,
    /// The records of each reducer.
    pub(crate) blocks: Vec<Vec<Record>>,
}

/// Shuffle files by driver, shuffle and map task.
pub(crate) type ServedFiles = BTreeMap<(usize, ShuffleId, TaskId), Served>;

/// `spark.shuffle.service.port`.
pub(crate) const PORT: u16 = 7337;

/// Where a worker's service is reached; the next start of the worker has the same.
pub(crate) fn service_address(worker: usize) -> String {
    format!("host{worker}:{PORT}")
}

pub(crate) fn worker_at(address: &str) -> Option<usize> {
    let (host, port) = address.split_once(':')?;
    (port.parse() == Ok(PORT)).then(|| host.strip_prefix("host")?.parse().ok())?
}
