//! Actions that give an estimate when their time is over: from the partitions that are done then they conclude what all
//! have. Spark: `countApprox` and its relatives, with the same bounds.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, mpsc::RecvTimeoutError},
    time::{Duration, Instant},
};

use firesteel_common::{CallSite, Data, Key, codec};
use firesteel_task::chunk::Stream;
use serde::de::DeserializeOwned;
use statrs::distribution::{ContinuousCDF, DiscreteCDF, Normal, Poisson, StudentsT};

use super::{
    numeric::{Number, described},
    over,
};
use crate::{
    Rdd, Result,
    error::Error,
    output::OutputOp,
    runner::{JobEvent, JobHandle},
    stats::Stats,
};

/// A number that lies between two bounds with some confidence. Spark: `BoundedDouble`.
///
/// ```
/// # fn main() -> firesteel::Result<()> {
/// # let sc = firesteel::Context::builder().master("local[2]").build()?;
/// use std::time::Duration;
///
/// let count = sc.range(0..1000u64).count_approx(Duration::from_secs(60), 0.95)?;
/// assert_eq!(count.wait()?.to_string(), "[1000, 1000]");
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct BoundedDouble {
    /// The most likely value.
    pub mean: f64,
    /// How likely it lies between the bounds, from 0 to 1.
    pub confidence: f64,
    /// The lower bound.
    pub low: f64,
    /// The upper bound.
    pub high: f64,
}

impl BoundedDouble {
    fn exact(value: f64) -> Self {
        BoundedDouble { mean: value, confidence: 1.0, low: value, high: value }
    }

    /// Nothing is known but that it is no less than `low`.
    fn unknown(low: f64) -> Self {
        BoundedDouble { mean: 0.0, confidence: 0.0, low, high: f64::INFINITY }
    }
}

impl fmt::Display for BoundedDouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {}]", self.low, self.high)
    }
}

/// What is known of a result when its time is over. Dropping it cancels the job that still runs. Spark:
/// `PartialResult`.
///
/// ```
/// # fn main() -> firesteel::Result<()> {
/// # let sc = firesteel::Context::builder().master("local[2]").build()?;
/// use std::time::Duration;
///
/// let numbers = sc.partitioned(8).range(0..8_000_000u64).filter(|n| n % 3 == 0);
/// let count = numbers.count_approx(Duration::from_millis(5), 0.9)?;
/// let estimate = *count.value();
/// assert!(estimate.low <= estimate.mean && estimate.mean <= estimate.high);
/// assert!(!count.is_final() || estimate.low == estimate.high);
/// assert_eq!(count.wait()?.mean, 2_666_667.0);
/// # Ok(()) }
/// ```
#[must_use = "dropping it cancels its job"]
pub struct PartialResult<R> {
    value: R,
    rest: Option<Rest<R>>,
}

/// The job that has not ended.
struct Rest<R> {
    wait: Box<dyn FnOnce() -> Result<R> + Send>,
    cancel: Arc<dyn Fn(&str) + Send + Sync>,
}

impl<R> PartialResult<R> {
    /// What was known when the time was over. Spark: `initialValue`.
    #[doc(alias = "initialValue")]
    pub fn value(&self) -> &R {
        &self.value
    }

    /// Whether that was all. Spark: `isInitialValueFinal`.
    #[doc(alias = "isInitialValueFinal")]
    pub fn is_final(&self) -> bool {
        self.rest.is_none()
    }

    /// Waits for the rest of the job and gives the exact result. Spark: `getFinalValue`.
    ///
    /// # Errors
    /// When the job fails.
    #[doc(alias = "getFinalValue")]
    pub fn wait(mut self) -> Result<R>
    where
        R: Clone,
    {
        match self.rest.take() {
            Some(rest) => (rest.wait)(),
            None => Ok(self.value.clone()),
        }
    }
}

impl<R> Drop for PartialResult<R> {
    fn drop(&mut self) {
        if let Some(rest) = &self.rest {
            (rest.cancel)("nobody waits for the rest of an estimate");
        }
    }
}

/// What concludes: from the results that are there, of so many in all.
type Conclude<U, R> = Box<dyn Fn(&[&U], usize) -> R + Send>;

/// The results of a job that runs.
struct Gathering<U> {
    handle: JobHandle,
    site: CallSite,
    parts: Vec<Option<U>>,
}

