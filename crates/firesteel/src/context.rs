//! The [`Context`]: the user's entry to a cluster, or to the threads of this process.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc,
    },
};

use firesteel_common::{
    Data, Env, ExecutorId, JobId, RddId,
    conf::{Conf, keys},
};
use firesteel_events::Bus;
use firesteel_files::SplitBounds;
use firesteel_rdd::{
    Lines, Rdd,
    runner::{Job, JobHandle, JobRunner, Scope},
    sources::{self, RangeItem},
};
use firesteel_scheduler::{DriverCore, DriverEvent};
use firesteel_task::{Accumulators, Broadcast, BroadcastSettings};

use crate::{
    Error, Result,
    backend::{Backend, ClusterManager, Start},
    builder::ContextBuilder,
    driver::{Driver, Message},
    news,
    partitioned::PartitionedContext,
    properties,
    scheduling::scheduler_config,
    setting::get,
};

/// A connection to a cluster, or to the threads of this process: makes RDDs and runs their jobs.
///
/// Blocking, as Spark's is, with threads of its own: it works, and drops, inside an async runtime as well. Several may
/// live in one process. Cloning gives another handle on the same Context; it stops with [`Context::stop`] or when the
/// last handle goes.
#[doc(alias = "SparkContext")]
#[derive(Clone)]
pub struct Context {
    inner: Arc<Inner>,
}

struct Inner {
    /// Tells the Contexts of a process apart.
    serial: u64,
    conf: Conf,
    app_id: String,
    attempt_id: Option<String>,
    bounds: SplitBounds,
    scope: Arc<Scope>,
    messages: Mutex<mpsc::Sender<Message>>,
    next_job: AtomicU32,
    stopped: AtomicBool,
    bus: Bus,
    accumulators: Arc<Accumulators>,
    /// Executors come and go.
    elastic: bool,
    running: Mutex<Option<Running>>,
}

struct Running {
    driver: Driver,
    backend: Box<dyn Backend>,
}

impl Context {
    /// Sets up a Context.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// use firesteel::prelude::*;
    ///
    /// let sc = Context::builder().app_name("sum").master("local[2]").build()?;
    /// assert_eq!(sc.range(1..101u64).reduce(|a, b| a + b)?, 5050);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "SparkConf")]
    pub fn builder() -> ContextBuilder {
        ContextBuilder::default()
    }

    pub(crate) fn start(conf: Conf, manager: Box<dyn ClusterManager>, bus: Bus) -> Result<Context> {
        if let Err(error) = firesteel_os::descriptors::raise_limit() {
            tracing::warn!(%error, "cannot raise the limit of open files");
        }
        let capabilities = manager.capabilities(&conf)?;
        let config = scheduler_config(&conf, &capabilities)?;
        let bounds = SplitBounds {
            smallest: get(&conf, &keys::SPLIT_MIN_SIZE)?.0,
            largest: get(&conf, &keys::LOCAL_BLOCK_SIZE)?.0,
        };
        let parallelism = get(&conf, &keys::DEFAULT_PARALLELISM)?;
        let cores = Arc::new(AtomicU32::new(1));
        let (driver, backend) = manager.start(Start { conf: &conf, config, cores: &cores, bus: &bus })?;
        let (app_id, attempt_id) = (backend.app_id(), backend.attempt_id());
        let broadcasts = BroadcastSettings::from_conf(&conf).map_err(|e| Error::Start(e.to_string()))?;
        let parts = driver.context_parts(broadcasts, get(&conf, &keys::CLEAN_CHECKPOINTS)?);
        // The loop ends only when it is told to.
        let _ = driver.messages.send(Message::Started(news::beginning(&conf, &app_id)?));
        let messages = Mutex::new(driver.messages.clone());
        let accumulators = driver.accumulators.clone();
        let inner = Arc::new_cyclic(|weak: &std::sync::Weak<Inner>| Inner {
            serial: properties::next_serial(),
            conf,
            app_id,
            attempt_id,
            bounds,
            scope: Scope::of_context(weak.clone() as std::sync::Weak<dyn JobRunner>, parallelism, cores, parts),
            messages,
            next_job: AtomicU32::new(0),
            stopped: AtomicBool::new(false),
            bus,
            accumulators,
            elastic: capabilities.elastic,
            running: Mutex::new(Some(Running { driver, backend })),
        });
        Ok(Context { inner })
    }

