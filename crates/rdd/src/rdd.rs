//! The handles that users hold: [`Rdd`], and [`With`], an RDD together with what its next closure needs.

use std::{
    panic::Location,
    sync::{Arc, mpsc},
};

use firesteel_common::{
    CallSite, Data, Env,
    codec::{self, CodecError},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    actions::JobFuture,
    checkpoint::after_job::after_job,
    error::{Error, Result},
    flat_drop::Parent,
    node::{AnyRdd, Body, Meta, PartitionerKey, RddNode, StorageLevel},
    output::{OutputOp, encode_output},
    pipe::{PipeBody, PipeOp},
    runner::{Job, JobEvent, JobHandle, Scope},
};

/// A distributed collection of elements `T`, split into partitions, computed when an action asks for it.
///
/// Cloning is cheap: it is the same RDD. Closures passed to operators are zero-sized functions: what one needs is
/// passed with [`Rdd::with`], not captured; the compiler refuses a capturing closure at `cargo build`. They run in
/// other processes, which never ran `main`: they must not rely on process state that `main` set up.
#[doc(alias = "RDD")]
pub struct Rdd<T: Data> {
    node: Parent<RddNode<T>>,
    scope: Arc<Scope>,
}

impl<T: Data> Clone for Rdd<T> {
    fn clone(&self) -> Self {
        Rdd { node: self.node.clone(), scope: self.scope.clone() }
    }
}

/// An RDD with an environment for the closure of its next operator, from [`Rdd::with`].
///
/// Has the operators of [`Rdd`], with closures that take the environment as their first argument.
pub struct With<T: Data, E: Env> {
    pub(crate) rdd: Rdd<T>,
    pub(crate) env: Arc<E>,
}

/// An RDD with the partitioning of its next shuffle, from [`Rdd::partitioned`].
///
/// Has the operators of [`Rdd`] that shuffle by key.
pub struct Partitioned<T: Data, P> {
    pub(crate) rdd: Rdd<T>,
    pub(crate) by: P,
}

impl<T: Data, P> Partitioned<T, P> {
    /// Passes `env` to the closure of the next operator; see [`Rdd::with`].
    pub fn with<E: Env>(&self, env: E) -> PartitionedWith<T, P, E>
    where
        P: Clone,
    {
        PartitionedWith { rdd: self.rdd.clone(), by: self.by.clone(), env: Arc::new(env) }
    }
}

/// An RDD with the partitioning of its next shuffle, and an environment for that operator's closure.
pub struct PartitionedWith<T: Data, P, E: Env> {
    pub(crate) rdd: Rdd<T>,
    pub(crate) by: P,
    pub(crate) env: Arc<E>,
}

impl<T: Data, E: Env> With<T, E> {
    /// Says where the next operator's shuffle puts the records; see [`Rdd::partitioned`].
    pub fn partitioned<P>(&self, by: P) -> PartitionedWith<T, P, E> {
        PartitionedWith { rdd: self.rdd.clone(), by, env: self.env.clone() }
    }
}

impl<T: Data> Rdd<T> {
    /// A handle on a new node of `scope`, made where this function's caller is.
    #[track_caller]
    pub fn from_body<B: Body<Item = T>>(
        scope: &Arc<Scope>,
        partitions: u32,
        name: &'static str,
        partitioner: Option<PartitionerKey>,
        body: B,
    ) -> Self {
        let meta = Meta::new(scope.next_rdd(), partitions, name, partitioner).cleaned_by(scope.cleaner());
        let meta = meta.made_at(Location::caller());
        Rdd { node: Parent::new(RddNode::new(meta, body)), scope: scope.clone() }
    }

    /// Passes `env` to the closure of the next operator, which then takes it by reference as its first argument.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let words = sc.parallelize(["tea", "a", "kettle"].map(String::from));
    /// let min = 3usize;
    /// let long = words.with(min).filter(|min, word| word.len() >= *min);
    /// assert_eq!(long.collect()?, ["tea", "kettle"]);
    /// # Ok(()) }
    /// ```
    pub fn with<E: Env>(&self, env: E) -> With<T, E> {
        With { rdd: self.clone(), env: Arc::new(env) }
    }