impl<U: DeserializeOwned> Gathering<U> {
    /// Takes results until the job has ended, then true, or until it is late.
    fn until(&mut self, deadline: Option<Instant>) -> Result<bool> {
        loop {
            let event = match deadline {
                None => self.handle.events.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(deadline) => self.handle.events.recv_timeout(deadline.saturating_duration_since(Instant::now())),
            };
            match event {
                Ok(JobEvent::Result { index, bytes }) => {
                    let part = codec::decode(&bytes)?;
                    if let Some(slot) = self.parts.get_mut(index) {
                        *slot = Some(part);
                    }
                }
                // Each comes again, and takes the place of the first.
                Ok(JobEvent::Discarded) => {}
                Ok(JobEvent::Succeeded) => return Ok(true),
                Ok(JobEvent::Failed(reason)) => return Err(Error::Job { site: self.site.to_string(), reason }),
                Err(RecvTimeoutError::Timeout) => return Ok(false),
                Err(RecvTimeoutError::Disconnected) => return Err(Error::Stopped),
            }
        }
    }

    fn conclude<R>(&self, conclude: &Conclude<U, R>) -> R {
        let there: Vec<&U> = self.parts.iter().flatten().collect();
        conclude(&there, self.parts.len())
    }
}

impl<T: Data> Rdd<T> {
    #[track_caller]
    fn approximate<O, U, R>(
        &self,
        action: &'static str,
        timeout: Duration,
        op: O,
        conclude: Conclude<U, R>,
    ) -> Result<PartialResult<R>>
    where
        O: OutputOp<In = T, Env = ()>,
        U: DeserializeOwned + Send + 'static,
        R: 'static,
    {
        let (site, n) = (CallSite::here(action), self.num_partitions());
        let deadline = Instant::now() + timeout;
        let handle = self.submit(site, (0..n).collect(), &(), op)?;
        let mut job = Gathering { handle, site, parts: (0..n).map(|_| None).collect() };
        let ended = job.until(Some(deadline))?;
        let value = job.conclude(&conclude);
        let rest = (!ended).then(|| {
            let cancel: Arc<dyn Fn(&str) + Send + Sync> =
                std::mem::replace(&mut job.handle.cancel, Box::new(|_| ())).into();
            let wait = Box::new(move || {
                job.until(None)?;
                Ok(job.conclude(&conclude))
            });
            Rest { wait, cancel }
        });
        Ok(PartialResult { value, rest })
    }

    /// How many elements there are, as far as that is known after `timeout`. Spark: `countApprox`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// use std::time::Duration;
    ///
    /// let count = sc.partitioned(4).range(0..1000u64).count_approx(Duration::from_secs(60), 0.95)?;
    /// assert!(count.is_final());
    /// assert_eq!(count.value().mean, 1000.0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a confidence that is not between 0 and 1; and when the job fails in that time.
    #[doc(alias = "countApprox")]
    #[track_caller]
    pub fn count_approx(&self, timeout: Duration, confidence: f64) -> Result<PartialResult<BoundedDouble>> {
        check(confidence)?;
        let part = over(|_: &(), mut input: Stream<T>, _| input.count());
        let conclude = move |parts: &[&u64], total| {
            if parts.is_empty() && total > 0 {
                return BoundedDouble::unknown(0.0);
            }
            count_bounds(parts.iter().map(|n| **n).sum(), parts.len(), total, confidence)
        };
        self.approximate("count_approx", timeout, part, Box::new(conclude))
    }
}

impl<T: Key> Rdd<T> {
    /// How often each element occurs, as far as that is known after `timeout`. Spark: `countByValueApprox`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// use std::time::Duration;
    ///
    /// let colours = sc.parallelize(["red", "blue", "red"].map(String::from));
    /// let counts = colours.count_by_value_approx(Duration::from_secs(60), 0.95)?;
    /// assert_eq!(counts.value()["red"].mean, 2.0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::count_approx`]'s.
    #[doc(alias = "countByValueApprox")]
    #[track_caller]
    pub fn count_by_value_approx(
        &self,
        timeout: Duration,
        confidence: f64,
    ) -> Result<PartialResult<HashMap<T, BoundedDouble>>> {
        self.counted_approx("count_by_value_approx", timeout, confidence)
    }