    /// The id that the master gave the application; `local-<..>` without a master.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// assert!(sc.application_id().starts_with("local-"));
    /// # Ok(()) }
    /// ```
    #[doc(alias = "applicationId")]
    pub fn application_id(&self) -> &str {
        &self.inner.app_id
    }

    /// Which attempt of the application this is, where a cluster manager tries one several times: `local` and standalone
    /// clusters do not.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// assert_eq!(sc.application_attempt_id(), None);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "applicationAttemptId")]
    pub fn application_attempt_id(&self) -> Option<&str> {
        self.inner.attempt_id.as_deref()
    }

    /// The configuration as it took effect.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// use firesteel::prelude::*;
    ///
    /// let sc = Context::builder().master("local[2]").set("spark.locality.wait", "1s").build()?;
    /// assert_eq!(sc.conf().get_str("spark.locality.wait"), Some("1s"));
    /// # Ok(()) }
    /// ```
    #[doc(alias = "getConf")]
    pub fn conf(&self) -> &Conf {
        &self.inner.conf
    }

    /// Partitions of sources when the call does not say: `spark.default.parallelism`, or the cores that are there.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// use firesteel::prelude::*;
    ///
    /// let sc = Context::builder().master("local[2]").build()?;
    /// assert_eq!(sc.default_parallelism(), 2);
    /// assert_eq!(sc.range(0..100u64).num_partitions(), 2);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "defaultParallelism")]
    pub fn default_parallelism(&self) -> u32 {
        self.inner.scope.default_parallelism()
    }

