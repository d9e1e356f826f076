//! What the user's thread said of a job when it submitted it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// The properties of a job. Spark: the local properties that travel with it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct JobProperties {
    /// `spark.scheduler.pool`: where it gets its slots from; the pool `default` without it.
    pub pool: Option<String>,
    /// The group that it is cancelled with.
    pub group: Option<String>,
    /// Tags that it is cancelled by.
    pub tags: BTreeSet<String>,
    /// All that the thread had set, which the tasks of its stages can ask for.
    pub local: Arc<BTreeMap<String, String>>,
}
