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
    fn foreach[]() { f: F(x: T) -> () } -> Result<()> = |rdd, env| {
        rdd.run("foreach", (0..rdd.num_partitions()).collect(), &**env, each_element(f), |_, ()| ())
    };

    /// Applies `f` to each partition, for its effects.
    ///
    /// When the partition's input fails or the task is killed, the iterator unwinds: a statement after the loop over it,
    /// such as a commit, runs only when the partition was seen to its end.
    #[doc(alias = "foreachPartition")]
    fn foreach_partition[]() { f: F(elements: PartitionIter<T>) -> () } -> Result<()> = |rdd, env| {
        rdd.run("foreach_partition", (0..rdd.num_partitions()).collect(), &**env, each_partition(f), |_, ()| ())
    };

    /// As `foreach_partition`; an `Err` fails the task with its text.
    fn try_foreach_partition[X: Display + 'static,]()
        { f: F(elements: PartitionIter<T>) -> Result<(), X> } -> Result<()> = |rdd, env| {
            let part = WithEffects(over(move |env: &E, input, ctx| {
                f(env, PartitionIter::new(input, ctx)).map_err(TaskError::failed)
            }));
            rdd.run("try_foreach_partition", (0..rdd.num_partitions()).collect(), &**env, part, |_, ()| ())
        };
}
