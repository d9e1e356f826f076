//! What an RDD needs of its Context: numbers for new RDDs and somebody who runs jobs.

use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicU32, Ordering},
    mpsc,
};

use bytes::Bytes;
use firesteel_common::{CallSite, Env, RddId, ShuffleId};
use firesteel_files::{FilePath, FileSystems};
use firesteel_task::{Broadcast, BroadcastSource, Cleaner};

use crate::{
    checkpoint::remover::Remover,
    error::{Error, Result},
    node::{AnyRdd, EncodedOp},
};

/// A job: an output operator over some partitions of an RDD.
pub struct Job {
    /// The RDD.
    pub root: Arc<dyn AnyRdd>,
    /// What each task does with its partition.
    pub output: EncodedOp,
    /// Which partitions, in the order in which their results are numbered.
    pub partitions: Vec<u32>,
    /// The action and where it was called.
    pub site: CallSite,
    /// Nobody acts on a result before all are there, and one that comes again takes the place of the first: the results may
    /// be taken back. False for tasks with effects outside.
    pub repeatable: bool,
}

/// News of a running job.
pub enum JobEvent {
    /// The result of the `index`-th partition asked for; comes once each, in any order, unless results are discarded.
    Result {
        /// Index into [`Job::partitions`].
        index: usize,
        /// The encoded result.
        bytes: Bytes,
    },
    /// The results so far count no more, as what they were computed from has come out differently: all come again. Only
    /// where [`Job::repeatable`] allows it.
    Discarded,
    /// All results are there.
    Succeeded,
    /// There will be no more results.
    Failed(Arc<dyn std::error::Error + Send + Sync>),
}

/// A job that was submitted.
pub struct JobHandle {
    /// Its news. Ends without [`JobEvent::Succeeded`] or [`JobEvent::Failed`] only when the Context stops.
    pub events: mpsc::Receiver<JobEvent>,
    /// Asks for its end.
    pub cancel: Box<dyn Fn(&str) + Send + Sync>,
}

/// Runs jobs. Implemented by the Context; object-safe, so that an RDD need not know its kind.
pub trait JobRunner: Send + Sync {
    /// Starts a job.
    fn submit(&self, job: Job) -> Result<JobHandle>;

    /// Forgets the kept partitions of an RDD everywhere.
    fn unpersist(&self, rdd: RddId);

    /// Whether each of the `partitions` of an RDD is kept by an executor.
    fn is_kept(&self, rdd: RddId, partitions: u32) -> Result<bool>;
}

/// What the RDDs of one Context share. Holds the Context weakly: an action after its end is an error.
pub struct Scope {
    runner: Weak<dyn JobRunner>,
    cores: Arc<AtomicU32>,
    configured_parallelism: Option<u32>,
    context: Option<ContextParts>,
    file_systems: Mutex<FileSystems>,
    checkpoint_dir: Mutex<Option<FilePath>>,
    /// Deletes the checkpoints of RDDs that are dropped, where that is wanted.
    remover: Option<Arc<Remover>>,
}

/// What RDDs and broadcast variables use of a Context besides its jobs.
pub struct ContextParts {
    /// Frees what is dropped.
    pub cleaner: Arc<dyn Cleaner>,
    /// Where broadcast variables are made.
    pub broadcasts: BroadcastSource,
    /// Checkpoints go with their RDDs.
    pub clean_checkpoints: bool,
}

impl Scope {
    /// The scope of one Context.
    ///
    /// `configured` is `spark.default.parallelism` where it is set; `cores`, which the Context keeps up to date, stands
    /// in where it is not.
    pub fn new(runner: Weak<dyn JobRunner>, configured: Option<u32>, cores: Arc<AtomicU32>) -> Arc<Self> {
        Arc::new(Scope {
            runner,
            cores,
            configured_parallelism: configured,
            context: None,
            file_systems: Mutex::default(),
            checkpoint_dir: Mutex::default(),
            remover: None,
        })
    }

    /// As [`Scope::new`], with the rest of the Context.
    pub fn of_context(
        runner: Weak<dyn JobRunner>,
        configured: Option<u32>,
        cores: Arc<AtomicU32>,
        context: ContextParts,
    ) -> Arc<Self> {
        let remover = context.clean_checkpoints.then(Arc::default);
        Arc::new(Scope {
            runner,
            cores,
            configured_parallelism: configured,
            context: Some(context),
            file_systems: Mutex::default(),
            checkpoint_dir: Mutex::default(),
            remover,
        })
    }

    /// Who hears of what is dropped.
    pub fn cleaner(&self) -> Option<&Arc<dyn Cleaner>> {
        self.context.as_ref().map(|context| &context.cleaner)
    }

    /// Makes a value ready to be fetched by the executors of the Context.
    ///
    /// # Errors
    /// When the Context has stopped, and when the value cannot be encoded or held.
    pub fn broadcast<T: Env>(&self, value: T) -> Result<Broadcast<T>> {
        self.runner()?;
        let Some(ContextParts { cleaner, broadcasts, .. }) = &self.context else { return Err(Error::Stopped) };
        Ok(Broadcast::new(broadcasts, cleaner, value)?)
    }

    /// The file systems that paths may name now.
    pub fn file_systems(&self) -> FileSystems {
        self.file_systems.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has paths name more of them; see [`FileSystems::add`].
    ///
    /// # Errors
    /// What `add` returns.
    pub fn add_file_system(&self, add: impl FnOnce(&mut FileSystems) -> firesteel_files::Result<()>) -> Result<()> {
        Ok(add(&mut self.file_systems.lock().unwrap_or_else(PoisonError::into_inner))?)
    }

    /// Where checkpoints are written.
    pub fn checkpoint_dir(&self) -> Option<FilePath> {
        self.checkpoint_dir.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has checkpoints be written into `dir`, which is made.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn set_checkpoint_dir(&self, dir: FilePath) -> Result<()> {
        let systems = self.file_systems();
        systems.of(&dir)?.create_dirs(&dir).map_err(|e| firesteel_files::Error::io(&dir, e))?;
        *self.checkpoint_dir.lock().unwrap_or_else(PoisonError::into_inner) = Some(dir);
        Ok(())
    }

    /// Who deletes the checkpoints of RDDs that are dropped, where that is wanted.
    pub(crate) fn remover(&self) -> Option<&Arc<Remover>> {
        self.remover.as_ref()
    }

    /// A number for a new RDD.
    ///
    /// Counted by process, not by Context: a lineage may hold RDDs of several Contexts (a union, a join), and finds its
    /// nodes by their numbers.
    pub fn next_rdd(&self) -> RddId {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        RddId(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// A number for a new shuffle, counted as those of RDDs are.
    pub fn next_shuffle(&self) -> ShuffleId {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        ShuffleId(NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// How many partitions sources have unless told otherwise, at least 1.
    pub fn default_parallelism(&self) -> u32 {
        self.configured_parallelism.unwrap_or_else(|| self.cores.load(Ordering::Relaxed)).max(1)
    }

    /// `spark.default.parallelism`, where it is set.
    pub fn configured_parallelism(&self) -> Option<u32> {
        self.configured_parallelism
    }

    /// The Context, while it lives.
    pub fn runner(&self) -> Result<Arc<dyn JobRunner>> {
        self.runner.upgrade().ok_or(Error::Stopped)
    }
}