    #[track_caller]
    fn counted_approx(
        &self,
        action: &'static str,
        timeout: Duration,
        confidence: f64,
    ) -> Result<PartialResult<HashMap<T, BoundedDouble>>> {
        check(confidence)?;
        let part = over(|_: &(), mut input: Stream<T>, _| {
            let mut counts: HashMap<T, u64> = HashMap::new();
            while let Some(chunk) = input.next_chunk()? {
                chunk.into_vec().into_iter().for_each(|x| *counts.entry(x).or_default() += 1);
            }
            Ok(counts)
        });
        let conclude = move |parts: &[&HashMap<T, u64>], total| {
            let mut sums: HashMap<T, u64> = HashMap::new();
            for (x, n) in parts.iter().copied().flatten() {
                *sums.entry(x.clone()).or_default() += n;
            }
            sums.into_iter().map(|(x, n)| (x, count_bounds(n, parts.len(), total, confidence))).collect()
        };
        self.approximate(action, timeout, part, Box::new(conclude))
    }
}

impl<K: Key, V: Data> Rdd<(K, V)> {
    /// How many pairs each key has, as far as that is known after `timeout`. Spark: `countByKeyApprox`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// use std::time::Duration;
    ///
    /// let visits = sc.parallelize([(7u32, 'a'), (8, 'b'), (7, 'c')]);
    /// let counts = visits.count_by_key_approx(Duration::from_secs(60), 0.95)?;
    /// assert_eq!(counts.wait()?[&7].mean, 2.0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::count_approx`]'s.
    #[doc(alias = "countByKeyApprox")]
    #[track_caller]
    pub fn count_by_key_approx(
        &self,
        timeout: Duration,
        confidence: f64,
    ) -> Result<PartialResult<HashMap<K, BoundedDouble>>> {
        self.keys().counted_approx("count_by_key_approx", timeout, confidence)
    }
}

impl<T: Number> Rdd<T> {
    /// The mean, as far as it is known after `timeout`. Spark: `meanApprox`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// use std::time::Duration;
    ///
    /// let mean = sc.parallelize([1u32, 2, 6]).mean_approx(Duration::from_secs(60), 0.95)?;
    /// assert_eq!(mean.value().mean, 3.0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::count_approx`]'s.
    #[doc(alias = "meanApprox")]
    #[track_caller]
    pub fn mean_approx(&self, timeout: Duration, confidence: f64) -> Result<PartialResult<BoundedDouble>> {
        self.described_approx("mean_approx", timeout, confidence, mean_bounds)
    }

    /// The sum, as far as it is known after `timeout`. Spark: `sumApprox`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// use std::time::Duration;
    ///
    /// let sum = sc.range(1..101u64).sum_approx(Duration::from_secs(60), 0.95)?;
    /// assert_eq!(sum.value().mean, 5050.0);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Rdd::count_approx`]'s.
    #[doc(alias = "sumApprox")]
    #[track_caller]
    pub fn sum_approx(&self, timeout: Duration, confidence: f64) -> Result<PartialResult<BoundedDouble>> {
        self.described_approx("sum_approx", timeout, confidence, sum_bounds)
    }

    #[track_caller]
    fn described_approx(
        &self,
        action: &'static str,
        timeout: Duration,
        confidence: f64,
        bounds: fn(&Stats, usize, usize, f64) -> BoundedDouble,
    ) -> Result<PartialResult<BoundedDouble>> {
        check(confidence)?;
        let conclude = move |parts: &[&Stats], total| {
            let mut stats = Stats::default();
            parts.iter().for_each(|part| stats.merge(part));
            bounds(&stats, parts.len(), total, confidence)
        };
        self.approximate(action, timeout, described(), Box::new(conclude))
    }
}

fn check(confidence: f64) -> Result<()> {
    if confidence > 0.0 && confidence < 1.0 {
        return Ok(());
    }
    Err(Error::InvalidArgument(format!("a confidence is between 0 and 1, not {confidence}")))
}

/// The number of all, where `seen` were counted in `there` of `total` partitions: the rest comes at the same rate, and its
/// number is distributed as Poisson says.
fn count_bounds(seen: u64, there: usize, total: usize, confidence: f64) -> BoundedDouble {
    let seen_f = seen as f64;
    if there == total {
        return BoundedDouble::exact(seen_f);
    }
    let p = there as f64 / total as f64;
    let rest = seen_f * (1.0 - p) / p;
    match Poisson::new(rest) {
        Ok(poisson) => {
            let (low, high) =
                (poisson.inverse_cdf((1.0 - confidence) / 2.0), poisson.inverse_cdf((1.0 + confidence) / 2.0));
            BoundedDouble { mean: seen_f + rest, confidence, low: seen_f + low as f64, high: seen_f + high as f64 }
        }
        // Nothing was seen, so nothing is expected.
        Err(_) => BoundedDouble { mean: seen_f, confidence, low: seen_f, high: seen_f },
    }
}