    /// The sources with a number of partitions instead of the default one: `sc.partitioned(8).range(0..1000)`. Spark: the
    /// arguments `numSlices` and `minPartitions`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let halves = sc.partitioned(2).parallelize(["a", "b", "c", "d"].map(str::to_owned));
    /// assert_eq!(halves.collect_partitions()?, [["a", "b"], ["c", "d"]]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "numSlices")]
    #[doc(alias = "minPartitions")]
    pub fn partitioned(&self, partitions: u32) -> PartitionedContext<'_> {
        PartitionedContext { sc: self, partitions }
    }

    /// An RDD of `data`, in as many partitions as [`Context::default_parallelism`].
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let words = sc.parallelize(["tea", "salt"].map(String::from));
    /// assert_eq!(words.collect()?, ["tea", "salt"]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn parallelize<T: Data>(&self, data: impl IntoIterator<Item = T>) -> Rdd<T> {
        self.partitioned(self.default_parallelism()).parallelize(data)
    }

    /// An RDD of `data`, a partition for each element, whose task best runs on one of the hosts beside the element. Hosts
    /// have the names under which their workers are known; for one that is busy a task waits `spark.locality.wait`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let (one, other) = (vec!["10.0.0.1".to_owned()], vec!["10.0.0.2".to_owned()]);
    /// let shards = sc.make_rdd_with_preferences([("shard-a".to_owned(), one), ("shard-b".to_owned(), other)])?;
    /// assert_eq!((shards.num_partitions(), shards.collect()?), (2, vec!["shard-a".to_owned(), "shard-b".to_owned()]));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When there are more elements than an RDD has partitions.
    #[doc(alias = "makeRDD")]
    #[track_caller]
    pub fn make_rdd_with_preferences<T: Data>(
        &self,
        data: impl IntoIterator<Item = (T, Vec<String>)>,
    ) -> Result<Rdd<T>> {
        sources::parallelize_at(&self.inner.scope, data.into_iter().collect())
    }

    /// An RDD of the integers of `range`, in as many partitions as [`Context::default_parallelism`].
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let years = sc.range(1996..2006i32).filter(|year| year % 4 == 0);
    /// assert_eq!(years.collect()?, [1996, 2000, 2004]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn range<T: RangeItem>(&self, range: Range<T>) -> Rdd<T>
    where
        Range<T>: Iterator<Item = T>,
    {
        self.partitioned(self.default_parallelism()).range(range)
    }

    /// The lines of the text files that `path` names: a file, a directory, a glob, or several with commas between. Has at
    /// least two partitions, or one with a default parallelism of one, where the files have as many bytes.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let path = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    /// let settings = sc.text_file(path)?.filter(|line| line.contains(" = "));
    /// assert!(settings.first()?.starts_with("name = "));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When nothing matches.
    #[doc(alias = "textFile")]
    #[track_caller]
    pub fn text_file(&self, path: &str) -> Result<Rdd<String>> {
        self.partitioned(self.default_parallelism().min(2)).text_file(path)
    }

    /// The lines that [`Context::text_file`] gives, for closures that look at them as `&str`: a line costs no allocation.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// use firesteel::Str;
    ///
    /// let path = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    /// let lines = sc.text_lines(path)?;
    /// let words = lines.flat_map_to(|line, words| line.split_whitespace().for_each(|word| words.emit(Str::from(word))));
    /// assert!(words.count()? > 10);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When nothing matches.
    #[track_caller]
    pub fn text_lines(&self, path: &str) -> Result<Lines> {
        self.partitioned(self.default_parallelism().min(2)).text_lines(path)
    }

    /// A read-only value that every executor gets once and that all tasks there share: see [`Broadcast`].
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// use std::collections::HashMap;
    /// use firesteel::prelude::*;
    ///
    /// let sc = Context::builder().master("local[2]").build()?;
    /// let names = sc.broadcast(HashMap::from([(1u8, "one".to_owned()), (2, "two".to_owned())]))?;
    /// let named = sc.parallelize([2u8, 1, 2]).with(names).map(|names, n| names.value()[&n].clone());
    /// assert_eq!(named.collect()?, ["two", "one", "two"]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the value cannot be encoded, or the Context was stopped.
    pub fn broadcast<T: Env>(&self, value: T) -> Result<Broadcast<T>> {
        if self.inner.stopped.load(Ordering::Acquire) {
            return Err(Error::Stopped);
        }
        self.inner.scope.broadcast(value)
    }

    /// The partitions of all of `rdds`, in order.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let months = ["january", "february"].map(|month| sc.parallelize([month.to_owned()]));
    /// assert_eq!(sc.union(&months).collect()?, ["january", "february"]);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn union<T: Data>(&self, rdds: &[Rdd<T>]) -> Rdd<T> {
        Rdd::union_of(&self.inner.scope, rdds)
    }

    /// The numbers of the executors that are connected now, in order.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// // Here the program's own process is the executor.
    /// assert_eq!(sc.executor_ids()?.len(), 1);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When the Context was stopped.
    #[doc(alias = "getExecutorIds")]
    pub fn executor_ids(&self) -> Result<Vec<u32>> {
        let (reply, answer) = mpsc::channel();
        self.inner.tell(Message::Executors { reply })?;
        let executors = answer.recv().map_err(|_| Error::Stopped)?;
        Ok(executors.into_iter().map(|executor| executor.0).collect())
    }

    /// Has executors leave: they get no more tasks, end those that they run, have other executors take the partitions and
    /// map outputs that they hold, and end. The master gives others in their place when it can. Returns those that are
    /// connected, and so will leave, in order; does not wait for them.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// use firesteel::prelude::*;
    ///
    /// let builder = Context::builder().master("local-cluster[2,1,256]").set("spark.decommission.enabled", true);
    /// let sc = builder.build()?;
    /// assert_eq!(sc.range(0..100u64).count()?, 100);
    /// let ids = sc.executor_ids()?;
    /// assert_eq!(sc.decommission_executors(&ids[..1])?, ids[..1]);
    /// assert_eq!(sc.range(0..100u64).count()?, 100);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When `spark.decommission.enabled` is false, in `local[N]`, or when the Context was stopped.
    #[doc(alias = "decommissionExecutors")]
    pub fn decommission_executors(&self, executors: &[u32]) -> Result<Vec<u32>> {
        if !get(&self.inner.conf, &keys::DECOMMISSION_ENABLED)? {
            let why = "executors are not decommissioned: set spark.decommission.enabled to true";
            return Err(Error::InvalidArgument(why.to_owned()));
        }
        if !self.inner.elastic {
            let why = "the only executor of local[N] is this process: it cannot be decommissioned";
            return Err(Error::InvalidArgument(why.to_owned()));
        }
        let (reply, answer) = mpsc::channel();
        let executors = executors.iter().copied().map(ExecutorId).collect();
        self.inner.tell(Message::Decommission { executors, reason: "the program asked for it".to_owned(), reply })?;
        let leaving = answer.recv().map_err(|_| Error::Stopped)?;
        Ok(leaving.into_iter().map(|executor| executor.0).collect())
    }

    /// Gives up the executors. Running jobs fail; actions of RDDs that are still held give [`Error::Stopped`].
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// use firesteel::Error;
    ///
    /// let numbers = sc.range(0..100u64);
    /// sc.stop();
    /// assert!(matches!(numbers.count(), Err(Error::Stopped)));
    /// # Ok(()) }
    /// ```
    pub fn stop(&self) {
        self.inner.stop();
    }
}

