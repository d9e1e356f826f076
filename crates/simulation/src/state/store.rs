//! What an executor keeps: shuffle files, cached partitions and large results.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use firesteel_common::{RddId, ShuffleId, TaskId};

use crate::model::Record;

/// What a virtual executor keeps.
#[derive(Debug, Default)]
pub(crate) struct Store {
    /// Shuffle files: the records of each reducer.
    pub(crate) files: BTreeMap<(ShuffleId, TaskId), Vec<Vec<Record>>>,
    pub(crate) cache: BTreeMap<(RddId, u32), Vec<Record>>,
    /// Large results that wait to be fetched.
    pub(crate) results: BTreeMap<TaskId, Bytes>,
    /// RDDs and shuffles that are dropped: what late tasks make of them is not kept.
    pub(crate) dropped: BTreeSet<ShuffleId>,
}