    /// Says where the next operator's shuffle puts the records: a number of partitions, over which the keys are spread by
    /// hash, a [`Partitioner`](firesteel_shuffle::Partitioner), or [how another RDD's pairs lie](Rdd::partitioning). Spark:
    /// the `numPartitions` and `partitioner` arguments.
    ///
    /// Without it a shuffle is spread as by Spark's `Partitioner.defaultPartitioner`: as a parent is already, unless that
    /// has far fewer partitions than the largest parent; otherwise by hash, into `spark.default.parallelism` partitions, or
    /// as many as the largest parent has.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let sold = sc.parallelize([("tea", 2u64), ("salt", 1), ("tea", 3)].map(|(what, n)| (what.to_owned(), n)));
    /// let totals = sold.partitioned(8).reduce_by_key(|a, b| a + b);
    /// assert_eq!(totals.num_partitions(), 8);
    /// assert_eq!(totals.collect_as_map()?["tea"], 5);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "numPartitions")]
    pub fn partitioned<P>(&self, by: P) -> Partitioned<T, P> {
        Partitioned { rdd: self.clone(), by }
    }

    pub(crate) fn with_env<E: Env>(&self, env: &Arc<E>) -> With<T, E> {
        With { rdd: self.clone(), env: env.clone() }
    }

    /// Number of partitions. Spark: `getNumPartitions`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let numbers = sc.partitioned(4).range(0..100u64);
    /// assert_eq!(numbers.num_partitions(), 4);
    /// assert_eq!(numbers.collect_partitions()?.len(), 4);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "getNumPartitions")]
    pub fn num_partitions(&self) -> u32 {
        self.node.meta().partitions
    }

    /// The number of this RDD within this process.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let numbers = sc.range(0..100u64);
    /// let even = numbers.filter(|n| n % 2 == 0);
    /// assert_eq!(numbers.clone().id(), numbers.id());
    /// assert_ne!(even.id(), numbers.id());
    /// # Ok(()) }
    /// ```
    pub fn id(&self) -> u32 {
        self.node.meta().id.0
    }

    /// Has this RDD be called so where its stages are told of, instead of by its operator. Spark: `setName`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let visits = sc.parallelize([3u64, 1, 2]).set_name("visits");
    /// assert_eq!(visits.name().as_deref(), Some("visits"));
    /// assert_eq!(visits.map(|n| n + 1).name(), None);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "setName")]
    pub fn set_name(&self, name: &str) -> Self {
        self.node.meta().give_name(name.into());
        self.clone()
    }

    /// The name that [`Rdd::set_name`] gave it.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let numbers = sc.range(0..10u64);
    /// assert_eq!(numbers.name(), None);
    /// numbers.set_name("numbers");
    /// assert_eq!(numbers.name().as_deref(), Some("numbers"));
    /// # Ok(()) }
    /// ```
    pub fn name(&self) -> Option<String> {
        self.node.meta().given_name().map(|name| name.to_string())
    }

    /// Keeps the partitions in the executors' memory once they were computed. Same as `persist(StorageLevel::MEMORY_ONLY)`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let computed = sc.long_accumulator("squares computed");
    /// let squares = sc.range(0..10u64).with(computed.clone()).map(|computed, x| {
    ///     computed.add(1);
    ///     x * x
    /// });
    /// let squares = squares.cache();
    /// assert_eq!(squares.max()?, 81);
    /// assert_eq!(squares.reduce(|a, b| a + b)?, 285);
    /// assert_eq!(computed.value()?, 10);
    /// # Ok(()) }
    /// ```
    #[track_caller]
    pub fn cache(&self) -> Self {
        self.persist(StorageLevel::MEMORY_ONLY)
    }

    /// Keeps the partitions at `level` once they were computed. Applies to this RDD, whichever handle is used.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// use firesteel::StorageLevel;
    ///
    /// let squares = sc.range(0..1000u64).map(|x| x * x).persist(StorageLevel::MEMORY_AND_DISK);
    /// assert_eq!(squares.count()?, 1000);
    /// assert_eq!(squares.max()?, 998_001);
    /// # Ok(()) }
    /// ```
    pub fn persist(&self, level: StorageLevel) -> Self {
        if level.is_off_heap() {
            tracing::info!(
                rdd = self.id(),
                "OFF_HEAP is another name of MEMORY_AND_DISK_SER here: no heap is collected"
            );
        }
        self.node.meta().set_level(level);
        self.clone()
    }

