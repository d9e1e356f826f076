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
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let weight = sc.double_accumulator("weight of all parcels");
    /// sc.parallelize([0.5f64, 2.25, 1.0]).with(weight.clone()).foreach(|weight, parcel| weight.add(parcel))?;
    /// assert_eq!(weight.value()?, 3.75);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "doubleAccumulator")]
    pub fn double_accumulator<'a>(&self, name: impl Into<Option<&'a str>>) -> Accumulator<DoubleSum> {
        self.accumulator(name)
    }

    /// A collection of all that tasks add.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let bad = sc.collection_accumulator::<String>("bad rows");
    /// let rows = sc.parallelize(["17", "four", "44"].map(String::from));
    /// let numbers = rows.with(bad.clone()).flat_map(|bad, row| {
    ///     let number = row.parse::<u32>().ok();
    ///     if number.is_none() {
    ///         bad.add(row);
    ///     }
    ///     number
    /// });
    /// assert_eq!(numbers.collect()?, [17, 44]);
    /// assert_eq!(bad.value()?, ["four"]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "collectionAccumulator")]
    pub fn collection_accumulator<'a, T: Data>(&self, name: impl Into<Option<&'a str>>) -> Accumulator<Collected<T>> {
        self.accumulator(name)
    }

    /// An accumulator of any kind, also one of the program's own, with a name or (`None`) without. Spark: `register`.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// use firesteel::LongSum;
    ///
    /// let rows = sc.accumulator::<LongSum>(None);
    /// sc.range(0..100u64).with(rows.clone()).foreach(|rows, _| rows.add(1))?;
    /// assert_eq!((rows.value()?, rows.name()), (100, None));
    /// # Ok(()) }
    /// ```
    #[doc(alias = "register")]
    pub fn accumulator<'a, A: Accumulate>(&self, name: impl Into<Option<&'a str>>) -> Accumulator<A> {
        self.accumulators().register(name.into())
    }
}