impl Context {
    /// What its RDDs share.
    pub(crate) fn scope(&self) -> &Arc<Scope> {
        &self.inner.scope
    }

    /// How text files are cut into splits.
    pub(crate) fn bounds(&self) -> SplitBounds {
        self.inner.bounds
    }

    /// What tells this Context from others of the process.
    pub(crate) fn serial(&self) -> u64 {
        self.inner.serial
    }

    pub(crate) fn accumulators(&self) -> &Accumulators {
        &self.inner.accumulators
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.inner.stopped.load(Ordering::Acquire)
    }

    pub(crate) fn bus(&self) -> &Bus {
        &self.inner.bus
    }

    /// Tells the driver's event loop something; a stopped Context has none.
    pub(crate) fn tell(&self, message: Message) -> Result<()> {
        self.inner.tell(message)
    }
}

impl Inner {
    fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        properties::forget(self.serial);
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut running) = running {
            running.driver.stop();
            running.backend.stop();
            news::end(&self.bus);
        }
    }

    fn tell(&self, message: Message) -> Result<()> {
        if self.stopped.load(Ordering::Acquire) {
            return Err(Error::Stopped);
        }
        let messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        messages.send(message).map_err(|_| Error::Stopped)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl JobRunner for Inner {
    fn submit(&self, job: Job) -> Result<JobHandle> {
        let id = JobId(self.next_job.fetch_add(1, Ordering::Relaxed));
        let (sender, events) = mpsc::channel();
        let properties = properties::of_job(self.serial);
        self.tell(Message::Submit { id, job, events: sender, properties })?;
        let messages = Mutex::new(self.messages.lock().unwrap_or_else(PoisonError::into_inner).clone());
        let cancel = move |reason: &str| {
            let event = DriverEvent::CancelJob { job: id, reason: reason.to_owned() };
            // A driver that has ended has no job to cancel.
            let _ = messages.lock().unwrap_or_else(PoisonError::into_inner).send(Message::Event(event));
        };
        Ok(JobHandle { events, cancel: Box::new(cancel) })
    }

    fn unpersist(&self, rdd: RddId) {
        // A stopped Context keeps nothing.
        let _ = self.tell(Message::Event(DriverEvent::RddUnpersisted { rdd }));
    }

    fn is_kept(&self, rdd: RddId, partitions: u32) -> Result<bool> {
        let (reply, answer) = mpsc::channel();
        // Whoever asked may have given up.
        let look =
            move |core: &DriverCore, _| _ = reply.send((0..partitions).all(|p| !core.holders_of(rdd, p).is_empty()));
        self.tell(Message::Look(Box::new(look)))?;
        answer.recv().map_err(|_| Error::Stopped)
    }
}