    /// Forgets the kept partitions and keeps no more. Does nothing when the Context is gone.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let computed = sc.long_accumulator("squares computed");
    /// let squares = sc.range(0..10u64).with(computed.clone()).map(|computed, x| {
    ///     computed.add(1);
    ///     x * x
    /// });
    /// assert_eq!(squares.cache().max()?, 81);
    /// assert_eq!(squares.unpersist().max()?, 81);
    /// assert_eq!(computed.value()?, 20);
    /// # Ok(()) }
    /// ```
    pub fn unpersist(&self) -> Self {
        self.node.meta().set_level(StorageLevel::NONE);
        if let Ok(runner) = self.scope.runner() {
            runner.unpersist(self.node.meta().id);
        }
        self.clone()
    }

    /// How the partitions are kept. Spark: `getStorageLevel`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// use firesteel::StorageLevel;
    ///
    /// let numbers = sc.range(0..100u64);
    /// assert_eq!(numbers.storage_level(), StorageLevel::NONE);
    /// assert_eq!(numbers.cache().storage_level(), StorageLevel::MEMORY_ONLY);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "getStorageLevel")]
    pub fn storage_level(&self) -> StorageLevel {
        self.node.meta().level()
    }

    /// Declares that computing a partition twice may give other records (a random choice, the time, an order that
    /// changes). When such a partition is lost after some of it was read, stages that read it are computed again as a whole; so are the results
    /// of an action that returns them together. An action with effects outside (`foreach`) of which partitions have run
    /// already fails instead of mixing two versions.
    ///
    /// Without the declaration a difference is found when a lost partition comes out with other records, which is later.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let orders = sc.parallelize(["tea", "salt"].map(String::from));
    /// let stamped = orders.map(|order| (std::time::SystemTime::now(), order)).indeterminate();
    /// assert_eq!(stamped.values().collect()?, ["tea", "salt"]);
    /// # Ok(()) }
    /// ```
    pub fn indeterminate(&self) -> Self {
        self.node.meta().set_indeterminate();
        self.clone()
    }

    /// A handle on a node that is there.
    pub(crate) fn of_node(node: Arc<RddNode<T>>, scope: &Arc<Scope>) -> Self {
        Rdd { node: Parent::new(node), scope: scope.clone() }
    }

    /// The operator that made it, and where.
    pub(crate) fn site(&self) -> CallSite {
        CallSite { operator: self.node.meta().name, location: self.node.meta().location }
    }

    pub(crate) fn node(&self) -> &Parent<RddNode<T>> {
        &self.node
    }

    pub(crate) fn scope(&self) -> &Arc<Scope> {
        &self.scope
    }

    pub(crate) fn partitioner(&self) -> Option<&PartitionerKey> {
        self.node.meta().partitioner.as_ref()
    }

    /// A child with the same partitions; `keeps` says that records stay under their keys.
    #[track_caller]
    pub(crate) fn pipe<O: PipeOp<In = T>>(
        &self,
        name: &'static str,
        keeps: bool,
        env: &Arc<O::Env>,
        op: O,
    ) -> Rdd<O::Out> {
        let partitioner = if keeps { self.partitioner().cloned() } else { None };
        let body = PipeBody::new(self.node.clone(), env.clone(), op);
        Rdd::from_body(&self.scope, self.num_partitions(), name, partitioner, body)
    }

    /// Starts a job over `partitions`.
    pub(crate) fn submit<O: OutputOp<In = T>>(
        &self,
        site: CallSite,
        partitions: Vec<u32>,
        env: &impl Serialize,
        op: O,
    ) -> Result<JobHandle> {
        let root = (*self.node).clone() as Arc<dyn AnyRdd>;
        let repeatable = !O::HAS_EFFECTS;
        self.scope.runner()?.submit(Job { root, output: encode_output(op, env)?, partitions, site, repeatable })
    }

    /// Runs a job over `partitions` and hands each decoded result to `each` as it comes, which puts it in its place: it may
    /// come once more, and then counts instead of the first.
    #[track_caller]
    pub(crate) fn run<O: OutputOp<In = T>, U: DeserializeOwned>(
        &self,
        action: &'static str,
        partitions: Vec<u32>,
        env: &impl Serialize,
        op: O,
        each: impl FnMut(usize, U),
    ) -> Result<()> {
        self.run_at(CallSite::here(action), partitions, env, op, codec::decode, each)
    }

    pub(crate) fn run_at<O: OutputOp<In = T>, U>(
        &self,
        site: CallSite,
        partitions: Vec<u32>,
        env: &impl Serialize,
        op: O,
        decode: Decode<U>,
        each: impl FnMut(usize, U),
    ) -> Result<()> {
        let JobHandle { events, cancel } = self.submit(site, partitions, env, op)?;
        receive(&events, site, decode, each).inspect_err(|_| cancel("its results cannot be used"))?;
        after_job(&((*self.node).clone() as Arc<dyn AnyRdd>))
    }

