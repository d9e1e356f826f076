//! Actions for their effects on the executors: `foreach`, `foreach_partition`.

use std::fmt::Display;

use firesteel_common::Data;
use firesteel_task::{PartitionIter, TaskError};

use super::{
    WithEffects,
    asynchronous::{each_element, each_partition},
    over,
};
use crate::Result;

operators! {
    impl[T: Data] T;

    /// Applies `f` to each element, for its effects.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let late = sc.long_accumulator("late orders");
    /// let days = sc.parallelize([2u32, 9, 4, 11]);
    /// days.with(late.clone()).foreach(|late, days| {
    ///     if days > 7 {
    ///         late.add(1);
    ///     }
    /// })?;
    /// assert_eq!(late.value()?, 2);
    /// # Ok(()) }
    /// ```
    fn foreach[]() { f: F(x: T) -> () } -> Result<()> = |rdd, env| {
        rdd.run("foreach", (0..rdd.num_partitions()).collect(), &**env, each_element(f), |_, ()| ())
    };

    /// Applies `f` to each partition, for its effects.
    ///
    /// When the partition's input fails or the task is killed, the iterator unwinds: a statement after the loop over it,
    /// such as a commit, runs only when the partition was seen to its end.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let batches = sc.collection_accumulator::<u64>("sizes of batches");
    /// let rows = sc.partitioned(3).range(0..9u64);
    /// rows.with(batches.clone()).foreach_partition(|batches, rows| {
    ///     // Here a program would write the rows in one transaction.
    ///     batches.add(rows.count() as u64);
    /// })?;
    /// assert_eq!(batches.value()?, [3, 3, 3]);
    /// # Ok(()) }
    /// ```
    #[doc(alias = "foreachPartition")]
    fn foreach_partition[]() { f: F(elements: PartitionIter<T>) -> () } -> Result<()> = |rdd, env| {
        rdd.run("foreach_partition", (0..rdd.num_partitions()).collect(), &**env, each_partition(f), |_, ()| ())
    };

    /// As `foreach_partition`; an `Err` fails the task with its text.
    ///
    /// ```
    /// # fn main() -> firesteel::Result<()> {
    /// # let sc = firesteel::Context::builder().master("local[2]").build()?;
    /// let rows = sc.parallelize(["7", "seven"].map(String::from));
    /// let checked = rows.try_foreach_partition(|mut rows| rows.try_for_each(|row| row.parse::<u32>().map(|_| ())));
    /// assert!(checked.unwrap_err().to_string().contains("invalid digit found in string"));
    /// # Ok(()) }
    /// ```
    fn try_foreach_partition[X: Display + 'static,]()
        { f: F(elements: PartitionIter<T>) -> Result<(), X> } -> Result<()> = |rdd, env| {
            let part = WithEffects(over(move |env: &E, input, ctx| {
                f(env, PartitionIter::new(input, ctx)).map_err(TaskError::failed)
            }));
            rdd.run("try_foreach_partition", (0..rdd.num_partitions()).collect(), &**env, part, |_, ()| ())
        };
}
