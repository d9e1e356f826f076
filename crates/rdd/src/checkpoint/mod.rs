//! Checkpoints: an RDD's partitions are written down, and from then on read back; what they were computed from is let go.
//!
//! ```text
//!  checkpoint() ─▶ Checkpointing: marked ─ first action on it ends ─▶ after_job ─▶ a job writes: reliable, local
//!                                                                        └─▶ RddNode::replace_body: ReadBack, Lost
//! ```
//!
//! * `checkpointing`: where an RDD stands; `after_job`: who writes, and when.
//! * `reliable`: files of a file system, and the body that reads them back; `format`: what is in them.
//! * `local`: partitions that executors keep, and the body that says that they are gone.
//! * `remover`: deletes the files of RDDs that were dropped.

pub(crate) mod after_job;
pub(crate) mod checkpointing;
mod format;
mod local;
mod reliable;
pub(crate) mod remover;

use std::{path::PathBuf, sync::Arc};

use firesteel_common::Data;
use firesteel_files::FilePath;

use crate::{Error, Rdd, Result, StorageLevel, node::AnyRdd as _};

impl<T: Data> Rdd<T> {
    /// Marks this RDD for being written into files below the directory that `Context::set_checkpoint_dir` names. That is
    /// done when the first action on it, or on what was made from it, has done its work, by a job of its own, before the
    /// action returns; the actions that return a future leave it to others. From then on its partitions are read from the
    /// files, and the RDDs that it was computed from are let go: a lineage that grows with each round of a loop stays short,
    /// and the loss of executors costs no computing.
    ///
    /// The job computes the partitions once more, unless they are kept: [`Rdd::persist`] it. To be called before the first
    /// action on it. Of this and [`Rdd::local_checkpoint`] the later one counts.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// # let dir = tempfile::tempdir().unwrap();
    /// sc.set_checkpoint_dir(dir.path())?;
    /// let squares = sc.range(0..100u64).map(|x| x * x).cache();
    /// squares.checkpoint()?;
    /// assert!(!squares.is_checkpointed());
    /// assert_eq!(squares.max()?, 9801);
    /// assert!(squares.is_checkpointed());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when the Context has no checkpoint directory, and when a job on it has run. The action whose
    /// checkpoint cannot be written fails; the next one tries again.
    pub fn checkpoint(&self) -> Result<()> {
        let Some(dir) = self.scope().checkpoint_dir() else {
            let what = "no checkpoint directory: call Context::set_checkpoint_dir before";
            return Err(self.refused(what));
        };
        let dir = dir.join(format!("rdd-{}", self.id()));
        let (node, scope) = (Arc::downgrade(self.node()), self.scope().clone());
        let write = move || match node.upgrade() {
            Some(node) => reliable::write(&Rdd::of_node(node, &scope), &dir).map(Some),
            // Who walks the lineage holds the node.
            None => Err(Error::Stopped),
        };
        self.mark(write).map(|_| ())
    }

    /// Marks this RDD for being kept at the executors instead of being computed again: as [`Rdd::checkpoint`], without a
    /// directory, and faster, but what is lost with an executor cannot be had again, and fails the jobs that need it. Where
    /// it is not persisted it is kept at `MEMORY_AND_DISK` from now on, otherwise at its level with disk.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let computed = sc.long_accumulator("squares computed");
    /// let squares = sc.range(0..10u64).with(computed.clone()).map(|computed, x| {
    ///     computed.add(1);
    ///     x * x
    /// });
    /// squares.local_checkpoint()?;
    /// assert_eq!(squares.max()?, 81);
    /// assert!(squares.is_checkpointed());
    /// assert_eq!(squares.reduce(|a, b| a + b)?, 285);
    /// assert_eq!(computed.value()?, 10);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Checkpoint`] when a job on it has run. The action fails after which not all partitions could be kept; the next
    /// one tries again.
    #[doc(alias = "localCheckpoint")]
    pub fn local_checkpoint(&self) -> Result<()> {
        let (node, scope) = (Arc::downgrade(self.node()), self.scope().clone());
        let keep = move || match node.upgrade() {
            Some(node) => local::keep(&Rdd::of_node(node, &scope)).map(|()| None),
            None => Err(Error::Stopped),
        };
        if self.mark(keep)? {
            let level = self.storage_level();
            self.persist(if level.is_kept() { level.with_disk() } else { StorageLevel::MEMORY_AND_DISK });
        }
        Ok(())
    }

    /// Whether its partitions are read from a checkpoint, of either kind. Spark: `isCheckpointed`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let numbers = sc.range(0..100u64);
    /// numbers.local_checkpoint()?;
    /// assert!(!numbers.is_checkpointed());
    /// assert_eq!(numbers.count()?, 100);
    /// assert!(numbers.is_checkpointed());
    /// # Ok(()) }
    /// ```
    #[doc(alias = "isCheckpointed")]
    pub fn is_checkpointed(&self) -> bool {
        self.node().meta().checkpoint.is_done()
    }

    /// The directory in which the files of its checkpoint lie; `None` before it is written, and for a local checkpoint.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// # let dir = tempfile::tempdir().unwrap();
    /// sc.set_checkpoint_dir(dir.path())?;
    /// let numbers = sc.partitioned(2).range(0..100u64);
    /// numbers.checkpoint()?;
    /// assert_eq!(numbers.checkpoint_file(), None);
    /// assert_eq!(numbers.count()?, 100);
    /// assert!(numbers.checkpoint_file().unwrap().join("part-00001").exists());
    /// # Ok(()) }
    /// ```
    #[doc(alias = "getCheckpointFile")]
    pub fn checkpoint_file(&self) -> Option<PathBuf> {
        self.node().meta().checkpoint.file().map(|dir| dir.to_path_buf())
    }

    /// False when it is written already.
    fn mark(&self, write: impl Fn() -> Result<Option<FilePath>> + Send + Sync + 'static) -> Result<bool> {
        self.node().meta().checkpoint.mark(Arc::new(write)).map_err(|what| self.refused(what))
    }

    fn refused(&self, what: &str) -> Error {
        Error::Checkpoint { rdd: self.site().to_string(), message: what.to_owned() }
    }
}