    /// Starts a job over all partitions; waiting for it gives what `finish` makes of the results, in partition order.
    #[track_caller]
    pub(crate) fn run_async<O: OutputOp<In = T>, U: DeserializeOwned + Send + 'static, R: 'static>(
        &self,
        action: &'static str,
        env: &impl Serialize,
        op: O,
        finish: impl FnOnce(Vec<U>) -> R + Send + 'static,
    ) -> Result<JobFuture<R>> {
        self.run_async_decoding(action, env, op, codec::decode, finish)
    }

    /// As `run_async`, with results that `decode` knows.
    #[track_caller]
    pub(crate) fn run_async_decoding<O: OutputOp<In = T>, U: Send + 'static, R: 'static>(
        &self,
        action: &'static str,
        env: &impl Serialize,
        op: O,
        decode: Decode<U>,
        finish: impl FnOnce(Vec<U>) -> R + Send + 'static,
    ) -> Result<JobFuture<R>> {
        let (site, n) = (CallSite::here(action), self.num_partitions());
        let JobHandle { events, cancel } = self.submit(site, (0..n).collect(), env, op)?;
        let cancel: Arc<dyn Fn(&str) + Send + Sync> = cancel.into();
        let give_up = cancel.clone();
        let wait = move || {
            let results = gather(n, |each| receive(&events, site, decode, each));
            results.inspect_err(|_| give_up("its results cannot be used")).map(finish)
        };
        Ok(JobFuture { wait: Box::new(wait), cancel })
    }

    /// Runs a job over all partitions; the results are in partition order.
    #[track_caller]
    pub(crate) fn run_all<O: OutputOp<In = T>, U: DeserializeOwned>(
        &self,
        action: &'static str,
        env: &impl Serialize,
        op: O,
    ) -> Result<Vec<U>> {
        self.run_all_decoding(action, env, op, codec::decode)
    }

    /// As `run_all`, for what `site` names.
    pub(crate) fn run_all_at<O: OutputOp<In = T>, U: DeserializeOwned>(
        &self,
        site: CallSite,
        env: &impl Serialize,
        op: O,
    ) -> Result<Vec<U>> {
        gather(self.num_partitions(), |each| {
            self.run_at(site, (0..self.num_partitions()).collect(), env, op, codec::decode, each)
        })
    }

    /// As `run_all`, with results that `decode` knows.
    #[track_caller]
    pub(crate) fn run_all_decoding<O: OutputOp<In = T>, U>(
        &self,
        action: &'static str,
        env: &impl Serialize,
        op: O,
        decode: Decode<U>,
    ) -> Result<Vec<U>> {
        // A closure has a place of its own: the user's must be asked for here.
        let (site, n) = (CallSite::here(action), self.num_partitions());
        gather(n, |each| self.run_at(site, (0..n).collect(), env, op, decode, each))
    }
}

/// Makes a result of its bytes.
type Decode<U> = fn(&[u8]) -> std::result::Result<U, CodecError>;

/// The results of `n` partitions in their order; `run` hands each to the function that it gets.
fn gather<U>(n: u32, run: impl FnOnce(&mut dyn FnMut(usize, U)) -> Result<()>) -> Result<Vec<U>> {
    let mut results: Vec<Option<U>> = (0..n).map(|_| None).collect();
    run(&mut |index, result| {
        if let Some(slot) = results.get_mut(index) {
            *slot = Some(result);
        }
    })?;
    Ok(results.into_iter().flatten().collect())
}

/// Hands each decoded result of a job to `each` until the job ends.
fn receive<U>(
    events: &mpsc::Receiver<JobEvent>,
    site: CallSite,
    decode: Decode<U>,
    mut each: impl FnMut(usize, U),
) -> Result<()> {
    loop {
        match events.recv() {
            Ok(JobEvent::Result { index, bytes }) => each(index, decode(&bytes)?),
            // Each comes again, and takes the place of the first.
            Ok(JobEvent::Discarded) => {}
            Ok(JobEvent::Succeeded) => return Ok(()),
            Ok(JobEvent::Failed(reason)) => return Err(Error::Job { site: site.to_string(), reason }),
            Err(_) => return Err(Error::Stopped),
        }
    }
}
