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
    /// ```no_run
    /// # fn main() -> firesteel_rdd::Result<()> {
    /// # let words: firesteel_rdd::Rdd<String> = unimplemented!();
    /// let job = words.collect_async()?;
    /// if job.wait()?.is_empty() {
    ///     println!("no words");
    /// }
    /// # Ok(()) }
    /// ```
    #[doc(alias = "collectAsync")]
    #[track_caller]
    pub fn collect_async(&self) -> Result<JobFuture<Vec<T>>> {
        self.run_async_decoding("collect_async", &(), Elements::op(), Elements::decode, concat)
    }

    /// As `count`, without waiting.
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
    #[doc(alias = "foreachAsync")]
    fn foreach_async[]() { f: F(x: T) -> () } -> Result<JobFuture<()>> = |rdd, env| {
        rdd.run_async("foreach_async", &**env, each_element(f), |_: Vec<()>| ())
    };

    /// As `foreach_partition`, without waiting.
    #[doc(alias = "foreachPartitionAsync")]
    fn foreach_partition_async[]() { f: F(elements: PartitionIter<T>) -> () } -> Result<JobFuture<()>> = |rdd, env| {
        rdd.run_async("foreach_partition_async", &**env, each_partition(f), |_: Vec<()>| ())
    };
}
