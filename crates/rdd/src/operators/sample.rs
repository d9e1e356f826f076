//! Operators that keep a random part: `sample`, `random_split`.
//!
//! What is kept depends on the seed, the partition's number and the position of an element in it, and on nothing else: the
//! same program keeps the same elements on any cluster.

use std::{marker::PhantomData, sync::Arc};

use firesteel_common::{Data, hash::fixed_hash};
use firesteel_task::{
    TaskContext, TaskError,
    chunk::{PerChunk, Stream},
};
use rand::{RngExt, SeedableRng, distr::Distribution};
use rand_distr::Poisson;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::{Rdd, Result, elements::Flattened, error::Error, pipe::PipeOp};

/// The random numbers of one partition.
pub(crate) fn generator(seed: u64, partition: u32) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(fixed_hash(&(seed, partition)))
}

/// Keeps an element when the number that is drawn for it, from 0 to below 1, lies in the range.
struct Bernoulli<T>(PhantomData<fn() -> T>);

copy_as_functions!(Bernoulli<T;>);

impl<T: Data> PipeOp for Bernoulli<T> {
    type In = T;
    type Out = T;
    /// The seed, and the range's two ends.
    type Env = (u64, f64, f64);

    const BY_POSITION: bool = true;

    fn run(self, env: &Arc<Self::Env>, p: u32, input: Stream<T>, _: &Arc<TaskContext>) -> Result<Stream<T>, TaskError> {
        let (seed, from, to) = **env;
        let mut random = generator(seed, p);
        Ok(PerChunk::stream(input, move |chunk| Ok(chunk.filter(|_| (from..to).contains(&random.random::<f64>())))))
    }
}

/// Repeats an element as often as a Poisson distribution says.
struct Repeated<T>(PhantomData<fn() -> T>);

copy_as_functions!(Repeated<T;>);

impl<T: Data> PipeOp for Repeated<T> {
    type In = T;
    type Out = T;
    /// The seed, and the distribution's mean.
    type Env = (u64, f64);

    const BY_POSITION: bool = true;

    fn run(
        self,
        env: &Arc<Self::Env>,
        p: u32,
        input: Stream<T>,
        ctx: &Arc<TaskContext>,
    ) -> Result<Stream<T>, TaskError> {
        let (seed, mean) = **env;
        let mut random = generator(seed, p);
        let times = Poisson::new(mean).map_err(TaskError::failed)?;
        let repeat = move |x: T| Ok(std::iter::repeat_n(x, times.sample(&mut random) as usize));
        Ok(Flattened::stream(input, repeat, ctx))
    }
}

/// Whether a sample can be of that fraction: the error says why not.
pub(crate) fn check_fraction(with_replacement: bool, fraction: f64) -> Result<()> {
    let (most, named) = if with_replacement { (f64::MAX, "any number") } else { (1.0, "1 without replacement") };
    if (0.0..=most).contains(&fraction) {
        return Ok(());
    }
    Err(Error::InvalidArgument(format!("a sample's fraction is from 0 to {named}, not {fraction}")))
}

impl<T: Data> Rdd<T> {
    /// A random part of the elements: each is kept with probability `fraction`, or, `with_replacement`, is there as often as
    /// a Poisson distribution of that mean says. Equal seeds keep equal elements, whatever the cluster. Spark: `sample`,
    /// with other random numbers.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let visits = sc.range(0..10_000u64);
    /// let tenth = visits.sample(false, 0.1, 42)?;
    /// assert!((900..1100).contains(&tenth.count()?));
    /// assert_eq!(tenth.collect()?, visits.sample(false, 0.1, 42)?.collect()?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a fraction that is negative or no number, or, without replacement, above 1.
    #[track_caller]
    pub fn sample(&self, with_replacement: bool, fraction: f64, seed: u64) -> Result<Rdd<T>> {
        check_fraction(with_replacement, fraction)?;
        Ok(if with_replacement && fraction > 0.0 {
            self.pipe("sample", true, &Arc::new((seed, fraction)), Repeated(PhantomData))
        } else {
            self.pipe("sample", true, &Arc::new((seed, 0.0, fraction)), Bernoulli(PhantomData))
        })
    }

    /// Deals the elements out at random into one RDD for each weight, in proportion to the weights. Equal seeds deal out
    /// equally. Each of them computes this RDD when it is used: keep it if that costs much. Spark: `randomSplit`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let points = sc.range(0..1000u64);
    /// let [training, test] = &points.random_split(&[3.0, 1.0], 7)?[..] else { unreachable!() };
    /// assert_eq!(training.count()? + test.count()?, 1000);
    /// assert!(training.count()? > 2 * test.count()?);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for a weight that is negative or not finite, and when all are 0.
    #[doc(alias = "randomSplit")]
    #[track_caller]
    pub fn random_split(&self, weights: &[f64], seed: u64) -> Result<Vec<Rdd<T>>> {
        let sum: f64 = weights.iter().sum();
        if !weights.iter().all(|weight| weight.is_finite() && *weight >= 0.0) || !sum.is_finite() || sum <= 0.0 {
            return Err(Error::InvalidArgument(format!(
                "weights are finite, not negative and not all 0, unlike {weights:?}"
            )));
        }
        let (mut split, mut from, mut so_far) = (Vec::new(), 0.0, 0.0);
        for (i, weight) in weights.iter().enumerate() {
            so_far += weight;
            // What rounding leaves belongs to the last one: no element gets lost.
            let to = if i + 1 == weights.len() { 1.0 } else { so_far / sum };
            split.push(self.pipe("random_split", true, &Arc::new((seed, from, to)), Bernoulli(PhantomData)));
            from = to;
        }
        Ok(split)
    }
}
