//! Where a [`Context`] has checkpoints be written.

use std::{
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{Context, Error, Result, files::FilePath};

impl Context {
    /// Has [`Rdd::checkpoint`](crate::Rdd::checkpoint) write below `dir`, in a directory of this application's own, which is
    /// made. `dir` must be at the same path on every worker, or in a file system that was added to the Context.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// # let dir = tempfile::tempdir().unwrap();
    /// sc.set_checkpoint_dir(dir.path())?;
    /// assert!(sc.checkpoint_dir().unwrap().starts_with(dir.path()));
    ///
    /// // A lineage that grows with each round stays short.
    /// let mut ranks = sc.range(0..4u64).map(|page| (page, 1.0f64));
    /// for round in 1..=20 {
    ///     ranks = ranks.map_values(|rank| rank * 0.5 + 0.25);
    ///     if round % 5 == 0 {
    ///         ranks = ranks.cache();
    ///         ranks.checkpoint()?;
    ///         assert_eq!(ranks.count()?, 4);
    ///     }
    /// }
    /// assert!(ranks.is_checkpointed());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the directory cannot be made.
    #[doc(alias = "setCheckpointDir")]
    pub fn set_checkpoint_dir(&self, dir: impl AsRef<Path>) -> Result<()> {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        // Applications in local mode may have equal ids.
        let own = format!("{}-{}-{nanos}", self.application_id(), std::process::id());
        self.scope().set_checkpoint_dir(FilePath::from_path(dir.as_ref()).map_err(Error::from)?.join(own))
    }

    /// The directory that [`Context::set_checkpoint_dir`] has made.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// # let dir = tempfile::tempdir().unwrap();
    /// assert_eq!(sc.checkpoint_dir(), None);
    /// sc.set_checkpoint_dir(dir.path())?;
    /// assert!(sc.checkpoint_dir().unwrap().is_dir());
    /// # Ok(()) }
    /// ```
    #[doc(alias = "getCheckpointDir")]
    pub fn checkpoint_dir(&self) -> Option<PathBuf> {
        self.scope().checkpoint_dir().map(|dir| dir.to_path_buf())
    }
}
