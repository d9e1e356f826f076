//! What every node of a lineage has, whatever it computes: [`Meta`], and in it how its records are spread,
//! [`PartitionerKey`].

use std::{
    any::{Any, type_name},
    panic::Location,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU16, Ordering},
    },
};

use firesteel_common::{RddId, codec};
use firesteel_storage::StorageLevel;
use firesteel_task::{Cleaner, Released};
use serde::{Serialize, de::DeserializeOwned};

use crate::checkpoint::checkpointing::Checkpointing;

/// Which records lie in which partition: two RDDs with equal keys are co-partitioned and join without a shuffle.
///
/// Equality is that of the partitioner's type and encoding.
#[derive(Clone)]
pub struct PartitionerKey {
    type_name: &'static str,
    encoded: Vec<u8>,
    /// Number of partitions.
    pub partitions: u32,
    /// The `Partitioning` itself, for others that are to be spread alike.
    partitioning: Option<Arc<dyn Any + Send + Sync>>,
}

impl PartialEq for PartitionerKey {
    fn eq(&self, other: &Self) -> bool {
        (self.type_name, &self.encoded, self.partitions) == (other.type_name, &other.encoded, other.partitions)
    }
}

impl PartitionerKey {
    /// The key of `partitioner`; `None` when it cannot be encoded, which then also fails the job that needs it.
    pub fn of<P: Serialize + DeserializeOwned>(partitioner: &P, partitions: u32) -> Option<Self> {
        let encoded = codec::encode(partitioner).ok()?;
        Some(PartitionerKey { type_name: type_name::<P>(), encoded, partitions, partitioning: None })
    }

    /// The same key, which knows what spreads so.
    pub(crate) fn made_by(mut self, partitioning: Arc<dyn Any + Send + Sync>) -> Self {
        self.partitioning = Some(partitioning);
        self
    }

    /// What spreads so, if it is a `P`.
    pub(crate) fn partitioning<P: 'static>(&self) -> Option<&P> {
        self.partitioning.as_ref()?.downcast_ref()
    }
}

/// What every node has, whatever it computes.
pub struct Meta {
    /// The RDD.
    pub id: RddId,
    /// Number of its partitions.
    pub partitions: u32,
    /// The operator's name, for stages and pages.
    pub name: &'static str,
    /// Where the user called the operator; on the driver only.
    pub location: Option<&'static Location<'static>>,
    /// How its records are spread, where that is known.
    pub partitioner: Option<PartitionerKey>,
    level: AtomicU16,
    indeterminate: AtomicBool,
    barrier: AtomicBool,
    /// On the driver: who frees the kept partitions when this is dropped.
    cleaner: Option<Arc<dyn Cleaner>>,
    /// A level was set at some time.
    kept: AtomicBool,
    /// What the user calls it.
    given_name: Mutex<Option<Arc<str>>>,
    /// On the driver: where it stands with its checkpoint.
    pub(crate) checkpoint: Checkpointing,
}

impl Meta {
    /// A node that is neither kept nor indeterminate.
    pub fn new(id: RddId, partitions: u32, name: &'static str, partitioner: Option<PartitionerKey>) -> Self {
        let (level, indeterminate, kept) = (AtomicU16::new(0), AtomicBool::new(false), AtomicBool::new(false));
        let barrier = AtomicBool::new(false);
        let (location, cleaner, given_name, checkpoint) = (None, None, Mutex::default(), Checkpointing::default());
        Meta {
            id,
            partitions,
            name,
            location,
            partitioner,
            level,
            indeterminate,
            barrier,
            cleaner,
            kept,
            given_name,
            checkpoint,
        }
    }

    /// The node of an operator that the user called there.
    pub fn made_at(mut self, location: &'static Location<'static>) -> Self {
        self.location = Some(location);
        self
    }

    /// The driver's node: `cleaner` hears when it is dropped, if partitions of it may have been kept.
    pub fn cleaned_by(mut self, cleaner: Option<&Arc<dyn Cleaner>>) -> Self {
        self.cleaner = cleaner.cloned();
        self
    }

    /// The storage level.
    pub fn level(&self) -> StorageLevel {
        StorageLevel::from_bits(self.level.load(Ordering::Acquire))
    }

    /// Sets the storage level.
    pub fn set_level(&self, level: StorageLevel) {
        self.kept.fetch_or(level.is_kept(), Ordering::AcqRel);
        self.level.store(level.to_bits(), Ordering::Release);
    }

    /// What the user calls it, if anything.
    pub fn given_name(&self) -> Option<Arc<str>> {
        self.given_name.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has it be called so from now on.
    pub fn give_name(&self, name: Arc<str>) {
        *self.given_name.lock().unwrap_or_else(PoisonError::into_inner) = Some(name);
    }

    /// Whether the user has said that computing a partition twice may give other records.
    pub fn indeterminate(&self) -> bool {
        self.indeterminate.load(Ordering::Acquire)
    }

    /// Whether its tasks wait for one another, so that its stage is a barrier stage.
    pub fn barrier(&self) -> bool {
        self.barrier.load(Ordering::Acquire)
    }

    /// Makes its stage a barrier stage.
    pub fn set_barrier(&self) {
        self.barrier.store(true, Ordering::Release);
    }

    /// Says that computing a partition twice may give other records.
    pub fn set_indeterminate(&self) {
        self.indeterminate.store(true, Ordering::Release);
    }
}

impl Drop for Meta {
    fn drop(&mut self) {
        if let Some(cleaner) = &self.cleaner
            && *self.kept.get_mut()
        {
            cleaner.released(Released::Rdd(self.id));
        }
    }
}
