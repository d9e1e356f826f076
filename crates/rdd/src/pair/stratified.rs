//! `sample_by_key`: a random part of the pairs, larger for some keys than for others.

use std::{collections::HashMap, marker::PhantomData, sync::Arc};

use firesteel_common::{Data, Key};
use firesteel_task::{
    TaskContext, TaskError,
    chunk::{PerChunk, Stream},
};
use rand::{RngExt, distr::Distribution};
use rand_distr::Poisson;

use crate::{
    Rdd, Result,
    elements::Flattened,
    operators::{check_fraction, generator},
    pipe::PipeOp,
};

/// The seed, and the fraction of each key.
type Strata<K> = (u64, HashMap<K, f64>);

/// Keeps each pair with the probability of its key, or, `REPEATED`, as often as a Poisson distribution says.
struct Stratified<K, V, const REPEATED: bool>(PhantomData<fn() -> (K, V)>);

impl<K, V, const REPEATED: bool> Clone for Stratified<K, V, REPEATED> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K, V, const REPEATED: bool> Copy for Stratified<K, V, REPEATED> {}

impl<K: Key, V: Data, const REPEATED: bool> PipeOp for Stratified<K, V, REPEATED> {
    type In = (K, V);
    type Out = (K, V);
    type Env = Strata<K>;

    const BY_POSITION: bool = true;

    fn run(
        self,
        env: &Arc<Strata<K>>,
        p: u32,
        input: Stream<(K, V)>,
        ctx: &Arc<TaskContext>,
    ) -> Result<Stream<(K, V)>, TaskError> {
        let (mut random, env) = (generator(env.0, p), env.clone());
        if REPEATED {
            let times = env.1.iter().filter(|(_, mean)| **mean > 0.0);
            let times = times.map(|(k, mean)| Ok((k.clone(), Poisson::new(*mean).map_err(TaskError::failed)?)));
            let times = times.collect::<Result<HashMap<K, Poisson<f64>>, TaskError>>()?;
            let repeat = move |pair: (K, V)| {
                let n = times.get(&pair.0).map_or(0, |times| times.sample(&mut random) as usize);
                Ok(std::iter::repeat_n(pair, n))
            };
            return Ok(Flattened::stream(input, repeat, ctx));
        }
        Ok(PerChunk::stream(input, move |chunk| {
            Ok(chunk.filter(|(k, _)| {
                let drawn: f64 = random.random();
                env.1.get(k).is_some_and(|fraction| drawn < *fraction)
            }))
        }))
    }
}

impl<K: Key, V: Data> Rdd<(K, V)> {
    /// A random part of the pairs: of each key the fraction that `fractions` says, none of a key that it lacks; see
    /// [`Rdd::sample`]. Spark: `sampleByKey`, which fails at a key without a fraction.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let clicks = sc.range(0..10_000u64).map(|i| (if i % 100 == 0 { "buys" } else { "looks" }.to_owned(), i));
    /// let fractions = [("buys".to_owned(), 1.0), ("looks".to_owned(), 0.01)].into();
    /// let sample = clicks.sample_by_key(false, fractions, 7)?.count_by_key()?;
    /// assert_eq!(sample["buys"], 100);
    /// assert!(sample["looks"] < 200);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidArgument`](crate::Error::InvalidArgument) for a fraction that is negative or no number, or, without replacement, above 1.
    #[doc(alias = "sampleByKey")]
    #[track_caller]
    pub fn sample_by_key(&self, with_replacement: bool, fractions: HashMap<K, f64>, seed: u64) -> Result<Rdd<(K, V)>> {
        fractions.values().try_for_each(|fraction| check_fraction(with_replacement, *fraction))?;
        let env = Arc::new((seed, fractions));
        Ok(if with_replacement {
            self.pipe("sample_by_key", true, &env, Stratified::<K, V, true>(PhantomData))
        } else {
            self.pipe("sample_by_key", true, &env, Stratified::<K, V, false>(PhantomData))
        })
    }
}