/// How many standard deviations a value may be off: by the normal distribution, or Student's for few values.
fn factor(count: u64, confidence: f64) -> f64 {
    let p = 1.0 - (1.0 - confidence) / 2.0;
    if count > 100 {
        return Normal::standard().inverse_cdf(p);
    }
    StudentsT::new(0.0, 1.0, count.saturating_sub(1) as f64).map_or(f64::INFINITY, |student| student.inverse_cdf(p))
}

fn mean_bounds(stats: &Stats, there: usize, total: usize, confidence: f64) -> BoundedDouble {
    if there == total {
        return BoundedDouble::exact(stats.mean());
    }
    if stats.count() < 2 {
        return BoundedDouble { mean: stats.mean(), ..BoundedDouble::unknown(f64::NEG_INFINITY) };
    }
    let off = factor(stats.count(), confidence) * (stats.sample_variance() / stats.count() as f64).sqrt();
    BoundedDouble { mean: stats.mean(), confidence, low: stats.mean() - off, high: stats.mean() + off }
}

/// What is not seen has the mean of what is, and a number as [`count_bounds`] has it.
fn sum_bounds(stats: &Stats, there: usize, total: usize, confidence: f64) -> BoundedDouble {
    if there == total {
        return BoundedDouble::exact(stats.sum());
    }
    if stats.count() == 0 {
        return BoundedDouble::unknown(f64::NEG_INFINITY);
    }
    let p = there as f64 / total as f64;
    let (mean, count) = (stats.mean(), stats.count() as f64 * (1.0 - p) / p);
    let rest = mean * count;
    let mean_variance = stats.sample_variance() / stats.count() as f64;
    if mean_variance.is_nan() {
        return BoundedDouble { mean: stats.sum() + rest, ..BoundedDouble::unknown(f64::NEG_INFINITY) };
    }
    // Of a product of two independent factors; that of the count is the count.
    let variance = mean * mean * count + count * count * mean_variance + mean_variance * count;
    let off = factor(stats.count(), confidence) * variance.sqrt();
    let estimate = stats.sum() + rest;
    BoundedDouble { mean: estimate, confidence, low: estimate - off, high: estimate + off }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() <= 1e-3 * b.abs()
    }

    #[test]
    fn the_bounds_of_a_count_are_those_of_a_poisson_distribution() {
        assert_eq!(count_bounds(7, 3, 3, 0.95), BoundedDouble::exact(7.0));
        let half = count_bounds(1_000, 5, 10, 0.95);
        assert_eq!(half.mean, 2_000.0);
        // 1000 ± 1.96 * sqrt(1000), and a skew of less than one.
        assert!((1_937.0..1_940.0).contains(&half.low) && (2_060.0..2_064.0).contains(&half.high), "{half}");
        assert_eq!(count_bounds(0, 1, 10, 0.9).high, 0.0);
    }

    #[test]
    fn few_values_leave_more_room_than_many() {
        assert!(near(factor(1_000, 0.95), 1.959_964) && near(factor(11, 0.95), 2.228_139), "{}", factor(11, 0.95));
        let stats: Stats = (0..11).map(f64::from).collect();
        let mean = mean_bounds(&stats, 1, 2, 0.95);
        assert!(mean.mean == 5.0 && near(mean.high - 5.0, 2.228_139), "{mean}");
        let sum = sum_bounds(&stats, 1, 2, 0.95);
        assert!(sum.mean == 110.0 && sum.low < 110.0 && near(sum.high - 110.0, 110.0 - sum.low), "{sum}");
        let one: Stats = [4.0].into_iter().collect();
        assert_eq!((sum_bounds(&one, 1, 4, 0.9).mean, sum_bounds(&one, 1, 4, 0.9).high), (16.0, f64::INFINITY));
        assert_eq!(mean_bounds(&one, 1, 4, 0.9).low, f64::NEG_INFINITY);
    }
}
