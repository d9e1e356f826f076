//! Makes accumulators of a Context.

use firesteel_common::Data;
use firesteel_task::{Accumulate, Accumulator, Collected, DoubleSum, LongSum};

use crate::Context;

impl Context {
    /// A sum of integers that tasks add to and the program reads: see [`Accumulator`] for what counts when.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// use firesteel::prelude::*;
    ///
    /// let sc = Context::builder().master("local[2]").build()?;
    /// let odd = sc.long_accumulator("odd numbers");
    /// sc.range(0..100u64).with(odd.clone()).foreach(|odd, x| {
    ///     if x % 2 == 1 {
    ///         odd.add(1);
    ///     }
    /// })?;
    /// assert_eq!(odd.value()?, 50);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "longAccumulator")]
    pub fn long_accumulator<'a>(&self, name: impl Into<Option<&'a str>>) -> Accumulator<LongSum> {
        self.accumulator(name)
    }

    /// A sum of floats.
    #[doc(alias = "doubleAccumulator")]
    pub fn double_accumulator<'a>(&self, name: impl Into<Option<&'a str>>) -> Accumulator<DoubleSum> {
        self.accumulator(name)
    }

    /// A collection of all that tasks add.
    #[doc(alias = "collectionAccumulator")]
    pub fn collection_accumulator<'a, T: Data>(&self, name: impl Into<Option<&'a str>>) -> Accumulator<Collected<T>> {
        self.accumulator(name)
    }

    /// An accumulator of any kind, also one of the program's own, with a name or (`None`) without. Spark: `register`.
    #[doc(alias = "register")]
    pub fn accumulator<'a, A: Accumulate>(&self, name: impl Into<Option<&'a str>>) -> Accumulator<A> {
        self.accumulators().register(name.into())
    }
}
