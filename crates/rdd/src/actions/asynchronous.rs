//! Actions that return at once: `collect_async`, `count_async`, `foreach_async`, `foreach_partition_async`.

use std::sync::Arc;

use firesteel_common::{Data, Env};
use firesteel_task::{PartitionIter, chunk::Stream};

use crate::{
    Rdd, Result,
    actions::{
        WithEffects,
        elements::{Elements, concat},
        over,
    },
    output::OutputOp,
};

/// A job that runs.
///
/// Dropping it neither waits for the job nor cancels it.
///
/// ```
/// # fn main() -> firesteel::Result<()> {
/// # let sc = firesteel::Context::builder().master("local[2]").build()?;
/// let endless = sc.range(0..u64::MAX);
/// let (first, second) = (endless.foreach_async(|_| ())?, endless.foreach_async(|_| ())?);
/// let give_up = second.canceller();
///
/// first.cancel("nobody waits for it");
/// assert!(first.wait().unwrap_err().to_string().contains("nobody waits for it"));
///
/// std::thread::spawn(move || give_up("it is late"));
/// assert!(second.wait().unwrap_err().to_string().contains("it is late"));
/// # Ok(()) }
/// ```
#[doc(alias = "FutureAction")]
#[must_use = "the result, or the error, of the job comes from `wait`"]
pub struct JobFuture<R> {
    pub(crate) wait: Box<dyn FnOnce() -> Result<R> + Send>,
    pub(crate) cancel: Arc<dyn Fn(&str) + Send + Sync>,
}

impl<R> JobFuture<R> {
    /// Asks for the job's end; `wait` then gives an error with `reason`, unless the job had ended before.
    pub fn cancel(&self, reason: &str) {
        (self.cancel)(reason);
    }

    /// A function that does what [`JobFuture::cancel`] does, for another thread.
    pub fn canceller(&self) -> Arc<dyn Fn(&str) + Send + Sync> {
        self.cancel.clone()
    }

    /// Waits for the job's result.
    ///
    /// # Errors
    /// As the blocking action's.
    pub fn wait(self) -> Result<R> {
        (self.wait)()
    }
}

impl<T: Data> Rdd<T> {
    /// As `collect`, without waiting.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let squares = sc.range(1..5u64).map(|x| x * x).collect_async()?;
    /// let cubes = sc.range(1..5u64).map(|x| x * x * x).collect_async()?;
    /// assert_eq!((squares.wait()?, cubes.wait()?), (vec![1, 4, 9, 16], vec![1, 8, 27, 64]));
    /// # Ok(()) }
    /// ```
    #[doc(alias = "collectAsync")]
    #[track_caller]
    pub fn collect_async(&self) -> Result<JobFuture<Vec<T>>> {
        self.run_async_decoding("collect_async", &(), Elements::op(), Elements::decode, concat)
    }

    /// As `count`, without waiting.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let count = sc.range(1..101u64).filter(|n| n % 7 == 0).count_async()?;
    /// // The program goes on with something else, and then asks.
    /// assert_eq!(count.wait()?, 14);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "countAsync")]
    #[track_caller]
    pub fn count_async(&self) -> Result<JobFuture<u64>> {
        self.run_async("count_async", &(), over(|_: &(), mut input: Stream<T>, _| input.count()), |parts: Vec<u64>| {
            parts.into_iter().sum()
        })
    }
}

/// The tasks of `foreach`.
pub(super) fn each_element<T: Data, E: Env>(
    f: impl Fn(&E, T) + Copy + Send + Sync + 'static,
) -> impl OutputOp<In = T, Env = E> {
    WithEffects(over(move |env: &E, mut input: Stream<T>, _| {
        while let Some(chunk) = input.next_chunk()? {
            chunk.into_vec().into_iter().for_each(|x| f(env, x));
        }
        Ok(())
    }))
}

/// The tasks of `foreach_partition`.
pub(super) fn each_partition<T: Data, E: Env>(
    f: impl Fn(&E, PartitionIter<T>) + Copy + Send + Sync + 'static,
) -> impl OutputOp<In = T, Env = E> {
    WithEffects(over(move |env: &E, input, ctx| {
        f(env, PartitionIter::new(input, ctx));
        Ok(())
    }))
}

operators! {
    impl[T: Data] T;

    /// As `foreach`, without waiting.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let seen = sc.long_accumulator("rows seen");
    /// let job = sc.range(0..100u64).with(seen.clone()).foreach_async(|seen, _| seen.add(1))?;
    /// job.wait()?;
    /// assert_eq!(seen.value()?, 100);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "foreachAsync")]
    fn foreach_async[]() { f: F(x: T) -> () } -> Result<JobFuture<()>> = |rdd, env| {
        rdd.run_async("foreach_async", &**env, each_element(f), |_: Vec<()>| ())
    };

    /// As `foreach_partition`, without waiting.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let batches = sc.long_accumulator("batches");
    /// let rows = sc.partitioned(4).range(0..100u64);
    /// let job = rows.with(batches.clone()).foreach_partition_async(|batches, _| batches.add(1))?;
    /// job.wait()?;
    /// assert_eq!(batches.value()?, 4);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "foreachPartitionAsync")]
    fn foreach_partition_async[]() { f: F(elements: PartitionIter<T>) -> () } -> Result<JobFuture<()>> = |rdd, env| {
        rdd.run_async("foreach_partition_async", &**env, each_partition(f), |_: Vec<()>| ())
    };
}
